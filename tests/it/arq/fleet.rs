//! Workers of both languages on one queue, killed and started again all along.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sector7g_tasks::codec::Codec;
use sector7g_tasks::prelude::*;
use support::{Dice, Program, PythonWorker};
use tokio::time::{Instant, sleep};

use super::ground::{Ground, MIXED, until};
use super::in_codec;

const JOBS: u32 = 3_000;

/// Within which all of them end: a Python worker's claims outlive it by its timeout and ten seconds.
const LIMIT: Duration = Duration::from_secs(60);

/// How long workers are killed; from then on they are left in peace.
const KILLING: Duration = Duration::from_secs(8);

/// Either kind of worker.
enum Member {
    Rust(Program),
    Python(PythonWorker),
}

impl Member {
    fn start(ground: &Ground, is_rust: bool) -> Self {
        if is_rust {
            return Self::Rust(ground.rust_process());
        }
        let options = ["--ledger", "ledger", "--job-timeout", "1", "--max-tries", "100", "--max-jobs", "10"];
        Self::Python(ground.spawn_python_worker(&options))
    }

    /// Kills it, notes that it is dead, and starts another one.
    fn replace(&mut self, ground: &Ground) {
        let pid = match self {
            Self::Rust(program) => {
                program.kill9();
                program.pid()
            }
            Self::Python(worker) => {
                worker.kill9();
                worker.pid()
            }
        };
        ground.redis(&["RPUSH", "ledger", &format!("K - 0 {pid}")]);
        *self = Self::start(ground, matches!(self, Self::Rust(_)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_job_is_lost_or_finished_twice_however_workers_die() {
    // In arq's own codec; what another one would change is tested elsewhere.
    in_codec("pickle", Codec::Pickle, async |ground| {
        let mut dice = Dice::thrown();
        let jobs = (0..JOBS).map(|n| Job::untyped("sleep", "mixed").arg(0.005 * f64::from(n % 8)));
        let handles = ground.client.enqueue_all(jobs).await.unwrap();
        let began = Instant::now();
        let mut fleet = [true, true, false, false].map(|is_rust| Member::start(&ground, is_rust));
        let mut kills = 0;
        while began.elapsed() < KILLING {
            sleep(Duration::from_millis(150 + dice.below(250))).await;
            fleet[usize::try_from(dice.below(4)).unwrap()].replace(&ground);
            kills += 1;
        }
        until_drained(&ground, began + LIMIT).await;
        let runs = account(&ground.redis(&["LRANGE", "ledger", "0", "-1"]));
        for handle in &handles {
            handle.result().await.unwrap();
            assert!(runs.contains(handle.id().as_str()), "job {} has a result and no run", handle.id());
        }
        eprintln!("{} jobs, {kills} kills, {:?}", handles.len(), began.elapsed());
        ground.assert_no_job_left();
        drop(fleet);
    })
    .await;
}

async fn until_drained(ground: &Ground, deadline: Instant) {
    until("the queue is empty", async || {
        assert!(Instant::now() < deadline, "{} jobs are left", ground.redis(&["ZCARD", MIXED]));
        sleep(Duration::from_millis(50)).await;
        ground.redis(&["ZCARD", MIXED]) == "0"
    })
    .await;
}

/// Goes through the ledger: a run begins when no other one goes on, its worker dead or its end written; and after an
/// end, only if the worker died before it could report that. Returns the jobs that ended.
fn account(ledger: &str) -> BTreeSet<String> {
    let mut holders: BTreeMap<&str, &str> = BTreeMap::new();
    let (mut dead, mut ended, mut kinds) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
    for line in ledger.lines() {
        let [what, id, _try, pid] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("a line {line:?}") };
        match what {
            "K" => drop(dead.insert(pid)),
            "S" => {
                *kinds.entry(pid).or_insert(0) += 1;
                if let Some(before) = holders.insert(id, pid) {
                    assert!(dead.contains(before), "{id} began at {pid} while {before} had it, or after its end there");
                }
            }
            "E" => {
                assert_eq!(holders.get(id), Some(&pid), "{id} ended at {pid}, which did not have it any more");
                ended.insert(id.to_owned());
            }
            _ => panic!("a line {line:?}"),
        }
    }
    assert!(kinds.len() > 4, "all kinds of workers took part: {kinds:?}");
    ended
}
