//! How idle workers wait: at a bell, and by looking when the next job is due.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select_all;
use tokio::time::{Instant, sleep_until};

use super::ears::{Ears, Ring};
use super::link::Link;
use super::reply::Reply;
use super::script::LOOK;
use crate::broker::BrokerError;

/// How long a due job that the bell was rung for may stay unclaimed before the bell is rung again.
pub(super) const RING_AGAIN: Duration = Duration::from_secs(1);

/// A day: within what Lua's numbers and Redis's expiries hold.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_hours(24);

/// What a look at the queues says.
pub(super) struct Look {
    pub(super) is_due: bool,
    /// Until the next job is due, or until it was said that the next look comes.
    pub(super) pause: Duration,
}

/// Waits until something of `queues` may be due; see [`Broker::wait`](crate::broker::Broker::wait).
pub(super) async fn wait(
    link: &Arc<Link>,
    ears: &Ears,
    queues: &[String],
    poll_delay: Duration,
    limit: Duration,
) -> Result<(), BrokerError> {
    if !link.is_cluster() || queues.len() == 1 {
        return wait_at(link, ears, queues, poll_delay, limit).await;
    }
    // The queues of a cluster lie on different servers: one that does not answer holds up no other's wait.
    let waits = queues.chunks(1).map(|queue| Box::pin(wait_at(link, ears, queue, poll_delay, limit)));
    select_all(waits).await.0
}

/// The same for queues of one server.
async fn wait_at(
    link: &Arc<Link>,
    ears: &Ears,
    queues: &[String],
    poll_delay: Duration,
    limit: Duration,
) -> Result<(), BrokerError> {
    let deadline = Instant::now() + limit;
    let pause = poll_delay.min(limit).min(LONGEST_PAUSE);
    let mut look = look_at(link, queues, pause, false).await?;
    if look.is_due || limit.is_zero() {
        return Ok(());
    }
    let listener = ears.take(link, queues);
    loop {
        let until = (Instant::now() + look.pause).min(deadline);
        let is_rung = tokio::select! {
            biased;
            () = listener.heard() => true, // cancel safe: what was heard stays in the ear until it is consumed
            () = sleep_until(until) => false, // cancel safe: only waits
        };
        if is_rung {
            // What is due is claimed at once: to look for it first would take as long again.
            let is_due = listener.ring()? == Ring::Due;
            if !is_due {
                look = look_at(link, queues, pause, false).await?;
            }
            if is_due || look.is_due {
                listener.consume();
                return Ok(());
            }
            listener.listen_on();
        } else if Instant::now() >= deadline {
            return Ok(());
        } else {
            // All who wait look at the same moment: the bell wakes one of them.
            look = look_at(link, queues, pause, true).await?;
            if look.is_due {
                look.pause = look.pause.min(RING_AGAIN);
            }
        }
    }
}

/// Rings the bell of queues where something is due: for those who wait, in place of one that no longer does.
pub(super) async fn pass_on(link: &Link, queues: &[String]) -> Result<(), BrokerError> {
    look_at(link, queues, Duration::ZERO, true).await.map(drop)
}

pub(super) async fn look_at(link: &Link, queues: &[String], pause: Duration, ring: bool) -> Result<Look, BrokerError> {
    let mut call = LOOK.keys(queues.iter().map(String::as_str));
    call.arg(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)).arg(u8::from(ring));
    let mut reply = Reply::of("look", link.script(&call).await?)?;
    Ok(Look { is_due: reply.flag()?, pause: Duration::from_millis(reply.count()?) })
}
