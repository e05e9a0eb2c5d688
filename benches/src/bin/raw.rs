//! The ceiling: what Redis does for a minimal queue (a string a job, a sorted set), by plain pipelined commands.
//!
//! It has no leases, attempts or ids that can be taken, and loses what it holds when it is killed. Each job costs what
//! it can't do without: `SET` and `ZADD`; then `ZREM`, `GET` and `DEL`, and with results one more `SET`.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use redis::{Connection, pipe};
use sector7g_benches::side::{self, Ask, Cannot, Enqueue, How, Work};

/// A pause at an empty queue.
const IDLE: Duration = Duration::from_millis(1);

const QUEUE: &str = "raw:queue";

fn main() -> ExitCode {
    let done = match Ask::read() {
        Ok(Ask::Version) => {
            side::say("raw commands, by redis-rs");
            Ok(())
        }
        Ok(Ask::Enqueue(ask)) => enqueue(&ask),
        Ok(Ask::Work(ask)) => work(&ask),
        Err(error) => Err(error),
    };
    if let Err(error) = &done {
        side::say_cannot(error);
    }
    ExitCode::from(u8::from(done.is_err()))
}

fn connect(url: &str) -> Result<Connection, Cannot> {
    Ok(redis::Client::open(url)?.get_connection()?)
}

fn enqueue(ask: &Enqueue) -> Result<(), Cannot> {
    let batches: Vec<_> = match ask.how {
        How::Bulk => ask.batches().collect(),
        How::Single => (0..ask.jobs).map(|index| index..index + 1).collect(),
        How::Paced | How::Deferred => {
            return Err(Cannot("a minimal queue knows no time, and nobody waits at it".to_owned()));
        }
    };
    let mut server = connect(&ask.url)?;
    let text = ask.text();
    side::wait_for_go();
    let began = Instant::now();
    for batch in batches {
        let mut commands = pipe();
        for index in batch {
            let payload = format!(
                "{{\"t\":null,\"f\":\"noop\",\"a\":[{index},\"{text}\"],\"k\":{{}},\"et\":{}}}",
                side::now_us() / 1_000
            );
            let id = format!("{index:032x}");
            commands.cmd("SET").arg(format!("raw:job:{id}")).arg(payload).ignore();
            commands.cmd("ZADD").arg(QUEUE).arg(index).arg(id).ignore();
        }
        commands.query::<()>(&mut server)?;
    }
    side::say_enqueued(ask.jobs, began);
    Ok(())
}

/// What is read of a job: as much as a worker must.
#[derive(serde::Deserialize)]
struct Stored {
    a: (u64, String),
}

fn work(ask: &Work) -> Result<(), Cannot> {
    let mut server = connect(&ask.url)?;
    side::wait_for_go();
    let stopped = Arc::new(AtomicBool::new(false));
    let stopping = Arc::clone(&stopped);
    side::tell(move || stopping.store(true, Ordering::Relaxed));
    while !stopped.load(Ordering::Relaxed) {
        let ids: Vec<String> = redis::cmd("ZRANGE").arg(QUEUE).arg(0).arg(ask.slots - 1).query(&mut server)?;
        if ids.is_empty() {
            side::rest(IDLE);
            continue;
        }
        let mut commands = pipe();
        for id in &ids {
            let key = format!("raw:job:{id}");
            commands.cmd("ZREM").arg(QUEUE).arg(id).ignore();
            commands.cmd("GET").arg(&key);
            commands.cmd("DEL").arg(&key).ignore();
            if ask.keeps {
                commands.cmd("SET").arg(format!("raw:result:{id}")).arg("1").arg("EX").arg(3_600).ignore();
            }
        }
        for payload in commands.query::<Vec<Vec<u8>>>(&mut server)? {
            let Stored { a: (number, text) } = serde_json::from_slice(&payload)?;
            drop(text);
            side::ran(number);
        }
    }
    Ok(())
}
