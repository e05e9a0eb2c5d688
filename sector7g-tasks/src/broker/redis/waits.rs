//! How idle workers wait: at a bell, and by looking when the next job is due.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::ears::Ears;
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
    let mut look = look_at(link, queues, pause, false).await?;
    if look.is_due || limit.is_zero() {
        return Ok(());
    }
    let ear = ears.take(link, queues);
    loop {
        let until = (Instant::now() + look.pause).min(deadline);
        let is_rung = tokio::select! {
            biased;
            () = ear.heard() => true, // cancel safe: what was heard stays in the ear until it is consumed
            () = sleep_until(until) => false, // cancel safe: only waits
        };
        if is_rung {
            ear.check()?;
            look = look_at(link, queues, pause, false).await?;
            if look.is_due {
                ear.consume();
                return Ok(());
            }
            ear.listen_on();
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

async fn look_at(link: &Link, queues: &[String], pause: Duration, ring: bool) -> Result<Look, BrokerError> {
    let mut call = LOOK.prepare_invoke();
    for queue in queues {
        call.key(queue);
    }
    call.arg(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)).arg(u8::from(ring));
    let mut reply = Reply::of("look", link.script(&call).await?)?;
    Ok(Look { is_due: reply.flag()?, pause: Duration::from_millis(reply.count()?) })
}
