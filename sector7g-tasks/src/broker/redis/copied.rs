//! One `WAIT` for all who wait: it holds up its connection, so one for each would add up.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;
use tokio::task::yield_now;

use super::link::Failed;

/// What replicas have of what came over a connection.
#[derive(Debug, Default)]
pub(super) struct Copied {
    /// How many writes have been answered.
    written: AtomicU64,
    /// Held by whoever asks; the others wait for it.
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Enough replicas have so many of the writes.
    enough: u64,
    /// Of so many writes was asked last, and so many replicas had them.
    asked: u64,
    replicas: u32,
}

impl Copied {
    /// How many replicas have a write that was answered just now, as far as `needed` goes. `ask` is called unless
    /// somebody else has asked since; it says how many have all that was answered before it was called.
    ///
    /// Cancel safe: whoever comes next asks in the place of one who was dropped.
    pub(super) async fn count(
        &self,
        needed: u32,
        ask: impl AsyncFnOnce() -> Result<u32, Failed>,
    ) -> Result<u32, Failed> {
        let own = self.written.fetch_add(1, Ordering::Relaxed) + 1;
        let mut known = self.known.lock().await;
        if own <= known.enough {
            return Ok(needed);
        }
        if own <= known.asked {
            return Ok(known.replicas); // too few, and asking at once would not find more
        }
        yield_now().await; // answers that came in one piece are told one by one
        let asked = self.written.load(Ordering::Relaxed);
        let answer = ask().await;
        let is_lost = answer.as_ref().is_err_and(|(error, _)| error.is_transient());
        if is_lost {
            (known.asked, known.replicas) = (asked, 0); // the others' calls would be as long under way, one after the other
        }
        let replicas = answer?;
        (known.asked, known.replicas) = (asked, replicas);
        if replicas >= needed {
            known.enough = asked;
        }
        Ok(replicas)
    }
}
