use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::sleep;

use super::engine::Engine;
use crate::broker::{Due, KnownSchedule, MAX_BATCH, NewJob, QueueName};
use crate::clock::Timestamp;
use crate::codec::Extra;
use crate::error::{BoxError, Chain};
use crate::schedule::Schedule;
use crate::task::{CronRule, TaskDef};

/// How long before its time a tick is enqueued, so that the broker's exact wake-up starts it.
const LEAD: Duration = Duration::from_secs(1);

/// The longest that the schedules sleep: a clock that was set forward is noticed by then.
const LOOK: Duration = Duration::from_secs(30);

/// A schedule, and how far its ticks are enqueued.
struct Entry {
    task: &'static TaskDef,
    schedule: Schedule,
    until: Timestamp,
    /// Its last tick that was enqueued.
    last: Option<Timestamp>,
    /// Whether the last try to enqueue ticks failed, which is told once.
    is_failing: bool,
}

impl Engine {
    /// Enqueues the ticks of this worker's schedules, each a second ahead of its time.
    ///
    /// Every process that runs this worker does so; the id, made of task and tick, lets one of
    /// them through. Ticks of the last `misfire_window` that nobody enqueued are made up for,
    /// where the broker outlives this process.
    pub(super) async fn schedules(&self) {
        let mut entries = self.entries();
        if entries.is_empty() {
            return;
        }
        loop {
            for entry in &mut entries {
                self.enqueue_ticks(entry).await;
            }
            self.tell_schedules(&entries);
            let next = entries.iter().filter_map(|entry| entry.schedule.next_after(entry.until)).min();
            let longest = self.look(LOOK);
            let pause = next.map_or(longest, |next| (next - LEAD).since(self.clock().now()));
            sleep(pause.clamp(Duration::from_millis(1), longest)).await;
        }
    }

    /// Has the first health entry tell the schedules.
    pub(super) fn tell_first_schedules(&self) {
        self.tell_schedules(&self.entries());
    }

    fn tell_schedules(&self, entries: &[Entry]) {
        let now = self.clock().now(); // before the first round, ticks of the misfire window are still to be made up for
        let told = entries.iter().map(|entry| KnownSchedule {
            task: entry.task.name.to_owned(),
            queue: entry.task.queue.to_owned(),
            expression: entry.schedule.expression().to_owned(),
            timezone: entry.schedule.timezone().to_owned(),
            next: entry.schedule.next_after(entry.until.max(now)),
            last: entry.last,
        });
        *self.told_schedules.lock().unwrap_or_else(PoisonError::into_inner) = told.collect();
    }

    /// The tasks that this worker's schedules enqueue: those of its queues, and those that its settings name.
    pub(crate) fn scheduled(&self) -> impl Iterator<Item = (&'static TaskDef, CronRule)> {
        let own = self.tasks.values().copied().filter(|def| self.serves(def));
        let own = own.filter_map(|def| def.cron.map(|rule| (def, rule)));
        own.chain(self.settings.cron.iter().map(|entry| (entry.task, entry.rule)))
    }

    fn entries(&self) -> Vec<Entry> {
        let now = self.clock().now();
        let until = if self.broker.is_shared() { now - self.settings.misfire_window } else { now };
        self.scheduled().filter_map(|(task, rule)| self.entry(task, rule, until)).collect()
    }

    fn entry(&self, task: &'static TaskDef, rule: CronRule, until: Timestamp) -> Option<Entry> {
        match Schedule::parse_with_default(rule.expression, rule.timezone, self.settings.timezone) {
            Ok(schedule) => Some(Entry { task, schedule, until, last: None, is_failing: false }),
            Err(error) => {
                // The inventory's check refuses these before a worker starts.
                tracing::error!("the schedule of task `{}` is left out: {}", task.name, Chain(&error));
                None
            }
        }
    }

    async fn enqueue_ticks(&self, entry: &mut Entry) {
        let now = self.clock().now();
        let from = entry.until.max(now - self.settings.misfire_window);
        let ticks = entry.schedule.ticks_between(from, now + LEAD, MAX_BATCH);
        let Some(last) = ticks.last().copied() else {
            entry.until = entry.until.max(from);
            return;
        };
        match self.enqueue_batch(entry.task, &ticks).await {
            Ok(()) => (entry.until, entry.last, entry.is_failing) = (last, Some(last), false),
            Err(_) if entry.is_failing => sleep(Duration::from_millis(500)).await,
            Err(error) => {
                entry.is_failing = true;
                tracing::error!(
                    "{} ticks of task `{}` were not enqueued, trying again: {}",
                    ticks.len(),
                    entry.task.name,
                    Chain(&*error)
                );
                sleep(Duration::from_millis(500)).await;
            }
        }
    }

    async fn enqueue_batch(&self, task: &'static TaskDef, ticks: &[Timestamp]) -> Result<(), BoxError> {
        let jobs: Vec<NewJob> = ticks.iter().map(|tick| self.tick_job(task, *tick)).collect::<Result<_, _>>()?;
        self.context.0.client.add(&jobs, std::iter::repeat(task.name)).await?;
        Ok(())
    }

    /// The id is arq's: a Python worker with a cron of the same name and moment enqueues the same job.
    fn tick_job(&self, task: &'static TaskDef, tick: Timestamp) -> Result<NewJob, BoxError> {
        let extra = Extra { tick: Some(tick), ..Extra::default() };
        let queue = QueueName::new(task.queue)?;
        let tag = queue.hash_tag().map(|tag| format!("{tag}:")).unwrap_or_default();
        let id = format!("{tag}{}:{}", task.name, tick.as_millis());
        // In the first partition, however many there are: while their number is changed, workers know different ones.
        let first = if task.partitions > 1 { format!("{}:", queue.partition(0)?) } else { String::new() };
        let (queue, id) = queue.place(task.partitions, None, Some(&format!("{first}{id}")))?;
        Ok(NewJob {
            id,
            is_new_id: false,
            queue,
            payload: self.context.0.client.codec.encode_job(task.name, self.clock().now(), &extra, &())?,
            due: Due::At(tick),
            expires_in: None,
            replace_finished: false,
        })
    }
}
