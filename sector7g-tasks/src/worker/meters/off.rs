#![expect(clippy::unused_self, reason = "as with the feature")]

use std::time::Duration;

use super::NotStored;
use crate::broker::QueueName;
use crate::hash::Map;
use crate::task::TaskDef;
use crate::worker::JobEnd;

#[derive(Debug)]
pub(crate) struct Meters;

impl Meters {
    pub(crate) fn new(_: &str, _: &[QueueName], _: &Map<&'static str, &'static TaskDef>) -> Self {
        Self
    }

    pub(crate) fn claim(&self, _: usize, _: Option<usize>) {}

    pub(crate) fn heartbeat(&self, _: usize, _: bool) {}

    pub(crate) fn reconnected(&self) {}

    pub(crate) fn started(&self, _: usize, _: &'static TaskDef, _: impl FnOnce() -> Duration) {}

    pub(crate) fn ended(&self, _: usize, _: &'static TaskDef, _: &JobEnd) {}

    pub(crate) fn ended_without_run(&self, _: usize, _: Option<&'static TaskDef>, _: &JobEnd) {}

    pub(crate) fn not_stored(&self, _: usize, _: NotStored, _: usize) {}

    pub(crate) fn lost(&self, _: usize, _: &'static TaskDef, _: Duration) {}

    pub(crate) fn lease_lost(&self, _: usize) {}
}
