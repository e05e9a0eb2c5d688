//! The options of `#[task(..)]`.

use proc_macro2::TokenStream;
use syn::{Error, Ident, Signature};

use super::Mode;
use crate::attr::{Errors, Given, meant, options, read_options, whole_attribute};
use crate::backoff::Backoff;
use crate::duration::{Keep, Positive};
use crate::value::{Count, Cron, Flag, Name, Partitions, Zone};

options! {
    /// What was given, as far as it is good.
    Slots {
        queue: Name,
        partitions: Partitions,
        name: Name,
        timeout: Positive,
        max_tries: Count,
        backoff: Backoff,
        keep_result: Keep,
        cron: Cron,
        timezone: Zone,
        dead_letter: Flag,
        blocking: Flag,
    }
}

/// What was given, and each key once more, be its value good or bad.
#[derive(Default)]
pub(super) struct Options {
    pub(super) slots: Slots,
    keys: Vec<Ident>,
}

impl Options {
    pub(super) fn read(tokens: TokenStream, errors: &mut Errors) -> Self {
        let mut options = Self::default();
        read_options(tokens, errors, |key, input| {
            options.keys.push(key.clone());
            options.slots.set(key, input)
        });
        options
    }

    /// The queue; empty where an error has told that there is none.
    pub(super) fn queue(&self) -> &str {
        self.slots.queue.as_ref().map_or("", |given| &given.value.0)
    }

    /// How a function is called that has this signature and a body or none.
    pub(super) fn mode(&self, sig: &Signature, has_body: bool) -> Mode {
        match &self.slots.blocking {
            _ if !has_body => Mode::Elsewhere,
            _ if sig.asyncness.is_some() => Mode::Async,
            Some(Given { value: Flag(false), .. }) => Mode::Direct,
            _ => Mode::Blocking,
        }
    }

    /// Checks the options against each other and against the function.
    pub(super) fn check(&self, mode: Mode, errors: &mut Errors) {
        if self.keys.iter().all(|key| meant(key, Slots::KNOWN) != Some("queue")) {
            let message = "`queue` is missing: say where its jobs go, as in `#[task(queue = \"lenny\")]`";
            errors.add(Error::new(whole_attribute(), message));
        }
        if let (None, Some(key)) = (self.key("cron"), self.key("timezone")) {
            errors.at(key, "`timezone` is that of a schedule: it needs `cron = \"..\"` beside it");
        }
        if let (Some(queue), Some(partitions)) = (&self.slots.queue, &self.slots.partitions)
            && partitions.value.0 > 1
            && queue.value.0.contains(['{', '}'])
        {
            errors.at(&queue.key, "a queue with partitions has no braces in its name: theirs are made of it");
        }
        match &self.slots.blocking {
            Some(Given { key, value: Flag(true) }) if mode == Mode::Async => {
                errors
                    .at(key, "the blocking pool is for functions that are not async: leave out `blocking`, or `async`");
            }
            _ => {}
        }
        if mode == Mode::Elsewhere {
            self.check_elsewhere(errors);
        }
    }

    fn check_elsewhere(&self, errors: &mut Errors) {
        let told = |key: &Ident| {
            ["queue", "name", "partitions"].iter().any(|told| key == told)
                || !Slots::KNOWN.contains(&key.to_string().as_str())
        };
        for key in self.keys.iter().filter(|key| !told(key)) {
            errors.at(
                key,
                format!(
                    "`{key}` is set where the task has its body; here it takes only `queue`, `partitions` and `name`"
                ),
            );
        }
    }

    fn key(&self, name: &str) -> Option<&Ident> {
        self.keys.iter().find(|key| *key == name)
    }
}
