//! How often a wrong token may be told: by each address, so that one who guesses keeps no other out.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use tokio::time::Instant;

/// How many wrong tokens may be told at once, and how long until one more may.
const TRIES: u32 = 10;
pub(super) const TRY_AGAIN: Duration = Duration::from_secs(6);

/// The most addresses that are told apart; those that come when as many have guessed of late share what is left to all.
const MOST_ADDRESSES: usize = 1024;

/// Who guessed of late.
#[derive(Default)]
pub(super) struct Tries {
    by: HashMap<Option<IpAddr>, Bucket>,
}

/// How many wrong tokens may be told still.
struct Bucket {
    left: u32,
    since: Instant,
}

impl Tries {
    /// Takes a try of `address`, if it has one; without an address, or a place for it, one of those that all such share.
    pub(super) fn take(&mut self, address: Option<IpAddr>, now: Instant) -> bool {
        self.bucket(address, now).take(now)
    }

    /// Gives back what a right token has taken.
    pub(super) fn give_back(&mut self, address: Option<IpAddr>, now: Instant) {
        self.bucket(address, now).left += 1;
    }

    fn bucket(&mut self, address: Option<IpAddr>, now: Instant) -> &mut Bucket {
        let mut address = address.map(owned);
        if !self.by.contains_key(&address) && self.by.len() >= MOST_ADDRESSES {
            self.by.retain(|_, bucket| !bucket.is_full(now));
            if self.by.len() >= MOST_ADDRESSES {
                address = None;
            }
        }
        self.by.entry(address).or_insert(Bucket { left: TRIES, since: now })
    }
}

impl Bucket {
    fn fill(&mut self, now: Instant) {
        let back = now.duration_since(self.since).as_secs() / TRY_AGAIN.as_secs();
        let back = u32::try_from(back).unwrap_or(TRIES).min(TRIES);
        if back > 0 {
            self.left = (self.left + back).min(TRIES);
            self.since = now;
        }
    }

    fn is_full(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.left >= TRIES
    }

    fn take(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.left.checked_sub(1).map(|left| self.left = left).is_some()
    }
}

/// The part of an address that one owner has: of IPv6 that is a network of many.
fn owned(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !(u128::MAX >> 64))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(nth: u32) -> IpAddr {
        IpAddr::from(nth.to_be_bytes())
    }

    fn taken(tries: &mut Tries, address: impl Into<Option<IpAddr>>, now: Instant) -> u32 {
        let address = address.into();
        (0..100).take_while(|_| tries.take(address, now)).count().try_into().unwrap()
    }

    #[test]
    fn each_address_has_its_own() {
        let (mut tries, now) = (Tries::default(), Instant::now());
        let v6 = |text: &str| Some(text.parse().unwrap());
        for first in [Some(address(1)), Some(address(2)), None, v6("2001:db8::1"), v6("2001:db8:0:1::1")] {
            assert_eq!(taken(&mut tries, first, now), TRIES, "{first:?}");
        }
        assert_eq!(taken(&mut tries, v6("2001:db8::2"), now), 0, "another of one owner's network");
        assert_eq!(taken(&mut tries, v6("::ffff:0.0.0.1"), now), 0, "the same, as IPv6 writes it");
        assert_eq!(taken(&mut tries, address(1), now + 2 * TRY_AGAIN), 2);
        assert_eq!(taken(&mut tries, address(1), now + 1000 * TRY_AGAIN), TRIES, "no more than at first");
    }

    #[test]
    fn a_right_token_takes_none() {
        let (mut tries, now) = (Tries::default(), Instant::now());
        for _ in 0..3 * TRIES {
            assert!(tries.take(Some(address(1)), now));
            tries.give_back(Some(address(1)), now);
        }
    }

    /// However many guess, no more is kept; who comes then has less than an address of its own, and some again soon.
    #[test]
    fn addresses_are_bounded() {
        let (mut tries, now) = (Tries::default(), Instant::now());
        let many = u32::try_from(MOST_ADDRESSES).unwrap();
        let all: u32 = (0..4 * many).map(|nth| taken(&mut tries, address(nth), now)).sum();
        assert_eq!(all, TRIES * (many + 1), "those beyond share a bucket");
        assert!(tries.by.len() <= MOST_ADDRESSES + 1, "{}", tries.by.len());
        assert_eq!(taken(&mut tries, address(0), now), 0, "and drive none out that is known");
        let later = now + TRIES * TRY_AGAIN;
        assert_eq!(taken(&mut tries, address(5 * many), later), TRIES, "there is room again");
        assert_eq!(tries.by.len(), 1);
    }
}
