//! How idle workers wait: at a bell, and by looking when the next job is due.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{select_all, try_join_all};
use tokio::time::{Instant, sleep_until};

use super::ears::{Ears, Listener, Ring};
use super::link::Link;
use super::reply::Reply;
use super::script::LOOK;
use crate::broker::BrokerError;

/// How long a due job that the bell was rung for may stay unclaimed before the bell is rung again.
const RING_AGAIN: Duration = Duration::from_secs(1);

/// A day: within what Lua's numbers and Redis's expiries hold.
const LONGEST_PAUSE: Duration = Duration::from_hours(24);

/// What a look at the queues says.
struct Look {
    is_due: bool,
    /// Until the next job is due, or until it was said that the next look comes.
    pause: Duration,
}

/// Waits until something of `queues` may be due; see [`Broker::wait`](crate::broker::Broker::wait).
pub(super) async fn wait(
    link: &Arc<Link>,
    ears: &Ears,
    queues: &[String],
    poll_delay: Duration,
    limit: Duration,
) -> Result<(), BrokerError> {
    let deadline = Instant::now() + limit;
    let pause = poll_delay.min(limit).min(LONGEST_PAUSE);
    // The queues of a cluster lie on different servers.
    let groups: Vec<&[String]> = if link.is_cluster() { queues.chunks(1).collect() } else { vec![queues] };
    let mut look = look_at_all(link, &groups, pause, false).await?;
    if look.is_due || limit.is_zero() {
        return Ok(());
    }
    let listeners: Vec<Listener<'_>> = groups.iter().map(|group| ears.take(link, group)).collect();
    loop {
        let until = (Instant::now() + look.pause).min(deadline);
        let rung = tokio::select! {
            biased;
            rung = first_heard(&listeners) => Some(rung), // cancel safe: what was heard stays in the ear until it is consumed
            () = sleep_until(until) => None, // cancel safe: only waits
        };
        if let Some(rung) = rung {
            let listener = &listeners[rung];
            // What is due is claimed at once: to look for it first would take as long again.
            let is_due = listener.ring()? == Ring::Due;
            if !is_due {
                look = look_at_all(link, &groups, pause, false).await?;
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
            look = look_at_all(link, &groups, pause, true).await?;
            if look.is_due {
                look.pause = look.pause.min(RING_AGAIN);
            }
        }
    }
}

/// Which of them has something to tell.
async fn first_heard(listeners: &[Listener<'_>]) -> usize {
    if let [one] = listeners {
        one.heard().await;
        return 0;
    }
    select_all(listeners.iter().map(|listener| Box::pin(listener.heard()))).await.1
}

async fn look_at_all(link: &Link, groups: &[&[String]], pause: Duration, ring: bool) -> Result<Look, BrokerError> {
    let looks = try_join_all(groups.iter().map(|group| look_at(link, group, pause, ring))).await?;
    let pause = looks.iter().map(|look| look.pause).min().unwrap_or(pause);
    Ok(Look { is_due: looks.iter().any(|look| look.is_due), pause })
}

/// Rings the bell of queues where something is due: for those who wait, in place of one that no longer does.
pub(super) async fn pass_on(link: &Link, queues: &[String]) -> Result<(), BrokerError> {
    look_at(link, queues, Duration::ZERO, true).await.map(drop)
}

async fn look_at(link: &Link, queues: &[String], pause: Duration, ring: bool) -> Result<Look, BrokerError> {
    let mut call = LOOK.keys(queues.iter().map(String::as_str));
    call.arg(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)).arg(u8::from(ring));
    let mut reply = Reply::of("look", link.script(&call).await?)?;
    Ok(Look { is_due: reply.flag()?, pause: Duration::from_millis(reply.count()?) })
}
