//! The processes of one scenario: a server, workers, producers; whoever kills one of them notes it.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

use redis::{Connection, RedisResult};
use support::{Dice, Program, Proxy, Way};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::audit;
use crate::ends::Witness;
use crate::ground::Ground;
use crate::ledger::{self, Ledger, What};
use crate::scenario::{Crew, Load, Scenario, Surroundings};

/// Within which a process that was told to stop must have stopped.
const END: Duration = Duration::from_secs(20);

/// All that runs in a scenario.
pub(crate) struct Plant {
    pub(crate) ground: Ground,
    pub(crate) folder: TempDir,
    pub(crate) notes: Ledger,
    pub(crate) dice: Dice,
    pub(crate) witness: Witness,
    pub(crate) workers: Vec<Program>,
    pub(crate) producers: Vec<Producer>,
    /// Workers that ended though nobody had told them to, and what they said last.
    pub(crate) crashes: Vec<String>,
    /// What the audits found, and how many there were.
    pub(crate) misplaced: Vec<String>,
    pub(crate) audits: usize,
    /// Whether a fault that can happen once has happened.
    pub(crate) is_spent: bool,
    pub(crate) proxy: Option<Proxy>,
    /// Those of workers, where each has its own, in their order.
    pub(crate) ways: Vec<Proxy>,
    crew: Crew,
    load: Load,
    surroundings: Surroundings,
    without: Option<&'static str>,
    hired: usize,
}

pub(crate) struct Producer {
    pub(crate) program: Program,
    jobs: u64,
}

impl Plant {
    /// Everything but workers and producers.
    pub(crate) async fn prepare(scenario: &Scenario, dice: Dice) -> Self {
        let ground = scenario.server.start().await;
        let folder = tempfile::Builder::new().prefix("s7-faults-").tempdir().expect("the system has temporary files");
        let notes = Ledger::open(folder.path(), "conductor").expect("the folder is ours");
        let witness = Witness::of(ground.holder().url());
        let proxy = match scenario.surroundings {
            Surroundings::Proxy | Surroundings::ProducersProxy => Some(Proxy::to(ground.holder().port()).await),
            _ => None,
        };
        let mut ways = Vec::new();
        if scenario.surroundings == Surroundings::Apart {
            for _ in 0..scenario.workers {
                ways.push(Proxy::to(ground.holder().port()).await);
            }
        }
        Self {
            ground,
            proxy,
            ways,
            folder,
            notes,
            dice,
            witness,
            workers: Vec::new(),
            producers: Vec::new(),
            crashes: Vec::new(),
            misplaced: Vec::new(),
            audits: 0,
            is_spent: false,
            crew: scenario.crew,
            load: scenario.load,
            surroundings: scenario.surroundings,
            without: scenario.without,
            hired: 0,
        }
    }

    pub(crate) async fn start(scenario: &Scenario, dice: Dice) -> Self {
        let mut plant = Self::prepare(scenario, dice).await;
        plant.workers = (0..scenario.workers).map(|_| plant.hire()).collect();
        let jobs = scenario.load.jobs / scenario.load.producers;
        plant.producers = (0..scenario.load.producers).map(|_| plant.commission(jobs)).collect();
        plant
    }

    /// Where workers and producers find the server.
    fn url(&self) -> String {
        self.proxy.as_ref().map_or_else(|| self.ground.url(), Proxy::url)
    }

    /// One more worker.
    pub(crate) fn hire(&mut self) -> Program {
        let goes_straight = self.surroundings == Surroundings::ProducersProxy;
        let own_way = self.ways.get(self.hired).map(Proxy::url);
        let url = own_way.unwrap_or_else(|| if goes_straight { self.ground.url() } else { self.url() });
        let folder = path(self.folder.path());
        let own = own_program();
        let (python, script) = (path(&support::interpreter()).to_owned(), script());
        let (name, queue) = self.crew.names();
        let queue = format!("arq:queue:{queue}");
        let mut worker = match self.crew {
            Crew::Python => vec![&*python, "-B", &script, "--queue", &queue, "--ledger-folder", folder],
            _ => vec![&*own, "worker", "--name", name, "--ledger", folder],
        };
        worker.extend(["--redis", &url]);
        if self.crew == Crew::Python {
            worker.extend(["--codec", "json", "--job-timeout", "2", "--max-tries", "3"]);
        }
        if let Some(guard) = self.without {
            worker.extend(["--without", guard]);
        }
        let before = self.surroundings.before(self.hired);
        self.hired += 1;
        start(&[&before[..], &worker].concat())
    }

    /// One more producer, of `jobs` jobs.
    pub(crate) fn commission(&mut self, jobs: u64) -> Producer {
        let seed = self.dice.below(1 << 32);
        let Load { producers, rate, batch, mix, .. } = self.load;
        let queue = self.queue();
        let numbers = [seed, jobs, (rate / producers).max(1), batch].map(|number| number.to_string());
        let mix = clap::ValueEnum::to_possible_value(&mix).expect("no mix is hidden");
        let (own, url) = (own_program(), self.url());
        let mut words =
            vec![&*own, "producer", "--redis", &url, "--ledger", path(self.folder.path()), "--queue", queue];
        for (name, number) in ["--seed", "--jobs", "--rate", "--batch"].into_iter().zip(&numbers) {
            words.extend([name, number]);
        }
        words.extend(["--mix", mix.get_name()]);
        if self.surroundings == Surroundings::Confirmed {
            words.extend(["--replicas", "1"]);
        }
        Producer { program: start(&words), jobs }
    }

    /// Replaces workers that have ended by themselves, as whoever supervises services does.
    pub(crate) fn supervise(&mut self) {
        for index in 0..self.workers.len() {
            let Some(code) = self.workers[index].exit_code() else { continue };
            self.notes.note(What::Gone, self.workers[index].pid());
            let said = self.workers[index].said();
            let last: Vec<&str> = said.lines().rev().take(2).collect();
            self.crashes.push(format!("a worker ended with code {code}: {}", last.join(" <- ")));
            self.workers[index] = self.hire();
        }
    }

    /// Whether all producers have come to their end.
    pub(crate) fn has_produced(&mut self) -> bool {
        self.producers.retain_mut(|producer| match producer.program.exit_code() {
            None => true,
            Some(code) => {
                assert_eq!(code, 0, "a producer failed: {}", producer.program.said());
                false
            }
        });
        self.producers.is_empty()
    }

    /// Kills a worker, by chance, and starts another one.
    pub(crate) fn kill_worker(&mut self) {
        let index = self.any_worker();
        self.workers[index].kill9();
        self.notes.note(What::Killed, self.workers[index].pid());
        self.workers[index] = self.hire();
    }

    /// Freezes the worker that has most to do for `span`.
    pub(crate) async fn freeze_worker(&mut self, span: Duration) {
        let index = self.busy_worker().await;
        let pid = self.workers[index].pid();
        self.workers[index].freeze();
        self.notes.note(What::Frozen, pid);
        sleep(span).await;
        self.notes.note(What::Thawed, pid);
        self.workers[index].thaw();
    }

    /// Cuts the worker that has most to do off from the server for `span`.
    pub(crate) async fn part_worker(&mut self, span: Duration) {
        let index = self.busy_worker().await;
        let (pid, way) = (self.workers[index].pid(), &self.ways[index]);
        self.notes.note(What::Parted, pid);
        way.set(Way::Stall);
        sleep(span).await;
        self.notes.note(What::Rejoined, pid);
        way.set(Way::Pass);
    }

    /// Replaces the worker that has most to do, as a deploy does.
    pub(crate) async fn roll_worker(&mut self) {
        let (index, next) = (self.busy_worker().await, self.hire());
        let mut old = std::mem::replace(&mut self.workers[index], next);
        self.notes.note(What::Told, old.pid());
        let code = old.terminate().await;
        self.notes.note(What::Gone, old.pid());
        if code != 0 && self.crew != Crew::Python {
            self.crashes.push(format!("told to stop, a worker ended with {code}: {}", old.said()));
        }
    }

    /// Kills a producer, by chance; another one is asked for half as many jobs.
    pub(crate) fn kill_producer(&mut self) {
        if self.producers.is_empty() {
            return;
        }
        let index = self.dice.below(self.producers.len() as u64);
        let producer = &mut self.producers[usize::try_from(index).expect("less than their number")];
        producer.program.kill9();
        let jobs = producer.jobs / 2;
        if jobs > 0 {
            let next = self.commission(jobs);
            self.producers.push(next);
        }
        self.producers.retain_mut(|producer| producer.program.exit_code() != Some(137));
    }

    /// A part of one, by chance.
    pub(crate) fn part(&mut self) -> f64 {
        f64::from(u32::try_from(self.dice.below(1000)).expect("it is less")) / 1000.0
    }

    /// Makes the way to the server bad for `span`.
    pub(crate) async fn detour(&self, way: Way, span: Duration) {
        let proxy = self.proxy.as_ref().expect("the scenario has a proxy");
        proxy.set(way);
        sleep(span).await;
        proxy.set(Way::Pass);
    }

    /// Tells the server something, on a connection of its own.
    pub(crate) fn tell<T>(&self, command: impl FnOnce(&mut Connection) -> RedisResult<T>) -> RedisResult<T> {
        command(&mut self.connection()?)
    }

    /// As [`Self::tell`], for what takes a while.
    pub(crate) async fn ask_aside<T: Send + 'static>(
        &self,
        command: impl FnOnce(&mut Connection) -> RedisResult<T> + Send + 'static,
    ) -> RedisResult<T> {
        let mut connection = self.connection()?;
        tokio::task::spawn_blocking(move || command(&mut connection)).await.expect("it does not panic")
    }

    /// Whether producers wait until a replica has their jobs.
    pub(crate) fn needs_replica(&self) -> bool {
        self.surroundings == Surroundings::Confirmed
    }

    /// How many jobs each worker has begun and not ended; `None` before its first one.
    pub(crate) fn at_work(&self) -> Vec<Option<usize>> {
        let mut running: HashMap<i32, HashSet<(String, u32, u32)>> = HashMap::new();
        for event in ledger::read_all(self.folder.path()).expect("the folder is ours") {
            let run = (event.job, event.attempt, event.fence);
            match event.what {
                What::Start => drop(running.entry(event.pid).or_default().insert(run)),
                What::End | What::Cut => drop(running.entry(event.pid).or_default().remove(&run)),
                _ => {}
            }
        }
        self.workers.iter().map(|worker| running.get(&worker.pid()).map(HashSet::len)).collect()
    }

    /// The worker that has most jobs; waits a moment for one that has any.
    async fn busy_worker(&mut self) -> usize {
        let until = Instant::now() + Duration::from_secs(1);
        loop {
            let most = self.at_work().into_iter().enumerate().max_by_key(|(_, jobs)| jobs.unwrap_or_default());
            match most {
                Some((index, Some(1..))) => return index,
                _ if Instant::now() > until => return self.any_worker(),
                _ => sleep(Duration::from_millis(5)).await,
            }
        }
    }

    fn any_worker(&mut self) -> usize {
        usize::try_from(self.dice.below(self.workers.len() as u64)).expect("less than their number")
    }

    /// Looks whether every job is in one place.
    pub(crate) fn audit(&mut self) {
        let (queue, ours_alone) = (self.queue(), self.crew != Crew::Python);
        let found = self.tell(|connection| audit::places(connection, queue, ours_alone));
        self.misplaced.extend(found.expect("the server answers between two faults"));
        self.audits += 1;
    }

    /// Waits until no job is left in the queues.
    pub(crate) async fn drained(&mut self, limit: Duration) -> Result<(), String> {
        let until = Instant::now() + limit;
        loop {
            self.supervise();
            let left = self.left();
            match left {
                Ok(0) => return Ok(()),
                _ if Instant::now() > until => return Err(format!("not drained after {limit:?}: {left:?} jobs left")),
                _ => sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// The queue's name.
    pub(crate) fn queue(&self) -> &'static str {
        self.crew.names().1
    }

    pub(crate) fn left(&self) -> RedisResult<u64> {
        redis::cmd("ZCARD").arg(format!("arq:queue:{}", self.queue())).query(&mut self.connection()?)
    }

    pub(crate) fn connection(&self) -> RedisResult<Connection> {
        let connection =
            redis::Client::open(self.ground.holder().url())?.get_connection_with_timeout(Duration::from_secs(2))?;
        connection.set_read_timeout(Some(Duration::from_secs(5)))?;
        Ok(connection)
    }

    /// Tells all workers to stop; `Err` names those that did not, or not well.
    pub(crate) async fn close(&mut self) -> Result<(), String> {
        for worker in &mut self.workers {
            self.notes.note(What::Told, worker.pid());
            worker.ask_to_stop();
        }
        let until = Instant::now() + END;
        let mut bad = Vec::new();
        for worker in &mut self.workers {
            let code = loop {
                match worker.exit_code() {
                    None if Instant::now() < until => sleep(Duration::from_millis(5)).await,
                    code => break code,
                }
            };
            self.notes.note(What::Gone, worker.pid());
            if code != Some(0) && (self.crew != Crew::Python || code.is_none()) {
                bad.push(format!("told to stop, a worker ended with {code:?}"));
            }
        }
        if bad.is_empty() { Ok(()) } else { Err(bad.join("; ")) }
    }
}

/// Starts a program: its words, the program's own first.
fn start(words: &[&str]) -> Program {
    let (program, arguments) = words.split_first().expect("there is a program");
    Program::start(program, arguments)
}

/// A worker of stock arq's.
fn script() -> String {
    path(&Path::new(env!("CARGO_MANIFEST_DIR")).join("arq/py_worker.py")).to_owned()
}

fn own_program() -> String {
    let own = std::env::current_exe().expect("the system knows this program");
    path(&own).to_owned()
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path in Unicode")
}
