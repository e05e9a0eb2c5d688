use super::*;
use crate::broker::MemoryBroker;
use crate::worker::{QueueShare, WorkerSettings};

/// The worker `homer`: `max_jobs` 10, `health_check_interval` 10 s.
fn homer() -> PlannedWorker {
    let settings = WorkerSettings::new("homer", &[]);
    PlannedWorker { name: "homer".to_owned(), settings, queues: vec![QueueShare::new("homer", 1)] }
}

async fn look(broker: &MemoryBroker) -> Result<Vec<WorkerHealth>, String> {
    find_all(broker, &[homer()]).await
}

/// Stores that a worker `name` was last seen at work `age` seconds ago, with `running` jobs.
async fn store(broker: &MemoryBroker, name: &str, age: u64, running: u64) {
    let at = broker.clock().now() - Duration::from_secs(age);
    let queues = vec!["homer".to_owned()];
    let health = WorkerHealth { name: name.to_owned(), queues, at, running, done: 7, ..WorkerHealth::default() };
    broker.set_health(&format!("{name}-1"), Some(&health), Duration::from_mins(1)).await.unwrap();
}

#[tokio::test]
async fn a_worker_is_alive_if_it_was_at_work_of_late() {
    for (age, running, expected) in
        [(0, 0, true), (25, 9, true), (27, 9, false), (25, 10, true), (27, 10, false), (300, 0, false)]
    {
        let broker = MemoryBroker::new();
        store(&broker, "homer", age, running).await;
        assert_eq!(look(&broker).await.is_ok(), expected, "{age} s ago with {running} jobs");
    }
}

#[tokio::test]
async fn another_worker_of_its_queue_does_not_vouch_for_it() {
    let broker = MemoryBroker::new();
    assert!(look(&broker).await.unwrap_err().starts_with("no fresh health entry of `homer` at "));
    store(&broker, "lenny", 0, 0).await;
    assert!(look(&broker).await.is_err());
    store(&broker, "homer", 0, 1).await;
    let found = look(&broker).await.unwrap();
    assert_eq!(
        found.iter().map(summary).collect::<Vec<_>>(),
        ["homer j_complete=7 j_failed=0 j_retried=0 j_ongoing=1"]
    );
}

#[tokio::test]
async fn the_embedded_broker_of_another_process_is_out_of_reach() {
    let broker = MemoryBroker::new();
    store(&broker, "homer", 0, 0).await;
    assert!(matches!(check(&broker, &[homer()]).await, Err(CliError::Unhealthy(why)) if why.contains("embedded")));
}
