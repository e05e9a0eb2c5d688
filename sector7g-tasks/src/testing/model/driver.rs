use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use super::claims::{Claimed, Claiming};
use super::contract::{End, Held, Model};
use super::pace::Pace;
use super::steps::{CALLERS, IDS, Letter, Pick, QUEUES, WORKERS};
use super::{Ending, Ground, Job, Step, Stop};
use crate::broker::{
    Broker, BrokerError, Claim, Due, Enqueued, Extended, Finish, Finished, JobId, KeptResult, Lease, LeaseToken,
    NewJob, Outcome, QueueName, RequestId,
};
use crate::clock::Timestamp;
use crate::job::{Failure, FailureKind};
use bytes::Bytes;
use tokio::time::Instant;

/// How long a [`Step::Sleep`] is, in ticks: longer than any lease and what comes after it.
const SLEEP: u64 = 60;

/// How many ticks go by before somebody asks; and how long it may be until then, or nobody can say what a broker knows.
const ASK_EVERY: u64 = 4;
const SILENCE: Duration = Duration::from_millis(900);

/// The broker and its model, side by side.
pub(super) struct Driver<'a, G> {
    ground: &'a G,
    pub(super) broker: Arc<dyn Broker>,
    pub(super) pace: Pace,
    pub(super) model: Model,
    pub(super) queues: Vec<QueueName>,
    pub(super) ids: Vec<JobId>,
    workers: Vec<Worker>,
    callers: Vec<Caller>,
    requests: Vec<Request>,
    /// All leases that ever were.
    leases: Vec<Held>,
    /// Numbers payloads and results.
    made: u64,
    slept: u32,
    /// When somebody asked last.
    asked: Instant,
}

/// A worker, as long as it lives.
struct Worker {
    number: u64,
    calls: u64,
    /// Its calls of each queue.
    asked: Vec<Vec<Call>>,
}

/// A claim as it was asked and answered.
#[derive(Clone)]
struct Call {
    claiming: Claiming,
    finishes: Vec<Finish>,
    answers: Vec<Finished>,
    leased: Vec<u8>,
}

struct Caller {
    number: u64,
    requests: u64,
    settled: u64,
}

/// An enqueue call as it was asked and, if it has arrived, answered.
#[derive(Clone)]
struct Request {
    id: RequestId,
    queue: u8,
    jobs: Vec<(Job, u64)>,
    answers: Option<Vec<Enqueued>>,
}

impl Worker {
    fn new() -> Self {
        Self { number: rand::random(), calls: 0, asked: vec![Vec::new(); usize::from(QUEUES)] }
    }
}

/// Ends the run unless the broker did what it must.
pub(super) fn same<T: PartialEq + Debug>(what: &str, found: &T, allowed: &T) -> Result<(), Stop> {
    if found == allowed {
        return Ok(());
    }
    Err(Stop::Differs(format!("{what}: it is {found:?}, and has to be {allowed:?}")))
}

pub(super) fn numbered(kind: &str, number: u64) -> Bytes {
    format!("{kind} {number}").into()
}

/// The number in a payload or result; one that nobody made is `u64::MAX`.
pub(super) fn number_of(bytes: &Bytes) -> u64 {
    let number = |text: &str| text.rsplit_once(' ')?.1.parse().ok();
    std::str::from_utf8(bytes).ok().and_then(number).unwrap_or(u64::MAX)
}

impl<'a, G: Ground> Driver<'a, G> {
    pub(super) async fn new(ground: &'a G) -> Self {
        let broker = ground.broker().await;
        let run: u64 = rand::random();
        let name = |kind: &str, number: u8| format!("model-{run:016x}-{kind}-{number}");
        Self {
            ground,
            pace: Pace::new(broker.clock().clone(), G::VIRTUAL),
            broker,
            model: Model::new(G::VIRTUAL),
            queues: (0..QUEUES).filter_map(|queue| QueueName::new(name("queue", queue)).ok()).collect(),
            ids: (0..IDS).filter_map(|id| JobId::new(name("job", id)).ok()).collect(),
            workers: (0..WORKERS).map(|_| Worker::new()).collect(),
            callers: (0..CALLERS).map(|_| Caller { number: rand::random(), requests: 0, settled: 0 }).collect(),
            requests: Vec::new(),
            leases: Vec::new(),
            made: 0,
            slept: 0,
            asked: Instant::now(),
        }
    }

    /// The answer of a call, if it came in time.
    pub(super) fn answer<T>(&self, answer: Result<T, BrokerError>) -> Result<T, Stop> {
        self.pace.is_in_time(self.model.now)?;
        answer.map_err(|error| Stop::Differs(format!("a call failed: {}", crate::error::Chain(&error))))
    }

    pub(super) async fn step(&mut self, step: &Step) -> Result<(), Stop> {
        if self.model.now == 0 || !self.pace.has_time(self.model.now) {
            self.pass(1).await?;
        }
        self.model.call += 1;
        match step {
            Step::Enqueue { caller, queue, jobs, settles, arrives } => {
                self.enqueue(*caller, *queue, jobs, *settles, *arrives).await?;
            }
            Step::EnqueueAgain { request } if !self.requests.is_empty() => {
                let index = request.index(self.requests.len());
                self.request(index).await?;
            }
            Step::Claim { worker, queue, max, lease, finishes } => {
                let finishes = self.finishes(*queue, finishes);
                self.claim(*worker, *queue, usize::from(*max), *lease, finishes).await?;
            }
            Step::ClaimAgain { worker, queue, later } => self.claim_again(*worker, *queue, *later).await?,
            Step::Crash { worker } => self.workers[usize::from(*worker)] = Worker::new(),
            Step::Extend { leases, span } => self.extend(leases, *span).await?,
            Step::Progress { lease, value } => {
                if let Some(held) = self.pick(lease, &self.leases) {
                    self.progress(&held, *value).await?;
                }
            }
            Step::Abort { id, queue } => {
                let found = self.broker.abort(self.queue(*queue), self.id(*id)).await;
                let found = self.answer(found)?;
                same("a job to abort", &found, &self.model.abort(*id, *queue))?;
            }
            Step::RetryDead { letter } => self.retry_dead(letter).await?,
            Step::DiscardDead { letter } => {
                let (id, queue) = self.letter(letter);
                let found = self.broker.discard_dead(self.queue(queue), &self.ids[usize::from(id)..][..1]).await;
                let found = self.answer(found)?;
                same("a dead letter to discard", &found, &vec![self.model.discard_dead(id, queue)])?;
            }
            Step::MakeDue { id, queue } => {
                let found = self.broker.make_due(self.queue(*queue), self.id(*id)).await;
                let found = self.answer(found)?;
                same("a job to make due", &found, &self.model.make_due(*id, *queue))?;
            }
            Step::SetPaused { queue, paused } => {
                let found = self.broker.set_paused(self.queue(*queue), *paused).await;
                let found = self.answer(found)?;
                same("whether that pauses it or lets it go on", &found, &self.model.set_paused(*queue, *paused))?;
            }
            Step::Pass { ticks } => return self.look_and_pass(*ticks).await,
            Step::Sleep if self.slept < 2 => {
                self.slept += 1;
                return self.look_and_pass(SLEEP).await;
            }
            Step::EnqueueAgain { .. } | Step::Sleep => {}
        }
        self.ground.audit();
        if G::VIRTUAL { self.look_at_all().await } else { Ok(()) }
    }

    /// In real time, looks at the end of each pause: what went wrong before it shows then, too.
    async fn look_and_pass(&mut self, ticks: u64) -> Result<(), Stop> {
        self.pass(ticks).await?;
        self.ground.audit();
        self.look_at_all().await
    }

    pub(super) async fn pass(&mut self, ticks: u64) -> Result<(), Stop> {
        let mut left = ticks;
        while left > 0 {
            let some = left.min(ASK_EVERY);
            left -= some;
            self.model.pass(some);
            self.pace.pass_to(self.model.now, self.ground).await;
            while !self.pace.has_time(self.model.now) {
                self.model.pass(1);
                self.pace.pass_to(self.model.now, self.ground).await;
            }
            self.ask_around().await?;
        }
        Ok(())
    }

    /// Workers ask now and then: where nobody does, a broker does not know whether its server was there.
    async fn ask_around(&mut self) -> Result<(), Stop> {
        let asked = self.broker.wait(&self.queues, Self::ZERO, Self::ZERO).await;
        self.answer(asked)?;
        if !G::VIRTUAL && self.asked.elapsed() > SILENCE {
            return Err(Stop::TooSlow { after: 0 });
        }
        self.asked = Instant::now();
        Ok(())
    }

    pub(super) fn queue(&self, queue: u8) -> &QueueName {
        &self.queues[usize::from(queue)]
    }

    pub(super) fn id(&self, id: u8) -> &JobId {
        &self.ids[usize::from(id)]
    }

    /// Which job it is; an id that nobody gave is 255.
    pub(super) fn number_of_id(&self, id: &JobId) -> u8 {
        let found = self.ids.iter().position(|of| of == id);
        found.and_then(|at| u8::try_from(at).ok()).unwrap_or(u8::MAX)
    }

    pub(super) fn tick_of(&self, moment: Timestamp) -> Option<u64> {
        self.pace.tick_of(moment)
    }

    async fn enqueue(&mut self, caller: u8, queue: u8, jobs: &[Job], settles: bool, arrives: bool) -> Result<(), Stop> {
        let made = &mut self.made;
        let jobs = jobs.iter().filter(|job| !self.model.has_expired_elsewhere(job.id, queue)).map(|job| {
            *made += 1;
            (job.clone(), *made)
        });
        let jobs: Vec<_> = jobs.collect();
        if jobs.is_empty() {
            return Ok(());
        }
        let asking = &mut self.callers[usize::from(caller)];
        asking.requests += 1;
        if settles {
            asking.settled = asking.requests;
        }
        let id = RequestId { client: asking.number, number: asking.requests, settled: asking.settled };
        self.requests.push(Request { id, queue, jobs, answers: None });
        if arrives { self.request(self.requests.len() - 1).await } else { Ok(()) }
    }

    /// Asks for the first time, or again.
    async fn request(&mut self, index: usize) -> Result<(), Stop> {
        let Request { id, queue, jobs, answers } = self.requests[index].clone();
        let is_first = answers.is_none();
        if is_first && jobs.iter().any(|(job, _)| self.model.has_expired_elsewhere(job.id, queue)) {
            return Ok(());
        }
        let new = jobs.iter().map(|(job, payload)| NewJob {
            queue: self.queue(queue).clone(),
            id: self.id(job.id).clone(),
            is_new_id: false,
            payload: numbered("payload", *payload),
            due: Due::In(self.pace.span(job.delay)),
            expires_in: job.expires.map(|span| self.pace.span(span)),
            replace_finished: job.replace,
        });
        let found = self.broker.enqueue(&new.collect::<Vec<_>>(), id).await;
        self.pace.is_in_time(self.model.now)?;
        if let Err(BrokerError::Refused(_)) = &found {
            let is_settled = self.is_settled(&id, None);
            return same("a refused request is settled", &is_settled, &true);
        }
        let found = self.answer(found)?;
        if let Some(before) = answers {
            return same("a repeated request is answered as before", &found, &before);
        }
        if self.is_settled(&id, Some(queue)) {
            return Err(Stop::Differs(format!("a request that was settled is answered: {found:?}")));
        }
        let allowed: Vec<_> = jobs.iter().map(|(job, payload)| self.model.enqueue(queue, job, *payload)).collect();
        self.requests[index].answers = Some(found.clone());
        same("whether each job is new", &found, &allowed)
    }

    /// Whether a request that has arrived says that this one is settled; in one queue, or in any.
    fn is_settled(&self, id: &RequestId, queue: Option<u8>) -> bool {
        let says = |other: &Request| {
            let arrived = other.answers.is_some() && queue.is_none_or(|queue| queue == other.queue);
            arrived && other.id.client == id.client && other.id.settled > id.number
        };
        self.requests.iter().any(says)
    }

    /// The lease that is meant, of `leases`.
    fn pick(&self, Pick { index, held }: &Pick, leases: &[Held]) -> Option<Held> {
        let living: Vec<Held> = leases.iter().filter(|lease| self.model.is_held(lease)).copied().collect();
        let from = if *held && !living.is_empty() { &living } else { leases };
        (!from.is_empty()).then(|| *index.get(from))
    }

    /// The id and the queue of the letter that is meant.
    fn letter(&self, Letter { there, id, queue }: &Letter) -> (u8, u8) {
        let found = there.filter(|_| !self.model.dead.is_empty()).map(|index| index.get(&self.model.dead));
        found.map_or((*id, *queue), |letter| (letter.id, letter.queue))
    }

    async fn retry_dead(&mut self, letter: &Letter) -> Result<(), Stop> {
        let (id, queue) = self.letter(letter);
        if self.model.has_expired_elsewhere(id, queue) {
            return Ok(());
        }
        let found = self.broker.retry_dead(self.queue(queue), &self.ids[usize::from(id)..][..1]).await;
        let found = self.answer(found)?;
        same("a dead letter to retry", &found, &vec![self.model.retry_dead(id, queue)])
    }

    /// What a call reports; it may be the end of one lease twice.
    fn finishes(&mut self, queue: u8, finishes: &[(Pick, Ending)]) -> Vec<(Held, End)> {
        let mut found = Vec::new();
        let leases: Vec<Held> = self.leases.iter().filter(|held| held.queue == queue).copied().collect();
        for (lease, ending) in finishes {
            let Some(held) = self.pick(lease, &leases) else { continue };
            found.push((held, self.end(&held, ending)));
        }
        found
    }

    fn end(&mut self, held: &Held, ending: &Ending) -> End {
        self.made += 1;
        let failure = (FailureKind::Error, held.attempt);
        match *ending {
            Ending::End { keep, dead, hold } => {
                End::Over { keep, record: self.made, dead: dead.then_some(failure), hold }
            }
            Ending::Retry { delay, above } => End::Retry { delay, failure: (failure.0, failure.1 + above) },
            Ending::GiveBack { delay, why } => End::GiveBack { delay, why },
        }
    }

    fn outcome(&self, end: &End) -> Outcome {
        let failure = |(kind, attempt)| Box::new(Failure::new(kind, "it broke", attempt, self.broker.clock().now()));
        match *end {
            End::Over { keep, record, dead, hold } => Outcome::End {
                result: Some(KeptResult {
                    record: numbered("result", record),
                    keep: keep.map(|keep| self.pace.span(keep)),
                }),
                dead: dead.map(failure),
                hold_id: self.pace.span(hold),
            },
            End::Retry { delay, failure: failed } => {
                Outcome::Retry { delay: self.pace.span(delay), failure: failure(failed) }
            }
            End::GiveBack { delay, why } => Outcome::GiveBack { delay: self.pace.span(delay), why },
        }
    }

    async fn claim(
        &mut self,
        worker: u8,
        queue: u8,
        max: usize,
        lease: u64,
        ends: Vec<(Held, End)>,
    ) -> Result<(), Stop> {
        let asking = &mut self.workers[usize::from(worker)];
        asking.calls += 1;
        let token = LeaseToken { worker: asking.number, call: asking.calls };
        let lease_of = |held: &Held| Lease { id: self.id(held.id).clone(), token: held.token };
        let finishes = ends.iter().map(|(held, end)| Finish { lease: lease_of(held), outcome: self.outcome(end) });
        let call = Call {
            claiming: Claiming { queue, max, lease, token },
            finishes: finishes.collect(),
            answers: Vec::new(),
            leased: Vec::new(),
        };
        let (claimed, answers, more_due) = self.ask(&call).await?;
        same("the number of answers to finishes", &answers.len(), &ends.len())?;
        for ((held, end), answer) in ends.iter().zip(&answers) {
            let may_be = self.model.finish(held, end, *answer);
            may_be.or_else(|allowed| same(&format!("the answer to a finish of {held:?}"), answer, &allowed))?;
        }
        let leased: Vec<u8> = claimed.iter().map(|job| job.id).collect();
        let allowed = self.model.claim(call.claiming, &leased).map_err(Stop::Differs)?;
        same("what is said of claimed jobs", &claimed, &allowed)?;
        self.note_leases(&call.claiming, &claimed);
        self.workers[usize::from(worker)].asked[usize::from(queue)].push(Call { answers, leased, ..call });
        self.check_more(queue, more_due)
    }

    async fn claim_again(&mut self, worker: u8, queue: u8, later: usize) -> Result<(), Stop> {
        let asked = &self.workers[usize::from(worker)].asked[usize::from(queue)];
        let Some(call) = asked.iter().nth_back(later).cloned() else { return Ok(()) };
        if later > 0 {
            return self.overtaken(&call).await;
        }
        let (claimed, answers, more_due) = self.ask(&call).await?;
        same("the answers to a call that comes again", &answers, &call.answers)?;
        let leased: Vec<u8> = claimed.iter().map(|job| job.id).collect();
        let allowed = self.model.claim_again(call.claiming, &call.leased, &leased);
        same("what is said of jobs claimed again", &claimed, &allowed.map_err(Stop::Differs)?)?;
        self.note_leases(&call.claiming, &claimed);
        self.check_more(queue, more_due)
    }

    /// A call that comes after a later one of its worker, which says that it was answered.
    async fn overtaken(&self, call: &Call) -> Result<(), Stop> {
        let found = self.broker.claim(&self.claim_of(call)).await;
        self.pace.is_in_time(self.model.now)?;
        let is_refused = matches!(found, Err(BrokerError::Refused(_)));
        same(&format!("whether a call that was overtaken is refused, not {found:?}"), &is_refused, &true)
    }

    fn claim_of<'c>(&'c self, Call { claiming, finishes, .. }: &'c Call) -> Claim<'c> {
        let Claiming { queue, max, lease, token } = *claiming;
        Claim { queue: self.queue(queue), finished: finishes, max, lease: self.pace.span(lease), token }
    }

    async fn ask(&self, call: &Call) -> Result<(Vec<Claimed>, Vec<Finished>, bool), Stop> {
        let token = call.claiming.token;
        let found = self.broker.claim(&self.claim_of(call)).await;
        let found = self.answer(found)?;
        let tokens: Vec<LeaseToken> = found.jobs.iter().map(|job| job.lease.token).collect();
        same("the tokens of leases", &tokens, &vec![token; tokens.len()])?;
        same("the broker's time", &self.tick_of(found.now), &Some(self.model.now))?;
        let claimed = found.jobs.iter().map(|job| Claimed {
            id: self.number_of_id(&job.lease.id),
            payload: job.payload.as_ref().map(number_of),
            attempt: job.attempt,
            delivery: job.delivery,
            due: self.tick_of(job.due_at),
            aborted: job.abort_requested,
            unknown_since: job.unknown_since.map(|since| self.tick_of(since).unwrap_or(u64::MAX)),
        });
        Ok((claimed.collect(), found.finished, found.more_due))
    }

    fn note_leases(&mut self, claiming: &Claiming, claimed: &[Claimed]) {
        for job in claimed {
            let held = Held { id: job.id, queue: claiming.queue, token: claiming.token, attempt: job.attempt };
            if !self.leases.contains(&held) {
                self.leases.push(held);
            }
        }
    }

    fn check_more(&self, queue: u8, found: bool) -> Result<(), Stop> {
        let (must, may) = self.model.has_due(queue);
        same("whether more is due", &found, &(must || found && may))
    }

    async fn extend(&mut self, leases: &[Pick], span: u64) -> Result<(), Stop> {
        let mut held: Vec<Held> = leases.iter().filter_map(|lease| self.pick(lease, &self.leases)).collect();
        let Some(first) = held.first().copied() else { return Ok(()) };
        held.retain(|other| other.queue == first.queue);
        let asked: Vec<_> = held.iter().map(|held| Lease { id: self.id(held.id).clone(), token: held.token }).collect();
        let found = self.broker.extend(self.queue(first.queue), &asked, self.pace.span(span)).await;
        let found = self.answer(found)?;
        same("the number of extended leases", &found.len(), &held.len())?;
        for (held, found) in held.iter().zip(found) {
            let may_be = self.model.extend(held, span, found == Extended::Renewed);
            same(&format!("{held:?} is {found:?}, as it may be"), &may_be, &true)?;
        }
        Ok(())
    }

    async fn progress(&mut self, held: &Held, value: u8) -> Result<(), Stop> {
        let lease = Lease { id: self.id(held.id).clone(), token: held.token };
        let stored = self.broker.set_progress(self.queue(held.queue), &lease, Bytes::copy_from_slice(&[value])).await;
        let stored = self.answer(stored)?;
        let may_be = self.model.progress(held, value, stored);
        same(&format!("progress of {held:?} is stored ({stored}), as it may be"), &may_be, &true)
    }

    pub(super) const ZERO: Duration = Duration::ZERO;
}
