//! The pages in a headless Chromium: how they look, follow by themselves, and are used by keyboard.

mod driver;
mod looks;
mod uses;

use sector7g_tasks::broker::WorkerHealth;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use self::driver::Browser;
use super::*;

/// Pages on a port of loopback, until it is dropped.
struct Served {
    address: String,
    _serving: JoinSet<()>,
}

impl Served {
    async fn start(router: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let mut serving = JoinSet::new();
        serving.spawn(async { axum::serve(listener, router).await.unwrap() });
        Self { address, _serving: serving }
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }
}

/// A plant with something of everything: due and deferred jobs, dead letters, a paused queue, workers; ids of letters.
async fn plant(broker: &Arc<dyn Broker>) -> Vec<String> {
    let jobs = |task: &'static str, queue: &'static str, count: u32| {
        (0..count).map(move |nth| Job::untyped(task, queue).arg(nth).named_arg("depth", 12)).collect::<Vec<_>>()
    };
    enqueue(broker, jobs("count_donuts", "homer", 3)).await;
    kill(broker, "homer", "the box of donuts is empty").await;
    let letters = enqueue(broker, jobs("inspect_reactor", "lenny", 2)).await;
    kill(broker, "lenny", "no coolant in reactor 7\nat the third valve\nof the second loop").await;
    enqueue(broker, jobs("inspect_reactor", "lenny", 12)).await;
    enqueue(broker, jobs("write_report", "carl", 4)).await;
    let later = Job::untyped("clean_up", "inanimate_rod").delay(Duration::from_secs(3600));
    enqueue(broker, vec![later]).await;
    broker.set_paused(&name("carl"), true).await.unwrap();
    for (nth, queue) in (1..).zip(["homer", "lenny", "inanimate_rod", "carl"]) {
        lives(broker, queue, nth, 120 * u64::from(nth)).await;
    }
    letters
}

/// Has a worker say that it lives.
async fn lives(broker: &Arc<dyn Broker>, queue: &str, pid: u32, done: u64) {
    let now = broker.clock().now();
    let health = WorkerHealth {
        name: queue.to_owned(),
        instance: format!("{pid:016x}"),
        queues: vec![queue.to_owned()],
        host: "springfield".to_owned(),
        pid,
        started_at: now - Duration::from_secs(4000),
        at: now,
        done,
        failed: 2,
        retried: 5,
        running: 1,
        max_jobs: 15,
        ..WorkerHealth::default()
    };
    let key = format!("{queue}:{}", health.instance);
    broker.set_health(&key, Some(&health), Duration::from_secs(600)).await.unwrap();
}
