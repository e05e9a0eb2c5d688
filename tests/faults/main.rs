//! Breaks workers, producers, servers and the way between them, and accounts for every job: `cargo xtask faults`.
//!
//! RELIABILITY.md says what is promised and what came of it. `conductor` is the program itself; it starts itself anew as
//! worker and as producer, each of which writes a [`ledger`], and in the end [`check`] goes through these.

#![allow(clippy::print_stdout, reason = "the table is what it is for")]

mod audit;
mod catalogue;
mod check;
mod conductor;
mod crash;
mod ends;
mod fault;
mod ground;
mod ledger;
mod listener;
mod load;
mod plant;
mod producer;
mod scenario;
mod table;
mod worker;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Breaks things on purpose, and accounts for every job
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    options: conductor::Options,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// A worker of a scenario
    #[command(hide = true)]
    Worker(worker::Options),
    /// A producer of a scenario
    #[command(hide = true)]
    Producer(producer::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.role {
        Some(Role::Worker(options)) => worker::main(&options),
        Some(Role::Producer(options)) => producer::main(&options),
        None => conductor::main(&arguments.options),
    }
}
