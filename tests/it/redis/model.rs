//! The model check on Redis, in real time: many runs at once on one server, each in queues of its own.

use std::sync::Arc;
use std::time::Duration;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, TestRunner};
use sector7g_tasks::broker::{Broker, RedisBroker};
use sector7g_tasks::testing::conformance::Fixture;
use sector7g_tasks::testing::model::{Ground, Step, Stop, run, steps};
use support::RedisServer;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// How many runs there are, unless `PROPTEST_CASES` says that it should be more.
const RUNS: u32 = 128;

/// More would find the server busy too often, and tell nothing.
const AT_ONCE: usize = 32;

/// Fewer steps tell nothing: a busy machine, many of whose calls come too late to tell anything, gets more runs.
const STEPS: usize = 400;

/// So many of them at once: it has been too slow for more.
const FEW: usize = 8;

/// Started within so long.
const PATIENCE: Duration = Duration::from_secs(50);

/// What has not ended by then tells nothing: a busy machine takes some seconds for what it has begun.
const END: Duration = Duration::from_secs(70);

/// How long a failure is made smaller; all together ends before a test is killed.
const SHRINK: Duration = Duration::from_secs(20);

/// Each run has a broker of its own: one whose calls are slow takes over no job for a while.
#[derive(Clone)]
struct OnRedis(String);

impl Fixture for OnRedis {
    async fn broker(&self) -> Arc<dyn Broker> {
        Arc::new(RedisBroker::connect(&self.0).await.expect("the server answers"))
    }

    async fn pass(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }
}

impl Ground for OnRedis {
    const VIRTUAL: bool = false;
}

type Steps = Box<dyn ValueTree<Value = Vec<Step>>>;

/// What became of all runs.
#[derive(Debug, Default)]
struct Tally {
    whole: u32,
    /// That were right, also those before a call that came too late.
    steps: usize,
    too_slow: u32,
}

#[tokio::test]
async fn redis_does_as_the_model() {
    let server = RedisServer::start();
    let ground = OnRedis(server.unix_url());
    let config = Config::default();
    let times = config.cases.div_ceil(256);
    let (all, began) = (RUNS * times, Instant::now());
    let mut runner = TestRunner::new(config);
    let (mut trees, mut runs) = (Vec::<Steps>::new(), JoinSet::new());
    let (mut tally, until, end) = (Tally::default(), began + PATIENCE * times, began + END * times);
    loop {
        let is_early = Instant::now() < until;
        let is_wanting = is_early && (trees.len() < all as usize || tally.steps < STEPS);
        let at_once = if trees.len() < all as usize { AT_ONCE } else { FEW };
        while runs.len() < at_once && is_wanting {
            let tree = steps().new_tree(&mut runner).expect("steps reject nothing");
            let (index, steps, ground) = (trees.len(), tree.current(), ground.clone());
            trees.push(Box::new(tree));
            runs.spawn(async move { (index, steps.len(), run(&ground, &steps).await) });
        }
        let Ok(Some(ended)) = timeout_at(end, runs.join_next()).await else { break };
        let (index, steps, outcome) = ended.expect("no panic");
        match outcome {
            Ok(()) => (tally.whole, tally.steps) = (tally.whole + 1, tally.steps + steps),
            Err(Stop::TooSlow { after }) => (tally.too_slow, tally.steps) = (tally.too_slow + 1, tally.steps + after),
            Err(Stop::Differs(what)) => {
                runs.shutdown().await;
                eprintln!("{what}; now with fewer steps, if any do");
                let (steps, what) = smallest(&ground, &mut trees[index], what).await;
                let steps: Vec<_> = steps.iter().map(|step| format!("{step:?}")).collect();
                panic!("{what}\nafter these steps:\n{}", steps.join("\n"));
            }
        }
    }
    runs.shutdown().await;
    eprintln!("{tally:?} in {:?}", began.elapsed());
    assert!(tally.steps >= STEPS, "the machine was too slow to tell anything: {tally:?}");
}

/// The fewest steps that still fail, as far as there is time to find them, and how.
async fn smallest(ground: &OnRedis, tree: &mut Steps, mut what: String) -> (Vec<Step>, String) {
    let (until, mut steps) = (Instant::now() + SHRINK, tree.current());
    let mut may_go_on = tree.simplify();
    while may_go_on && Instant::now() < until {
        may_go_on = match timeout_at(until, run(ground, &tree.current())).await {
            Ok(Err(Stop::Differs(smaller))) => {
                (steps, what) = (tree.current(), smaller);
                tree.simplify()
            }
            _ => tree.complicate(),
        };
    }
    (steps, what)
}
