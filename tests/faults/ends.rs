//! What Redis holds when all is over, read without the library; and how often it stored each result.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use redis::{Commands, Connection, RedisResult};
use serde::Deserialize;

use crate::listener::Listener;

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
    /// All of them, by their jobs.
    pub(crate) known: BTreeMap<String, End>,
    /// Jobs that have none, as they are still queued.
    pub(crate) waiting: HashSet<String>,
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

/// The ends that the server knows, and what is left in `queue`: results outlive all scenarios.
pub(crate) fn read(connection: &mut Connection, queue: &str) -> RedisResult<Ends> {
    const RESULT: &str = "arq:result:";
    let keys: Vec<String> = connection.scan_match(format!("{RESULT}*"))?.collect::<RedisResult<_>>()?;
    let mut known = BTreeMap::new();
    for page in keys.chunks(500) {
        let records: Vec<Vec<u8>> = redis::cmd("MGET").arg(page).query(connection)?;
        for (key, bytes) in page.iter().zip(records) {
            let record: Record = serde_json::from_slice(&bytes).expect("results are in the codec of their jobs, JSON");
            known.insert(key[RESULT.len()..].to_owned(), record.end());
        }
    }
    let waiting = connection.zrange(format!("arq:queue:{queue}"), 0, -1)?;
    Ok(Ends { known, waiting, ..Ends::default() })
}

/// Hears from Redis itself of each result that is stored.
#[derive(Debug)]
pub(crate) struct Witness {
    stored: Arc<Mutex<HashMap<String, u32>>>,
    listener: Listener,
}

impl Witness {
    pub(crate) fn of(url: String) -> Self {
        const CHANNEL: &str = "__keyspace@0__:arq:result:";
        let stored = Arc::<Mutex<HashMap<String, u32>>>::default();
        let counts = Arc::clone(&stored);
        let listener = Listener::to(url, "__keyspace@0__:arq:result:*", move |message| {
            if message.get_payload::<String>().is_ok_and(|event| event == "set") {
                let id = message.get_channel_name().trim_start_matches(CHANNEL).to_owned();
                *counts.lock().unwrap_or_else(PoisonError::into_inner).entry(id).or_insert(0) += 1;
            }
        });
        Self { stored, listener }
    }

    /// Ends it.
    pub(crate) fn counts(mut self) -> HashMap<String, u32> {
        self.listener.end();
        std::mem::take(&mut self.stored.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
