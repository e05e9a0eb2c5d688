use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::broker::RequestId;

/// The enqueue calls of a client and its clones that are under way.
#[derive(Debug)]
pub(super) struct Requests {
    client: u64,
    numbers: Mutex<Numbers>,
}

#[derive(Debug, Default)]
struct Numbers {
    next: u64,
    under_way: BTreeSet<u64>,
}

impl Default for Requests {
    fn default() -> Self {
        Self { client: rand::random(), numbers: Mutex::default() }
    }
}

impl Requests {
    pub(super) fn begin(&self) -> Request<'_> {
        let mut numbers = self.numbers();
        let number = numbers.next;
        numbers.next += 1;
        numbers.under_way.insert(number);
        Request { requests: self, number }
    }

    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner) // nothing panics while it is held
    }
}

/// A call under way: dropped, it is settled.
pub(super) struct Request<'a> {
    requests: &'a Requests,
    number: u64,
}

impl Request<'_> {
    pub(super) fn id(&self) -> RequestId {
        let settled = self.requests.numbers().under_way.first().copied().unwrap_or(self.number);
        RequestId { client: self.requests.client, number: self.number, settled, is_repeat: false }
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        self.requests.numbers().under_way.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_under_way_is_not_settled() {
        let requests = Requests::default();
        let (first, second) = (requests.begin(), requests.begin());
        assert_eq!((first.id().number, first.id().settled), (0, 0));
        assert_eq!((second.id().number, second.id().settled), (1, 0));
        drop(first);
        assert_eq!(second.id().settled, 1);
        let third = requests.begin();
        drop(second);
        assert_eq!((third.id().number, third.id().settled), (2, 2));
    }
}
