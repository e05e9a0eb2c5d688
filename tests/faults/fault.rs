//! What breaks.

use std::time::Duration;

use redis::{Connection, RedisResult};
use support::Way;
use tokio::time::sleep;

use crate::ground::Ground;
use crate::ledger::What;
use crate::plant::Plant;
use crate::worker::{HASTY, LEASE};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A worker dies of `kill -9`; another one starts.
    KillWorker,
    /// A worker is frozen (SIGSTOP) for longer than its lease, then goes on.
    FreezeWorker,
    /// The way of one worker to the server is dead for longer than its lease; the others go on.
    PartWorker,
    /// A producer dies of `kill -9`; another one goes on with jobs of its own.
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
    /// The server dies of `kill -9` and starts again with what its append-only file has.
    RestartServer,
    /// Master and replica change their places, as an operator has them do it; in a cluster once.
    Exchange,
    /// The master dies of `kill -9`; the sentinel makes its replica master. It happens once. The dead one stays dead, but
    /// where producers wait for a replica.
    KillMaster,
    /// No memory is left for a second: `maxmemory`, `noeviction`.
    FillMemory,
    /// The way to the server gets slow.
    Delay,
    /// Nothing goes through for up to a lease and a half.
    Stall,
    /// Requests go through, their replies come up to a lease and a half later.
    StallReplies,
    /// Requests go through, their replies never come, for up to a lease.
    Swallow,
    /// Connections break after some bytes of a reply, all of them, for a moment.
    Cut,
    /// Connections break, and new ones are closed at once, for up to a lease.
    Refuse,
}

impl Fault {
    /// Whether it can keep a living worker from renewing a lease that others can see run out.
    fn costs_leases(self) -> bool {
        matches!(
            self,
            Self::Stall | Self::StallReplies | Self::Swallow | Self::Refuse | Self::Exchange | Self::KillMaster
        )
    }

    /// Whether no producer may notice it.
    pub(crate) fn is_hidden(self) -> bool {
        matches!(self, Self::KillWorker | Self::FreezeWorker | Self::PartWorker | Self::RollWorker | Self::FlushScripts)
    }

    /// Whether it hits jobs that a worker has, which start again.
    pub(crate) fn hits_workers(self) -> bool {
        matches!(self, Self::KillWorker | Self::FreezeWorker | Self::PartWorker | Self::RollWorker)
    }

    /// Breaks it, and mends it.
    pub(crate) async fn strike(self, plant: &mut Plant) {
        match self {
            Self::KillWorker => plant.kill_worker(),
            Self::KillProducer => plant.kill_producer(),
            Self::RollWorker => plant.roll_worker().await,
            Self::FreezeWorker => {
                let span = LEASE + LEASE.mul_f64(plant.part());
                plant.freeze_worker(span).await;
            }
            Self::PartWorker => {
                let span = LEASE + LEASE.mul_f64(plant.part());
                plant.part_worker(span).await;
            }
            Self::FlushScripts => {
                let flush = |connection: &mut Connection| redis::cmd("SCRIPT").arg("FLUSH").query::<()>(connection);
                plant.tell(flush).expect("the server answers");
            }
            Self::FillMemory => {
                set_memory(plant, 1);
                sleep(Duration::from_secs(1)).await;
                set_memory(plant, 0);
            }
            other => {
                plant.notes.note(if other.costs_leases() { What::Trouble } else { What::Hitch }, 0);
                other.trouble(plant).await;
                plant.notes.note(What::Mended, 0);
            }
        }
    }

    /// Something about the server or the way to it, from its beginning to its end.
    async fn trouble(self, plant: &mut Plant) {
        let (span, some) = (LEASE.mul_f64(1.5 * plant.part()), Duration::from_millis(300));
        match self {
            Self::KillClients => {
                let kill = |connection: &mut Connection| {
                    redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").query::<i64>(connection)
                };
                plant.tell(kill).expect("the server answers");
            }
            Self::PauseClients => {
                let mode = *plant.dice.pick(&["ALL", "WRITE"]);
                let ms = u64::try_from(span.as_millis()).unwrap_or_default().max(1);
                let pause = |connection: &mut Connection| {
                    redis::cmd("CLIENT").arg("PAUSE").arg(ms).arg(mode).query::<()>(connection)
                };
                plant.tell(pause).expect("the server answers");
                sleep(span).await;
            }
            Self::SleepServer => {
                let seconds = span.as_secs_f64().to_string();
                let asleep = plant
                    .ask_aside(move |connection| redis::cmd("DEBUG").arg("SLEEP").arg(seconds).query::<()>(connection));
                asleep.await.expect("DEBUG is allowed");
            }
            Self::RestartServer => {
                plant.ground.one().kill9();
                sleep(some.mul_f64(plant.part())).await;
                plant.ground.one().restart();
            }
            Self::Exchange => match &plant.ground {
                Ground::Sentinel(trio) => trio.failover().await,
                Ground::Cluster(cluster) => {
                    cluster.failover(HASTY).await;
                    plant.is_spent = true; // a second one soon after the first may have its nodes at odds for half a minute
                }
                Ground::One(_) => unreachable!("the scenario has a replica"),
            },
            Self::KillMaster => {
                let needs_replica = plant.needs_replica();
                match &mut plant.ground {
                    Ground::Sentinel(trio) => {
                        trio.kill_master().await;
                        if needs_replica {
                            trio.revive().await;
                        }
                        plant.is_spent = true;
                    }
                    _ => unreachable!("the scenario has a sentinel"),
                }
            }
            Self::Delay => plant.detour(Way::Delay(span / 20), LEASE).await,
            Self::Stall => plant.detour(Way::Stall, span).await,
            Self::StallReplies => plant.detour(Way::StallReplies, span).await,
            Self::Swallow => plant.detour(Way::Swallow, span).await,
            Self::Cut => {
                // The answer to an enqueueing is as short as one, that to a claim as long as the other.
                let most = *plant.dice.pick(&[20, 400]);
                let bytes = usize::try_from(plant.dice.below(most)).unwrap_or_default();
                plant.detour(Way::Cut(bytes), some).await;
            }
            Self::Refuse => plant.detour(Way::Refuse, span).await,
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

fn set_memory(plant: &Plant, bytes: u64) {
    let set = |connection: &mut Connection| -> RedisResult<()> {
        redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(bytes).query(connection)
    };
    plant.tell(set).expect("the server answers");
}
