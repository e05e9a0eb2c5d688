//! What one call may carry.

use std::time::Duration;

use sector7g_tasks::broker::{Broker, Claim, Due, JobId, LeaseToken, MAX_BATCH_BYTES, NewJob, QueueName, RedisBroker};
use support::RedisServer;

/// An answer holds four MiB of payloads, and one job that is larger by itself.
#[tokio::test]
async fn a_claim_of_large_jobs_takes_what_fits_into_an_answer() {
    const JOB: usize = 1_500_000;
    let server = RedisServer::start();
    let broker = RedisBroker::connect(server.url()).await.unwrap();
    let queue = QueueName::new("large").unwrap();
    let job = |size: usize| NewJob {
        queue: queue.clone(),
        id: JobId::generate(),
        payload: vec![b'x'; size].into(),
        due: Due::Now,
        expires_in: None,
        replace_finished: false,
    };
    for size in [2 * MAX_BATCH_BYTES, JOB, JOB, JOB, JOB] {
        broker.enqueue(&[job(size)]).await.unwrap();
    }
    let mut sizes = Vec::new();
    for call in 1..=4 {
        let token = LeaseToken { worker: 7, call };
        let request = Claim { queue: &queue, finished: &[], max: 10, lease: Duration::from_secs(30), token };
        let claimed = broker.claim(&request).await.unwrap();
        sizes.push((claimed.jobs.len(), claimed.more_due));
    }
    assert_eq!(sizes, [(1, true), (3, true), (1, false), (0, false)]);
}
