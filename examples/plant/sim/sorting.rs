//! Sorting more numbers than one wants to hold in memory: sorted runs on disk, then a merge.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// Writes numbers to a file, eight bytes each.
///
/// # Errors
/// What writing says.
pub fn write(path: &Path, numbers: impl IntoIterator<Item = u64>) -> io::Result<u64> {
    let mut file = BufWriter::new(File::create(path)?);
    let mut count = 0;
    for number in numbers {
        file.write_all(&number.to_le_bytes())?;
        count += 1;
    }
    file.flush()?;
    Ok(count)
}

/// Sorts the numbers of `from` into `to`, with at most `run` of them (at least 1) in memory; says in how many runs.
///
/// The runs' files stand beside `to` while it works.
///
/// # Errors
/// What reading or writing says; `UnexpectedEof` when the file ends within a number.
pub fn sort(from: &Path, to: &Path, run: usize) -> io::Result<usize> {
    let runs = split(from, to, run.max(1))?;
    let merged = merge(&runs, to);
    for path in &runs {
        std::fs::remove_file(path)?;
    }
    merged.map(|_| runs.len())
}

fn split(from: &Path, to: &Path, run: usize) -> io::Result<Vec<PathBuf>> {
    let mut numbers = Numbers::open(from)?;
    let mut runs = Vec::new();
    loop {
        let mut sorted = numbers.by_ref().take(run).collect::<io::Result<Vec<u64>>>()?;
        if sorted.is_empty() {
            return Ok(runs);
        }
        sorted.sort_unstable();
        let path = to.with_extension(format!("run{}", runs.len()));
        write(&path, sorted)?;
        runs.push(path);
    }
}

fn merge(runs: &[PathBuf], to: &Path) -> io::Result<u64> {
    let mut readers = runs.iter().map(|path| Numbers::open(path)).collect::<io::Result<Vec<_>>>()?;
    let mut heads = BinaryHeap::new();
    for (index, reader) in readers.iter_mut().enumerate() {
        heads.extend(reader.next().transpose()?.map(|number| Reverse((number, index))));
    }
    let mut file = BufWriter::new(File::create(to)?);
    let mut count = 0;
    while let Some(Reverse((number, index))) = heads.pop() {
        file.write_all(&number.to_le_bytes())?;
        count += 1;
        heads.extend(readers[index].next().transpose()?.map(|number| Reverse((number, index))));
    }
    file.flush()?;
    Ok(count)
}

/// The numbers of a file, one after the other.
#[derive(Debug)]
pub struct Numbers(BufReader<File>);

impl Numbers {
    /// Opens a file that [`write`] or [`sort`] has written.
    ///
    /// # Errors
    /// What opening says.
    pub fn open(path: &Path) -> io::Result<Self> {
        File::open(path).map(|file| Self(BufReader::new(file)))
    }
}

impl Iterator for Numbers {
    type Item = io::Result<u64>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut bytes = [0; 8];
        match self.0.read(&mut bytes[..1]) {
            Ok(0) => None,
            Ok(_) => Some(self.0.read_exact(&mut bytes[1..]).map(|()| u64::from_le_bytes(bytes))),
            Err(error) if error.kind() == ErrorKind::Interrupted => self.next(),
            Err(error) => Some(Err(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::chance::Chance;
    use super::*;

    fn check(count: usize, run: usize, runs: usize) {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("badges"), dir.path().join("sorted"));
        let mut chance = Chance::new(count as u64);
        let mut numbers: Vec<u64> = (0..count).map(|_| u64::from(chance.below(1_000))).collect();
        write(&from, numbers.iter().copied()).unwrap();
        assert_eq!(sort(&from, &to, run).unwrap(), runs);
        numbers.sort_unstable();
        assert_eq!(Numbers::open(&to).unwrap().collect::<io::Result<Vec<_>>>().unwrap(), numbers);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "no run is left behind");
    }

    #[test]
    fn any_number_of_runs_comes_out_sorted() {
        check(0, 10, 0);
        check(1, 10, 1);
        check(10, 10, 1);
        check(11, 10, 2);
        check(1_000, 64, 16);
        check(5, 0, 5);
    }

    #[test]
    fn half_a_number_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("badges");
        std::fs::write(&from, [0; 12]).unwrap();
        assert_eq!(sort(&from, &dir.path().join("sorted"), 4).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }
}
