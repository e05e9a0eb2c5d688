//! `probe CASE JOBS [prepare]`: runs a case once, for valgrind to count the instructions of.
//!
//! With `prepare` it ends before the measured part. The difference of both, for more jobs and for
//! fewer, is what the jobs themselves cost: `cargo xtask bench` does that sum.
//!
//! `probe DEED JOBS URL`: does a deed on a Redis server that runs under valgrind, and ends it.

use std::process::ExitCode;

use sector7g_benches::server::{DEEDS, do_on};
use sector7g_benches::{Threads, case, cases};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let deed = |name: &str, jobs: &str| Some((DEEDS.iter().find(|(known, _)| *known == name)?.1, jobs.parse().ok()?));
    if let [name, jobs, url] = arguments[..]
        && let Some((deed, jobs)) = deed(name, jobs)
    {
        return match do_on(url, deed, jobs) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    let known = |name: &str, jobs: &str| Some((case(name)?, jobs.parse().ok()?));
    let (asked, only_prepare) = match arguments[..] {
        [name, jobs] => (known(name, jobs), false),
        [name, jobs, "prepare"] => (known(name, jobs), true),
        _ => (None, false),
    };
    let Some((case, jobs)) = asked else {
        let names: Vec<String> =
            cases().into_iter().filter(|case| case.threads == Threads::One).map(|case| case.name).collect();
        let deeds: Vec<&str> = DEEDS.iter().map(|(name, _)| *name).collect();
        eprintln!(
            "usage: probe CASE JOBS [prepare]\ncases: {}\nor: probe DEED JOBS URL\ndeeds: {}",
            names.join(" "),
            deeds.join(" ")
        );
        return ExitCode::from(2);
    };
    let prepared = case.prepare(jobs);
    if only_prepare {
        std::process::exit(0); // at once: freeing what was made is no part of it
    }
    let ran = prepared.run();
    eprintln!("{}: {} ns a job", case.name, ran.took.as_nanos() / jobs.max(1) as u128);
    std::process::exit(0)
}
