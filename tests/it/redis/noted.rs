//! What is noted of a job that waits: it counts beside its attempts, and for no later job of its id.

use std::time::Duration;

use sector7g_tasks::broker::{AbortMark, Broker, ClaimedJob, Finish, GiveBack, JobFilter, JobId, Outcome};
use support::RedisServer;

use super::cuts::failure;
use super::trouble::{Hand, LONG};

fn told(job: &ClaimedJob) -> (u32, u32, bool) {
    (job.attempt, job.delivery, job.abort_requested)
}

/// A claim looks for notes of jobs with attempts only, so a job that has none of these yet has them at 0.
#[tokio::test]
async fn notes_before_the_first_attempt_are_found() {
    let server = RedisServer::start();
    let mut hand = Hand::new(&server).await;
    let id = hand.add(b"{}").await.unwrap();
    let lease = hand.claim(LONG).await.remove(0).lease;
    let stop = Outcome::GiveBack { delay: Duration::ZERO, why: GiveBack::Stop };
    hand.call(&[Finish { lease, outcome: stop }], 0, LONG).await.unwrap();
    assert_eq!(server.cli(&["GET", &format!("arq:retry:{id}")]), "0", "a Python worker counts from there");
    hand.broker.abort(&hand.queue, &id).await.unwrap();
    let job = hand.claim(LONG).await.remove(0);
    assert_eq!(told(&job), (1, 2, true), "given back once, and to be aborted");
    let end = Outcome::End { result: None, dead: None, hold_id: Duration::ZERO };
    hand.call(&[Finish { lease: job.lease, outcome: end }], 0, LONG).await.unwrap();

    let waits = hand.add(b"{}").await.unwrap();
    assert!(hand.broker.abort(&hand.queue, &waits).await.is_ok());
    let job = hand.claim(LONG).await.remove(0);
    assert_eq!(told(&job), (1, 1, true), "nobody had it before");
    let end = Outcome::End { result: None, dead: None, hold_id: Duration::ZERO };
    hand.call(&[Finish { lease: job.lease, outcome: end }], 0, LONG).await.unwrap();
    let left = server.cli(&["KEYS", "arq:*"]);
    assert!(!left.contains(waits.as_str()) && !left.contains(id.as_str()), "{left}");
}

/// A Python worker that ends a job leaves our notes; a Python client's next job of that id has none of them, however it ends.
#[tokio::test]
async fn notes_of_an_earlier_job_are_not_the_next_ones() {
    let server = RedisServer::start();
    let mut hand = Hand::new(&server).await;
    let old = r#"{"kind":"error","message":"old","attempt":1,"at":1}"#;
    for way in ["retry", "snooze", "dead", "progress"] {
        let id = JobId::new(way).unwrap();
        server.cli(&["SET", &format!("arq:job:{id}"), "{}"]);
        let notes = format!("arq:s7:job:{id}");
        server.cli(&["HSET", &notes, "f", old, "x", "5", "b", "1", "p", "half", "j", "of another job"]);
        server.cli(&["ZADD", "arq:queue:trouble", "1", id.as_str()]);
        let job = hand.claim(LONG).await.remove(0);
        assert_eq!(told(&job), (1, 1, false), "{way}");
        let new = failure("new", 1, &hand);
        let outcome = match way {
            "retry" => Outcome::Retry { delay: Duration::ZERO, failure: new.into() },
            "dead" => Outcome::End { result: None, dead: Some(new.into()), hold_id: Duration::ZERO },
            _ => Outcome::GiveBack { delay: Duration::ZERO, why: GiveBack::Snooze },
        };
        if way == "progress" {
            hand.broker.set_progress(&hand.queue, &job.lease, "begun".into()).await.unwrap();
        } else {
            hand.call(&[Finish { lease: job.lease, outcome }], 0, LONG).await.unwrap();
        }
        let record = match way {
            "dead" => hand.broker.jobs(&hand.queue, JobFilter::Dead, None, 9).await.unwrap().jobs.remove(0),
            _ => hand.broker.job(&hand.queue, &id).await.unwrap().unwrap(),
        };
        let said: Vec<_> = record.failures.iter().map(|failure| &*failure.message).collect();
        assert_eq!(said, if ["retry", "dead"].contains(&way) { vec!["new"] } else { vec![] }, "{way}");
        assert_eq!((record.abort_requested, record.progress.is_some()), (false, way == "progress"), "{way}");
        if ["retry", "snooze"].contains(&way) {
            let next = hand.claim(LONG).await.remove(0);
            assert_eq!(told(&next), (if way == "retry" { 2 } else { 1 }, 2, false), "{way}");
        }
    }
}

/// A mark that an earlier job of an id has left is no request for its next one.
#[tokio::test]
async fn an_abort_ends_with_its_job_whatever_an_earlier_one_has_left() {
    let server = RedisServer::start();
    let mut hand = Hand::new(&server).await;
    let id = hand.add(b"{}").await.unwrap();
    let lease = hand.claim(LONG).await.remove(0).lease;
    server.cli(&["HSET", &format!("arq:s7:job:{id}"), "b", "1"]);
    server.cli(&["ZADD", "arq:abort", "1", id.as_str()]); // as a Python client asks
    let asked = hand.broker.aborts(std::slice::from_ref(&hand.queue), AbortMark::default(), LONG, LONG).await.unwrap();
    assert_eq!(asked.ids, std::slice::from_ref(&id));
    let end = Outcome::End { result: None, dead: None, hold_id: Duration::ZERO };
    hand.call(&[Finish { lease, outcome: end }], 0, LONG).await.unwrap();
    assert_eq!(server.cli(&["HGET", &format!("arq:s7:job:{id}"), "b"]), "1", "it is still there");
    assert_eq!(server.cli(&["ZRANGE", "arq:abort", "0", "-1"]), "");
}
