//! Goes through the scenarios and says what came of them.

use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Duration;

use support::Dice;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::catalogue;
use crate::scenario::{Crew, Outcome, Scenario};
use crate::table;

/// Scenarios at once: they mostly wait.
const AT_ONCE: usize = 10;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The long form: ten times as many jobs, again and again, and no scenario begun after so many minutes
    #[arg(long)]
    minutes: Option<u64>,
    /// Which chances are taken: as an earlier run has said first
    #[arg(long)]
    seed: Option<u64>,
    /// Leave all ledgers where they are, and say where
    #[arg(long)]
    keep: bool,
    /// Only scenarios in whose name this is
    #[arg(long)]
    only: Option<String>,
    /// In place of them all: so many short jobs, a thousand a second, a worker killed each four seconds
    #[arg(long, conflicts_with_all = ["minutes", "only"])]
    soak: Option<u64>,
    /// Kill no worker: how many of the jobs run twice all the same
    #[arg(long, requires = "soak")]
    calm: bool,
}

pub(crate) fn main(options: &Options) -> ExitCode {
    let seed = options.seed.unwrap_or_else(Dice::any_seed);
    println!("seed {seed}");
    let wanted = |scenario: &Scenario| options.only.as_ref().is_none_or(|only| scenario.name.contains(&**only));
    let short = catalogue::all().into_iter().chain(catalogue::unguarded()).chain(catalogue::compared());
    let scenarios: Vec<Scenario> = match (options.soak, options.minutes) {
        (Some(jobs), _) => vec![catalogue::soak(jobs, options.calm)],
        (None, None) => short.filter(wanted).collect(),
        (None, Some(_)) => short.map(Scenario::longer).filter(wanted).collect(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build();
    let runtime = runtime.expect("the system has threads");
    let began = Instant::now();
    let until = options.minutes.map(|minutes| began + Duration::from_mins(minutes));
    let mut has_held = !scenarios.is_empty();
    for round in 0.. {
        let dice = Dice::of(seed.wrapping_add(round));
        let (mut outcomes, mut failures) = runtime.block_on(run(scenarios.clone(), &dice, options.keep, until));
        if options.soak.is_none() {
            // That one had the machine for itself.
            failures = runtime.block_on(try_again(&scenarios, &mut outcomes, failures, &dice, options.keep));
        }
        let place = |title: &str| scenarios.iter().position(|scenario| scenario.title() == title);
        outcomes.sort_by_key(|outcome| place(&outcome.title()));
        report(&outcomes);
        let took = began.elapsed().as_secs_f64();
        // What those of arq's workers, and of ours without a guard, find breaks nothing.
        let judged = outcomes.iter().filter(|outcome| outcome.crew != Crew::Python && outcome.without.is_none());
        let audits: usize = judged.map(|outcome| outcome.audits).sum();
        println!("{} scenarios in {took:.0} s, seed {seed}, round {round}, {audits} audits of ours", outcomes.len());
        has_held &= report_wrong(&outcomes, &failures);
        if until.is_none_or(|until| Instant::now() >= until) {
            break;
        }
    }
    if has_held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints what a round came to.
fn report(outcomes: &[Outcome]) {
    println!("{}", table::of(outcomes));
    if outcomes.iter().any(|outcome| outcome.crew == Crew::Python) {
        for (name, reason) in catalogue::NOT_COMPARED {
            println!("arq: not in «{name}»: {reason}");
        }
    }
    for outcome in outcomes.iter().filter(|outcome| outcome.is_right()) {
        for broken in &outcome.broken {
            println!("{}: {}", outcome.title(), broken.what);
        }
    }
    for outcome in outcomes.iter().filter(|outcome| outcome.account.near.has_lost()) {
        let near = outcome.account.near;
        let more = [
            (near.twice, "finished twice"),
            (near.unprovoked, "run again"),
            (near.beside, "run beside itself"),
            (near.unrun, "claimed and not run"),
            (near.untrue, "untrue"),
        ];
        let more = more.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
        let lost = format!("Redis lost {} of {} jobs", near.lost, near.jobs);
        let all: Vec<String> = [lost].into_iter().chain(more).collect();
        println!("{}: near a strike {}", outcome.title(), all.join(", "));
    }
}

/// Prints what is not as it should be; whether nothing is. It stands last: some show only a log's end.
fn report_wrong(outcomes: &[Outcome], failures: &[Failure]) -> bool {
    let wrong: Vec<_> = outcomes.iter().filter(|outcome| !outcome.is_right()).collect();
    for outcome in &wrong {
        for broken in &outcome.broken {
            println!("BROKEN, {}: {}", outcome.title(), broken.what);
        }
        if outcome.broken.is_empty() {
            println!("BROKEN, {}: all gates held, though the guard was out", outcome.title());
        }
    }
    for Failure { title, why } in failures {
        println!("BROKEN, {title}: it has no outcome: {why}");
    }
    failures.is_empty() && wrong.is_empty()
}

/// A scenario that came to no outcome: what it ran on failed, not what it tried.
struct Failure {
    title: String,
    why: String,
}

impl Failure {
    /// Whether a machine that is busy may be all the reason: servers did not come up, or agree.
    fn may_be_chance(&self) -> bool {
        ["redis-server did not start", "no free port", "not within 60s"].iter().any(|said| self.why.contains(said))
    }
}

/// All scenarios, a few at a time, none begun after `until`; what they came to, and those that failed.
async fn run(
    scenarios: Vec<Scenario>,
    dice: &Dice,
    keep: bool,
    until: Option<Instant>,
) -> (Vec<Outcome>, Vec<Failure>) {
    let (mut outcomes, mut failures) = (Vec::new(), Vec::new());
    let (deaths, others): (Vec<_>, Vec<_>) = scenarios.into_iter().partition(|scenario| scenario.victim.is_some());
    let mut waiting = deaths.into_iter().chain(others.into_iter().rev()); // the longest ones first
    let mut running = JoinSet::new();
    let mut titles = HashMap::new();
    loop {
        while running.len() < AT_ONCE
            && until.is_none_or(|until| Instant::now() < until)
            && let Some(scenario) = waiting.next()
        {
            let (dice, title) = (dice.apart(scenario.name), scenario.title());
            titles.insert(running.spawn(scenario.settle(dice, keep)).id(), title);
        }
        match running.join_next().await {
            None => break,
            Some(Ok(outcome)) => {
                let took: Duration = outcome.took;
                println!("{:>5.1} s  {}", took.as_secs_f64(), outcome.title());
                if let Some(kept) = &outcome.kept {
                    println!("         its ledgers are in {}", kept.display());
                }
                outcomes.push(outcome);
            }
            Some(Err(error)) => {
                let title = titles.remove(&error.id()).expect("each that was spawned is there");
                failures.push(Failure { title, why: error.to_string() });
            }
        }
    }
    (outcomes, failures)
}

/// Runs those once more, with other chances and nothing beside them, in which no job came to harm, but something took
/// longer than it may or no fault hit, or servers did not come up or agree: ten scenarios on two cores do that by
/// themselves. What comes of this counts.
async fn try_again(
    scenarios: &[Scenario],
    outcomes: &mut Vec<Outcome>,
    failures: Vec<Failure>,
    dice: &Dice,
    keep: bool,
) -> Vec<Failure> {
    let (again, mut failures): (Vec<_>, Vec<_>) = failures.into_iter().partition(Failure::may_be_chance);
    for Failure { title, why } in &again {
        println!("tried again, alone: {title}: {why}");
    }
    let (by_chance, others) = std::mem::take(outcomes).into_iter().partition(Outcome::may_be_chance);
    *outcomes = others;
    for outcome in &by_chance {
        for broken in &outcome.broken {
            println!("tried again, alone: {}: {}", outcome.title(), broken.what);
        }
    }
    let titles = again.into_iter().map(|failure| failure.title).chain(by_chance.iter().map(Outcome::title));
    for title in titles {
        let scenario = scenarios.iter().find(|scenario| scenario.title() == title).expect("it has run");
        let (again, failed) = run(vec![scenario.clone()], &dice.apart("alone"), keep, None).await;
        outcomes.extend(again);
        failures.extend(failed);
    }
    failures
}
