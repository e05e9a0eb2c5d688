use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::{CommandFactory as _, FromArgMatches as _, Parser};

use super::error::CliError;
use super::log::{Format, LogConfig};
use crate::inventory::Inventory;

/// Where the broker is, if `--redis` does not say so.
pub(crate) const REDIS_URL: &str = "REDIS_URL";

/// What to log.
pub(crate) const RUST_LOG: &str = "RUST_LOG";

/// The flags as they were given; [`Config`] is what they mean.
#[derive(Parser)]
#[command(about = "Runs this program's workers until they are told to stop", disable_version_flag = true)]
#[expect(clippy::struct_excessive_bools, reason = "one for each flag; nothing but Config reads them")]
struct Args {
    /// Workers to run [default: all]
    #[arg(value_name = "WORKER")]
    workers: Vec<String>,

    /// Stop once the queues are empty, deferred jobs included
    #[arg(long, overrides_with = "no_burst")]
    burst: bool,

    /// Run until told to stop (unless the program says otherwise, the default)
    #[arg(long, overrides_with = "burst")]
    no_burst: bool,

    /// Tell by the exit code whether the workers live: 0 if each of them does, else 1
    #[arg(long, conflicts_with = "watch")]
    check: bool,

    /// Rebuild the program and start it anew when a file below DIR changes
    #[arg(long, value_name = "DIR")]
    watch: Option<PathBuf>,

    // Not by clap's own `env`, which shows the value, and so a password, in its help.
    #[arg(
        long,
        value_name = "URL",
        help = "The broker: redis://, rediss://, unix://, redis+sentinel:// or redis+cluster:// [env: REDIS_URL] [default: embedded in this process]"
    )]
    redis: Option<String>,

    /// Serve /live and /ready (and /metrics, where the program has them) on this address, or on this port of 127.0.0.1
    #[cfg(feature = "http")]
    #[arg(long, value_name = "ADDRESS", env = "SECTOR7G_LISTEN", value_parser = address)]
    listen: Option<std::net::SocketAddr>,

    /// How long the workers' runtime may be blocked before /live says no [default: 10s, unless the program says otherwise]
    #[arg(long, value_name = "SPAN", env = "SECTOR7G_MAX_BLOCKED", value_parser = span)]
    max_blocked: Option<Duration>,

    /// How long a worker may hear nothing from the broker before /ready says no, 6s or longer [default: 30s, unless the program says otherwise]
    #[arg(long, value_name = "SPAN", env = "SECTOR7G_MAX_AWAY", value_parser = span)]
    max_away: Option<Duration>,

    /// How log lines look
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Pretty)]
    log_format: Format,

    #[arg(short, long, help = "Log what the library does in detail; RUST_LOG has finer choices")]
    verbose: bool,

    /// Print version
    #[arg(short = 'V', long)]
    version: bool,

    /// Stop gracefully when standard input ends: what `--watch` starts its worker with
    #[arg(long = UNTIL_EOF, hide = true)]
    until_eof: bool,
}

/// The flag with which `--watch` starts a worker.
pub(super) const UNTIL_EOF: &str = "until-stdin-ends";

/// What the program is to do.
pub(super) struct Config {
    pub(super) mode: Mode,
    pub(super) workers: Vec<String>,
    /// `None` leaves it to the program.
    pub(super) burst: Option<bool>,
    /// With its password: not to be shown.
    pub(super) redis: Option<String>,
    #[cfg(feature = "http")]
    pub(super) listen: Option<std::net::SocketAddr>,
    /// When `/live` and `/ready` say no; `None` leaves it to the program.
    pub(super) max_blocked: Option<Duration>,
    pub(super) max_away: Option<Duration>,
    pub(super) log: LogConfig,
    /// The arguments of a worker that `--watch` starts: these, without what is its parent's alone.
    pub(super) passed_on: Vec<OsString>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Version,
    Check,
    Watch(PathBuf),
    Work {
        /// Whether the end of standard input is a request to stop.
        until_eof: bool,
    },
}

impl Config {
    /// Reads the program's name and arguments, and what of them may stand in the environment.
    pub(super) fn from_args(arguments: &[OsString]) -> Result<Self, CliError> {
        Self::from_parts(arguments, |name| std::env::var(name).ok())
    }

    fn from_parts(arguments: &[OsString], env: impl Fn(&str) -> Option<String>) -> Result<Self, CliError> {
        let matches = without_blanks(Args::command()).after_help(after_help()).try_get_matches_from(arguments)?;
        let args = Args::from_arg_matches(&matches)?;
        // An empty variable is an unset one; an empty flag is a mistake, which the URL's reader names.
        let set = |name: &str| env(name).filter(|value| !value.trim().is_empty());
        Ok(Self {
            burst: (args.burst || args.no_burst).then_some(args.burst),
            redis: args.redis.or_else(|| set(REDIS_URL)),
            #[cfg(feature = "http")]
            listen: args.listen,
            max_blocked: args.max_blocked,
            max_away: args.max_away,
            log: LogConfig::new(args.log_format, args.verbose, set(RUST_LOG).as_deref())
                .map_err(CliError::LogFilter)?,
            passed_on: without_watch(arguments.get(1..).unwrap_or_default()),
            workers: args.workers,
            mode: match args.watch {
                _ if args.version => Mode::Version,
                _ if args.check => Mode::Check,
                Some(dir) => Mode::Watch(dir),
                None => Mode::Work { until_eof: args.until_eof },
            },
        })
    }
}

// By hand: URL and arguments may hold a password.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("mode", &self.mode).field("workers", &self.workers).finish_non_exhaustive()
    }
}

fn after_help() -> String {
    let codes = "Exit codes: 0 after a clean stop, 1 on a failure, 2 on a mistake in usage or settings";
    // A program may also add workers by hand, which is after its arguments were read.
    match Inventory::linked().worker_names() {
        none if none.is_empty() => codes.to_owned(),
        names => format!("Workers: {}\n\n{codes}", names.join(", ")),
    }
}

/// What the environment has blank is not set: compose files and units pass on variables that nobody has given.
pub(crate) fn without_blanks(command: clap::Command) -> clap::Command {
    let is_blank = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.to_string_lossy().trim().is_empty());
    command
        .mut_args(|arg| if arg.get_env().is_some_and(is_blank) { arg.env(None::<&'static str>) } else { arg })
        .mut_subcommands(without_blanks)
}

/// `90s`, `1h30m`, `7d`.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    let read = || {
        // Time that has gone by is no span, not even none of it.
        let span: jiff::Span = text.parse().ok().filter(|_| !text.contains("ago"))?;
        let span = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok()?;
        Duration::try_from(span).ok()
    };
    read().ok_or_else(|| "a span is written as `90s`, `5m`, `1h30m` or `7d`".to_owned())
}

/// An address and a port, or a port of the loopback address.
#[cfg(feature = "http")]
fn address(text: &str) -> Result<std::net::SocketAddr, String> {
    match text.parse::<u16>() {
        Ok(port) => Ok((std::net::Ipv4Addr::LOCALHOST, port).into()),
        Err(_) => text.parse().map_err(|_| "say a port, `9465`, or an address and a port, `0.0.0.0:9465`".to_owned()),
    }
}

/// The arguments without `--watch` and what has no effect beside it.
fn without_watch(arguments: &[OsString]) -> Vec<OsString> {
    let mut left = arguments.iter();
    let mut kept = Vec::new();
    while let Some(argument) = left.next() {
        match argument.to_str() {
            Some("--") => {
                kept.push(argument.clone());
                kept.extend(left.by_ref().cloned());
            }
            Some("--watch") => drop(left.next()),
            Some("--burst" | "--no-burst") => {}
            _ if argument.as_encoded_bytes().starts_with(b"--watch=") => {}
            _ => kept.push(argument.clone()),
        }
    }
    kept
}

/// Writes the program's name and version, as far as they are known, and the library's.
pub(super) fn print_version(version: Option<&str>) {
    let exe = std::env::current_exe().ok();
    let name =
        exe.as_deref().and_then(std::path::Path::file_stem).map_or_else(|| "worker".into(), OsStr::to_string_lossy);
    let version = version.map(|version| format!(" {version}")).unwrap_or_default();
    // Who closed the pipe did not want to know.
    let _ = writeln!(anstream::stdout(), "{name}{version} ({} {})", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
}

#[cfg(test)]
mod tests;
