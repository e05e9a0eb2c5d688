//! TCP ports of loopback that nobody listens on.

use std::hash::{BuildHasher, RandomState};
use std::net::TcpListener;

/// Below what systems give to outgoing connections, so that a server finds its port free when it comes back;
/// ten thousand above are the ports of Redis Cluster's bus, as far from them.
const PORTS: std::ops::Range<u16> = 12_000..22_000;

/// How far a Redis Cluster's bus is from the port of its node.
const BUS: u16 = 10_000;

/// A port that was free just now, as was that of its bus. Whoever listens on it must be ready to find it taken.
#[must_use]
pub fn free() -> u16 {
    let span = u64::from(PORTS.end - PORTS.start);
    let mut candidates = (0..1000_u64).map(|index| {
        let random = RandomState::new().hash_one(index) % span; // a new state has new keys
        PORTS.start + u16::try_from(random).expect("less than the span")
    });
    candidates.find(|port| is_free(*port) && is_free(port + BUS)).expect("some port of loopback is free")
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}
