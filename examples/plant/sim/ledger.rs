//! A ledger that can't be changed afterwards: each line carries a checksum of all before it.

use super::checksum;

/// The checksum that stands before the first line.
const START: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// A ledger that somebody changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the ledger does not carry the checksum of what stands before it")]
pub struct Tampered {
    /// The first bad line, from 1.
    pub line: usize,
}

/// The line to append for `entry` after a ledger that ends with `last` (`None`: an empty one), with its line end.
///
/// Line ends in the entry become spaces.
pub fn line(last: Option<&str>, entry: &str) -> String {
    let entry = entry.replace(['\n', '\r'], " ");
    let before = last.map_or(START, seal_of);
    format!("{} {entry}\n", checksum::of(format!("{before} {entry}").as_bytes()))
}

/// Checks all lines; says how many there are.
///
/// # Errors
/// [`Tampered`] names the first line that was changed, moved, added or whose predecessor was removed.
pub fn verify(ledger: &str) -> Result<usize, Tampered> {
    let mut last = None;
    let mut count = 0;
    for (index, written) in ledger.lines().enumerate() {
        let entry = written.split_once(' ').map_or("", |(_, entry)| entry);
        if line(last, entry).trim_end_matches('\n') != written {
            return Err(Tampered { line: index + 1 });
        }
        last = Some(written);
        count += 1;
    }
    Ok(count)
}

/// The checksum at a line's start.
pub fn seal_of(line: &str) -> &str {
    line.split(' ').next().unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(entries: &[&str]) -> String {
        entries.iter().fold(String::new(), |ledger, entry| {
            let next = line(ledger.lines().last(), entry);
            ledger + &next
        })
    }

    #[test]
    fn an_honest_ledger_verifies() {
        assert_eq!(verify(""), Ok(0));
        assert_eq!(verify(&ledger(&["rods counted", "", "two\nlines"])), Ok(3));
    }

    #[test]
    fn every_change_is_found() {
        let honest = ledger(&["one", "two", "three"]);
        assert_eq!(verify(&honest.replace("two", "six")), Err(Tampered { line: 2 }));
        let lines: Vec<&str> = honest.lines().collect();
        assert_eq!(verify(&[lines[0], lines[2]].join("\n")), Err(Tampered { line: 2 }));
        assert_eq!(verify(&[lines[1], lines[0], lines[2]].join("\n")), Err(Tampered { line: 1 }));
        assert_eq!(verify(&format!("{honest}nonsense\n")), Err(Tampered { line: 4 }));
    }
}
