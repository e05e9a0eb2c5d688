//! Claims that wait at a queue's bell.
//!
//! The claim is sent right behind the blocking pop, on a connection of its own: the server runs it as soon as the bell has
//! rung, so an idle worker has its job in one round trip in place of two, and nothing of its own stands in between.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::{Cmd, RedisError, RedisResult, Value};
use tokio::runtime::{Handle, Id};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

use super::events;
use super::keys::bell;
use super::link::{Link, is_not_loaded};
use super::script::Call;
use super::source::Route;
use super::waits::{LONGEST_PAUSE, RING_AGAIN, look_at};
use crate::broker::BrokerError;

/// The longest that one claim waits; the server ends that by itself.
const BLOCK: Duration = Duration::from_secs(5);

/// The connections of a broker at which claims wait: as many as did so at a time.
#[derive(Debug, Default)]
pub(super) struct Posts {
    shelf: Mutex<Vec<Post>>,
    watching: Mutex<JoinSet<()>>,
}

/// One of them, and what tells it of a queue's changes.
struct Post {
    queue: String,
    runtime: Id,
    /// None before the first claim, and after one that was dropped or failed: what is still to be answered goes with it.
    route: Option<Route>,
    /// That the queue has changed, perhaps by a producer who rings no bell.
    seen: Arc<Notify>,
    watching: AbortHandle,
}

/// What the server answered, once the bell had rung or the time was over.
pub(super) struct Answers {
    pub(super) claimed: Value,
    /// Of the command that went with the claim, which may fail by itself.
    pub(super) also: Option<Value>,
}

impl Posts {
    fn take(&self, link: &Arc<Link>, queue: &str) -> Post {
        let runtime = Handle::current().id();
        let mut unused = lock(&self.shelf);
        unused.retain(|post| !post.watching.is_finished()); // their runtime has ended
        let found = unused.iter().position(|post| post.runtime == runtime && post.queue == queue);
        if let Some(found) = found {
            return unused.swap_remove(found);
        }
        drop(unused);
        let (seen, mut tasks) = (Arc::new(Notify::new()), lock(&self.watching));
        while tasks.try_join_next().is_some() {}
        let (link, queues, telling) = (Arc::clone(link), [queue.to_owned()], Arc::clone(&seen));
        let watching = tasks.spawn(async move {
            events::watch(&link, &queues, &telling).await;
            std::future::pending::<()>().await;
        });
        Post { queue: queue.to_owned(), runtime, route: None, seen, watching }
    }
}

/// Makes a claim as soon as something of `queue` may be due, or `limit` has passed, and `also` with it. `None` where it is to be
/// made without waiting: something is due already, or still after a ring, or whether it has been made is not known, which the same
/// claim tells.
///
/// Dropped, the server may still make it, or have made it: the same claim tells that, too.
pub(super) async fn claim_when_rung(
    link: &Arc<Link>,
    posts: &Posts,
    queue: &str,
    (claim, also): (&Call, &Cmd),
    poll_delay: Duration,
    limit: Duration,
) -> Result<Option<Answers>, BrokerError> {
    let queues = [queue.to_owned()];
    let pause = poll_delay.min(limit).min(LONGEST_PAUSE);
    let mut look = look_at(link, &queues, pause, false).await?;
    if look.is_due || limit.is_zero() {
        return Ok(None);
    }
    let mut post = posts.take(link, queue);
    let is_fresh = post.route.is_none();
    // Not on the shelf while it waits: dropped, nobody else is to have its answer.
    let mut route = match post.route.take() {
        Some(route) => route,
        None => link.blocking(BLOCK).await?,
    };
    let answer = {
        let block = limit.min(BLOCK);
        let answering = timeout(block + link.patience(), send(&mut route, queue, claim, also, block));
        tokio::pin!(answering);
        loop {
            let until = Instant::now() + look.pause;
            tokio::select! {
                biased;
                answer = &mut answering => break Some(answer), // not dropped before it has ended
                () = sleep_until(until) => {} // cancel safe: only waits
                () = post.seen.notified() => {} // cancel safe: what is due is looked at anew
            }
            // All who wait look at the same moment: the bell wakes one of them. Who stays unheard may be this connection.
            let has_rung = look.is_due;
            look = tokio::select! {
                biased;
                answer = &mut answering => break Some(answer), // not dropped before it has ended
                look = look_at(link, &queues, pause, true) => look?, // cancel safe: it may have rung
            };
            if look.is_due && has_rung {
                break None;
            }
            if look.is_due {
                look.pause = look.pause.min(RING_AGAIN);
            }
        }
    };
    let answer = match answer {
        None => Ok(None),
        Some(Ok(Ok(answers))) => {
            post.route = Some(route);
            Ok(Some(answers))
        }
        // A server may close what was idle for long; that is no outage unless a new connection fails, too.
        Some(Ok(Err(error))) if !is_fresh || is_not_loaded(&error) => Ok(None),
        Some(Ok(Err(error))) => Err(link.error(&error)),
        Some(Err(late)) => Err(link.unavailable(late.to_string())),
    };
    lock(&posts.shelf).push(post);
    answer
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Post").field("queue", &self.queue).finish_non_exhaustive()
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

/// Three commands at once, of which the first is answered when the bell rings, or after `block`.
async fn send(
    route: &mut Route,
    queue: &str,
    claim: &Call,
    also: &Cmd,
    block: Duration,
) -> Result<Answers, RedisError> {
    let mut commands = redis::pipe();
    commands.ignore_errors(); // each has its own: one for all would lose the claim's answer, and say less
    // No time at all would be for ever.
    commands.cmd("BLPOP").arg(bell(queue)).arg(block.as_secs_f64().max(0.001));
    commands.add_command(claim.short().clone()).add_command(also.clone());
    let answers: Vec<RedisResult<Value>> = commands.query_async(route).await?;
    let mut answers = answers.into_iter();
    let mut next = || answers.next().unwrap_or(Ok(Value::Nil));
    next()?;
    Ok(Answers { claimed: next()?, also: next().ok() })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner) // no code panics while it holds one
}
