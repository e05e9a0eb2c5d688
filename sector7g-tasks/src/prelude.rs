//! What most programs use: `use sector7g_tasks::prelude::*;`

pub use async_trait::async_trait;

pub use crate::broker::{Broker, JobId, JobState, MemoryBroker};
pub use crate::client::{Client, JobHandle, ResultError};
pub use crate::context::{Context, State, WorkerContext};
pub use crate::error::TaskError;
pub use crate::inventory::Inventory;
pub use crate::job::{Failure, FailureKind, Job, Untyped};
pub use crate::middleware::{Middleware, Next};
pub use crate::runner::{RunReport, Runner};
pub use crate::task::{RunResult, Task};
pub use crate::worker::{Alert, AlertEvent, AlertLevel, JobEnd, JobEndKind, Worker};
pub use crate::{Worker, task};
