use std::sync::Arc;

use crate::broker::QueueName;

/// Abort requests of all queues, arq's own; in a cluster it has a slot of its own.
pub(super) const ABORTS: &str = "arq:abort";

/// The queues that our clients and workers have used: name, last used at (ms).
pub(super) const QUEUES: &str = "arq:s7:queues";

/// What arq calls its queues unless told otherwise.
const ARQ: &str = "arq:queue";

/// How queues are named in Redis. The keys of jobs and what belongs to a queue are made by the scripts.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: Arc<str>,
}

impl Default for Keys {
    fn default() -> Self {
        Self::with_prefix("arq:queue:")
    }
}

impl Keys {
    pub(super) fn with_prefix(prefix: &str) -> Self {
        Self { prefix: prefix.into() }
    }

    /// The key of a queue's sorted set: arq's `queue_name`.
    pub(super) fn queue(&self, name: &QueueName) -> String {
        let name = name.as_str();
        let is_whole = name == ARQ || name.strip_prefix(ARQ).is_some_and(|rest| rest.starts_with(':'));
        if is_whole { name.to_owned() } else { format!("{}{name}", self.prefix) }
    }
}

/// The list at which workers wait.
pub(super) fn bell(queue: &str) -> String {
    format!("{queue}:s7:bell")
}

/// The leases of a queue.
pub(super) fn leases(queue: &str) -> String {
    format!("{queue}:s7:leases")
}

/// arq's key of an encoded job.
pub(super) fn job(id: &str) -> String {
    format!("arq:job:{id}")
}

/// arq's key of who has a job.
pub(super) fn lease(id: &str) -> String {
    format!("arq:in-progress:{id}")
}

/// The hash of what is noted of a job beyond arq's format.
pub(super) fn notes(id: &str) -> String {
    format!("arq:s7:job:{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(prefix: &str, name: &str, expected: &str) {
        let name = QueueName::new(name).expect("a valid name");
        assert_eq!(Keys::with_prefix(prefix).queue(&name), expected);
    }

    #[test]
    fn names_are_those_of_arq() {
        check("arq:queue:", "homer", "arq:queue:homer");
        check("arq:queue:", "{homer}", "arq:queue:{homer}");
        check("arq:queue:", "arq:queue", "arq:queue");
        check("arq:queue:", "arq:queue:homer", "arq:queue:homer");
        check("arq:queue:", "arq:queues", "arq:queue:arq:queues");
        check("", "homer", "homer");
    }
}
