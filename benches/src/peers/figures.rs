//! What was measured, and what may be said of it.

use std::collections::BTreeMap;
use std::fmt;

/// What a figure is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Metric {
    /// Jobs run, a second.
    Ran,
    /// Jobs added, a second.
    Added,
    /// CPU of all workers, µs a job.
    WorkerCpu,
    /// CPU of Redis while they ran, µs a job.
    RedisCpu,
    /// CPU of Redis while they were added, µs a job.
    AddCpu,
    /// Memory of Redis, bytes a queued job.
    Memory,
    /// Of a job's delay, ms.
    P50,
    /// Of a job's delay, ms.
    P95,
    /// Of a job's delay, ms.
    P99,
    /// Of a job's delay, ms.
    Max,
    /// What a worker takes for a job, less [`Bare`](Self::Bare), ns.
    Beyond,
    /// What a worker takes for a job, without Redis, ns.
    Dispatch,
    /// What the function takes on a bare task of tokio, the same JSON read and written, ns.
    Bare,
}

/// One run's figures.
pub(super) type Figures = BTreeMap<Metric, f64>;

/// The fewest runs that a ratio is made of.
pub(super) const LEAST_RUNS: usize = 3;

impl Metric {
    /// Whether more is better.
    #[must_use]
    pub(super) fn is_rate(self) -> bool {
        matches!(self, Self::Ran | Self::Added)
    }

    /// The head of its column.
    #[must_use]
    pub(super) fn head(self) -> &'static str {
        match self {
            Self::Ran => "jobs/s",
            Self::Added => "enqueued/s",
            Self::WorkerCpu => "worker CPU, µs/job",
            Self::RedisCpu => "Redis CPU, µs/job",
            Self::AddCpu => "Redis CPU to add, µs/job",
            Self::Memory => "Redis, bytes/job",
            Self::P50 => "p50, ms",
            Self::P95 => "p95, ms",
            Self::P99 => "p99, ms",
            Self::Max => "max, ms",
            Self::Beyond => "beyond a bare task, ns/job",
            Self::Dispatch => "in a worker, ns/job",
            Self::Bare => "a bare task, ns/job",
        }
    }

    /// A value as a reader wants it.
    #[must_use]
    pub(super) fn show(self, value: f64) -> String {
        match self {
            Self::Ran | Self::Added | Self::Memory | Self::Beyond | Self::Dispatch | Self::Bare => thousands(value),
            Self::WorkerCpu | Self::RedisCpu | Self::AddCpu => format!("{value:.1}"),
            Self::P50 | Self::P95 | Self::P99 | Self::Max => format!("{value:.2}"),
        }
    }
}

/// Three significant digits, in groups.
fn thousands(value: f64) -> String {
    let step = 10_f64.powf((value.abs().max(1.0).log10().floor() - 2.0).max(0.0));
    let digits = format!("{:.0}", (value / step).round() * step);
    let mut shown = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) && !shown.ends_with('-') {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// The same figure of several rounds, by round: one that failed has none.
#[derive(Clone, Debug, Default)]
pub(super) struct Samples(BTreeMap<usize, f64>);

impl Samples {
    pub(super) fn insert(&mut self, round: usize, value: f64) {
        self.0.insert(round, value);
    }

    /// How many rounds have one.
    #[must_use]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// In order of size.
    fn sorted(&self) -> Vec<f64> {
        let mut sorted: Vec<f64> = self.0.values().copied().collect();
        sorted.sort_by(f64::total_cmp);
        sorted
    }

    /// The one in the middle, or the mean of the two there.
    #[must_use]
    pub(super) fn median(&self) -> Option<f64> {
        let sorted = self.sorted();
        let middle = sorted.len() / 2;
        let above = *sorted.get(middle)?;
        Some(if sorted.len() % 2 == 1 { above } else { f64::midpoint(sorted[middle - 1], above) })
    }

    /// The least and the most.
    #[must_use]
    pub(super) fn range(&self) -> Option<(f64, f64)> {
        let sorted = self.sorted();
        Some((*sorted.first()?, *sorted.last()?))
    }

    /// Median, and in brackets least and most.
    #[must_use]
    pub(super) fn show(&self, metric: Metric) -> String {
        let (Some(median), Some((least, most))) = (self.median(), self.range()) else { return "–".to_owned() };
        if self.len() == 1 {
            return metric.show(median);
        }
        format!("{} ({}–{})", metric.show(median), metric.show(least), metric.show(most))
    }
}

/// How two contenders compare in runs that took turns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ratio {
    /// Of the medians.
    pub(super) of_medians: f64,
    /// The least of one round.
    pub(super) least: f64,
    /// The most of one round.
    pub(super) most: f64,
}

/// Of the rounds that both have; refused to fewer than [`LEAST_RUNS`]: a single one says nothing.
#[must_use]
pub(super) fn ratio(ours: &Samples, theirs: &Samples) -> Option<Ratio> {
    let of_both = |one: &Samples, other: &Samples| {
        Samples(
            one.0.iter().filter(|(round, _)| other.0.contains_key(round)).map(|(key, value)| (*key, *value)).collect(),
        )
    };
    let (ours, theirs) = (of_both(ours, theirs), of_both(theirs, ours));
    if ours.len() < LEAST_RUNS {
        return None;
    }
    let (our, their) = (ours.median()?, theirs.median()?);
    let rounds: Samples = ours.0.values().zip(theirs.0.values()).map(|(our, their)| our / their).collect();
    let (least, most) = rounds.range()?;
    (their > 0.0).then_some(Ratio { of_medians: our / their, least, most })
}

/// One value a round.
impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self((1..).zip(values).collect())
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} ({:.2}–{:.2})", self.of_medians, self.least, self.most)
    }
}

/// Of several runs, the median of each figure.
#[must_use]
pub(super) fn medians(runs: &[Figures]) -> Figures {
    let mut all: BTreeMap<Metric, Samples> = BTreeMap::new();
    for (number, run) in (1..).zip(runs) {
        for (metric, value) in run {
            all.entry(*metric).or_default().insert(number, *value);
        }
    }
    all.into_iter().filter_map(|(metric, samples)| Some((metric, samples.median()?))).collect()
}

/// Percentiles of delays, in ms: the least value that so many in a hundred do not exceed.
#[must_use]
pub(super) fn percentiles(delays: &[f64]) -> Figures {
    let mut sorted = delays.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |percent: usize| sorted.get((sorted.len() * percent).div_ceil(100).max(1) - 1).copied();
    let figures = [(Metric::P50, at(50)), (Metric::P95, at(95)), (Metric::P99, at(99)), (Metric::Max, at(100))];
    figures.into_iter().filter_map(|(metric, value)| Some((metric, value?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: &[f64]) -> Samples {
        values.iter().copied().collect()
    }

    #[test]
    fn a_ratio_wants_three_runs_of_both() {
        assert_eq!(ratio(&samples(&[4.0]), &samples(&[2.0])), None);
        assert_eq!(ratio(&samples(&[4.0, 4.0, 4.0]), &samples(&[2.0, 2.0])), None);
        let said = ratio(&samples(&[4.0, 6.0, 8.0]), &samples(&[2.0, 2.0, 4.0])).expect("three runs each");
        assert_eq!(said, Ratio { of_medians: 3.0, least: 2.0, most: 3.0 });
        assert_eq!(said.to_string(), "3.00 (2.00–3.00)");
    }

    #[test]
    fn a_ratio_is_of_rounds_that_both_have() {
        let (ours, mut theirs) = (samples(&[4.0, 6.0, 8.0, 10.0]), samples(&[2.0]));
        theirs.insert(3, 4.0);
        assert_eq!(ratio(&ours, &theirs), None);
        theirs.insert(4, 2.0);
        assert_eq!(ratio(&ours, &theirs), Some(Ratio { of_medians: 4.0, least: 2.0, most: 5.0 }));
    }

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(samples(&[]).median(), None);
        assert_eq!(samples(&[3.0, 1.0, 2.0]).median(), Some(2.0));
        assert_eq!(samples(&[4.0, 1.0]).median(), Some(2.5));
        assert_eq!(samples(&[30.0, 1_234_567.0]).show(Metric::Ran), "617,000 (30–1,230,000)");
    }

    #[test]
    fn of_several_runs_one_that_stalls_decides_nothing() {
        let run = |ran: f64| Figures::from([(Metric::Ran, ran), (Metric::RedisCpu, 9.0)]);
        assert_eq!(medians(&[run(50.0), run(1.0), run(60.0)]), run(50.0));
        assert!(medians(&[]).is_empty());
    }

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        let said = percentiles(&hundred);
        assert_eq!(said.values().copied().collect::<Vec<_>>(), [50.0, 95.0, 99.0, 100.0]);
        assert_eq!(percentiles(&[7.0]).get(&Metric::P99), Some(&7.0));
        assert!(percentiles(&[]).is_empty());
    }
}
