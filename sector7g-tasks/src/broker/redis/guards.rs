//! What keeps promises in the scripts, to be taken out by tests which then fail.

use std::sync::OnceLock;

/// Something in the scripts without which a promise breaks.
///
/// For tests of the tests: a program that takes one out, before its first call, is to be caught at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Guard {
    /// Nobody claims a job that somebody has.
    Lease,
    /// Who has lost a job can neither finish it nor renew its lease.
    Token,
    /// What a stopping worker gives back is due, in its place.
    GiveBack,
    /// An attempt is counted before it starts.
    Attempts,
    /// A claim whose answer was lost is answered again.
    Repeat,
    /// Nobody takes over a lease that ran out while Redis itself was away.
    Grace,
    /// An enqueueing whose answer was lost is answered again.
    Request,
}

static TAKEN_OUT: OnceLock<Guard> = OnceLock::new();

impl Guard {
    /// All of them, with names for a command line.
    pub const ALL: [(&str, Self); 7] = [
        ("lease", Self::Lease),
        ("token", Self::Token),
        ("give-back", Self::GiveBack),
        ("attempts", Self::Attempts),
        ("repeat", Self::Repeat),
        ("grace", Self::Grace),
        ("request", Self::Request),
    ];

    /// Takes it out, for all brokers of this process; once, and before the first of them is asked anything.
    pub fn take_out(self) {
        let _ = TAKEN_OUT.set(self); // a second one would find the scripts made
    }

    /// The places in the scripts, and what is left there.
    const fn places(self) -> &'static [(&'static str, &'static str)] {
        match self {
            // The score of a job that somebody has lies in the future, where no claim looks.
            Self::Lease => &[
                ("elseif not is_held(before, now) then", "elseif true then"),
                ("lost_at and (before or is_doubtful)", "false"), // it would let be what has not run out, too
                ("format('%d.5', now + span - 1)", "now_text"),
            ],
            Self::Token => &[
                ("value and (value == is_same or string.find(value, groups[at], 1, true) == 1)", "value"),
                ("find(lease, groups[group], 1, true) ~= 1 or ", ""),
                ("lease.token == ARGV[2 * i + 1]", "true"),
            ],
            Self::GiveBack => &[(
                "      else\n        finish_give_back(",
                "      elseif ARGV[from + 2] == 's' then\n        stays[id] = true\n      else\n        finish_give_back(",
            )],
            Self::Attempts => {
                &[("if count > 1 or with_python then", "if false then"), ("    count = math.max(1, count)\n", "")]
            }
            Self::Repeat => &[("if readable and type(last) == 'table' then", "if false then")],
            Self::Grace => &[("lost_at and (before or is_doubtful)", "false")],
            Self::Request => &[("if known == number then", "if false then")],
        }
    }

    fn cut(self, text: &str) -> String {
        self.places().iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    }
}

/// A script's text, without the guard that a test has taken out.
pub(super) fn left_of(text: String) -> String {
    match TAKEN_OUT.get() {
        Some(guard) => guard.cut(&text),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_guard_stands_once_where_it_is_taken_out() {
        let scripts = concat!(
            include_str!("lua/common.lua"),
            include_str!("lua/notes.lua"),
            include_str!("lua/enqueue.lua"),
            include_str!("lua/claim.lua"),
            include_str!("lua/claim_any.lua"),
            include_str!("lua/extend.lua")
        );
        for (name, guard) in Guard::ALL {
            for (place, _) in guard.places() {
                assert_eq!(scripts.matches(place).count(), 1, "guard {name}: {place}");
            }
            assert_ne!(guard.cut(scripts), scripts);
        }
    }
}
