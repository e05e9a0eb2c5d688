//! Why a command was not done, and with which exit code that ends.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::builder::styling::{AnsiColor, Style};

use super::show::plain;
use crate::broker::{BrokerError, UrlError};
use crate::dashboard::AloneError;
use crate::error::{BoxError, Chain};

/// Where usage is wrong, as in `sysexits.h`: 1 and 2 are for what is found out about the fleet.
const USAGE: u8 = 64;

#[derive(Debug, thiserror::Error)]
pub(super) enum OperateError {
    /// Unknown flags and the like, and `--help`, which ends well.
    #[error(transparent)]
    Arguments(#[from] clap::Error),
    #[error("no broker is named: give its URL with --redis, or in REDIS_URL")]
    NoUrl,
    #[error(
        "which dead letters? give their ids, or --all, --task NAME, --error TEXT, --older-than SPAN, --newer-than SPAN"
    )]
    NoneChosen,
    #[error("`top` needs a terminal; `health status --detailed` tells the same to a file")]
    NoTerminal,
    #[error(transparent)]
    Url(#[from] UrlError),
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(
        "nothing is known of queue `{queue}` at {location}: it holds no job and no dead letter, and no worker serves it; known are: {}",
        listed(known)
    )]
    UnknownQueue { queue: String, location: String, known: Vec<String> },
    #[error("there is no {what} `{id}` in {place} (ended jobs are known while their result is kept)")]
    NotFound { what: &'static str, id: String, place: String },
    /// Something is not as the command needs it.
    #[error("{0}")]
    NotPossible(String),
    #[error("{what}, and there is no terminal to ask at: add --yes if that is right")]
    Unasked { what: String },
    #[error("nothing was changed")]
    Declined,
    #[error(transparent)]
    Dashboard(#[from] AloneError),
    #[error("the dashboard can't listen on {address}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("RUST_LOG can't be understood")]
    LogFilter(#[from] tracing_subscriber::filter::ParseError),
    #[error("the answer could not be written to standard output")]
    Output(#[source] io::Error),
    #[error("the program can't run")]
    System(#[source] BoxError),
}

fn listed(known: &[String]) -> String {
    const MOST: usize = 20;
    match known {
        [] => "none".to_owned(),
        some if some.len() <= MOST => some.join(", "),
        many => format!("{}, and {} more", many[..MOST].join(", "), many.len() - MOST),
    }
}

impl OperateError {
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::Arguments(error) if error.exit_code() == 0 => 0,
            Self::Arguments(_)
            | Self::NoUrl
            | Self::NoTerminal
            | Self::NoneChosen
            | Self::Url(_)
            | Self::Dashboard(_)
            | Self::LogFilter(_)
            | Self::Unasked { .. } => USAGE,
            Self::Broker(BrokerError::Unavailable { .. }) => 2,
            Self::Broker(_) | Self::Listen { .. } | Self::Output(_) | Self::System(_) => 1,
            Self::UnknownQueue { .. } | Self::NotFound { .. } | Self::NotPossible(_) | Self::Declined => 3,
        }
    }

    /// Says it, once, and returns the exit code.
    pub(super) fn report(&self) -> ExitCode {
        let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
        // Nobody is left to tell if these can't be written.
        let _ = match self {
            Self::Arguments(error) => error.print(),
            _ => writeln!(anstream::stderr(), "{red}error:{red:#} {}", plain(&Chain(self).to_string())),
        };
        self.code().into()
    }
}
