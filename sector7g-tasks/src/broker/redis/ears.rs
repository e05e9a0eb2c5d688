//! Connections that wait at the queues' bells.
//!
//! A worker's loop drops its wait whenever a job ends, and begins another a moment later. A blocking
//! call that is dropped may still take a ring with it, so these calls belong to tasks of their own,
//! which outlive the waits and pass on what rings for nobody.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::{Handle, Id};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use super::events;
use super::keys::bell;
use super::link::Link;
use super::source::Route;
use super::waits::pass_on;
use crate::broker::BrokerError;
use crate::error::Chain;

/// How long one blocking call lasts; the server ends it by itself.
const BLOCK: Duration = Duration::from_secs(5);

/// All ears of a broker: as many as there were waits at a time.
#[derive(Debug, Default)]
pub(super) struct Ears {
    shelf: Mutex<Vec<Owned>>,
    tasks: Mutex<JoinSet<()>>,
}

/// An ear and its task.
#[derive(Debug)]
struct Owned {
    ear: Arc<Ear>,
    runtime: Id,
    task: AbortHandle,
}

/// One connection that waits at the bells of some queues.
#[derive(Debug)]
struct Ear {
    queues: Vec<String>,
    state: Mutex<Hearing>,
    /// Tells the ear's task that `state` has become one in which it is to do something.
    changed: Notify,
    /// Tells the waiter that the bell has rung, or that the connection failed.
    rung: Notify,
    /// Tells the ear's task that a queue has changed, perhaps by a producer who rings no bell.
    seen: Notify,
}

#[derive(Debug)]
enum Hearing {
    /// Nobody waits. A bell that rings now is rung again, for others.
    Off,
    On,
    /// A ring was taken, and is held for the waiter.
    Rung(Ring),
    /// A ring was taken, and who was to hear it is gone.
    PassOn(Ring),
    /// The connection failed; the waiter is to be told.
    Failed(BrokerError),
}

/// What a bell says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ring {
    /// Something is due, unless somebody has taken it meanwhile.
    Due,
    /// Something is due earlier than was known.
    Look,
}

/// An ear in use; dropped, it goes back to the shelf, and what it has heard is passed on.
pub(super) struct Listener<'a> {
    ears: &'a Ears,
    owned: Option<Owned>,
    ear: Arc<Ear>,
}

impl Ears {
    /// An ear for these queues, from the shelf or new.
    pub(super) fn take(&self, link: &Arc<Link>, queues: &[String]) -> Listener<'_> {
        let runtime = Handle::current().id();
        let owned = self.shelved(queues, runtime).unwrap_or_else(|| self.grow(link, queues, runtime));
        owned.ear.begin();
        Listener { ears: self, ear: Arc::clone(&owned.ear), owned: Some(owned) }
    }

    fn shelved(&self, queues: &[String], runtime: Id) -> Option<Owned> {
        let mut unused = lock(&self.shelf);
        unused.retain(|owned| !owned.task.is_finished()); // their runtime has ended
        let found = unused.iter().position(|owned| owned.runtime == runtime && owned.ear.queues == queues)?;
        Some(unused.swap_remove(found))
    }

    fn grow(&self, link: &Arc<Link>, queues: &[String], runtime: Id) -> Owned {
        let ear = Arc::new(Ear {
            queues: queues.to_vec(),
            state: Mutex::new(Hearing::Off),
            changed: Notify::new(),
            rung: Notify::new(),
            seen: Notify::new(),
        });
        let mut tasks = lock(&self.tasks);
        while tasks.try_join_next().is_some() {}
        let (hearing, link) = (Arc::clone(&ear), Arc::clone(link));
        let task = tasks.spawn(async move {
            let watching = async {
                events::watch(&link, &hearing.queues, &hearing.seen).await;
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = listen(&hearing, &link) => {} // it never ends, nor does the other
                () = watching => {}
            }
        });
        Owned { ear, runtime, task }
    }
}

impl Listener<'_> {
    /// Until the bell has rung, or the connection failed.
    ///
    /// # Cancel safety
    /// Cancel safe: what was heard stays in the ear's state.
    pub(super) async fn heard(&self) {
        loop {
            let rung = self.ear.rung.notified();
            if matches!(*self.ear.state(), Hearing::Rung(_) | Hearing::Failed(_)) {
                return;
            }
            rung.await;
        }
    }

    /// What was heard, or what the connection failed with.
    pub(super) fn ring(&self) -> Result<Ring, BrokerError> {
        let mut state = self.ear.state();
        match std::mem::replace(&mut *state, Hearing::Off) {
            Hearing::Failed(error) => Err(error),
            other => {
                let ring = if let Hearing::Rung(ring) = other { ring } else { Ring::Look };
                *state = other;
                Ok(ring)
            }
        }
    }

    /// The ring was for this waiter, who acts on it.
    pub(super) fn consume(&self) {
        self.ear.set(Hearing::Off);
    }

    /// The ring was for nothing: waits for the next.
    pub(super) fn listen_on(&self) {
        self.ear.set(Hearing::On);
    }
}

impl Drop for Listener<'_> {
    fn drop(&mut self) {
        let mut state = self.ear.state();
        let heard = match *state {
            Hearing::Rung(ring) => Some(ring),
            _ => None,
        };
        *state = heard.map_or(Hearing::Off, Hearing::PassOn); // under one lock: it may ring at any time
        drop(state);
        if heard.is_some() {
            self.ear.changed.notify_one();
        }
        lock(&self.ears.shelf).extend(self.owned.take());
    }
}

impl Ear {
    fn state(&self) -> MutexGuard<'_, Hearing> {
        lock(&self.state)
    }

    /// Wakes the ear's task only where there is something for it to do: beside a claim that is just being sent, one task more that
    /// can run makes tokio wake another thread, which costs the claim a context switch.
    fn set(&self, hearing: Hearing) {
        let is_for_task = matches!(hearing, Hearing::On | Hearing::PassOn(_));
        *self.state() = hearing;
        if is_for_task {
            self.changed.notify_one();
        }
    }

    /// Hears for a new waiter, who also gets what was heard for one who has just gone.
    fn begin(&self) {
        let mut state = self.state();
        *state = if let Hearing::PassOn(ring) = *state { Hearing::Rung(ring) } else { Hearing::On };
        drop(state);
        self.changed.notify_one();
    }

    /// Until somebody wants to hear; passes on what was heard for one who is gone.
    async fn wanted(&self, link: &Link) {
        loop {
            let changed = self.changed.notified();
            let is_owed = {
                let mut state = self.state();
                match *state {
                    Hearing::On => return,
                    Hearing::PassOn(_) => {
                        *state = Hearing::Off;
                        true
                    }
                    _ => false,
                }
            };
            if is_owed { self.ring_for_others(link).await } else { changed.await }
        }
    }

    /// Hands a ring to the waiter; false when there is none any more.
    fn tell_ring(&self, ring: Ring) -> bool {
        let mut state = self.state();
        let is_heard = matches!(*state, Hearing::On);
        if is_heard {
            *state = Hearing::Rung(ring);
            self.rung.notify_one();
        }
        is_heard
    }

    fn tell_failure(&self, error: BrokerError) {
        let mut state = self.state();
        if matches!(*state, Hearing::On) {
            *state = Hearing::Failed(error);
            self.rung.notify_one();
        }
    }

    async fn ring_for_others(&self, link: &Link) {
        if let Err(error) = pass_on(link, &self.queues).await {
            tracing::debug!("a wake-up was not passed on, the next look finds what is due: {}", Chain(&error));
        }
    }
}

/// The task of an ear: as long as somebody wants to hear, waits at the bells.
async fn listen(ear: &Ear, link: &Link) {
    let (mut connection, mut is_fresh) = (None, true);
    let bells: Vec<String> = ear.queues.iter().map(|queue| bell(queue)).collect();
    loop {
        ear.wanted(link).await;
        let answer = hear(ear, link, &mut connection, &bells).await;
        let was_fresh = std::mem::replace(&mut is_fresh, answer.is_err());
        match answer {
            // A server may close what was idle for long; that is no outage unless a new connection fails, too.
            Err(_) if !was_fresh => connection = None,
            Ok(None) => {}
            Ok(Some(ring)) if ear.tell_ring(ring) => {}
            Ok(Some(_)) => ear.ring_for_others(link).await,
            Err(error) => {
                connection = None;
                ear.tell_failure(error);
            }
        }
    }
}

/// One blocking call, to its end; meanwhile passes on what an earlier one heard for a waiter who is gone.
async fn hear(
    ear: &Ear,
    link: &Link,
    connection: &mut Option<Route>,
    bells: &[String],
) -> Result<Option<Ring>, BrokerError> {
    let connection = match connection {
        Some(connection) => connection,
        none => none.insert(link.blocking(BLOCK).await?),
    };
    let call = wait_at(link, connection, bells);
    tokio::pin!(call);
    loop {
        tokio::select! {
            biased; // a ring first: what it is for is decided by the state then
            answer = &mut call => return answer, // not dropped before it has ended
            () = ear.changed.notified() => { // cancel safe: the state is read anew
                let is_owed = matches!(*ear.state(), Hearing::PassOn(_));
                if is_owed {
                    ear.set(Hearing::Off);
                    ear.ring_for_others(link).await;
                }
            }
            () = ear.seen.notified() => { // cancel safe: what is due is looked at anew
                let is_wanted = matches!(*ear.state(), Hearing::On);
                if is_wanted {
                    ear.ring_for_others(link).await;
                }
            }
        }
    }
}

/// What rang, if a bell did.
async fn wait_at(link: &Link, connection: &mut Route, bells: &[String]) -> Result<Option<Ring>, BrokerError> {
    let mut command = redis::cmd("BLPOP");
    command.arg(bells).arg(BLOCK.as_secs());
    let answer = timeout(BLOCK + link.patience(), command.query_async::<Option<(String, Vec<u8>)>>(connection)).await;
    match answer {
        Ok(Ok(rung)) => Ok(rung.map(|(_, what)| if what == b"1" { Ring::Due } else { Ring::Look })),
        Ok(Err(error)) => Err(link.error(&error)),
        Err(late) => Err(link.unavailable(late.to_string())),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner) // no code panics while it holds one
}
