//! What sector7g is to reach beside the others, and whether it does.

use std::fmt::Write as _;

use super::Table;
use super::contest::{APALIS_MOST, OUR_DEFAULTS, OURS};
use super::figures::{LEAST_RUNS, Metric, ratio};
use super::measure::{DRAIN, Drain, Measure};

/// Where a figure stands.
#[derive(Clone, Copy, Debug)]
struct Spot {
    measure: Measure,
    name: &'static str,
    metric: Metric,
}

/// One thing to reach: a figure of ours, divided by another of the same run, or by itself.
#[derive(Clone, Copy, Debug)]
struct Target {
    what: &'static str,
    ours: Spot,
    beside: Option<Spot>,
    /// At least for rates, at most for all else.
    bound: f64,
}

/// What came of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Verdict {
    what: &'static str,
    wanted: String,
    seen: String,
    /// `None` when it was not measured, or not often enough.
    is_reached: Option<bool>,
}

const fn spot(measure: Measure, name: &'static str, metric: Metric) -> Spot {
    Spot { measure, name, metric }
}

const fn drained(name: &'static str) -> Spot {
    spot(Measure::Drain(DRAIN), name, Metric::Ran)
}

const fn beside(what: &'static str, ours: Spot, theirs: Spot, bound: f64) -> Target {
    Target { what, ours, beside: Some(theirs), bound }
}

const fn beyond(what: &'static str, keeps: bool) -> Target {
    let ours = spot(Measure::Dispatch { at_once: 100, keeps }, OURS, Metric::Beyond);
    Target { what, ours, beside: None, bound: 1_000.0 }
}

const KEEPING: Drain = Drain { keeps: true, ..DRAIN };
const OF_TEN: Drain = Drain { slots: 10, ..DRAIN };
const KEPT: Measure = Measure::Drain(KEEPING);
const TEN: Measure = Measure::Drain(OF_TEN);
const CLUSTER_ONE: Measure = Measure::Cluster { processes: 1 };
const CLUSTER_TWO: Measure = Measure::Cluster { processes: 2 };
const TOGETHER: Measure = Measure::Both { jobs: None };
/// As many as apalis can be given, for ours, too.
const TOGETHER_FEW: Measure = Measure::Both { jobs: Some(APALIS_MOST) };

/// Two processes beside one.
const fn second(what: &'static str, two: Measure, one: Measure, name: &'static str) -> Target {
    beside(what, spot(two, name, Metric::Ran), spot(one, name, Metric::Ran), 1.0)
}

const fn processes(of: Drain, processes: usize) -> Measure {
    Measure::Drain(Drain { processes, ..of })
}

const fn backlog(jobs: usize) -> Measure {
    Measure::Drain(Drain { backlog: Some(jobs), ..DRAIN })
}

const TARGETS: &[Target] = &[
    beside("drain, 100 slots, beside BullMQ on Node, tuned", drained(OURS), drained("bullmq"), 3.5),
    beside("drain, 100 slots, beside BullMQ in Rust", drained(OURS), drained("bullmq-rust"), 3.0),
    beside(
        "drain, 100 slots, beside apalis, tuned, 7,900 jobs each",
        spot(backlog(APALIS_MOST), OURS, Metric::Ran),
        spot(backlog(APALIS_MOST), "apalis", Metric::Ran),
        1.2,
    ),
    beside("drain, 100 slots, beside arq, tuned", drained(OURS), drained("arq"), 25.0),
    beside("drain, 100 slots, beside arq as it comes", drained(OURS), drained("arq-defaults"), 400.0),
    beside("drain, 100 slots, beside the raw ceiling in batches of 100", drained(OURS), drained("raw"), 2.0 / 3.0),
    beside("the same with our results kept, and none of raw's", spot(KEPT, OURS, Metric::Ran), drained("raw"), 0.5),
    beside("the same with results kept by both", spot(KEPT, OURS, Metric::Ran), spot(KEPT, "raw", Metric::Ran), 0.5),
    beside(
        "drain, 10 slots, beside the raw ceiling in batches of 10",
        spot(TEN, OURS, Metric::Ran),
        spot(TEN, "raw", Metric::Ran),
        0.5,
    ),
    beside(
        "bulk enqueue, beside the raw ceiling",
        spot(Measure::Bulk, OURS, Metric::Added),
        spot(Measure::Bulk, "raw", Metric::Added),
        0.7,
    ),
    beside(
        "idle latency, p50, beside rusty-sidekiq, both as they come",
        spot(Measure::Idle, OUR_DEFAULTS, Metric::P50),
        spot(Measure::Idle, "rusty-sidekiq-defaults", Metric::P50),
        1.0,
    ),
    beside(
        "idle latency, p99, beside rusty-sidekiq, both as they come",
        spot(Measure::Idle, OUR_DEFAULTS, Metric::P99),
        spot(Measure::Idle, "rusty-sidekiq-defaults", Metric::P99),
        1.0,
    ),
    beside(
        "producer and worker together, beside apalis, 7,900 jobs each",
        spot(TOGETHER_FEW, OURS, Metric::Ran),
        spot(TOGETHER_FEW, "apalis", Metric::Ran),
        1.2,
    ),
    beside(
        "producer and worker together, beside BullMQ on Node",
        spot(TOGETHER, OURS, Metric::Ran),
        spot(TOGETHER, "bullmq", Metric::Ran),
        3.5,
    ),
    Target {
        what: "deferred jobs' lateness, p99, ms",
        ours: spot(Measure::Deferred, OURS, Metric::P99),
        beside: None,
        bound: 5.0,
    },
    beside(
        "drain at a backlog of 1,000,000, beside one of 10,000",
        spot(backlog(1_000_000), OURS, Metric::Ran),
        spot(backlog(10_000), OURS, Metric::Ran),
        0.85,
    ),
    beside(
        "the same beside one of 100,000",
        spot(backlog(1_000_000), OURS, Metric::Ran),
        spot(backlog(100_000), OURS, Metric::Ran),
        0.85,
    ),
    second("drain by two processes, 100 slots, beside one", processes(DRAIN, 2), processes(DRAIN, 1), OURS),
    second("the same with results kept", processes(KEEPING, 2), processes(KEEPING, 1), OURS),
    second("the same with 10 slots", processes(OF_TEN, 2), processes(OF_TEN, 1), OURS),
    second("the same on a cluster, 400 slots, all in one slot", CLUSTER_TWO, CLUSTER_ONE, "sector7g-tagged"),
    second("the same on a cluster, 400 slots, four partitions", CLUSTER_TWO, CLUSTER_ONE, "sector7g-parted"),
    beside(
        "Redis memory of a queued job, beside arq",
        spot(Measure::Bulk, OURS, Metric::Memory),
        spot(Measure::Bulk, "arq", Metric::Memory),
        1.0,
    ),
    beyond("dispatch beyond a bare task, 100 at once, ns", false),
    beyond("the same with results kept", true),
];

/// Each target, and whether it is reached, as a table in Markdown.
pub(super) fn shown(table: &Table) -> String {
    let mut text = "| | wanted | seen | |\n| --- | --- | --- | --- |\n".to_owned();
    for Verdict { what, wanted, seen, is_reached } in verdicts(table) {
        let word =
            is_reached.map_or("not measured", |is_reached| if is_reached { "reached" } else { "**not reached**" });
        let _ = writeln!(text, "| {what} | {wanted} | {seen} | {word} |");
    }
    text
}

/// What the figures say of each target, in order.
fn verdicts(table: &Table) -> Vec<Verdict> {
    TARGETS.iter().map(|target| verdict(target, table)).collect()
}

fn verdict(target: &Target, table: &Table) -> Verdict {
    let Target { what, ours, beside, bound } = *target;
    let is_least = ours.metric.is_rate();
    let number = if beside.is_some() { format!("{bound:.2}x") } else { ours.metric.show(bound) };
    let wanted = format!("{} {number}", if is_least { "at least" } else { "at most" });
    let samples = |spot: Spot| table.samples(spot.measure, spot.name, spot.metric);
    let few =
        |what: &str| Verdict { what: target.what, wanted: wanted.clone(), seen: what.to_owned(), is_reached: None };
    let Some(our) = samples(ours) else { return few("not measured") };
    let (value, seen) = match beside {
        Some(spot) => {
            let Some(their) = samples(spot) else { return few("the other was not measured") };
            let Some(ratio) = ratio(our, their) else { return few("too few runs for a ratio") };
            (ratio.of_medians, ratio.to_string())
        }
        None if our.len() < LEAST_RUNS => return few("too few runs"),
        None => match our.median() {
            Some(median) => (median, our.show(ours.metric)),
            None => return few("not measured"),
        },
    };
    let is_reached = if is_least { value >= bound } else { value <= bound };
    Verdict { what, wanted, seen, is_reached: Some(is_reached) }
}

#[cfg(test)]
mod tests {
    use super::super::contest::{ALL, QUICK};
    use super::super::figures::Samples;
    use super::super::{Shown, Table};
    use super::*;

    fn table(ours: &[f64], arq: &[f64]) -> Table {
        let samples = |values: &[f64]| -> Samples { values.iter().copied().collect() };
        let shown = |values: &[f64]| Shown { samples: [(Metric::Ran, samples(values))].into(), ..Shown::default() };
        Table { rows: vec![(Measure::Drain(DRAIN), vec![(OURS, shown(ours)), ("arq", shown(arq))])] }
    }

    fn of_arq(table: &Table) -> Verdict {
        verdicts(table).into_iter().find(|verdict| verdict.what.ends_with("arq, tuned")).expect("a target")
    }

    #[test]
    fn a_target_is_reached_missed_or_not_measured() {
        let reached = of_arq(&table(&[50.0, 60.0, 70.0], &[2.0, 2.0, 2.0]));
        assert_eq!((reached.is_reached, &*reached.seen), (Some(true), "30.00 (25.00–35.00)"));
        assert_eq!(of_arq(&table(&[40.0, 48.0, 70.0], &[2.0, 2.0, 2.0])).is_reached, Some(false));
        assert_eq!(of_arq(&table(&[50.0], &[2.0])).is_reached, None);
        assert_eq!(of_arq(&Table::default()).seen, "not measured");
    }

    #[test]
    fn what_a_target_compares_takes_turns() {
        let all = Measure::all();
        for target in TARGETS {
            let Some(beside) = target.beside else { continue };
            let turns = all.chunk_by(Measure::is_beside).find(|turns| turns.contains(&target.ours.measure));
            assert!(turns.is_some_and(|turns| turns.contains(&beside.measure)), "{}", target.what);
        }
    }

    #[test]
    fn every_target_is_of_what_a_run_measures() {
        let spots = TARGETS.iter().flat_map(|target| [Some(target.ours), target.beside]).flatten();
        for Spot { measure, name, .. } in spots {
            assert!(Measure::all().contains(&measure), "{measure}");
            let contender = ALL.iter().find(|contender| contender.name == name).expect("somebody who takes part");
            assert_eq!(measure.skips(contender), None, "{measure}, {name}");
            assert!(!measure.is_narrow() || QUICK.contains(&name), "a quick run leaves {name} out of {measure}");
        }
    }
}
