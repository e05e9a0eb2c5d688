//! What the tests share: log lines, and servers of each test's own.

#![allow(clippy::missing_panics_doc, reason = "whatever fails here fails a test, and says why")]

mod dice;
mod lines;
mod ports;
mod program;
mod proxy;
mod python;
mod redis;
mod watched;

pub use dice::Dice;
pub use lines::Lines;
pub use program::Program;
pub use proxy::{Proxy, Way};
pub use python::{PythonClient, PythonWorker, interpreter};
pub use redis::{Monitor, RedisCluster, RedisSentinel, RedisServer, RedisServerBuilder};
pub use watched::Signal;
