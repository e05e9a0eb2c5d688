//! What the tests share: log lines, and servers of each test's own.

#![allow(clippy::missing_panics_doc, reason = "whatever fails here fails a test, and says why")]

mod interpreter;
mod lines;
mod ports;
mod program;
mod python;
mod redis;
mod watched;

pub use interpreter::interpreter;
pub use lines::Lines;
pub use program::Program;
pub use python::{PythonClient, PythonWorker};
pub use redis::{Monitor, RedisCluster, RedisSentinel, RedisServer, RedisServerBuilder};
pub use watched::Signal;
