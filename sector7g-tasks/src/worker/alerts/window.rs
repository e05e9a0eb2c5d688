//! How many attempts ended, and failed, of late.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Timestamp;

/// The window slides in so many steps.
const STEPS: u32 = 60;

/// Attempts that ended, and those of them that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) failed: u64,
    pub(super) attempts: u64,
}

/// A window over counts that only grow. Time while the broker was away does not pass in it: nothing could succeed.
#[derive(Debug)]
pub(super) struct Window {
    span: Duration,
    /// The last look, unless the broker was away at it.
    at: Option<Timestamp>,
    /// Time that has passed in it.
    passed: Duration,
    /// Counts of earlier looks; at most two more than it has steps.
    looks: VecDeque<(Duration, Ends)>,
}

impl Window {
    pub(super) fn new(span: Duration) -> Self {
        Self { span, at: None, passed: Duration::ZERO, looks: VecDeque::new() }
    }

    /// Takes the counts so far, and says how many of them fell into the window, to a step of it.
    pub(super) fn look(&mut self, so_far: Ends, now: Timestamp) -> Ends {
        let since_last = self.at.replace(now).map_or(Duration::ZERO, |at| now.since(at));
        self.passed = self.passed.saturating_add(since_last);
        // The last look at or before the window's begin stays: the counts are compared with it.
        while self.looks.get(1).is_some_and(|(at, _)| at.saturating_add(self.span) <= self.passed) {
            self.looks.pop_front();
        }
        if self.looks.back().is_none_or(|(at, _)| self.passed.saturating_sub(*at) >= self.span / STEPS) {
            self.looks.push_back((self.passed, so_far));
        }
        let before = self.looks.front().map_or(so_far, |(_, ends)| *ends);
        Ends { failed: so_far.failed - before.failed, attempts: so_far.attempts - before.attempts }
    }

    /// The broker is away: no time passes until the next look.
    pub(super) fn pause(&mut self) {
        self.at = None;
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.looks.len()
    }
}
