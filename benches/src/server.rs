//! What jobs cost the server: the calls of clients and workers, for valgrind to count the server's instructions of.

use std::sync::Arc;

use sector7g_tasks::broker::{Broker, MAX_BATCH, RedisBroker};
use sector7g_tasks::prelude::*;

use crate::layers::{encoded, fill, work_off};
use crate::{Results, Threads, runtime};

/// What is done with jobs on a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// They are added, so many a call.
    Add(usize),
    /// They are added, and worked off: so many a call, each call reporting those of the one before.
    WorkOff(usize, Results),
}

/// All, by name; what a deed costs beyond another one is for whoever compares them.
pub const DEEDS: [(&str, Deed); 7] = [
    ("add-1", Deed::Add(1)),
    ("add-1000", Deed::Add(MAX_BATCH)),
    ("work-1-dropped", Deed::WorkOff(1, Results::Dropped)),
    ("work-10-dropped", Deed::WorkOff(10, Results::Dropped)),
    ("work-10-kept", Deed::WorkOff(10, Results::Kept)),
    ("work-100-dropped", Deed::WorkOff(100, Results::Dropped)),
    ("work-100-kept", Deed::WorkOff(100, Results::Kept)),
];

/// Does it with so many jobs on the server at `url`, which is its own, and has that end.
///
/// # Errors
/// What went wrong, for people.
pub fn do_on(url: &str, deed: Deed, count: usize) -> Result<(), String> {
    let said = |what: &str, error: &dyn std::fmt::Display| format!("{what} at {url}: {error}");
    runtime(Threads::One).block_on(async {
        let broker = RedisBroker::connect(url).await.map_err(|error| said("no broker", &error))?;
        let jobs = encoded(&Client::new(Arc::new(broker.clone())), count);
        match deed {
            Deed::Add(a_call) => fill(&broker, &jobs, a_call).await,
            Deed::WorkOff(at_once, results) => {
                fill(&broker, &jobs, MAX_BATCH).await;
                work_off(&broker, at_once, results).await;
                let left = broker.stats(&jobs[0].queue).await.map_err(|error| said("no sizes", &error))?;
                if left.live() > 0 {
                    return Err(format!("{} jobs are left at {url}", left.live()));
                }
            }
        }
        Ok::<_, String>(())
    })?;
    let client = redis::Client::open(url).map_err(|error| said("no server", &error))?;
    let mut connection = client.get_connection().map_err(|error| said("no connection", &error))?;
    // It answers by closing the connection.
    let _ = redis::cmd("SHUTDOWN").arg("NOSAVE").query::<()>(&mut connection);
    Ok(())
}
