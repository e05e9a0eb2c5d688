//! Panics of users' code: caught, each told once, with its place where the program's own command line looks for it.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

thread_local! {
    /// How many `catch` are at work on this thread: what panics within is told by whoever called them.
    static CATCHING: Cell<u32> = const { Cell::new(0) };
    /// Where the last panic within them was.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// What a panic said, and where it was: `panicked at src/lenny.rs:12:5: no coolant`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Panicked {
    /// Known in programs with the library's command line, see [`tell_places`].
    place: Option<String>,
    message: String,
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "panicked at {place}: {}", self.message),
            None => write!(f, "panicked: {}", self.message),
        }
    }
}

impl Panicked {
    pub(crate) fn new(panic: Box<dyn Any + Send>) -> Self {
        let panicked = Self { place: PLACE.take(), message: message_of(&*panic).to_owned() };
        if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
            std::mem::forget(another); // whose drop may panic, too
        }
        panicked
    }
}

fn message_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(a panic without a text)")
}

/// Calls code that is not ours.
pub(crate) fn catch<T>(call: impl FnOnce() -> T) -> Result<T, Panicked> {
    CATCHING.set(CATCHING.get() + 1);
    let returned = catch_unwind(AssertUnwindSafe(call)).map_err(Panicked::new);
    CATCHING.set(CATCHING.get() - 1);
    returned
}

/// Awaits code that is not ours.
///
/// Cancel safe as far as `future` is.
pub(crate) async fn catch_all<F: Future>(future: F) -> Result<F::Output, Panicked> {
    let mut future = pin!(future);
    poll_fn(|cx| match catch(|| future.as_mut().poll(cx)) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(panicked) => Poll::Ready(Err(panicked)),
    })
    .await
}

/// From now on, panics that are caught here have their place, and others are a line of the log, as all else is: the
/// standard library's own lines would be none.
#[cfg(feature = "cli")]
pub(crate) fn tell_places() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        let backtrace = std::backtrace::Backtrace::capture(); // empty unless RUST_BACKTRACE asks for it
        let has_backtrace = backtrace.status() == std::backtrace::BacktraceStatus::Captured;
        if CATCHING.get() > 0 {
            if has_backtrace {
                tracing::debug!(%backtrace, "a panic at {place}");
            }
            PLACE.set(Some(place));
            return;
        }
        let thread = std::thread::current();
        let (name, message) = (thread.name().unwrap_or("without a name").to_owned(), message_of(info.payload()));
        let backtrace = has_backtrace.then(|| tracing::field::display(&backtrace));
        tracing::error!(backtrace, "the thread `{name}` panicked at {place}: {message}");
    }));
}
