//! What breaks.

use std::time::Duration;

use redis::{Connection, RedisResult};
use support::{Program, Way};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::ground::Ground;
use crate::ledger::What;
use crate::plant::{Plant, is_interrupted};
use crate::worker::{HASTY, LEASE};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A worker dies of `kill -9`; another one starts.
    KillWorker,
    /// A worker is frozen (SIGSTOP) for longer than its lease, then goes on.
    FreezeWorker,
    /// The way of one worker to the server is dead for longer than its lease; the others go on.
    PartWorker,
    /// A producer dies of `kill -9`; another one goes on with jobs of its own. Where producers have a way of their own it
    /// dies in the midst of a call, before that gets through or after.
    KillProducer,
    /// A worker is replaced, as a deploy does it: the new one starts, the old one gets SIGTERM.
    RollWorker,
    /// `CLIENT KILL`: all connections of workers and producers break.
    KillClients,
    /// `CLIENT PAUSE`, for up to a lease and a half.
    PauseClients,
    /// `SCRIPT FLUSH`.
    FlushScripts,
    /// `DEBUG SLEEP`, for up to a lease and a half.
    SleepServer,
    /// The server dies of `kill -9` and starts again with what is on its disk.
    RestartServer,
    /// The same, and it stays away for longer than a lease, up to three.
    KeepServerDown,
    /// Master and replica change their places, as an operator has them do it; in a cluster once.
    Exchange,
    /// The master dies of `kill -9`; the sentinel, or the cluster's others, make its replica master. It happens once. The dead
    /// one stays dead, but where producers wait for a replica.
    KillMaster,
    /// No memory is left for a second: `maxmemory`, `noeviction`.
    FillMemory,
    /// The way to the server gets slow.
    Delay,
    /// Nothing goes through for up to a lease and a half.
    Stall,
    /// Requests go through, their replies come up to a lease and a half later.
    StallReplies,
    /// Requests go through, their replies never come, for up to a lease and a half.
    Swallow,
    /// Requests never arrive, for up to a lease and a half; replies to earlier ones do.
    SwallowRequests,
    /// Connections break after some bytes of a reply, all of them, for a moment.
    Cut,
    /// Connections break, and new ones are closed at once, for up to a lease and a half.
    Refuse,
}

/// What a fault is one of: of two that overlap, no more than one is of the server, and one of the way to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Realm {
    Process,
    Server,
    Way,
}

/// A fault under way.
pub(crate) struct Ongoing {
    fault: Fault,
    /// Its number in the ledger, of a fault that is noted there.
    number: Option<i32>,
    until: Instant,
    end: End,
}

/// What came of a fault's begin.
pub(crate) enum Begun {
    /// Nobody was there whom it could hit.
    Missed,
    /// It is over already.
    Over,
    GoesOn(Ongoing),
}

/// What is done when a fault ends.
enum End {
    Nothing,
    Thaw(i32),
    Rejoin {
        pid: i32,
        slot: usize,
    },
    /// The one that was replaced has stopped.
    Stopped(Program),
    Clear,
    Awake(JoinHandle<RedisResult<()>>),
    Restart,
    Empty,
}

impl Fault {
    /// Whether it can keep a living worker from renewing a lease that others can see run out.
    fn costs_leases(self) -> bool {
        matches!(self, Self::StallReplies | Self::Swallow | Self::Exchange | Self::KillMaster)
    }

    /// Whether no producer may notice it.
    pub(crate) fn is_hidden(self) -> bool {
        matches!(self, Self::KillWorker | Self::FreezeWorker | Self::PartWorker | Self::RollWorker | Self::FlushScripts)
    }

    /// Whether it hits jobs that a worker has, which start again.
    pub(crate) fn hits_workers(self) -> bool {
        matches!(self, Self::KillWorker | Self::FreezeWorker | Self::PartWorker | Self::RollWorker)
    }

    fn realm(self) -> Realm {
        match self {
            Self::KillWorker | Self::FreezeWorker | Self::PartWorker | Self::KillProducer | Self::RollWorker => {
                Realm::Process
            }
            Self::KillClients
            | Self::PauseClients
            | Self::FlushScripts
            | Self::SleepServer
            | Self::RestartServer
            | Self::KeepServerDown
            | Self::Exchange
            | Self::KillMaster
            | Self::FillMemory => Realm::Server,
            Self::Delay
            | Self::Stall
            | Self::StallReplies
            | Self::Swallow
            | Self::SwallowRequests
            | Self::Cut
            | Self::Refuse => Realm::Way,
        }
    }

    /// Whether it can begin beside those.
    pub(crate) fn fits(self, others: &[Ongoing]) -> bool {
        let realm = self.realm();
        realm == Realm::Process || others.iter().all(|other| other.fault.realm() != realm)
    }

    /// Begins it, and ends it where that is one and the same.
    pub(crate) async fn begin(self, plant: &mut Plant) -> Begun {
        self.strike(plant).await.unwrap_or(Begun::Missed)
    }

    async fn strike(self, plant: &mut Plant) -> Option<Begun> {
        let now = Instant::now();
        let long = LEASE + LEASE.mul_f64(plant.part());
        match self {
            Self::KillWorker => plant.kill_worker(),
            Self::KillProducer => plant.kill_producer().await,
            Self::RollWorker => {
                let old = plant.roll_worker().await?;
                return Some(self.ongoing(None, now + STOP, End::Stopped(old)));
            }
            Self::FreezeWorker => {
                let pid = plant.freeze_worker().await?;
                return Some(self.ongoing(None, now + long, End::Thaw(pid)));
            }
            Self::PartWorker => {
                let (pid, slot) = plant.part_worker().await?;
                return Some(self.ongoing(None, now + long, End::Rejoin { pid, slot }));
            }
            Self::FlushScripts => {
                let flush = |connection: &mut Connection| redis::cmd("SCRIPT").arg("FLUSH").query::<()>(connection);
                plant.tell(flush).expect("the server answers");
            }
            Self::FillMemory => {
                set_memory(plant, 1);
                return Some(self.ongoing(None, now + Duration::from_secs(1), End::Empty));
            }
            other => {
                let number = plant.next_number();
                plant.notes.note(if other.costs_leases() { What::Trouble } else { What::Hitch }, number);
                let (span, end) = other.trouble(plant).await;
                return Some(self.ongoing(Some(number), Instant::now() + span, end));
            }
        }
        Some(Begun::Over)
    }

    fn ongoing(self, number: Option<i32>, until: Instant, end: End) -> Begun {
        Begun::GoesOn(Ongoing { fault: self, number, until, end })
    }

    /// Something about the server or the way to it: for how long, and what ends it.
    async fn trouble(self, plant: &mut Plant) -> (Duration, End) {
        let (span, some) = (LEASE.mul_f64(1.5 * plant.part()), Duration::from_millis(300));
        match self {
            Self::KillClients => {
                let kill = |connection: &mut Connection| {
                    redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").query::<i64>(connection)
                };
                plant.tell(kill).expect("the server answers");
                (Duration::ZERO, End::Nothing)
            }
            Self::PauseClients => {
                let mode = *plant.dice.pick(&["ALL", "WRITE"]);
                let ms = u64::try_from(span.as_millis()).unwrap_or_default().max(1);
                let pause = |connection: &mut Connection| {
                    match redis::cmd("CLIENT").arg("PAUSE").arg(ms).arg(mode).query::<()>(connection) {
                        Err(error) if is_interrupted(&error) => Ok(()), // told again, it would begin when the first is over
                        answer => answer,
                    }
                };
                plant.tell(pause).expect("the server answers");
                (span, End::Nothing)
            }
            Self::SleepServer => {
                let seconds = span.as_secs_f64().to_string();
                let other = plant.connection();
                let asleep = plant.ask_aside(move |connection| {
                    match redis::cmd("DEBUG").arg("SLEEP").arg(seconds).query::<()>(connection) {
                        Err(error) if is_interrupted(&error) => redis::cmd("PING").query::<()>(&mut other?), // it sleeps on
                        answer => answer,
                    }
                });
                (span, End::Awake(asleep))
            }
            Self::RestartServer => {
                plant.ground.one().kill9();
                (some.mul_f64(plant.part()), End::Restart)
            }
            Self::KeepServerDown => {
                plant.ground.one().kill9();
                (LEASE.mul_f64(1.5 + 1.5 * plant.part()), End::Restart)
            }
            Self::Exchange => {
                match &plant.ground {
                    Ground::Sentinel(trio) => trio.failover().await,
                    Ground::Cluster(cluster) => {
                        cluster.failover(HASTY).await;
                        plant.spent.push(self); // a second one soon after the first may have its nodes at odds for half a minute
                    }
                    Ground::One(_) => unreachable!("the scenario has a replica"),
                }
                (Duration::ZERO, End::Nothing)
            }
            Self::KillMaster => {
                let needs_replica = plant.needs_replica();
                match &mut plant.ground {
                    Ground::Sentinel(trio) => {
                        trio.kill_master().await;
                        if needs_replica {
                            trio.revive().await;
                        }
                    }
                    Ground::Cluster(cluster) => cluster.kill_master(HASTY).await,
                    Ground::One(_) => unreachable!("the scenario has a replica"),
                }
                // Nor an exchange: the sentinel has its own time until it trusts the revived one.
                plant.spent.extend([self, Self::Exchange]);
                (Duration::ZERO, End::Nothing)
            }
            Self::Delay => plant.detour(Way::Delay(span / 20), LEASE),
            Self::Stall => plant.detour(Way::Stall, span),
            Self::StallReplies => plant.detour(Way::StallReplies, span),
            Self::Swallow => plant.detour(Way::Swallow, span),
            Self::SwallowRequests => plant.detour(Way::SwallowRequests, span),
            Self::Cut => {
                // The answer to an enqueueing is as short as one, that to a claim as long as the other.
                let most = *plant.dice.pick(&[20, 400]);
                let bytes = usize::try_from(plant.dice.below(most)).unwrap_or_default();
                plant.detour(Way::Cut(bytes), some)
            }
            Self::Refuse => plant.detour(Way::Refuse, span),
            Self::KillWorker
            | Self::FreezeWorker
            | Self::PartWorker
            | Self::KillProducer
            | Self::RollWorker
            | Self::FlushScripts
            | Self::FillMemory => unreachable!("these leave the way to the server alone"),
        }
    }
}

/// Within which a process that was told to stop has stopped.
const STOP: Duration = Duration::from_mins(1);

impl Ongoing {
    /// Whether the server answers meanwhile, and what it is told stays.
    pub(crate) fn leaves_server_alone(&self) -> bool {
        self.fault.realm() != Realm::Server
    }

    pub(crate) fn is_over(&mut self) -> bool {
        let has_stopped = match &mut self.end {
            End::Stopped(old) => old.exit_code().is_some(),
            End::Awake(asleep) => return asleep.is_finished(),
            _ => false,
        };
        has_stopped || Instant::now() >= self.until
    }

    /// Mends what it broke.
    pub(crate) async fn mend(self, plant: &mut Plant) {
        match self.end {
            End::Nothing => {}
            End::Thaw(pid) => plant.thaw_worker(pid),
            End::Rejoin { pid, slot } => plant.rejoin_worker(pid, slot),
            End::Stopped(old) => plant.has_stopped(old),
            End::Clear => plant.clear_way(),
            End::Awake(asleep) => asleep.await.expect("it does not panic").expect("DEBUG is allowed"),
            End::Restart => plant.ground.one().restart(),
            End::Empty => set_memory(plant, 0),
        }
        if let Some(number) = self.number {
            plant.notes.note(What::Mended, number);
        }
    }
}

impl Plant {
    /// Makes the way to the server bad.
    fn detour(&self, way: Way, span: Duration) -> (Duration, End) {
        self.set_way(way);
        (span, End::Clear)
    }
}

fn set_memory(plant: &Plant, bytes: u64) {
    let set = |connection: &mut Connection| -> RedisResult<()> {
        redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(bytes).query(connection)
    };
    plant.tell(set).expect("the server answers");
}
