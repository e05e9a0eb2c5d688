//! The scenarios.

use std::time::Duration;

use crate::check::LOOK;
use crate::fault::Fault;
use crate::ground::Server;
use crate::load::Mix;
use crate::scenario::{Crew, Fate, Load, Role, Scenario, Surroundings, Victim};
use crate::worker::LEASE;

/// Beyond the end of a lease, within which a job starts again.
const MARGIN: Duration = Duration::from_secs(1);

/// After the server is there again, within which every worker starts jobs again.
const RETURN: Duration = LOOK;

/// What scenarios have unless they say otherwise: six seconds of some 150 jobs a second.
const PLAIN: Scenario = Scenario {
    name: "none",
    crew: Crew::Hasty,
    server: Server::Volatile,
    surroundings: Surroundings::Plain,
    workers: 3,
    may_crash: 0,
    load: Load { producers: 2, jobs: 900, rate: 150, batch: 5, mix: Mix::Good },
    faults: &[],
    at_once: 1,
    pause: 300..900,
    quiet: None,
    recovery: None,
    drain: Duration::from_secs(40),
    victim: None,
    without: None,
};

/// So few that two workers do what the third had.
const LONG: Load = Load { jobs: 72, rate: 8, batch: 2, mix: Mix::Long, ..PLAIN.load };

/// Those whose first run goes on after its worker was away for longer than a lease, while another worker has the second.
const LONGER: Load = Load { jobs: 24, rate: 2, mix: Mix::Longer, ..LONG };

/// One fault of the server, or of the way to it: once, with a look at how all come back, then again and again.
const fn outage(name: &'static str, fault: &'static [Fault]) -> Scenario {
    let surroundings = Surroundings::Proxy;
    let quiet = Some(RETURN.saturating_add(Duration::from_millis(500)));
    let load = Load { jobs: 1_100, rate: 100, ..PLAIN.load };
    Scenario { name, surroundings, load, faults: fault, pause: 500..1500, quiet, recovery: Some(RETURN), ..PLAIN }
}

/// A few jobs of each kind, and who is hit at each of its writes.
const fn everywhere(name: &'static str, role: Role, fate: Fate, least: usize) -> Scenario {
    let victim = Victim { role, fate, least };
    let surroundings = match role {
        Role::Worker | Role::StoppingWorker => Surroundings::Apart,
        Role::Producer => Surroundings::ProducersProxy,
    };
    let load = Load { producers: 1, jobs: 8, rate: 200, batch: 4, mix: Mix::Each };
    let recovery = Some(LEASE.saturating_add(MARGIN));
    Scenario { name, surroundings, workers: 1, victim: Some(victim), load, recovery, ..PLAIN }
}

/// The same, by workers with a lease so long that none can end: all is mended long before.
const fn cut(name: &'static str, role: Role, least: usize) -> Scenario {
    let drain = Duration::from_secs(15);
    Scenario { crew: Crew::Patient, drain, ..everywhere(name, role, Fate::IsCut, least) }
}

/// All of them.
pub(crate) fn all() -> Vec<Scenario> {
    [processes(), outages(), mixtures()].concat()
}

/// Many short jobs, while one worker after the other is killed, or none: figures that take more jobs than chance needs.
pub(crate) fn soak(jobs: u64, is_calm: bool) -> Scenario {
    Scenario {
        name: if is_calm { "soak, no fault" } else { "soak" },
        load: Load { producers: 2, jobs, rate: 1_000, batch: 50, mix: Mix::Short },
        faults: if is_calm { &[] } else { &[Fault::KillWorker] },
        pause: 3_000..5_000,
        recovery: Some(LEASE.saturating_add(MARGIN)),
        drain: Duration::from_mins(3),
        ..PLAIN
    }
}

/// What befalls workers and producers.
fn processes() -> Vec<Scenario> {
    let recovery = Some(LEASE.saturating_add(MARGIN));
    vec![
        PLAIN,
        Scenario { name: "kill -9 of workers", faults: &[Fault::KillWorker], recovery, ..PLAIN },
        Scenario { name: "SIGSTOP of workers", faults: &[Fault::FreezeWorker], recovery, ..PLAIN },
        Scenario {
            // What was frozen is still at work elsewhere when its first worker comes back and finishes it.
            name: "SIGSTOP of workers, long jobs",
            load: LONG,
            faults: &[Fault::FreezeWorker],
            recovery,
            ..PLAIN
        },
        Scenario {
            name: "SIGSTOP of workers, longer jobs",
            load: LONGER,
            faults: &[Fault::FreezeWorker],
            recovery,
            ..PLAIN
        },
        Scenario {
            name: "a worker cut off, longer jobs",
            surroundings: Surroundings::Apart,
            load: LONGER,
            faults: &[Fault::PartWorker],
            recovery,
            ..PLAIN
        },
        Scenario {
            name: "a worker cut off",
            surroundings: Surroundings::Apart,
            load: LONG,
            faults: &[Fault::PartWorker],
            recovery,
            ..PLAIN
        },
        Scenario {
            name: "SIGTERM of workers",
            crew: Crew::Patient,
            faults: &[Fault::RollWorker],
            recovery: Some(MARGIN),
            ..PLAIN
        },
        Scenario {
            // Long before a lease ends all is done: nothing waits for one.
            name: "SIGTERM of workers, long grace",
            crew: Crew::Calm,
            faults: &[Fault::RollWorker],
            drain: Duration::from_secs(15),
            ..PLAIN
        },
        everywhere("death at each write", Role::Worker, Fate::Dies, 40),
        everywhere("death at each write of a stop", Role::StoppingWorker, Fate::Dies, 10),
        everywhere("death at each write of a producer", Role::Producer, Fate::Dies, 12),
        cut("cut at each write", Role::Worker, 40),
        cut("cut at each write of a stop", Role::StoppingWorker, 8),
        cut("cut at each write of a producer", Role::Producer, 12),
        Scenario {
            // Each in the midst of a call.
            name: "kill -9 of producers",
            surroundings: Surroundings::ProducersProxy,
            load: Load { producers: 1, batch: 60, ..PLAIN.load },
            faults: &[Fault::KillProducer],
            ..PLAIN
        },
        Scenario {
            name: "aborted and expired jobs",
            load: Load { mix: Mix::Ending, ..PLAIN.load },
            faults: &[Fault::KillWorker, Fault::FreezeWorker],
            recovery,
            ..PLAIN
        },
        Scenario {
            name: "clocks off by an hour",
            surroundings: Surroundings::Skew,
            // So few that none waits: a delayed job that starts early shows.
            load: Load { jobs: 180, rate: 30, ..PLAIN.load },
            ..PLAIN
        },
        Scenario { name: "memory full", faults: &[Fault::FillMemory], ..PLAIN },
    ]
}

/// What befalls the server, and the way to it.
fn outages() -> Vec<Scenario> {
    vec![
        outage("CLIENT KILL", &[Fault::KillClients]),
        outage("CLIENT PAUSE", &[Fault::PauseClients]),
        Scenario { pause: 20..60, quiet: None, load: PLAIN.load, ..outage("SCRIPT FLUSH", &[Fault::FlushScripts]) },
        outage("DEBUG SLEEP", &[Fault::SleepServer]),
        Scenario { server: Server::Durable, ..outage("restart, AOF always", &[Fault::RestartServer]) },
        Scenario {
            // Each worker has jobs whose leases run out meanwhile, and may keep them.
            load: LONG,
            server: Server::Durable,
            ..outage("server away, AOF always", &[Fault::KeepServerDown])
        },
        Scenario { server: Server::EverySecond, ..outage("restart, AOF everysec", &[Fault::RestartServer]) },
        Scenario { server: Server::Snapshots, ..outage("restart, RDB only", &[Fault::RestartServer]) },
        outage("restart, no persistence", &[Fault::RestartServer]),
        Scenario {
            server: Server::Sentinel,
            surroundings: Surroundings::Plain,
            ..outage("replica promoted, planned", &[Fault::Exchange])
        },
        Scenario {
            server: Server::Sentinel,
            surroundings: Surroundings::Confirmed,
            ..outage("replica promoted, WAIT", &[Fault::Exchange])
        },
        Scenario {
            server: Server::Sentinel,
            surroundings: Surroundings::Plain,
            ..outage("replica promoted, master killed", &[Fault::KillMaster])
        },
        Scenario {
            server: Server::Sentinel,
            surroundings: Surroundings::Confirmed,
            ..outage("replica promoted, master killed, WAIT", &[Fault::KillMaster])
        },
        Scenario {
            server: Server::StrictSentinel,
            surroundings: Surroundings::Plain,
            ..outage("replica promoted, min-replicas", &[Fault::Exchange])
        },
        Scenario {
            server: Server::Cluster,
            surroundings: Surroundings::Plain,
            ..outage("cluster node failed over", &[Fault::Exchange])
        },
        Scenario {
            server: Server::Cluster,
            surroundings: Surroundings::Plain,
            ..outage("cluster master killed", &[Fault::KillMaster])
        },
        outage("slow way", &[Fault::Delay]),
        outage("way stalled", &[Fault::Stall]),
        outage("replies stalled", &[Fault::StallReplies]),
        outage("replies swallowed", &[Fault::Swallow]),
        outage("requests swallowed", &[Fault::SwallowRequests]),
        outage("replies cut", &[Fault::Cut]),
        Scenario {
            load: Load { mix: Mix::Replacing, ..PLAIN.load },
            pause: 100..300,
            quiet: None, // only producers are hit
            surroundings: Surroundings::ProducersProxy,
            ..outage("replies cut, jobs replaced", &[Fault::Cut])
        },
        outage("connections refused", &[Fault::Refuse]),
    ]
}

/// What jobs do, and all at once.
fn mixtures() -> Vec<Scenario> {
    let recovery = Some(LEASE.saturating_add(MARGIN));
    let load = Load { jobs: 1_500, batch: 20, ..PLAIN.load };
    let mixture = Scenario { load, faults: WITH_REPLICAS, at_once: 2, pause: 100..600, recovery, ..PLAIN };
    vec![
        Scenario {
            name: "poison",
            surroundings: Surroundings::Narrow,
            load: Load { mix: Mix::Poisoned, jobs: 300, rate: 60, ..PLAIN.load },
            may_crash: 2 * 3,
            recovery,
            ..PLAIN
        },
        Scenario {
            name: "hostile jobs",
            crew: Crew::Hardy,
            surroundings: Surroundings::Narrow,
            load: Load { mix: Mix::Hostile, jobs: 300, rate: 60, ..PLAIN.load },
            may_crash: 300,
            ..PLAIN
        },
        Scenario {
            name: "a mixture of all",
            server: Server::Durable,
            surroundings: Surroundings::Winding,
            load: Load { mix: Mix::Ending, ..mixture.load },
            faults: ALL,
            ..mixture.clone()
        },
        Scenario {
            // Clients are told by a sentinel where the master is: no way that could be made a bad one leads there.
            name: "a mixture with replicas",
            server: Server::Sentinel,
            surroundings: Surroundings::Confirmed,
            ..mixture.clone()
        },
        Scenario { name: "a mixture on a cluster", server: Server::Cluster, ..mixture },
    ]
}

/// Scenarios that can't be passed, as a guard is missing: each shows that its guard matters, and that the rig sees it,
/// if chance doesn't spare it in all of a few tries.
/// That of requests matters where a call's answer is lost and its jobs are over at once, which chance brings too seldom:
/// see `it/redis/trouble.rs`.
pub(crate) fn unguarded() -> Vec<Scenario> {
    let drain = Duration::from_secs(8);
    let without = |guard, name: &str| {
        let mut all = all().into_iter();
        let scenario = all.find(|scenario| scenario.name == name).expect("it is in the list");
        Scenario { without: Some(guard), drain, ..scenario }
    };
    vec![
        without("lease", "none"),
        without("token", "SIGSTOP of workers, long jobs"),
        without("give-back", "SIGTERM of workers"),
        without("attempts", "poison"),
        without("repeat", "replies cut"),
        without("grace", "DEBUG SLEEP"),
    ]
}

/// Of those that stock arq's workers are not tried in, why.
pub(crate) const NOT_COMPARED: [(&str, &str); 20] = [
    ("SIGSTOP of workers, longer jobs", "these outlast the two seconds that jobs have there"),
    ("a worker cut off, longer jobs", "the same"),
    (
        "SIGTERM of workers, long grace",
        "arq waits for its jobs if it is told to, too; `SIGTERM of workers` has it as it comes",
    ),
    ("cut at each write", "counts what our workers send; `replies cut` has arq's cuts"),
    ("cut at each write of a stop", "the same"),
    ("cut at each write of a producer", "producers are ours in all rows"),
    ("death at each write", "counts what our workers send; `kill -9 of workers` has arq's deaths"),
    ("death at each write of a stop", "the same; `SIGTERM of workers` has arq's stops"),
    ("death at each write of a producer", "producers are ours in all rows"),
    ("kill -9 of producers", "the same"),
    ("replies cut, jobs replaced", "the same: only producers are hit"),
    ("SCRIPT FLUSH", "arq has no scripts"),
    ("restart, RDB only", "what is lost is Redis's, whoever works"),
    ("restart, no persistence", "the same"),
    ("replica promoted, WAIT", "it is producers who wait"),
    ("replica promoted, master killed, WAIT", "the same"),
    ("replica promoted, min-replicas", "the same: producers are refused"),
    ("cluster node failed over", "arq knows no cluster"),
    ("cluster master killed", "the same"),
    ("a mixture on a cluster", "the same"),
];

/// The same with stock arq's workers in the place of ours. Their claims outlive them by ten seconds and a timeout of two,
/// arq's least for such jobs.
pub(crate) fn compared() -> Vec<Scenario> {
    let drain = Duration::from_secs(45);
    let is_compared = |scenario: &Scenario| NOT_COMPARED.iter().all(|(name, _)| scenario.name != *name);
    // Each poll, every half a second, starts as many jobs as there is room for: some 20 a second for each worker.
    let python = |scenario: Scenario| {
        let load = Load { jobs: scenario.load.jobs.min(180), rate: scenario.load.rate.min(30), ..scenario.load };
        Scenario { crew: Crew::Python, drain, load, quiet: None, ..scenario }
    };
    all().into_iter().filter(is_compared).map(python).collect()
}

/// What the mixtures are of.
const ALL: &[Fault] = &[
    Fault::KillWorker,
    Fault::KillWorker,
    Fault::FreezeWorker,
    Fault::PartWorker,
    Fault::KillProducer,
    Fault::RollWorker,
    Fault::KillClients,
    Fault::PauseClients,
    Fault::FlushScripts,
    Fault::SleepServer,
    Fault::RestartServer,
    Fault::KeepServerDown,
    Fault::FillMemory,
    Fault::Delay,
    Fault::Stall,
    Fault::StallReplies,
    Fault::Swallow,
    Fault::SwallowRequests,
    Fault::Cut,
    Fault::Refuse,
];

const WITH_REPLICAS: &[Fault] = &[
    Fault::KillWorker,
    Fault::FreezeWorker,
    Fault::KillProducer,
    Fault::RollWorker,
    Fault::KillClients,
    Fault::FlushScripts,
    Fault::Exchange,
    Fault::KillMaster,
];
