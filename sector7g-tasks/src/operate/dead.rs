//! `dead`.

use std::io::IsTerminal as _;
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::Site;
use super::args::{ChooseArgs, DeadCommand, LetterArgs, PageArgs};
use super::error::OperateError;
use super::jobs::{PAGE, Wanted, Words};
use super::show::plain;
use super::{ask, causes, jobs};
use crate::broker::{Broker, JobFilter, JobId, JobRecord, JobState, MAX_BATCH, QueueName};
use crate::clock::Timestamp;

pub(super) async fn run(site: &Site<'_>, command: &DeadCommand) -> Result<(), OperateError> {
    match command {
        DeadCommand::List { which, page } => list(site, which, page).await,
        DeadCommand::Show(args) => jobs::show(site, args, "dead letter", |state| state == JobState::Dead).await,
        DeadCommand::Causes { which } => causes::tell(site, which).await,
        DeadCommand::Retry { which, per_second } => change(site, which, What::Retry, *per_second).await,
        DeadCommand::Discard(which) => change(site, which, What::Discard, None).await,
    }
}

impl LetterArgs {
    /// Whether nothing is asked of a letter.
    pub(super) fn is_any(&self) -> bool {
        self.task.is_none() && self.error.is_none() && self.older_than.is_none() && self.newer_than.is_none()
    }

    /// Whether a letter is meant; the one test of what is listed and what is touched.
    pub(super) fn takes(&self, letter: &JobRecord, now: Timestamp) -> bool {
        let age = now.since(letter.due_at);
        let is_of_age =
            self.older_than.is_none_or(|least| age >= least) && self.newer_than.is_none_or(|most| age <= most);
        let died_of = |text: &str| {
            let failure = letter.failures.last().map(ToString::to_string).unwrap_or_default();
            failure.contains(text) || plain(&failure).contains(text)
        };
        is_of_age && self.error.as_deref().is_none_or(died_of) && jobs::is_of(letter, self.task.as_deref())
    }
}

/// What `retry` and `discard` with the same options would touch.
async fn list(site: &Site<'_>, which: &LetterArgs, page: &PageArgs) -> Result<(), OperateError> {
    let now = site.broker.clock().now();
    let mut options = jobs::option("--task", which.task.as_deref()) + &jobs::option("--error", which.error.as_deref());
    for (name, span) in [("--older-than", which.older_than), ("--newer-than", which.newer_than)] {
        options += &span.map(|span| format!(" {name} {}ms", span.as_millis())).unwrap_or_default();
    }
    let is_meant = |letter: &JobRecord| which.takes(letter, now);
    let wanted = Wanted { filter: JobFilter::Dead, is_any: which.is_any(), is_meant: &is_meant };
    let words = Words { what: "dead letters", command: format!("dead list{options}") };
    jobs::list(site, &wanted, page, &words).await
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Retry,
    Discard,
}

#[derive(Serialize)]
struct Changed {
    /// How many were put back or deleted.
    changed: usize,
    /// The ids of those that were not: gone meanwhile, or a live job has the id.
    left: Vec<String>,
}

async fn change(site: &Site<'_>, args: &ChooseArgs, what: What, per_second: Option<u32>) -> Result<(), OperateError> {
    let ChooseArgs { ids, all, which, .. } = args;
    if ids.is_empty() && !all && which.is_any() {
        return Err(OperateError::NoneChosen);
    }
    let chosen = choose(site, args).await?;
    let count: usize = chosen.iter().map(|(_, ids)| ids.len()).sum();
    if count > 1 || args.ids.is_empty() && count > 0 {
        ask::sure(&question(what, count, &chosen), args.yes)?;
    }
    let mut done = Changed { changed: 0, left: Vec::new() };
    let (at_once, mut pace) = pace(per_second);
    for (queue, ids) in &chosen {
        for batch in ids.chunks(at_once) {
            if let Some(pace) = &mut pace {
                pace.tick().await;
            }
            let answers = match what {
                What::Retry => site.broker.retry_dead(queue, batch).await?,
                What::Discard => site.broker.discard_dead(queue, batch).await?,
            };
            for (id, changed) in batch.iter().zip(answers) {
                done.changed += usize::from(changed);
                done.left.extend((!changed).then(|| id.as_str().to_owned()));
            }
            if count > MAX_BATCH || per_second.is_some() {
                progress(done.changed + done.left.len(), count);
            }
        }
    }
    site.output.tell(&done, || {
        let verb = if what == What::Retry { "put back" } else { "deleted" };
        let left = match &*done.left {
            [] => String::new(),
            left => format!(
                "; {} were not: gone meanwhile, or a live job has the id ({})",
                left.len(),
                left.iter().take(10).map(|id| id.escape_debug().to_string()).collect::<Vec<_>>().join(", ")
            ),
        };
        format!("{} {verb}{left}.", letters(done.changed))
    });
    if done.left.is_empty() || done.changed > 0 {
        return Ok(());
    }
    Err(OperateError::NotPossible("nothing was changed".to_owned()))
}

/// How many are changed at once, and where there is a pace, the clock that says when the next ones are.
fn pace(per_second: Option<u32>) -> (usize, Option<Interval>) {
    const STEPS: u32 = 10; // a second
    let Some(rate) = per_second else { return (MAX_BATCH, None) };
    let at_once = rate.div_ceil(STEPS);
    let mut pace = interval(Duration::from_secs(1) * at_once / rate);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    (at_once as usize, Some(pace))
}

fn letters(count: usize) -> String {
    if count == 1 { "1 dead letter".to_owned() } else { format!("{count} dead letters") }
}

fn question(what: What, count: usize, chosen: &[(QueueName, Vec<JobId>)]) -> String {
    let of: Vec<String> = chosen.iter().map(|(queue, ids)| format!("`{queue}` ({})", ids.len())).collect();
    let verb = if what == What::Retry { "put back" } else { "deleted for good" };
    let be = if count == 1 { "is" } else { "are" };
    format!("{} of {} {be} to be {verb}", letters(count), of.join(", "))
}

/// Says how far it is, where somebody watches.
fn progress(done: usize, count: usize) {
    use std::io::Write as _;
    if std::io::stderr().is_terminal() {
        let _ = write!(anstream::stderr(), "\r{done} of {count}{}", if done == count { "\n" } else { "" });
    }
}

/// The letters that are meant. All are read before any is touched: one that dies again must not be met twice.
async fn choose(site: &Site<'_>, args: &ChooseArgs) -> Result<Vec<(QueueName, Vec<JobId>)>, OperateError> {
    let queues = site.queues().await?;
    if args.ids.is_empty() {
        let now = site.broker.clock().now();
        let mut chosen = Vec::new();
        for queue in queues {
            let ids = matching(site, &queue, &args.which, now).await?;
            if !ids.is_empty() {
                chosen.push((queue, ids));
            }
        }
        return Ok(chosen);
    }
    let mut chosen: Vec<(QueueName, Vec<JobId>)> = queues.into_iter().map(|queue| (queue, Vec::new())).collect();
    for id in &args.ids {
        let mut is_found = false;
        for (queue, ids) in &mut chosen {
            let is_here = is_dead(site, queue, id).await?;
            if is_here && !ids.contains(id) {
                ids.push(id.clone());
            }
            is_found |= is_here;
        }
        if !is_found {
            let place = site.queue.map_or_else(|| "any known queue".to_owned(), |queue| format!("queue `{queue}`"));
            return Err(OperateError::NotFound { what: "dead letter", id: id.to_string(), place });
        }
    }
    chosen.retain(|(_, ids)| !ids.is_empty());
    Ok(chosen)
}

async fn is_dead(site: &Site<'_>, queue: &QueueName, id: &JobId) -> Result<bool, OperateError> {
    match site.broker.job(queue, id).await {
        // On a cluster a queue can't have ids of another slot.
        Err(crate::broker::BrokerError::Refused(_)) if site.queue.is_none() => Ok(false),
        record => Ok(record?.is_some_and(|record| record.state == JobState::Dead)),
    }
}

async fn matching(
    site: &Site<'_>,
    queue: &QueueName,
    which: &LetterArgs,
    now: Timestamp,
) -> Result<Vec<JobId>, OperateError> {
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let page = site.broker.jobs(queue, JobFilter::Dead, after, PAGE).await?;
        ids.extend(page.jobs.into_iter().filter(|letter| which.takes(letter, now)).map(|letter| letter.id));
        after = page.next;
        if after.is_none() {
            return Ok(ids);
        }
    }
}
