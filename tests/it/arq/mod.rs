//! Rust and stock Python arq on the same queues of a real Redis, whose life each test ends.
//!
//! Where we wanted something else than arq does, the test says `DIFFERENCE`.

mod aborts;
mod cron;
mod fleet;
mod ground;
mod handover;
mod health;
mod moves;
mod rules;
mod seen;
mod traces;
mod unknown;
mod views;

use sector7g_tasks::codec::Codec;

use ground::Ground;

/// The codecs in which all of this holds: arq's name in `tests/arq/codecs_by_name.py`, and ours.
const CODECS: [(&str, Codec); 3] = [("json", Codec::Json), ("msgpack", Codec::MsgPack), ("pickle", Codec::Pickle)];

/// Runs a test in each codec, each time on a server of its own.
async fn in_each_codec(test: impl AsyncFn(Ground)) {
    for (name, codec) in CODECS {
        in_codec(name, codec, &test).await;
    }
}

async fn in_codec(name: &'static str, codec: Codec, test: impl AsyncFn(Ground)) {
    eprintln!("codec {name}");
    test(Ground::start(name, codec)).await;
}
