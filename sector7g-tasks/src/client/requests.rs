use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::broker::{REQUEST_MEMORY, RequestId};

/// The enqueue calls of a client and its clones that are under way.
#[derive(Debug)]
pub(super) struct Requests {
    client: u64,
    numbers: Mutex<Numbers>,
}

#[derive(Debug, Default)]
struct Numbers {
    next: u64,
    /// With their beginnings. No broker knows one longer than [`REQUEST_MEMORY`], so none is kept longer: a future that
    /// nobody polls or drops any more must not make brokers keep all answers after its own.
    under_way: BTreeMap<u64, Instant>,
}

impl Default for Requests {
    fn default() -> Self {
        Self { client: rand::random(), numbers: Mutex::default() }
    }
}

impl Requests {
    /// A new call, and what to ask with first.
    pub(super) fn begin(&self) -> (Request<'_>, RequestId) {
        let mut numbers = self.numbers();
        let number = numbers.next;
        numbers.next += 1;
        numbers.under_way.insert(number, Instant::now());
        let settled = numbers.settled().unwrap_or(number);
        (Request { requests: self, number }, RequestId { client: self.client, number, settled })
    }

    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner) // nothing panics while it is held
    }
}

impl Numbers {
    /// Below which number no call will be repeated.
    fn settled(&mut self) -> Option<u64> {
        while let Some(oldest) = self.under_way.first_entry()
            && oldest.get().elapsed() >= REQUEST_MEMORY
        {
            oldest.remove();
        }
        self.under_way.first_key_value().map(|(number, _)| *number)
    }
}

/// A call under way: dropped, it is settled.
pub(super) struct Request<'a> {
    requests: &'a Requests,
    number: u64,
}

impl Request<'_> {
    /// What to ask with again; nothing when the call has been under way for too long.
    pub(super) fn again(&self) -> Option<RequestId> {
        let settled = self.requests.numbers().settled().filter(|settled| *settled <= self.number)?;
        Some(RequestId { client: self.requests.client, number: self.number, settled })
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

    fn again(request: &Request<'_>) -> Option<(u64, u64)> {
        request.again().map(|id| (id.number, id.settled))
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_under_way_is_not_settled() {
        let requests = Requests::default();
        let ((first, _), (second, id)) = (requests.begin(), requests.begin());
        assert_eq!((id.number, id.settled), (1, 0));
        assert_eq!((again(&first), again(&second)), (Some((0, 0)), Some((1, 0))));
        drop(first);
        assert_eq!(again(&second), Some((1, 1)));
        let (third, id) = requests.begin();
        assert_eq!((id.number, id.settled), (2, 1));
        drop(second);
        assert_eq!(again(&third), Some((2, 2)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_been_under_way_too_long_holds_nothing_up() {
        let requests = Requests::default();
        let (stuck, _) = requests.begin();
        tokio::time::advance(REQUEST_MEMORY / 2).await;
        let (other, _) = requests.begin();
        assert_eq!((again(&stuck), again(&other)), (Some((0, 0)), Some((1, 0))));
        tokio::time::advance(REQUEST_MEMORY / 2).await;
        assert_eq!((again(&other), again(&stuck)), (Some((1, 1)), None), "a broker may have forgotten it");
        tokio::time::advance(REQUEST_MEMORY / 2).await;
        assert_eq!(again(&other), None);
        assert_eq!(requests.begin().1.settled, 2);
    }
}
