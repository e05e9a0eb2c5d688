//! How much memory and time hostile bytes take, through a whole worker: a binary of its own, whose allocator counts.

use std::time::{Duration, Instant};

use peak_alloc::PeakAlloc;
use sector7g_tasks::broker::{Due, NewJob, QueueName, RequestId};
use sector7g_tasks::inventory::Inventory;
use sector7g_tasks::prelude::*;
use sector7g_tasks::testing::Harness;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const MIB: usize = 1 << 20;

/// What any payload may take, however small, beyond a multiple of its size.
const CONSTANT: usize = 64 << 10;

/// That multiple, `docs/codecs.md` says. JSON is bound as it stands; of the others each byte can be a value, which has a
/// place in memory, and a pickle's also one in the machine that reads it. See [`VALUES`].
const TIMES: [(&str, usize); 4] = [("json", 4), ("nothing", 4), ("msgpack", 72), ("pickle", 120)];

/// What a payload may take beyond four times its own size at most: as many values as may be in one.
const VALUES: usize = 112 * MIB;

/// How long one may take, in a build without optimisations on a busy machine.
const SOON: Duration = Duration::from_secs(30);

#[task(queue = "memory")]
async fn takes(what: Skimmed) -> Skimmed {
    what
}

/// Reads all that it is given and keeps nothing: what a task's own types take is their affair.
#[derive(Debug, Serialize)]
struct Skimmed;

impl<'de> Deserialize<'de> for Skimmed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|IgnoredAny| Self)
    }
}

#[derive(Worker)]
#[worker(queue = "memory", max_payload_size = 100_000_000)]
struct Memory;

fn json(argument: &[u8]) -> Vec<u8> {
    [br#"{"f":"takes","a":["#, argument, br#"],"k":{},"et":1}"#].concat()
}

fn msgpack(argument: &[u8]) -> Vec<u8> {
    [&b"\x84\xa1f\xa5takes\xa1a\x91"[..], argument, b"\xa1k\x80\xa2et\x01"].concat()
}

fn pickle(argument: &[u8]) -> Vec<u8> {
    [&b"\x80\x04}(\x8c\x01f\x8c\x05takes\x8c\x01a"[..], argument, b"\x85\x8c\x01k}\x8c\x02etK\x01u."].concat()
}

fn many(unit: &[u8], size: usize) -> Vec<u8> {
    unit.repeat(size / unit.len())
}

/// A list of a long value, and of that again and again.
fn again(before: &[u8], size: usize, after: &[u8], unit: &[u8]) -> Vec<u8> {
    [b"(", before, &many(b"x", size / 2), after, &many(unit, size / 2), b"l"].concat()
}

/// Payloads of about `size` bytes, each of which would take many times as much if it were believed.
fn payloads(size: usize) -> Vec<(&'static str, Vec<u8>)> {
    let around = |before: &[u8], unit: &[u8], after: &[u8]| [before, &many(unit, size), after].concat();
    let length = u32::try_from(size).expect("a small size");
    let (le, be) = (length.to_le_bytes(), length.to_be_bytes());
    let mut sharing = b"N".to_vec();
    for place in 0_u8..30 {
        sharing.extend([b'q', place, b'0', b'(']);
        sharing.extend([b'h', place].repeat(10));
        sharing.push(b'l');
    }
    vec![
        ("json: depth", json(&many(b"[", size))),
        ("json: both ways", json(&[many(b"[", size / 2), many(b"]", size / 2)].concat())),
        ("json: numbers", json(&around(b"[", b"1,", b"1]"))),
        ("json: empty lists", json(&around(b"[", b"[],", b"1]"))),
        ("json: entries", json(&around(b"{", br#""":0,"#, br#""a":1}"#))),
        ("json: digits", json(&many(b"9", size))),
        ("json: text", json(&around(b"\"", b"x", b"\""))),
        ("json: escapes", json(&around(b"\"", b"\\u00e9", b"\""))),
        ("json: many arguments", json(&around(b"", b"1,", b"1"))),
        ("json: fields", around(br#"{"f":"takes","a":[],"k":{},"et":1"#, br#","a":0"#, b"}")),
        ("json: blanks", around(b"", b" ", b"{}")),
        ("msgpack: depth", msgpack(&many(b"\x91", size))),
        ("msgpack: nils", msgpack(&[&b"\xdd"[..], &be, &many(b"\xc0", size)].concat())),
        ("msgpack: empty maps", msgpack(&[&b"\xdd"[..], &be, &many(b"\x80", size)].concat())),
        ("msgpack: bytes", msgpack(&[&b"\xc6"[..], &be, &many(b"x", size)].concat())),
        ("msgpack: lengths", msgpack(&many(b"\xdd\xff\xff\xff\xff", size))),
        ("msgpack: entries", msgpack(&[&b"\xdf"[..], &(length / 2).to_be_bytes(), &many(b"\x01\x01", size)].concat())),
        ("pickle: depth", pickle(&[many(b"]", size / 2), many(b"a", size / 2 - 1)].concat())),
        ("pickle: nones", pickle(&around(b"(", b"N", b"l"))),
        ("pickle: empty lists", pickle(&around(b"(", b"]", b"l"))),
        ("pickle: empty dicts", pickle(&around(b"(", b"}", b"l"))),
        ("pickle: ones", pickle(&around(b"(", b"K\x01", b"l"))),
        ("pickle: memo", pickle(&around(b"N", b"\x94", b""))),
        ("pickle: marks", pickle(&many(b"(", size))),
        ("pickle: copies", pickle(&around(b"]", b"2", b"N"))),
        ("pickle: dropped", pickle(&around(b"N", b"]0", b""))),
        ("pickle: text", pickle(&[&b"X"[..], &le, &many(b"x", size)].concat())),
        ("pickle: bytes", pickle(&[&b"B"[..], &le, &many(b"x", size)].concat())),
        ("pickle: an integer", pickle(&[&b"\x8b"[..], &le, &many(b"\x7f", size)].concat())),
        ("pickle: digits", pickle(&around(b"I", b"9", b"\n"))),
        ("pickle: calls", pickle(&around(b"(", b"cposix\nsystem\n)R", b"l"))),
        ("pickle: objects", pickle(&around(b"(", b"cplant\nReactor\n)\x81", b"l"))),
        ("pickle: short calls", pickle(&around(b"(cp\nf\nq\x00)q\x01", b"h\x00h\x01R", b"l"))),
        ("pickle: sharing", pickle(&sharing)),
        ("pickle: shared lists", {
            let mut lists = b"N".to_vec();
            for place in 0_u8..5 {
                lists.extend([b'q', place, b'0', b'(']);
                lists.extend([b'h', place].repeat(10));
                lists.push(b'l');
            }
            pickle(&lists)
        }),
        ("pickle: shared words", {
            let text = [&b"X"[..], &1_000_u32.to_le_bytes(), &many(b"x", 1_000)].concat();
            pickle(&[b"(", &text[..], b"\x94", &many(b"h\x00", size), b"l"].concat())
        }),
        ("msgpack: claims within claims", {
            let claims = [[0xdc].as_slice(), &u16::try_from(size.min(1_000)).expect("small").to_be_bytes()].concat();
            msgpack(&[claims.repeat(120), many(b"\xc0", size)].concat())
        }),
        ("pickle: far memo", pickle(&around(b"(", b"Nr\xff\xff\xff\x00", b"l"))),
        ("pickle: shared text", {
            let text = [&b"X"[..], &le, &many(b"x", size)].concat();
            pickle(&[b"(", &text[..], b"\x94", &b"h\x00".repeat(1_000), b"l"].concat())
        }),
        ("nothing: zeros", vec![0; size]),
    ]
}

/// The same, of what is met or claimed again and again.
fn repeating(size: usize) -> Vec<(&'static str, Vec<u8>)> {
    let around = |before: &[u8], unit: &[u8], after: &[u8]| [before, &many(unit, size), after].concat();
    let half = u32::try_from(size / 2).expect("a small size").to_le_bytes();
    vec![
        ("pickle: long lists within lists", {
            let room = [&b"(N"[..], &many(b"2", size / 16), b"e"].concat();
            pickle(&[&b"]"[..], &room.repeat(15)].concat())
        }),
        ("pickle: a long list within each of a chain", {
            let mut chain = b"]".to_vec();
            for _ in 0..15 {
                chain = [&b"("[..], &chain, b"N", &many(b"2", size / 16), b"l"].concat();
            }
            pickle(&chain)
        }),
        ("msgpack: large claims within claims", {
            let claims = b"\xdd\x00\x0f\xff\x00".repeat(15);
            msgpack(&[claims, many(b"\xc0", size)].concat())
        }),
        ("msgpack: one entry again and again", {
            let nils = u32::try_from(size / 12).expect("small");
            let entry = [&b"\xa1a\xdd"[..], &nils.to_be_bytes(), &b"\xc0".repeat(size / 12)].concat();
            let head = b"\x8e\xa1f\xa5takes\xa1k\x80\xa2et\x01";
            [&head[..], &entry.repeat(11)].concat()
        }),
        ("pickle: lists met twice", pickle(&around(b"(", b"]2", b"l"))),
        ("pickle: calls of nothing", pickle(&around(b"(", b"N)R", b"l"))),
        ("pickle: calls of a tuple", pickle(&around(b"(", b")2R", b"l"))),
        ("pickle: one entry again and again", {
            let list = [&b"("[..], &b"N".repeat(size / 2), b"l\x94"].concat();
            [&b"\x80\x04}(\x8c\x01a\x94"[..], &list, &b"h\x00h\x01".repeat(size / 8), b"u."].concat()
        }),
        ("pickle: every entry one list", {
            let list = [&b"\x8c\x02id("[..], &b"]".repeat(size), b"l\x94\x8c\x01f\x8c\x05takes"].concat();
            let mut whole = [&b"\x80\x04}("[..], &list].concat();
            for name in ["a", "k", "s7", "t", "et", "s", "r", "st", "ft", "q"] {
                whole.extend([0x8c, u8::try_from(name.len()).expect("short")]);
                whole.extend(name.bytes().chain(*b"h\x00"));
            }
            whole.extend(*b"u.");
            whole
        }),
        ("pickle: a long class", pickle(&again(b"c", size, b"\nx\n\x94", b"h\x00"))),
        ("pickle: classes of long names", {
            let before = [&b"X"[..], &half].concat();
            pickle(&again(&before, size, b"\x94", b"h\x00h\x00\x93"))
        }),
        ("pickle: encoded again and again", {
            let before = [&b"c_codecs\nencode\n\x94X"[..], &half].concat();
            pickle(&again(&before, size, b"\x8c\x06latin1\x86\x94", b"h\x00h\x01R"))
        }),
        ("pickle: bytes again and again", {
            let before = [&b"B"[..], &half].concat();
            pickle(&again(&before, size, b"\x94", b"h\x00"))
        }),
        ("pickle: a list as key again and again", {
            let list = [&b"("[..], &b"\x8c\x01\x01".repeat(size / 6), b"l\x94"].concat();
            pickle(&[b"}(", &list[..], b"N", &b"h\x00N".repeat((size / 6).min(1_000)), b"u"].concat())
        }),
    ]
}

/// The most memory that a worker took for this job beyond what it had before, its payload included.
async fn peak_of(harness: &Harness, payload: &[u8]) -> usize {
    let payload: Vec<u8> = payload.to_vec();
    let before = HEAP.current_usage() - payload.len();
    HEAP.reset_peak_usage();
    let job = NewJob {
        queue: QueueName::new("memory").expect("a name"),
        id: JobId::generate(),
        is_new_id: false,
        payload: payload.into(),
        due: Due::Now,
        expires_in: None,
        replace_finished: false,
    };
    let id = job.id.clone();
    harness.broker().enqueue(&[job], RequestId::unique()).await.expect("it is stored");
    harness.drain().await.expect("the worker goes on");
    let peak = HEAP.peak_usage() - before;
    let job: JobHandle<Untyped> = harness.client().job("memory", id.as_str()).expect("names");
    let _ = job.result().await; // ended, whichever way
    harness.client().discard_all_dead("memory").await.expect("discarded");
    peak
}

/// No payload takes more than so many times its size, see [`TIMES`], nor long; the worker goes on after each.
#[tokio::test(start_paused = true)]
async fn hostile_payloads_take_bounded_memory_and_time() {
    let harness = Harness::new().inventory(Inventory::empty().task::<takes>().worker::<Memory>());
    let mut over = Vec::new();
    // Lists double: those just past a power of two have the most room left over.
    for size in [1_000, 33_000, 530_000, MIB - (4 << 10), MIB, 16 * MIB] {
        // Small values are what takes the most; JSON's are bound as they stand.
        let is_tried = |name: &str| size <= MIB || !name.starts_with("json");
        for (name, payload) in payloads(size).into_iter().chain(repeating(size)).filter(|(name, _)| is_tried(name)) {
            let started = Instant::now();
            let peak = peak_of(&harness, &payload).await;
            let took = started.elapsed();
            let by = peak.saturating_sub(CONSTANT) / payload.len();
            println!("{:>9} bytes: {name}: {} KiB, {by} times, {took:?}", payload.len(), peak / 1024);
            let (_, times) = TIMES.into_iter().find(|(codec, _)| name.starts_with(codec)).expect("each has a name");
            let most = (times * payload.len()).min(4 * payload.len() + VALUES) + CONSTANT;
            if peak > most || took > SOON {
                over.push(format!("{name}, {} bytes: {peak} bytes, {took:?}", payload.len()));
            }
        }
    }
    assert!(over.is_empty(), "{over:#?}");
    let fine = harness.client().enqueue(takes::job(Skimmed)).await.expect("enqueued");
    harness.drain().await.expect("drained");
    fine.result().await.expect("it went well");
}
