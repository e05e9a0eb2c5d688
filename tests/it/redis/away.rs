//! Who may take jobs over whose leases ran out while the server was away, and calls that come too late.

use std::time::Duration;

use sector7g_tasks::broker::{Broker, BrokerError, Claim, Extended, Finished, JobState, Lease, RedisBroker};
use support::{Proxy, RedisServer, Way};
use tokio::time::{Instant, sleep};

use super::trouble::{Hand, LONG, done, let_arrive};

const LEASE: Duration = Duration::from_secs(1);

/// An outage that costs a lease its time.
const SHORT: Duration = Duration::from_millis(1_500);

/// How a server is away.
#[derive(Clone, Copy, Debug)]
enum Away {
    /// Calls wait for it.
    Frozen,
    /// Calls fail at once.
    Refused,
}

/// A job's holder, who had leased it before `server` went away for longer than the lease, and another worker, who tried
/// to claim all the while and took nothing over.
async fn an_outage(server: &RedisServer, proxy: &Proxy, away: Away, span: Duration) -> (Hand, Lease, Hand) {
    let (mut holder, mut other) = (Hand::at(&proxy.url()).await, Hand::at(&proxy.url()).await);
    assert_eq!(other.claim(LEASE).await.len(), 0);
    holder.add(b"{}").await.unwrap();
    let job = holder.claim(LEASE).await.remove(0);
    let until = Instant::now() + span;
    match away {
        Away::Frozen => {
            server.freeze();
            let pause = async {
                tokio::time::sleep_until(until).await;
                server.thaw();
            };
            let (claimed, ()) = tokio::join!(other.claim(LEASE), pause);
            assert_eq!(claimed.len(), 0, "the lease has ended, but nobody could have renewed it");
        }
        Away::Refused => {
            proxy.set(Way::Refuse);
            while Instant::now() < until {
                let refused = other.call(&[], 10, LEASE).await.unwrap_err();
                assert!(refused.is_transient(), "{refused}");
                other.token.call -= 1;
                sleep(LEASE / 20).await;
            }
            proxy.set(Way::Pass);
        }
    }
    assert_eq!(other.claim(LEASE).await.len(), 0, "{away:?}: nobody could have renewed it");
    (holder, job.lease, other)
}

/// While Redis was away nobody could renew a lease. Who comes first takes none over, be it a worker that has just begun,
/// and who holds one has a lease's time to renew it.
#[tokio::test]
async fn an_outage_costs_nobody_a_lease() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let long = Duration::from_secs(8);
    for (away, span) in [(Away::Frozen, SHORT), (Away::Refused, SHORT), (Away::Refused, long)] {
        let (mut holder, lease, _) = an_outage(&server, &proxy, away, span).await;
        let mut third = Hand::new(&server).await;
        let claimed = third.call(&[], 10, LEASE).await.unwrap();
        assert_eq!((claimed.jobs.len(), claimed.more_due), (0, false), "{away:?}: it was not there meanwhile");
        assert_eq!(holder.extend(&lease).await, Extended::Renewed);
        assert_eq!(holder.call(&[done(lease)], 0, LEASE).await.unwrap().finished, [Finished::Applied]);
    }
}

/// While somebody asks of a queue, the server is there: a worker that has just begun takes over at once what others have
/// seen run out.
#[tokio::test]
async fn who_begins_knows_what_others_have_seen() {
    let server = RedisServer::start();
    let (mut dead, mut other) = (Hand::new(&server).await, Hand::new(&server).await);
    let lost = dead.add(b"{}").await.unwrap();
    dead.claim(LEASE).await;
    other.add(b"{}").await.unwrap();
    let kept = other.claim(LONG).await.remove(0).lease;
    let until = Instant::now() + LEASE + LEASE / 10;
    while Instant::now() < until {
        assert_eq!(other.extend(&kept).await, Extended::Renewed);
        sleep(LEASE / 20).await;
    }
    let begun = Hand::new(&server).await.claim(LEASE).await;
    assert_eq!(begun.into_iter().map(|job| (job.lease.id, job.attempt)).collect::<Vec<_>>(), [(lost, 2)]);
}

/// A holder who does not come back for a lease's time loses its job as ever, and nobody is kept busy until then.
#[tokio::test]
async fn an_outage_holds_no_job_up_for_ever() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    for away in [Away::Frozen, Away::Refused] {
        let (holder, lease, mut other) = an_outage(&server, &proxy, away, SHORT).await;
        let (mut claims, began) = (0, Instant::now());
        let attempt = loop {
            other.broker.wait(&[other.queue.clone()], Duration::from_secs(5), Duration::from_secs(5)).await.unwrap();
            claims += 1;
            if let Some(job) = other.claim(LEASE).await.pop() {
                break job.attempt;
            }
            assert!(began.elapsed() < LONG, "nobody gets the job");
        };
        assert_eq!(attempt, 2);
        assert!(claims < 6, "{away:?}: {claims} claims, as it waits for a lease's time, and does not spin");
        assert_eq!(holder.extend(&lease).await, Extended::Lost);
    }
}

/// A worker that is killed again and again begins anew each time, after a pause in which nobody could know whether Redis was
/// there: what it had is taken over all the same, within its lease's first pauses or longer ones.
#[tokio::test]
async fn who_never_lives_for_a_lease_takes_over_at_last() {
    let server = RedisServer::start();
    for (lease, pause) in [(2_000, 1_200), (1_000, 1_500)].map(|span| (millis(span.0), millis(span.1))) {
        let mut dead = Hand::new(&server).await;
        let lost = dead.add(b"{}").await.unwrap();
        let mut lives = 0;
        let again = loop {
            assert_eq!(dead.claim(lease).await.len(), usize::from(lives == 0), "it lives for a moment");
            sleep(pause).await;
            lives += 1;
            let mut next = Hand::new(&server).await;
            if let Some(job) = next.claim(lease).await.pop() {
                break job;
            }
            assert!(lives < 12, "nobody gets the job, in {lives} lives");
            dead = next;
        };
        assert_eq!((&again.lease.id, again.attempt), (&lost, 2));
        assert!(lives > 3, "in {lives} lives: who had it might have renewed its lease meanwhile");
        dead.call(&[done(again.lease)], 0, lease).await.unwrap();
    }
    let kept: u64 = server.cli(&["PTTL", "arq:queue:trouble:s7:up"]).parse().unwrap();
    assert!(kept > 1_800_000, "pauses between starts grow to minutes");
}

const fn millis(span: u64) -> Duration {
    Duration::from_millis(span)
}

/// A claim that its way holds up arrives when it has been repeated and its worker has gone on: it leases nothing, which
/// nobody would run.
#[tokio::test]
async fn a_claim_that_arrives_late_leases_nothing() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let mut hand = Hand::new(&server).await;
    let builder = RedisBroker::builder(proxy.url()).response_timeout(Duration::from_millis(200));
    let slow = builder.connect().await.unwrap();
    let queue = hand.queue.clone();
    for has_jobs in [false, true] {
        if has_jobs {
            hand.add(b"{}").await.unwrap();
        }
        hand.token.call += 1;
        slow.ready().await.unwrap(); // a connection is there
        proxy.set(Way::Stall);
        let request = Claim { queue: &queue, finished: &[], max: 10, lease: LONG, token: hand.token };
        let error = slow.claim(&request).await.expect_err("it is held up");
        assert!(error.is_transient(), "{error}");
        let first = hand.broker.claim(&request).await.unwrap().jobs;
        assert_eq!(first.len(), usize::from(has_jobs));
        let ended: Vec<_> = first.into_iter().map(|job| done(job.lease)).collect();
        hand.call(&ended, 0, LONG).await.unwrap();
        let left = hand.add(b"{}").await.unwrap();
        let_arrive(&server, &proxy).await;
        let waiting = hand.broker.job(&queue, &left).await.unwrap().unwrap();
        assert_eq!(waiting.state, JobState::Queued, "has jobs: {has_jobs}");
        let refused = hand.broker.claim(&request).await.unwrap_err();
        assert!(matches!(&refused, BrokerError::Refused(why) if why.contains("later claim")), "{refused}");
        let job = hand.claim(LONG).await.remove(0);
        hand.call(&[done(job.lease)], 0, LONG).await.unwrap();
    }
}
