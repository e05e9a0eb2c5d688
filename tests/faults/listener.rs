//! A thread that hears what a server publishes, for as long as it lives: while the server is away, it waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use redis::{Msg, RedisResult};

/// Its connection is not among those that faults are aimed at; what is published while the server restarts it can't hear.
#[derive(Debug)]
pub(crate) struct Listener {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// One that calls `hear` with each message on the channels that `pattern` describes.
    pub(crate) fn to(url: String, pattern: &'static str, hear: impl Fn(&Msg) + Send + 'static) -> Self {
        let is_over = Arc::<AtomicBool>::default();
        let stop = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                if listen(&url, pattern, &hear, &stop).is_err() {
                    std::thread::park_timeout(Duration::from_millis(2)); // the server is away
                }
            }
        });
        Self { is_over, thread: Some(thread) }
    }

    /// Ends it.
    pub(crate) fn end(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // if it panicked, it has heard too little, which shows
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.end();
    }
}

fn listen(url: &str, pattern: &str, hear: &impl Fn(&Msg), stop: &AtomicBool) -> RedisResult<()> {
    let mut connection = redis::Client::open(url)?.get_connection_with_timeout(Duration::from_millis(500))?;
    redis::cmd("PING").query::<()>(&mut connection)?; // not while it reads its file: it tells of that as of news
    let mut events = connection.as_pubsub();
    events.psubscribe(pattern)?;
    events.set_read_timeout(Some(Duration::from_millis(100)))?;
    while !stop.load(Ordering::Relaxed) {
        match events.get_message() {
            Ok(message) => hear(&message),
            Err(error) if error.is_timeout() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
