//! What the benchmarks and the probe measure: [`cases`], by name.
//!
//! Each case is one step of a job's life, or all of it, done for a number of jobs that are made beforehand.

mod bare;
pub mod costs;
mod dispatch;
mod layers;
mod noop;
pub mod peers;
pub mod server;
pub mod side;

use std::any::Any;
use std::fmt;
use std::time::Duration;

/// How many jobs run at once, in the cases where several do.
pub const AT_ONCE: [usize; 3] = [1, 10, 100];

/// Whether results are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Results {
    /// For an hour, as is the default.
    Kept,
    /// Not at all.
    Dropped,
}

/// The runtime that a case is run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// A current-thread runtime: the same instructions in each run.
    One,
    /// A runtime with two worker threads.
    Two,
}

/// Something to measure.
pub struct Case {
    /// Its name: a word or several, with hyphens.
    pub name: String,
    /// What it runs on.
    pub threads: Threads,
    prepare: Box<dyn Fn(usize) -> Prepared>,
}

/// A case with its jobs made.
pub struct Prepared(Box<dyn FnOnce() -> Ran>);

/// A case that has been run.
#[derive(Debug)]
pub struct Ran {
    /// How long all jobs took together, without what frames them.
    pub took: Duration,
    /// What they left behind; freeing it is no part of the case.
    pub left: Box<dyn Any>,
}

impl Case {
    fn new<F>(name: impl Into<String>, threads: Threads, prepare: impl Fn(usize) -> F + 'static) -> Self
    where
        F: FnOnce() -> Ran + 'static,
    {
        Self { name: name.into(), threads, prepare: Box::new(move |jobs| Prepared(Box::new(prepare(jobs)))) }
    }

    /// Makes what so many jobs need.
    #[must_use]
    pub fn prepare(&self, jobs: usize) -> Prepared {
        (self.prepare)(jobs)
    }
}

impl Prepared {
    /// Does the work.
    #[must_use]
    pub fn run(self) -> Ran {
        (self.0)()
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("name", &self.name).field("threads", &self.threads).finish_non_exhaustive()
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Prepared(..)")
    }
}

/// All cases; those that are compared stand side by side.
#[must_use]
pub fn cases() -> Vec<Case> {
    let mut cases = layers::cases();
    for threads in [Threads::One, Threads::Two] {
        for at_once in AT_ONCE {
            for results in [Results::Dropped, Results::Kept] {
                cases.extend([bare::case(threads, at_once, results), dispatch::case(threads, at_once, results)]);
            }
        }
    }
    cases
}

/// The case of this name.
#[must_use]
pub fn case(name: &str) -> Option<Case> {
    cases().into_iter().find(|case| case.name == name)
}

fn runtime(threads: Threads) -> tokio::runtime::Runtime {
    let mut builder = match threads {
        Threads::One => tokio::runtime::Builder::new_current_thread(),
        Threads::Two => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.worker_threads(2).enable_all().build().expect("the system gives threads")
}

/// `bare-10-kept`, or `bare-10-kept-threads` on two of them.
fn name(what: &str, at_once: usize, results: Option<Results>, threads: Threads) -> String {
    let results = results.map_or("", |results| if results == Results::Kept { "-kept" } else { "-dropped" });
    let threads = if threads == Threads::Two { "-threads" } else { "" };
    format!("{what}-{at_once}{results}{threads}")
}
