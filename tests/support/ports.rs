//! TCP ports of loopback that nobody listens on.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::net::TcpListener;
use std::sync::{LazyLock, Mutex, PoisonError};

/// Below what systems give to outgoing connections, so that a server finds its port free when it comes back;
/// ten thousand above are the ports of Redis Cluster's bus, as far from them.
const PORTS: std::ops::Range<u16> = 12_000..22_000;

/// How far a Redis Cluster's bus is from the port of its node.
const BUS: u16 = 10_000;

/// What this process has given out. A sentinel takes whoever comes to the port of a server that has died for its own.
static GIVEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// So many are given out until some are given again.
const MOST: usize = 8_000;

/// A port that was free just now, as was that of its bus, and that this process has not had. Whoever listens on it must be
/// ready to find it taken.
#[must_use]
pub fn free() -> u16 {
    let span = u64::from(PORTS.end - PORTS.start);
    let mut candidates = (0..1000_u64).map(|index| {
        let random = RandomState::new().hash_one(index) % span; // a new state has new keys
        PORTS.start + u16::try_from(random).expect("less than the span")
    });
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    if given.len() >= MOST {
        given.clear();
    }
    let is_new = |port: &u16| !given.contains(port) && is_free(*port) && is_free(port + BUS);
    let port = candidates.find(is_new).expect("some port of loopback is free");
    given.insert(port);
    port
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}
