//! What the tests share: log lines, and servers of each test's own.

#![allow(clippy::missing_panics_doc, reason = "whatever fails here fails a test, and says why")]

mod console;
mod dice;
mod interpreter;
mod lines;
mod ports;
mod program;
mod proxy;
mod python;
mod redis;
mod unpacked;
mod watched;

pub use console::{Block, Console, Script, inline_code};
pub use dice::Dice;
pub use interpreter::interpreter;
pub use lines::Lines;
pub use ports::free as free_port;
pub use program::Program;
pub use proxy::{Proxy, Way};
pub use python::{PythonClient, PythonWorker};
pub use redis::{Certificate, Monitor, RedisCluster, RedisSentinel, RedisServer, RedisServerBuilder};
pub use unpacked::{amtool, promtool};
pub use watched::Signal;
