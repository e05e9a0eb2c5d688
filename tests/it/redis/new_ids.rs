//! Ids that are told as new, and are not.

use sector7g_tasks::broker::{Broker as _, Enqueued, JobId, NewJob, RequestId};
use support::RedisServer;

use super::trouble::{Hand, LONG};

/// A job that was added in the very millisecond is no part of the call that adds it again: it stays.
#[tokio::test]
async fn a_job_of_the_same_millisecond_stays() {
    let server = RedisServer::start();
    let mut hand = Hand::new(&server).await;
    hand.add(b"{}").await.unwrap(); // the script is loaded
    hand.claim(LONG).await;
    for round in 0..100 {
        let [first, second] = [(); 2].map(|()| NewJob { is_new_id: true, ..hand.job(b"{}") });
        let both = [first.clone(), second.clone()];
        let adding = [std::slice::from_ref(&first), &both];
        let [one, two] = adding.map(|jobs| hand.broker.enqueue(jobs, RequestId::unique()));
        let (one, two) = tokio::join!(one, two); // side by side on one connection, so mostly within a millisecond
        assert_eq!(one.unwrap(), [Enqueued::New], "round {round}");
        assert_eq!(two.unwrap(), [Enqueued::Duplicate, Enqueued::New], "round {round}");
        let claimed: Vec<JobId> = hand.claim(LONG).await.into_iter().map(|job| job.lease.id).collect();
        assert_eq!(claimed, [first.id, second.id], "round {round}");
    }
}
