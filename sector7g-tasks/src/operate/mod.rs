//! `sector-7g`, the operator's command: it looks after a fleet, and never runs tasks.
//!
#![doc = include_str!("../docs/operate.md")]

mod args;
mod ask;
mod causes;
mod dashboard;
mod dead;
mod error;
mod health;
mod jobs;
mod queues;
mod schedules;
mod show;
#[cfg(test)]
mod tests;
mod top;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::CommandFactory as _;
use clap_complete::Shell;

use self::args::{Args, Command};
use self::error::OperateError;
use self::show::Output;
use crate::broker::{Broker, QueueName, RedisBroker};
use crate::inspect::QueueView;

/// Does what the program's arguments say, and returns the exit code.
///
/// It starts a runtime of its own, so don't call it from within one.
#[must_use = "the exit code tells whoever started the program how it ended"]
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let ended = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| OperateError::System(error.into()))
        .and_then(|runtime| runtime.block_on(run(&arguments)));
    match ended {
        Ok(code) => code.into(),
        Err(error) => error.report(),
    }
}

/// The exit code of what went well, or as its command says.
async fn run(arguments: &[OsString]) -> Result<u8, OperateError> {
    let args = Args::read(arguments)?;
    let output = Output::new(args.json);
    if let Command::Completions { shell } = args.command {
        output.write(completions(shell).as_bytes());
        return output.end().map(|()| 0);
    }
    let broker = connect(&args)?;
    if let Command::Health { command } = &args.command {
        let code = health::status(&broker, command, args.queue.as_ref(), &output).await;
        return output.end().map(|()| code);
    }
    if let Command::Dashboard(command) = &args.command {
        return dashboard::run(broker, args.queue.as_ref(), command, &output).await; // it says itself when the broker is away
    }
    broker.ready().await?;
    let Args { queue, queue_prefix, typed_url, .. } = &args;
    let (queue, typed_url) = (queue.as_ref(), typed_url.as_deref());
    let site = Site { broker: &broker, queue, queue_prefix, typed_url, output: &output };
    match &args.command {
        Command::Queues => queues::list(&site).await?,
        Command::Jobs { command } => jobs::run(&site, command).await?,
        Command::Dead { command } => dead::run(&site, command).await?,
        Command::Pause { queue, yes } => queues::pause(&site, queue, *yes).await?,
        Command::Resume { queue } => queues::resume(&site, queue).await?,
        Command::Top(command) => top::run(&site, command).await?,
        Command::Schedule { .. } => schedules::list(&site).await?,
        Command::Dashboard(_) | Command::Health { .. } | Command::Completions { .. } => {} // done above
    }
    output.end().map(|()| 0)
}

/// The script for a shell.
fn completions(shell: Shell) -> String {
    let generate = |name: &str| {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Args::command(), name, &mut script);
        String::from_utf8_lossy(&script).into_owned()
    };
    if shell != Shell::Bash {
        return generate("sector-7g");
    }
    // In bash's script the name is part of labels, of which clap_complete 4.6 spells those with a hyphen in two ways.
    generate("sector7g").replace(" sector7g\n", " sector-7g\n")
}

/// One try, and no long one: who looks after a fleet wants to know now.
fn connect(args: &Args) -> Result<RedisBroker, OperateError> {
    let url = args.redis.as_deref().ok_or(OperateError::NoUrl)?;
    let builder = RedisBroker::builder(url).connect_retries(0, Duration::ZERO);
    Ok(builder.queue_prefix(&args.queue_prefix).build()?)
}

/// What each command has.
struct Site<'a> {
    broker: &'a RedisBroker,
    /// The queue that `--queue` names.
    queue: Option<&'a QueueName>,
    /// What stands before a queue's name in Redis.
    queue_prefix: &'a str,
    /// The broker's URL where `--redis` names it.
    typed_url: Option<&'a str>,
    output: &'a Output,
}

impl Site<'_> {
    /// The queue that is named, known to the broker, or all of them.
    async fn queues(&self) -> Result<Vec<QueueName>, OperateError> {
        match self.queue {
            None => Ok(self.broker.queues().await?),
            Some(queue) => {
                self.known(queue).await?;
                Ok(vec![queue.clone()])
            }
        }
    }

    /// Refuses a queue of which nothing is known: it is likely mistyped.
    async fn known(&self, queue: &QueueName) -> Result<QueueView, OperateError> {
        let view = QueueView::new(queue, self.broker.stats(queue).await?);
        if view.is_known() {
            return Ok(view);
        }
        let known = self.broker.queues().await?.iter().map(ToString::to_string).collect();
        Err(OperateError::UnknownQueue { queue: queue.to_string(), location: self.broker.location(), known })
    }
}
