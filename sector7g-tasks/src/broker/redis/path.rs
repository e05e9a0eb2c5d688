//! The path of a job: enqueue, claim and finish, extend; what the scripts are told, and what they answer.

use std::time::Duration;

use redis::Value;

use super::link::Link;
use super::reply::{Reply, flags};
use super::script::{CLAIM, Call, ENQUEUE, EXTEND};
use crate::broker::{
    BrokerError, Claim, Claimed, ClaimedJob, Enqueued, Extended, Finish, Finished, GiveBack, KeptResult, Lease, NewJob,
    Outcome, REQUEST_MEMORY, RequestId,
};
use crate::clock::Timestamp;
use crate::job::{Due, Failure, FailureKind};

/// What a queue keeps of dead letters.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeadLetters {
    pub(super) most: usize,
    pub(super) age: Duration,
}

/// Longer spans would leave the numbers that a sorted set holds exactly: 10,000 years.
const LONGEST_MS: u64 = 10_000 * 366 * 86_400_000;

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX).min(LONGEST_MS)
}

/// A span for which something is to live: at least a millisecond, which Redis wants.
fn lifetime(span: Duration) -> u64 {
    millis(span).max(1)
}

/// Adds jobs of one queue.
pub(super) async fn enqueue(
    link: &Link,
    queue: &str,
    jobs: &[&NewJob],
    request: RequestId,
) -> Result<Vec<Enqueued>, BrokerError> {
    let RequestId { client, number, settled } = request;
    let mut call = ENQUEUE.key(queue);
    let are_new = jobs.iter().all(|job| job.is_new_id && is_due_at_once(job));
    call.arg(format!("{client:016x}")).arg(number).arg(settled).arg(lifetime(REQUEST_MEMORY)).arg(u8::from(are_new));
    for job in jobs {
        call.arg(job.id.as_str()).arg(&*job.payload);
        if !are_new {
            call.arg(options(job));
        }
    }
    let added = flags("enqueue", link.script(&call).await?)?;
    Ok(added.into_iter().map(|added| if added { Enqueued::New } else { Enqueued::Duplicate }).collect())
}

/// Whether it is due at once, and nothing else is asked for.
fn is_due_at_once(job: &NewJob) -> bool {
    job.due == Due::Now && job.expires_in.is_none() && !job.replace_finished
}

/// What the script is to know of a job besides; most need nothing.
fn options(job: &NewJob) -> String {
    if is_due_at_once(job) {
        return String::new();
    }
    let due = match job.due {
        Due::Now => "d0".to_owned(),
        Due::In(delay) => format!("d{}", millis(delay)),
        Due::At(moment) => format!("a{}", moment.as_millis().min(i64::try_from(LONGEST_MS).unwrap_or(i64::MAX))),
    };
    let expires = job.expires_in.map(|span| lifetime(span).to_string()).unwrap_or_default();
    format!("{due} {expires} {}", u8::from(job.replace_finished))
}

/// Reports what has ended and leases what is due. The same request may be sent again as it is: its token tells. Whether it is to wait
/// behind another command is said, as it is then no sign that the server could be asked meanwhile.
pub(super) fn claim(
    queue: &str,
    request: &Claim<'_>,
    dead: DeadLetters,
    is_to_wait: bool,
) -> Result<Call, BrokerError> {
    let mut call = CLAIM.key(queue);
    call.arg(format!("{:016x}", request.token.worker)).arg(format!("{:x}", request.token.call));
    call.arg(lifetime(request.lease)).arg(request.max).arg(dead.most).arg(lifetime(dead.age));
    call.arg(lost_lease()?).arg(request.finished.len()).arg(u8::from(is_to_wait));
    add_finishes(&mut call, request.finished)?;
    Ok(call)
}

/// What that call was answered.
pub(super) fn claimed(request: &Claim<'_>, answer: Value) -> Result<Claimed, BrokerError> {
    let mut reply = Reply::of("claim", answer)?;
    let (now, more_due) = (reply.moment()?, reply.flag()?);
    let mut finished = vec![Finished::Applied; request.finished.len()];
    let (lost, odd) = (reply.count::<usize>()?, reply.count::<usize>()?);
    let runs = reply.count::<usize>()?;
    let others = odd.saturating_mul(5).saturating_add(runs.saturating_mul(2)).saturating_add(lost);
    let many = reply.len().saturating_sub(others) / 2;
    let mut jobs = (0..many).map(|_| claimed_job(&mut reply, request)).collect::<Result<Vec<_>, _>>()?;
    let mut undated = jobs.iter_mut();
    for _ in 0..runs {
        let (count, due_at) = (reply.count::<usize>()?, reply.moment()?);
        undated.by_ref().take(count).flatten().for_each(|job| job.due_at = due_at);
    }
    for _ in 0..odd {
        tell_odd(&mut reply, &mut jobs)?;
    }
    for _ in 0..lost {
        *reply.place_in(&mut finished)? = Finished::LeaseLost;
    }
    Ok(Claimed { jobs: jobs.into_iter().flatten().collect(), finished, more_due, now })
}

/// Takes in what is not as with most jobs of one of them.
fn tell_odd(reply: &mut Reply, jobs: &mut [Option<ClaimedJob>]) -> Result<(), BrokerError> {
    let job = reply.place_in(jobs)?;
    let (attempt, delivery, abort_requested) = (reply.count()?, reply.count()?, reply.flag()?);
    let unknown_since = Some(reply.moment()?).filter(|since| *since != Timestamp::default());
    if let Some(job) = job {
        (job.attempt, job.delivery) = (attempt, delivery);
        (job.abort_requested, job.unknown_since) = (abort_requested, unknown_since);
    }
    Ok(())
}

/// A job at its first attempt, of which nothing else is known; when it was due is told of many at once.
fn claimed_job(reply: &mut Reply, request: &Claim<'_>) -> Result<Option<ClaimedJob>, BrokerError> {
    let id = reply.id("is not run but kept as a dead letter")?;
    let payload = reply.bytes()?;
    Ok(id.map(|id| ClaimedJob {
        lease: Lease { id, token: request.token },
        payload,
        attempt: 1,
        delivery: 1,
        due_at: Timestamp::default(),
        abort_requested: false,
        unknown_since: None,
    }))
}

/// A lost lease as a failure; the script fills in which attempt it was, and when it was noticed.
fn lost_lease() -> Result<String, BrokerError> {
    let failure = Failure::new(FailureKind::LeaseLost, crate::broker::LEASE_LOST, 0, Timestamp::default());
    let text = json(&failure)?;
    Ok(text.replace("\"attempt\":0", "\"attempt\":@attempt").replace("\"at\":0", "\"at\":@at"))
}

fn json(failure: &Failure) -> Result<String, BrokerError> {
    serde_json::to_string(failure).map_err(|error| BrokerError::Refused(error.to_string()))
}

/// What ended by one token in one way stands together: most of a worker's finishes do.
fn add_finishes(call: &mut Call, finished: &[Finish]) -> Result<(), BrokerError> {
    for group in finished.chunk_by(|a, b| a.lease.token == b.lease.token && Kind::of(a) == Kind::of(b)) {
        let kind = Kind::of(&group[0]);
        call.arg(group[0].lease.token.to_string());
        match kind {
            Kind::Dropped => call.arg("d"),
            Kind::Kept(keep) => call.arg(keep.map_or_else(|| "k".to_owned(), |keep| format!("k{}", lifetime(keep)))),
            Kind::Ended => call.arg("e"),
            Kind::Retried => call.arg("r"),
            Kind::GivenBack => call.arg("g"),
        };
        call.arg(group.len());
        for finish in group {
            call.arg(finish.lease.id.as_str());
            match (kind, &finish.outcome) {
                (Kind::Dropped, _) => {}
                (Kind::Kept(_), Outcome::End { result: Some(result), .. }) => drop(call.arg(&*result.record)),
                (_, outcome) => add_outcome(call, outcome)?,
            }
        }
    }
    Ok(())
}

/// What most ends are told by in fewer words, and all others.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Dropped,
    Kept(Option<Duration>),
    Ended,
    Retried,
    GivenBack,
}

impl Kind {
    fn of(finish: &Finish) -> Self {
        match &finish.outcome {
            Outcome::End { result, dead: None, hold_id } if hold_id.is_zero() => {
                kept(result.as_ref()).map_or(Self::Dropped, |result| Self::Kept(result.keep))
            }
            Outcome::End { .. } => Self::Ended,
            Outcome::Retry { .. } => Self::Retried,
            Outcome::GiveBack { .. } => Self::GivenBack,
        }
    }
}

/// Redis has no lifetime of 0.
fn kept(result: Option<&KeptResult>) -> Option<&KeptResult> {
    result.filter(|result| result.keep != Some(Duration::ZERO))
}

/// Four values.
fn add_outcome(call: &mut Call, outcome: &Outcome) -> Result<(), BrokerError> {
    match outcome {
        Outcome::End { result, dead, hold_id } => {
            match kept(result.as_ref()) {
                Some(result) => {
                    call.arg(&*result.record);
                    match result.keep {
                        Some(keep) => call.arg(lifetime(keep)),
                        None => call.arg(""),
                    };
                }
                None => drop(call.arg("").arg("")),
            }
            call.arg(dead.as_deref().map(json).transpose()?.unwrap_or_default()).arg(millis(*hold_id));
        }
        Outcome::Retry { delay, failure } => {
            call.arg(millis(*delay)).arg(json(failure)?).arg(failure.attempt).arg("");
        }
        Outcome::GiveBack { delay, why } => {
            let why = match why {
                GiveBack::Stop => "s",
                GiveBack::Snooze => "z",
                GiveBack::UnknownTask => "u",
            };
            call.arg(millis(*delay)).arg(why).arg("").arg("");
        }
    }
    Ok(())
}

pub(super) async fn extend(
    link: &Link,
    queue: &str,
    leases: &[Lease],
    lease: Duration,
) -> Result<Vec<Extended>, BrokerError> {
    let mut call = EXTEND.key(queue);
    call.arg(lifetime(lease));
    for held in leases {
        call.arg(held.id.as_str()).arg(held.token.to_string());
    }
    let held = flags("extend", link.script(&call).await?)?;
    Ok(held.into_iter().map(|held| if held { Extended::Renewed } else { Extended::Lost }).collect())
}
