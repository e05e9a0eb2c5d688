//! What Redis holds when all is over, read without the library; and how often it stored each result.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use redis::{Commands, Connection, RedisResult};
use serde::Deserialize;

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Well, by a run with this fence.
    Done { fence: u32 },
    /// With a failure that is kept, at this attempt.
    Dead { attempt: u32 },
    /// Aborted.
    Aborted,
    /// Not begun before its time was over.
    Expired,
}

/// All ends of a scenario.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    pub(crate) ends: BTreeMap<String, End>,
    /// How often each job's result was stored.
    pub(crate) stored: HashMap<String, u32>,
}

/// What we need of arq's record of a result.
#[derive(Deserialize)]
struct Record {
    #[serde(rename = "s")]
    is_success: bool,
    #[serde(rename = "r")]
    result: serde_json::Value,
    #[serde(rename = "t")]
    attempt: u32,
    /// What we say beside arq of a failure.
    #[serde(default)]
    s7: serde_json::Value,
}

impl Record {
    fn end(&self) -> End {
        if self.is_success {
            let fence = self.result.get("fence").and_then(serde_json::Value::as_u64);
            return End::Done { fence: fence.and_then(|fence| u32::try_from(fence).ok()).unwrap_or_default() };
        }
        // Of arq's own, the exception's class and text.
        let texts = [self.s7.pointer("/failure/kind"), self.result.get("error"), self.result.get("message")];
        let said = |word: &str| texts.iter().flatten().any(|text| text.as_str() == Some(word));
        match () {
            () if said("aborted") || said("CancelledError") => End::Aborted,
            () if said("expired") || said("job expired") => End::Expired,
            () => End::Dead { attempt: self.attempt },
        }
    }
}

/// The ends that the server knows: results, which outlive all scenarios.
pub(crate) fn read(connection: &mut Connection) -> RedisResult<BTreeMap<String, End>> {
    const RESULT: &str = "arq:result:";
    let keys: Vec<String> = connection.scan_match(format!("{RESULT}*"))?.collect::<RedisResult<_>>()?;
    let mut ends = BTreeMap::new();
    for page in keys.chunks(500) {
        let records: Vec<Vec<u8>> = redis::cmd("MGET").arg(page).query(connection)?;
        for (key, bytes) in page.iter().zip(records) {
            let record: Record = serde_json::from_slice(&bytes).expect("results are in the codec of their jobs, JSON");
            ends.insert(key[RESULT.len()..].to_owned(), record.end());
        }
    }
    Ok(ends)
}

/// Hears from Redis itself of each result that is stored, as long as it lives. Its connection is not among those that
/// faults are aimed at; what is stored while the server restarts it can't hear.
#[derive(Debug)]
pub(crate) struct Witness {
    stored: Arc<Mutex<HashMap<String, u32>>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Witness {
    pub(crate) fn of(url: String) -> Self {
        let (stored, is_over) = (Arc::<Mutex<HashMap<String, u32>>>::default(), Arc::<AtomicBool>::default());
        let (counts, stop) = (Arc::clone(&stored), Arc::clone(&is_over));
        let thread = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                if listen(&url, &counts, &stop).is_err() {
                    std::thread::park_timeout(Duration::from_millis(2)); // the server is away
                }
            }
        });
        Self { stored, is_over, thread: Some(thread) }
    }

    /// Ends it.
    pub(crate) fn counts(mut self) -> HashMap<String, u32> {
        self.end();
        std::mem::take(&mut self.stored.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn end(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // if it panicked, its counts are short, and say so
        }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.end();
    }
}

fn listen(url: &str, counts: &Mutex<HashMap<String, u32>>, stop: &AtomicBool) -> RedisResult<()> {
    const CHANNEL: &str = "__keyspace@0__:arq:result:";
    let mut connection = redis::Client::open(url)?.get_connection_with_timeout(Duration::from_millis(500))?;
    redis::cmd("PING").query::<()>(&mut connection)?; // not while it reads its file: it tells of that as of news
    let mut events = connection.as_pubsub();
    events.psubscribe(format!("{CHANNEL}*"))?;
    events.set_read_timeout(Some(Duration::from_millis(100)))?;
    while !stop.load(Ordering::Relaxed) {
        match events.get_message() {
            Ok(message) if message.get_payload::<String>().is_ok_and(|event| event == "set") => {
                let id = message.get_channel_name().trim_start_matches(CHANNEL).to_owned();
                *counts.lock().unwrap_or_else(PoisonError::into_inner).entry(id).or_insert(0) += 1;
            }
            Ok(_) => {}
            Err(error) if error.is_timeout() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
