//! Goes through the scenarios and says what came of them.

use std::process::ExitCode;
use std::time::Duration;

use support::Dice;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::catalogue;
use crate::scenario::{Crew, Outcome, Scenario};
use crate::table;

/// Scenarios at once: they mostly wait.
const AT_ONCE: usize = 4;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Which chances are taken: as an earlier run has said first
    #[arg(long)]
    seed: Option<u64>,
    /// Only scenarios in whose name this is
    #[arg(long)]
    only: Option<String>,
}

pub(crate) fn main(options: &Options) -> ExitCode {
    let seed = options.seed.unwrap_or_else(Dice::any_seed);
    println!("seed {seed}");
    let wanted = |scenario: &Scenario| options.only.as_ref().is_none_or(|only| scenario.name.contains(&**only));
    let scenarios = catalogue::all()
        .into_iter()
        .chain(catalogue::unguarded())
        .chain(catalogue::compared())
        .filter(wanted)
        .collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build();
    let began = Instant::now();
    let (outcomes, failures) = runtime.expect("the system has threads").block_on(run(scenarios, &Dice::of(seed)));
    println!("{}", table::of(&outcomes));
    for outcome in &outcomes {
        for broken in &outcome.broken {
            println!("{}{}: {broken}", if outcome.is_right() { "" } else { "BROKEN, " }, outcome.title());
        }
    }
    for failure in &failures {
        println!("BROKEN: {failure}");
    }
    println!("{} scenarios in {:.0} s, seed {seed}", outcomes.len(), began.elapsed().as_secs_f64());
    let has_held = failures.is_empty() && outcomes.iter().all(Outcome::is_right);
    if has_held && !outcomes.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// All scenarios, a few at a time; what they came to, in their order, and those that came to nothing.
async fn run(scenarios: Vec<Scenario>, dice: &Dice) -> (Vec<Outcome>, Vec<String>) {
    let key = |name, without: Option<&'static str>, crew| (name, without, crew == Crew::Python);
    let order: Vec<_> = scenarios.iter().map(|scenario| key(scenario.name, scenario.without, scenario.crew)).collect();
    let (mut outcomes, mut failures) = (Vec::new(), Vec::new());
    let mut waiting = scenarios.into_iter().rev(); // the last ones take longest
    let mut running = JoinSet::new();
    loop {
        while running.len() < AT_ONCE
            && let Some(scenario) = waiting.next()
        {
            let dice = dice.apart(scenario.name);
            running.spawn(scenario.run(dice));
        }
        match running.join_next().await {
            None => break,
            Some(Ok(outcome)) => {
                let took: Duration = outcome.took;
                println!("{:>5.1} s  {}", took.as_secs_f64(), outcome.title());
                outcomes.push(outcome);
            }
            Some(Err(error)) => failures.push(format!("a scenario failed: {error}")),
        }
    }
    outcomes.sort_by_key(|outcome| {
        order.iter().position(|known| *known == key(outcome.name, outcome.without, outcome.crew))
    });
    (outcomes, failures)
}
