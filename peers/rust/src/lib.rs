//! What every contender does alike, from the workspace's own.

#[path = "../../../benches/src/side.rs"]
pub mod side;

use std::process::ExitCode;

use side::{Ask, Cannot, Enqueue, Work};

/// The job's arguments.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
pub struct Args {
    pub number: u64,
    pub text: String,
}

/// Does what the command line says.
pub async fn main(
    version: &str,
    enqueue: impl AsyncFnOnce(&Enqueue) -> Result<(), Cannot>,
    work: impl AsyncFnOnce(&Work) -> Result<(), Cannot>,
) -> ExitCode {
    let done = match Ask::read() {
        Ok(Ask::Version) => {
            side::say(version);
            Ok(())
        }
        Ok(Ask::Enqueue(ask)) => enqueue(&ask).await,
        Ok(Ask::Work(ask)) => work(&ask).await,
        Err(error) => Err(error),
    };
    if let Err(error) = &done {
        side::say_cannot(error);
    }
    ExitCode::from(u8::from(done.is_err()))
}

/// What is to happen when standard input ends: the process ends. Its jobs do nothing, so none is cut off.
pub fn exit() {
    std::process::exit(0);
}
