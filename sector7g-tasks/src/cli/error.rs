use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::styling::{AnsiColor, Style};

use super::log::{self, Format};
use crate::broker::UrlError;
use crate::broker::url::redacted;
use crate::error::{BoxError, Chain};
use crate::runner::RunnerError;

/// Why the program ends with another exit code than 0.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    /// Unknown flags and the like, and `--help`, which ends well.
    #[error(transparent)]
    Arguments(#[from] clap::Error),
    #[error(transparent)]
    Url(#[from] UrlError),
    #[error("RUST_LOG can't be understood")]
    LogFilter(#[source] tracing_subscriber::filter::ParseError),
    #[error(transparent)]
    Runner(RunnerError),
    #[error("the setup failed")]
    Setup(#[source] BoxError),
    #[error("health check failed: {0}")]
    Unhealthy(String),
    #[error("can't watch `{}`", dir.display())]
    WatchDir {
        dir: PathBuf,
        #[source]
        cause: BoxError,
    },
    /// `--watch` does not know how to build the program.
    #[error("--watch can't rebuild this program: {0}")]
    Unbuildable(String),
    #[error("running the program failed")]
    System(#[source] BoxError),
}

impl From<RunnerError> for CliError {
    fn from(error: RunnerError) -> Self {
        Self::Runner(match error {
            // A URL that was given without its flag is taken for a worker.
            RunnerError::UnknownWorker { name, known } => RunnerError::UnknownWorker { name: redacted(&name), known },
            other => other,
        })
    }
}

impl CliError {
    /// 2 for what the caller of the program has to mend, 1 for what may go well the next time.
    fn code(&self) -> u8 {
        match self {
            Self::Arguments(error) => u8::try_from(error.exit_code()).unwrap_or(2),
            Self::Url(_)
            | Self::LogFilter(_)
            | Self::WatchDir { .. }
            | Self::Unbuildable(_)
            | Self::Runner(RunnerError::Inventory(_) | RunnerError::UnknownWorker { .. }) => 2,
            Self::Runner(_) | Self::Setup(_) | Self::Unhealthy(_) | Self::System(_) => 1,
        }
    }

    /// Says it, once, and returns the exit code.
    pub(super) fn report(&self, format: Format) -> ExitCode {
        // Nobody is left to tell if these can't be written.
        let _ = match (self, format) {
            (Self::Arguments(error), _) => error.print(),
            (_, Format::Pretty) => {
                let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
                writeln!(anstream::stderr(), "{red}error:{red:#} {}", Chain(self))
            }
            // Written by hand: no filter is to hide why the program ended.
            (_, Format::Json) => writeln!(std::io::stderr(), "{}", log::json_error(&Chain(self).to_string())),
        };
        self.code().into()
    }
}
