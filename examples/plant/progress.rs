//! How a shift goes, while it goes: bars on a terminal, a line each second elsewhere.

use std::io::{IsTerminal, Write, stderr};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use sector7g_tasks::prelude::*;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use crate::roster::QUEUES;
use crate::timeclock::TimeClock;

/// How to show progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A bar for each queue, drawn again ten times a second.
    Bars,
    /// A line each second.
    Lines,
}

impl Style {
    /// Bars on a terminal, unless logs are written to it, too.
    pub fn fitting(logging: bool) -> Self {
        if stderr().is_terminal() && !logging { Self::Bars } else { Self::Lines }
    }
}

/// How far a queue is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    queue: &'static str,
    ended: u64,
    /// Jobs known so far, ended ones included.
    known: u64,
    running: usize,
    retried: u64,
}

/// Shows progress on stderr until the shift is `over`.
pub async fn show(style: Style, client: &Client, clock: &TimeClock, over: &CancellationToken, started: Instant) {
    let bars = (style == Style::Bars).then(Bars::new);
    let period = if bars.is_some() { Duration::from_millis(100) } else { Duration::from_secs(1) };
    let mut ticks = interval_at(started + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while over.run_until_cancelled(ticks.tick()).await.is_some() {
        let lines = look(client, clock).await;
        match &bars {
            Some(bars) => bars.draw(&lines),
            // A closed stderr is no reason to end a shift.
            None => drop(writeln!(stderr(), "{}", line(started.elapsed(), &lines))),
        }
    }
}

async fn look(client: &Client, clock: &TimeClock) -> Vec<Line> {
    let mut lines = Vec::new();
    for queue in QUEUES {
        let live = client.stats(queue).await.map_or(0, |stats| stats.live());
        let card = clock.card(queue);
        let (ended, running, retried) = (card.ended, card.running(), card.retried);
        lines.push(Line { queue, ended, known: ended + live, running, retried });
    }
    lines
}

fn line(elapsed: Duration, lines: &[Line]) -> String {
    let (ended, known): (u64, u64) =
        (lines.iter().map(|line| line.ended).sum(), lines.iter().map(|line| line.known).sum());
    let running: usize = lines.iter().map(|line| line.running).sum();
    let retried: u64 = lines.iter().map(|line| line.retried).sum();
    let queues: Vec<_> = lines.iter().map(|line| format!("{} {}/{}", line.queue, line.ended, line.known)).collect();
    let seconds = elapsed.as_secs_f64();
    format!("{seconds:4.1} s  {ended}/{known} done, {running} running, {retried} retried: {}", queues.join(", "))
}

/// The bars, which vanish when they are dropped.
struct Bars {
    all: MultiProgress,
    bars: Vec<ProgressBar>,
}

impl Bars {
    fn new() -> Self {
        let all = MultiProgress::new();
        let style = ProgressStyle::with_template("{prefix:>13} {bar:30.green/dim} {pos:>4}/{len:<4} {msg}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = |queue: &'static str| all.add(ProgressBar::new(0).with_style(style.clone()).with_prefix(queue));
        let bars = QUEUES.into_iter().map(bar).collect();
        Self { all, bars }
    }

    fn draw(&self, lines: &[Line]) {
        for (bar, line) in self.bars.iter().zip(lines) {
            bar.set_length(line.known);
            bar.set_position(line.ended);
            bar.set_message(format!("{} running, {} retried", line.running, line.retried));
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        // What can't be cleared stays visible, which does no harm.
        drop(self.all.clear());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_sums_up_all_queues() {
        let lines = [
            Line { queue: "homer", ended: 3, known: 10, running: 2, retried: 0 },
            Line { queue: "lenny", ended: 4, known: 5, running: 1, retried: 3 },
        ];
        let text = line(Duration::from_millis(2_040), &lines);
        assert_eq!(text, " 2.0 s  7/15 done, 3 running, 3 retried: homer 3/10, lenny 4/5");
    }
}
