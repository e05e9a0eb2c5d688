//! All tasks and workers linked into the program, by name; refuses what can't work before anything runs.

use std::collections::BTreeMap;
use std::fmt;

use crate::args::{Arguments, BindError};
use crate::broker::{InvalidName, MAX_PARTITIONS, QueueName};
use crate::context::States;
use crate::task::{CronRule, Task, TaskDef};
use crate::worker::{QueueShare, Worker, WorkerSettings};

/// What `#[task]` and `#[derive(Worker)]` leave for the linker to collect.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub enum Linked {
    Task(&'static TaskDef),
    Worker(&'static WorkerSettings),
}

inventory::collect!(Linked);

/// The linked tasks of that name: one that is declared here and implemented elsewhere may stand beside another, and in what order
/// is the linker's.
pub(crate) fn linked_tasks(name: &str) -> impl Iterator<Item = &'static TaskDef> {
    inventory::iter::<Linked>.into_iter().filter_map(move |linked| match linked {
        Linked::Task(def) if def.name == name => Some(*def),
        _ => None,
    })
}

/// Tasks and workers: those linked into the program, or those added by hand.
///
/// A crate's tasks are linked only if some code names the crate: a dependency that is merely
/// listed in `Cargo.toml` is left out by the compiler, without a word. `use my_tasks as _;` in the
/// program (or [`include_tasks!`](crate::include_tasks)) names it.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    tasks: Vec<&'static TaskDef>,
    workers: Vec<&'static WorkerSettings>,
}

/// A worker and what it needs, as the inventory found it.
#[derive(Clone, Debug)]
pub(crate) struct PlannedWorker {
    pub(crate) name: String,
    pub(crate) settings: WorkerSettings,
    pub(crate) queues: Vec<QueueShare>,
}

impl Inventory {
    /// All that is linked into the program, sorted by name: the linker's order means nothing.
    pub fn linked() -> Self {
        let mut inventory = Self::default();
        for linked in inventory::iter::<Linked> {
            match linked {
                Linked::Task(def) => inventory.tasks.push(def),
                Linked::Worker(settings) => inventory.workers.push(settings),
            }
        }
        inventory.sorted()
    }

    /// Nothing; for programs that can't use link-time collection, and for tests.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Adds a task by hand.
    #[must_use]
    pub fn task<T: Task>(mut self) -> Self {
        self.tasks.push(T::DEF);
        self.sorted()
    }

    /// Adds a worker by hand.
    #[must_use]
    pub fn worker<W: Worker>(mut self) -> Self {
        self.workers.push(W::SETTINGS);
        self.sorted()
    }

    fn sorted(mut self) -> Self {
        self.tasks.sort_by_key(|def| (def.name, def.source.file, def.source.line));
        self.workers.sort_by_key(|settings| settings.name);
        self
    }

    /// The tasks, by name.
    pub fn tasks(&self) -> impl Iterator<Item = &'static TaskDef> {
        self.tasks.iter().copied()
    }

    /// The names of the workers: the worker types', and those of queues that have tasks but no worker type.
    pub fn worker_names(&self) -> Vec<String> {
        self.plan().into_iter().map(|worker| worker.name).collect()
    }

    pub(crate) fn by_name(&self) -> BTreeMap<&'static str, &'static TaskDef> {
        self.tasks.iter().map(|def| (def.name, *def)).collect()
    }

    /// The workers to start, by name. A queue with tasks but no worker type gets one with defaults.
    pub(crate) fn plan(&self) -> Vec<PlannedWorker> {
        let mut plan: Vec<PlannedWorker> = self.workers.iter().map(|settings| PlannedWorker::of(settings)).collect();
        for def in &self.tasks {
            let served = plan.iter().flat_map(|worker| &worker.queues).any(|queue| queue.name == def.queue);
            if !served {
                plan.push(PlannedWorker::for_queue(def.queue));
            }
        }
        plan.sort_by(|a, b| a.name.cmp(&b.name));
        plan
    }

    /// The queues behind a name: its partitions, or itself.
    pub(crate) fn queues_of(&self, name: &str) -> Result<Vec<QueueName>, InvalidName> {
        let partitions = self.tasks.iter().find(|def| def.queue == name).map_or(1, |def| def.partitions);
        QueueName::new(name)?.all(partitions)
    }

    /// Looks for every mistake that would show only once jobs run. `None`: the states are yet to come.
    pub(crate) fn check(&self, states: Option<&States>) -> Result<(), InventoryError> {
        if self.tasks.is_empty() {
            return Err(InventoryError { problems: vec![Problem::Empty] });
        }
        let mut problems = Vec::new();
        problems.extend(duplicates(&self.tasks, |def| def.name).map(|(a, b)| Problem::TwoTasks(a, b)));
        problems.extend(duplicates(&self.workers, |worker| worker.name).map(|(a, b)| Problem::TwoWorkers(a, b)));
        problems.extend(self.tasks.iter().flat_map(|def| check_task(def, states, self.timezone_of(def))));
        problems.extend(self.workers.iter().flat_map(|worker| check_worker(worker)));
        problems.extend(self.shared_queues());
        problems.extend(self.partitions());
        let plan = self.plan(); // sorted by name
        let same = plan.windows(2).filter(|pair| {
            pair[0].name == pair[1].name && pair[0].settings.source.is_none() != pair[1].settings.source.is_none()
        });
        problems.extend(same.map(|pair| {
            let problem = format!("a queue of that name, which the worker does not serve, has tasks and gets a worker `{}` of its own; serve it, or rename one", pair[0].name);
            Problem::Setting(format!("worker `{}`", pair[0].name), problem)
        }));
        if problems.is_empty() { Ok(()) } else { Err(InventoryError { problems }) }
    }

    /// The time zone that the worker of the task's queue sets.
    fn timezone_of(&self, def: &TaskDef) -> Option<&'static str> {
        let serves = |worker: &&&WorkerSettings| worker.queues.iter().any(|queue| queue.name == def.queue);
        self.workers.iter().find(serves).and_then(|worker| worker.timezone)
    }

    /// All tasks of a queue must say the same of its partitions: who enqueues jobs of one of them knows no other.
    fn partitions(&self) -> Vec<Problem> {
        let mut said: BTreeMap<&str, &'static TaskDef> = BTreeMap::new();
        let mut problems = Vec::new();
        for def in &self.tasks {
            let place = || format!("task `{}` ({})", def.name, def.source);
            let first = said.entry(def.queue).or_insert(def);
            if first.partitions != def.partitions {
                let told = format!(
                    "it says that queue `{}` has {}, and task `{}` ({}) that it has {}: all tasks of a queue must say the same",
                    def.queue,
                    parts(def.partitions),
                    first.name,
                    first.source,
                    parts(first.partitions)
                );
                problems.push(Problem::Setting(place(), told));
            } else if !(1..=MAX_PARTITIONS).contains(&def.partitions) {
                let told = format!("a queue has 1 to {MAX_PARTITIONS} partitions, not {}", def.partitions);
                problems.push(Problem::Setting(place(), told));
            } else if def.partitions > 1
                && let Ok(queue) = QueueName::new(def.queue)
                && let Err(error) = queue.partition(MAX_PARTITIONS)
            {
                problems.push(Problem::Setting(place(), error.to_string()));
            }
        }
        problems
    }

    fn shared_queues(&self) -> Vec<Problem> {
        let mut owners: BTreeMap<&str, &'static WorkerSettings> = BTreeMap::new();
        let mut problems = Vec::new();
        for worker in &self.workers {
            for queue in worker.queues {
                if let Some(other) = owners.insert(queue.name, worker) {
                    problems.push(Problem::TwoWorkersOfQueue(queue.name, other, worker));
                }
            }
        }
        problems
    }
}

impl PlannedWorker {
    fn of(settings: &WorkerSettings) -> Self {
        Self { name: settings.name.to_owned(), settings: settings.clone(), queues: settings.queues.to_vec() }
    }

    fn for_queue(queue: &'static str) -> Self {
        let settings = WorkerSettings::new(queue, &[]);
        Self { name: queue.to_owned(), settings, queues: vec![QueueShare::new(queue, 1)] }
    }
}

fn parts(partitions: u16) -> String {
    if partitions == 1 { "no partitions".to_owned() } else { format!("{partitions} partitions") }
}

fn duplicates<T>(sorted: &[&'static T], name: fn(&T) -> &str) -> impl Iterator<Item = (&'static T, &'static T)> {
    sorted.windows(2).filter(move |pair| name(pair[0]) == name(pair[1])).map(|pair| (pair[0], pair[1]))
}

fn check_task(def: &'static TaskDef, states: Option<&States>, timezone: Option<&str>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let missing = def.states.iter().filter(|state| states.is_some_and(|states| !states.has((state.id)())));
    problems.extend(missing.map(|state| Problem::NoState(def, (state.name)())));
    if (def.output)().starts_with("core::result::Result<") {
        problems.push(Problem::HiddenResult(def));
    }
    if let Err(error) = QueueName::new(def.queue) {
        problems.push(Problem::Setting(format!("task `{}` ({})", def.name, def.source), error.to_string()));
    }
    if let Some(rule) = def.cron {
        problems.extend(check_cron(format!("task `{}` ({})", def.name, def.source), def, rule, timezone));
    }
    problems
}

fn check_worker(worker: &'static WorkerSettings) -> Vec<Problem> {
    let place = place_of(worker);
    let mut problems = Vec::new();
    if worker.queues.is_empty() {
        problems.push(Problem::Setting(place.clone(), "it serves no queue".to_owned()));
    }
    problems.extend(worker.mistakes().into_iter().map(|mistake| Problem::Setting(place.clone(), mistake)));
    let names = worker.queues.iter().filter_map(|queue| QueueName::new(queue.name).err());
    problems.extend(names.map(|error| Problem::Setting(place.clone(), error.to_string())));
    problems.extend(worker.cron.iter().flat_map(|entry| {
        let place = format!("{place}, cron of task `{}`", entry.task.name);
        check_cron(place, entry.task, entry.rule, worker.timezone)
    }));
    problems
}

fn place_of(worker: &WorkerSettings) -> String {
    match worker.source {
        Some(source) => format!("worker `{}` ({source})", worker.name),
        None => format!("worker `{}`", worker.name),
    }
}

fn check_cron(place: String, def: &'static TaskDef, rule: CronRule, timezone: Option<&str>) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Err(error) = parses(rule, timezone) {
        problems.push(Problem::Setting(place.clone(), error));
    }
    if let Err(error) = (def.check)(&Arguments::none()) {
        problems.push(Problem::CronNeedsArguments(place, error));
    }
    problems
}

#[cfg(feature = "cron")]
fn parses(rule: CronRule, timezone: Option<&str>) -> Result<(), String> {
    let parsed = crate::schedule::Schedule::parse_with_default(rule.expression, rule.timezone, timezone);
    parsed.map(drop).map_err(|error| error.to_string())
}

#[cfg(not(feature = "cron"))]
fn parses(_: CronRule, _: Option<&str>) -> Result<(), String> {
    Err("schedules need the feature `cron` of sector7g-tasks, which is off".to_owned())
}

/// Why a runner does not start: every mistake found, each with its culprits.
#[derive(Debug)]
pub struct InventoryError {
    problems: Vec<Problem>,
}

#[derive(Debug)]
enum Problem {
    Empty,
    TwoTasks(&'static TaskDef, &'static TaskDef),
    TwoWorkers(&'static WorkerSettings, &'static WorkerSettings),
    TwoWorkersOfQueue(&'static str, &'static WorkerSettings, &'static WorkerSettings),
    NoState(&'static TaskDef, &'static str),
    HiddenResult(&'static TaskDef),
    /// Where, and what.
    Setting(String, String),
    CronNeedsArguments(String, BindError),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str(
                "no task is linked into this program; a crate whose tasks it should run must be named in its code: \
                 add `use my_tasks as _;` (being listed in Cargo.toml is not enough)",
            ),
            Self::TwoTasks(a, b) => write!(
                f,
                "two tasks are named `{}`: {} and {}; rename one, or give it a `name = \"..\"`",
                a.name, a.source, b.source
            ),
            Self::TwoWorkers(a, b) => {
                write!(f, "two workers have one name: {} and {}; give one a `name = \"..\"`", place_of(a), place_of(b))
            }
            Self::TwoWorkersOfQueue(queue, a, b) => {
                write!(f, "queue `{queue}` has two workers: {} and {}", place_of(a), place_of(b))
            }
            Self::NoState(def, state) => write!(
                f,
                "task `{}` ({}) wants State<{state}>, which nobody gave: add `.state(..)` to the runner",
                def.name, def.source
            ),
            Self::HiddenResult(def) => write!(
                f,
                "task `{}` ({}) returns a Result under another name, so its errors would count as results; write `Result<..>`",
                def.name, def.source
            ),
            Self::Setting(place, problem) => write!(f, "{place}: {problem}"),
            Self::CronNeedsArguments(place, error) => {
                write!(f, "{place}: a schedule runs a task without arguments, but {error}; give it a default")
            }
        }
    }
}

impl fmt::Display for InventoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [problem] = &*self.problems {
            return write!(f, "{problem}");
        }
        write!(f, "{} mistakes in tasks and workers:", self.problems.len())?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n  - {problem}"))
    }
}

impl std::error::Error for InventoryError {}
