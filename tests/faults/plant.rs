//! The processes of one scenario: a server, workers, producers; whoever kills one of them notes it.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

use redis::{Connection, RedisError, RedisResult};
use support::{Dice, Program, Proxy, Way};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::audit;
use crate::ends::Witness;
use crate::fault::Fault;
use crate::ground::Ground;
use crate::ledger::{self, Event, Ledger, What};
use crate::listener::Listener;
use crate::scenario::{Crew, Load, NOT_DRAINED, Scenario, Surroundings};

/// Within which a process that was told to stop must have stopped.
const END: Duration = Duration::from_secs(20);

/// All that runs in a scenario.
pub(crate) struct Plant {
    pub(crate) ground: Ground,
    pub(crate) folder: TempDir,
    pub(crate) notes: Ledger,
    pub(crate) dice: Dice,
    pub(crate) witness: Witness,
    /// Notes whom a sentinel makes master, also of its own accord.
    _switches: Option<Listener>,
    pub(crate) workers: Vec<Program>,
    pub(crate) producers: Vec<Producer>,
    /// Workers that ended though nobody had told them to, and what they said last.
    pub(crate) crashes: Vec<String>,
    /// Producers that came to no good end by themselves, none of which may.
    pub(crate) failures: Vec<String>,
    /// What the audits found, and how many there were.
    pub(crate) misplaced: Vec<String>,
    pub(crate) audits: usize,
    /// Faults that can happen once, and have.
    pub(crate) spent: Vec<Fault>,
    pub(crate) proxy: Option<Proxy>,
    /// Those of workers, where each has its own, in their order.
    pub(crate) ways: Vec<Proxy>,
    /// Workers that are frozen or cut off.
    away: HashSet<i32>,
    numbers: i32,
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
        let switches = match &ground {
            Ground::Sentinel(trio) => {
                let notes = Ledger::open(folder.path(), "sentinel").expect("the folder is ours");
                let note = move |_: &_| notes.note(What::Switched, 0);
                Some(Listener::to(trio.sentinel().url(), "+switch-master", note))
            }
            Ground::One(_) | Ground::Cluster(_) => None,
        };
        let proxy = match scenario.surroundings {
            Surroundings::Proxy | Surroundings::ProducersProxy | Surroundings::Winding => {
                Some(Proxy::to(ground.holder().port()).await)
            }
            _ => None,
        };
        let mut ways = Vec::new();
        if matches!(scenario.surroundings, Surroundings::Apart | Surroundings::Winding) {
            let next = proxy.as_ref().map_or_else(|| ground.holder().port(), Proxy::port);
            for _ in 0..scenario.workers {
                ways.push(Proxy::to(next).await);
            }
        }
        Self {
            ground,
            proxy,
            ways,
            away: HashSet::new(),
            numbers: 0,
            folder,
            notes,
            dice,
            witness,
            _switches: switches,
            workers: Vec::new(),
            producers: Vec::new(),
            crashes: Vec::new(),
            failures: Vec::new(),
            misplaced: Vec::new(),
            audits: 0,
            spent: Vec::new(),
            crew: scenario.crew,
            load: scenario.load,
            surroundings: scenario.surroundings,
            without: scenario.without,
            hired: 0,
        }
    }

    pub(crate) async fn start(scenario: &Scenario, dice: Dice) -> Self {
        let mut plant = Self::prepare(scenario, dice).await;
        plant.workers = (0..scenario.workers).map(|slot| plant.hire(slot)).collect();
        let until = Instant::now() + END;
        while !plant.are_up() && Instant::now() < until {
            sleep(Duration::from_millis(20)).await;
        }
        let jobs = scenario.load.jobs / scenario.load.producers;
        plant.producers = (0..scenario.load.producers).map(|_| plant.commission(jobs)).collect();
        plant
    }

    /// Where workers and producers find the server.
    fn url(&self) -> String {
        self.proxy.as_ref().map_or_else(|| self.ground.url(), Proxy::url)
    }

    /// A worker for a place among them. It takes that one's way, unless all stands still there for good.
    pub(crate) fn hire(&mut self, slot: usize) -> Program {
        let goes_straight = self.surroundings == Surroundings::ProducersProxy;
        let own_way = self.ways.get(slot).filter(|way| !way.has_halted()).map(Proxy::url);
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
            worker.extend(["--codec", "json", "--job-timeout", "2", "--max-tries", "3", "--abort"]);
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

    /// Has jobs come for `span` more, of a last producer.
    pub(crate) fn go_on(&mut self, span: Duration) {
        let load = self.load;
        let ms = u64::try_from(span.as_millis()).unwrap_or_default() + 100;
        let producer = self.commission((load.rate / load.producers * ms).div_ceil(1000).max(load.batch));
        self.producers.push(producer);
    }

    /// Replaces workers that have ended by themselves, as whoever supervises services does.
    pub(crate) fn supervise(&mut self) {
        for index in 0..self.workers.len() {
            let Some(code) = self.workers[index].exit_code() else { continue };
            self.notes.note(What::Gone, self.workers[index].pid());
            let said = self.workers[index].said();
            let last: Vec<&str> = said.lines().rev().take(2).collect();
            self.crashes.push(format!("a worker ended with code {code}: {}", last.join(" <- ")));
            self.workers[index] = self.hire(index);
        }
    }

    /// Whether all producers have come to their end.
    pub(crate) fn has_produced(&mut self) -> bool {
        self.producers.retain_mut(|producer| match producer.program.exit_code() {
            None => true,
            Some(0) => false,
            Some(code) => {
                self.failures.push(format!("a producer ended with code {code}: {}", producer.program.said()));
                false
            }
        });
        self.producers.is_empty()
    }

    /// Kills a worker, by chance, and starts another one.
    pub(crate) fn kill_worker(&mut self) {
        let slot = usize::try_from(self.dice.below(self.workers.len() as u64)).expect("less than their number");
        self.workers[slot].kill9();
        self.notes.note(What::Killed, self.workers[slot].pid());
        self.workers[slot] = self.hire(slot);
    }

    /// Freezes the worker that has most to do, if any has.
    pub(crate) async fn freeze_worker(&mut self) -> Option<i32> {
        let slot = self.busy_worker().await?;
        let pid = self.workers[slot].pid();
        if self.workers[slot].exit_code().is_some() {
            return None; // by itself, just now
        }
        self.workers[slot].freeze();
        self.notes.note(What::Frozen, pid);
        self.away.insert(pid);
        Some(pid)
    }

    /// Lets it go on, unless it has been killed meanwhile.
    pub(crate) fn thaw_worker(&mut self, pid: i32) {
        self.away.remove(&pid);
        self.notes.note(What::Thawed, pid);
        if let Some(worker) = self.workers.iter().find(|worker| worker.pid() == pid) {
            worker.thaw();
        }
    }

    /// Cuts the worker that has most to do off from the server.
    pub(crate) async fn part_worker(&mut self) -> Option<(i32, usize)> {
        let slot = self.busy_worker().await?;
        let pid = self.workers[slot].pid();
        self.notes.note(What::Parted, pid);
        self.ways[slot].set(Way::Stall);
        self.away.insert(pid);
        Some((pid, slot))
    }

    /// Lets it through again.
    pub(crate) fn rejoin_worker(&mut self, pid: i32, slot: usize) {
        self.away.remove(&pid);
        self.notes.note(What::Rejoined, pid);
        self.ways[slot].set(Way::Pass);
    }

    /// Replaces the worker that has most to do, as a deploy does; that one, which has been told to stop.
    pub(crate) async fn roll_worker(&mut self) -> Option<Program> {
        let slot = self.busy_worker().await?;
        let next = self.hire(slot);
        let until = Instant::now() + Duration::from_secs(2); // on a bad way it takes longer: a deploy goes on
        while !self.is_up(next.pid()) && Instant::now() < until {
            self.supervise();
            sleep(Duration::from_millis(10)).await;
        }
        let slot = self.busy_worker().await?;
        let mut old = std::mem::replace(&mut self.workers[slot], next);
        self.notes.note(What::Told, old.pid());
        old.ask_to_stop();
        Some(old)
    }

    /// One that was told to stop has done so, or has had the time for it.
    pub(crate) fn has_stopped(&mut self, mut old: Program) {
        let code = old.exit_code();
        old.kill9(); // does nothing to one that has ended
        self.notes.note(if code.is_some() { What::Gone } else { What::Killed }, old.pid());
        if code != Some(0) && self.crew != Crew::Python {
            self.crashes.push(format!("told to stop, a worker ended with {code:?}: {}", old.said()));
        }
    }

    /// Kills a producer, by chance; another one is asked for half as many jobs.
    pub(crate) async fn kill_producer(&mut self) {
        if self.surroundings == Surroundings::ProducersProxy {
            self.halt_producers().await;
        }
        self.has_produced(); // forgets those that have ended meanwhile
        if !self.producers.is_empty() {
            let index = self.dice.below(self.producers.len() as u64);
            let mut dead = self.producers.swap_remove(usize::try_from(index).expect("less than their number"));
            dead.program.kill9();
            let jobs = dead.jobs / 2;
            if jobs > 0 {
                let next = self.commission(jobs);
                self.producers.push(next);
            }
        }
        if self.surroundings == Surroundings::ProducersProxy {
            self.clear_way();
        }
    }

    /// Waits until the next call of a producer has come, and holds it up before it gets to the server, or its answer.
    async fn halt_producers(&mut self) {
        let after = self.dice.below(2) == 0;
        let way = self.proxy.as_ref().expect("producers have one");
        way.halt(0, after);
        let until = Instant::now() + Duration::from_secs(2);
        while !way.has_halted() && Instant::now() < until {
            sleep(Duration::from_millis(2)).await;
        }
        sleep(Duration::from_millis(10)).await; // what gets through does so
    }

    /// A part of one, by chance.
    pub(crate) fn part(&mut self) -> f64 {
        f64::from(u32::try_from(self.dice.below(1000)).expect("it is less")) / 1000.0
    }

    /// Makes the way to the server so.
    pub(crate) fn set_way(&self, way: Way) {
        self.proxy.as_ref().expect("the scenario has a proxy").set(way);
    }

    /// Makes it good.
    pub(crate) fn clear_way(&self) {
        self.set_way(Way::Pass);
    }

    /// One for the next fault that is noted.
    pub(crate) fn next_number(&mut self) -> i32 {
        self.numbers += 1;
        self.numbers
    }

    /// Tells the server something, on a connection of its own; again, where a child's death ends the wait for the answer, which is
    /// a signal to this process.
    pub(crate) fn tell<T>(&self, command: impl Fn(&mut Connection) -> RedisResult<T>) -> RedisResult<T> {
        loop {
            match self.connection().and_then(|mut connection| command(&mut connection)) {
                Err(error) if is_interrupted(&error) => {}
                told => return told,
            }
        }
    }

    /// As [`Self::tell`], for what takes a while.
    pub(crate) fn ask_aside<T: Send + 'static>(
        &self,
        command: impl FnOnce(&mut Connection) -> RedisResult<T> + Send + 'static,
    ) -> JoinHandle<RedisResult<T>> {
        let connection = self.connection();
        tokio::task::spawn_blocking(move || command(&mut connection?))
    }

    /// Whether producers wait until a replica has their jobs.
    pub(crate) fn needs_replica(&self) -> bool {
        self.surroundings == Surroundings::Confirmed
    }

    /// How many jobs each worker has begun and not ended; `None` before its first one.
    pub(crate) fn at_work(&self) -> Vec<Option<usize>> {
        let mut running: HashMap<i32, HashSet<(String, u32, u32)>> = HashMap::new();
        for event in self.events() {
            let run = (event.job, event.attempt, event.fence);
            match event.what {
                What::Start => drop(running.entry(event.pid).or_default().insert(run)),
                What::End | What::Cut => drop(running.entry(event.pid).or_default().remove(&run)),
                _ => {}
            }
        }
        self.workers.iter().map(|worker| running.get(&worker.pid()).map(HashSet::len)).collect()
    }

    /// What all have written down so far.
    pub(crate) fn events(&self) -> Vec<Event> {
        ledger::read_all(self.folder.path()).expect("the folder is ours")
    }

    fn is_up(&self, pid: i32) -> bool {
        self.events().iter().any(|event| event.what == What::Up && event.pid == pid)
    }

    /// Whether all workers that live hear signals by now.
    fn are_up(&mut self) -> bool {
        let events = self.events();
        let is_up = |pid: i32| events.iter().any(|event| event.what == What::Up && event.pid == pid);
        self.workers.iter_mut().all(|worker| worker.exit_code().is_some() || is_up(worker.pid()))
    }

    /// The worker that has most jobs, of those that are neither frozen nor cut off; waits a moment for one that has any.
    async fn busy_worker(&mut self) -> Option<usize> {
        let until = Instant::now() + Duration::from_secs(1);
        loop {
            let is_there = |slot: &usize| !self.away.contains(&self.workers[*slot].pid());
            let work = self.at_work().into_iter().enumerate().filter(|(slot, _)| is_there(slot));
            let most = work.filter_map(|(slot, jobs)| Some((slot, jobs?))).max_by_key(|(_, jobs)| *jobs);
            match most {
                Some((slot, 1..)) => return Some(slot),
                // Who has begun a job hears signals.
                _ if Instant::now() > until => return most.map(|(slot, _)| slot),
                _ => sleep(Duration::from_millis(5)).await,
            }
        }
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
                _ if Instant::now() > until => {
                    return Err(format!("{NOT_DRAINED} after {limit:?}: {left:?} jobs left"));
                }
                _ => sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// The queue's name.
    pub(crate) fn queue(&self) -> &'static str {
        self.crew.names().1
    }

    pub(crate) fn left(&self) -> RedisResult<u64> {
        self.tell(|connection| redis::cmd("ZCARD").arg(format!("arq:queue:{}", self.queue())).query(connection))
    }

    pub(crate) fn connection(&self) -> RedisResult<Connection> {
        let connection =
            redis::Client::open(self.ground.holder().url())?.get_connection_with_timeout(Duration::from_secs(2))?;
        connection.set_read_timeout(Some(Duration::from_secs(5)))?;
        Ok(connection)
    }

    /// Tells all workers to stop; `Err` names those that did not, or not well.
    pub(crate) async fn close(&mut self) -> Result<(), String> {
        let until = Instant::now() + END;
        // One that hears no signals yet would die of it.
        while !self.are_up() {
            if Instant::now() >= until {
                return Err(format!("not within {END:?}: the last worker hears signals"));
            }
            sleep(Duration::from_millis(20)).await;
        }
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

/// Whether a signal has ended a wait for an answer: who waits no longer than some time is not woken to wait on.
pub(crate) fn is_interrupted(error: &RedisError) -> bool {
    error.is_io_error() && error.to_string().contains("Interrupted")
}
