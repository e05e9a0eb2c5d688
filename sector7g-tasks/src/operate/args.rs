//! The command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::Duration;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use clap_complete::Shell;

use super::error::OperateError;
use crate::broker::{JobId, MAX_BATCH, PageMark, QueueName};
use crate::cli::args::{REDIS_URL, span, without_blanks};
use crate::inspect::Thresholds;

const CODES: &str = "\
Exit codes: 0 done, or healthy
            1 degraded, or the broker refused
            2 the broker can't be reached
            3 no such queue or job, or it is not in a state for that; nothing was changed
            64 a mistake in usage";

/// What stands before a queue's name unless it is said otherwise, as in arq.
pub(super) const QUEUE_PREFIX: &str = "arq:queue:";

/// What was asked for.
#[derive(Parser)]
#[command(
    name = "sector-7g",
    version,
    about = "Looks after queues, jobs and workers; runs no tasks itself",
    after_help = CODES,
    subcommand_required = true,
    arg_required_else_help = false
)]
pub(super) struct Args {
    // Not by clap's own `env`, which shows the value, and so a password, in its help.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        help = "The broker: redis://, rediss://, unix://, redis+sentinel:// or redis+cluster:// [env: REDIS_URL]"
    )]
    pub(super) redis: Option<String>,

    /// The same, if it was an argument.
    #[arg(skip)]
    pub(super) typed_url: Option<String>,

    /// Only this queue
    #[arg(long, short, global = true, value_name = "QUEUE", value_parser = queue)]
    pub(super) queue: Option<QueueName>,

    /// What stands before a queue's name in Redis, as the workers have it
    #[arg(long, global = true, value_name = "TEXT", default_value = QUEUE_PREFIX)]
    pub(super) queue_prefix: String,

    /// Print JSON, for programs
    #[arg(long, global = true)]
    pub(super) json: bool,

    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Subcommand)]
pub(super) enum Command {
    /// How the fleet fares
    Health {
        #[command(subcommand)]
        command: HealthCommand,
    },
    /// The queues and their sizes
    Queues,
    /// Jobs that wait, run or have ended
    Jobs {
        #[command(subcommand)]
        command: JobsCommand,
    },
    /// Dead letters: jobs that failed for good
    Dead {
        #[command(subcommand)]
        command: DeadCommand,
    },
    /// Have no worker claim from a queue until it is resumed (Python workers ignore it)
    Pause {
        #[arg(value_parser = queue)]
        queue: QueueName,
        /// Also a queue of which nothing is known yet
        #[arg(long, short)]
        yes: bool,
    },
    /// Let a paused queue go on
    Resume {
        #[arg(value_parser = queue)]
        queue: QueueName,
    },
    /// Recurring tasks
    Schedule {
        #[command(subcommand)]
        command: ScheduleCommand,
    },
    /// Queues, rates and jobs on the terminal, looked at anew each second; keys lead to the jobs
    Top(Box<TopArgs>),
    /// Serve the pages about queues, jobs, workers and dead letters to browsers
    Dashboard(Box<DashboardArgs>),
    /// Print a script with which a shell completes this command
    Completions { shell: Shell },
}

#[derive(clap::Args)]
pub(super) struct TopArgs {
    /// How often to look
    #[arg(long, value_name = "SPAN", default_value = "1s", value_parser = pause)]
    pub(super) every: Duration,
    #[command(flatten)]
    pub(super) thresholds: ThresholdArgs,
}

#[derive(clap::Args)]
pub(super) struct DashboardArgs {
    /// Where to listen; beyond loopback a token is needed
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8090")]
    pub(super) listen: SocketAddr,
    /// A name under which a proxy in front passes requests on, beside those of loopback; wants a token
    #[arg(long, value_name = "NAME")]
    pub(super) host: Vec<String>,
    // Not by clap's own `env`, which shows the value in its help.
    #[arg(
        long,
        value_name = "TOKEN",
        help = "What has to be told to log in, at least 16 bytes [env: SECTOR7G_DASHBOARD_TOKEN]"
    )]
    pub(super) token: Option<String>,
    /// Let who sees the pages retry, discard, abort and start jobs, and pause queues
    #[arg(long)]
    pub(super) allow_actions: bool,
    /// Show the arguments of tasks that no living worker knows, too
    #[arg(long)]
    pub(super) show_args: bool,
    #[command(flatten)]
    pub(super) thresholds: ThresholdArgs,
}

#[derive(Subcommand)]
pub(super) enum HealthCommand {
    /// Tell by words and exit code (0 healthy, 1 degraded, 2 down) how the fleet fares
    Status(Box<StatusArgs>),
}

#[derive(clap::Args)]
pub(super) struct StatusArgs {
    /// Also the workers, what runs, and whether the broker's set-up is sound
    #[arg(long)]
    pub(super) detailed: bool,
    #[command(flatten)]
    pub(super) thresholds: ThresholdArgs,
}

/// From where on something is not well, wherever that is judged.
#[derive(clap::Args)]
pub(super) struct ThresholdArgs {
    /// Also judge this queue, though the broker knows nothing of it any more; may be repeated
    #[arg(long, env = "SECTOR7G_EXPECT", value_name = "QUEUE", value_delimiter = ',', value_parser = queue)]
    expect: Vec<QueueName>,
    /// The most jobs of a queue that may wait and run
    #[arg(long, env = "SECTOR7G_MAX_DEPTH", value_name = "N", default_value_t = Thresholds::default().max_depth)]
    max_depth: u64,
    /// The longest that a due job may have waited
    #[arg(long, env = "SECTOR7G_MAX_AGE", value_name = "SPAN", default_value = "5m", value_parser = span)]
    max_age: Duration,
    /// The most dead letters that a queue may have
    #[arg(long, env = "SECTOR7G_MAX_DEAD", value_name = "N", default_value_t = Thresholds::default().max_dead)]
    max_dead: u64,
    /// The least number of workers of each queue
    #[arg(long, env = "SECTOR7G_MIN_WORKERS", value_name = "N", default_value_t = Thresholds::default().min_workers)]
    min_workers: usize,
    /// The longest that a worker may have heard nothing from the broker
    #[arg(long, env = "SECTOR7G_MAX_SILENCE", value_name = "SPAN", default_value = "1m", value_parser = span)]
    max_silence: Duration,
    /// The most of the server's memory limit that may be in use, in percent
    #[arg(long, env = "SECTOR7G_MAX_MEMORY", value_name = "PERCENT", default_value_t = Thresholds::default().max_memory)]
    max_memory: u64,
    /// A paused queue is well
    #[arg(long, env = "SECTOR7G_ALLOW_PAUSED")]
    allow_paused: bool,
}

impl ThresholdArgs {
    pub(super) fn read(&self) -> Thresholds {
        Thresholds {
            max_depth: self.max_depth,
            max_age: self.max_age,
            max_dead: self.max_dead,
            min_workers: self.min_workers,
            max_silence: self.max_silence,
            max_memory: self.max_memory,
            allow_paused: self.allow_paused,
            expected: self.expect.clone(),
        }
    }
}

#[derive(Subcommand)]
pub(super) enum JobsCommand {
    /// List jobs that wait and run, earliest due first
    List {
        /// Only those that run
        #[arg(long)]
        running: bool,
        /// Only those whose time is still to come
        #[arg(long, conflicts_with = "running")]
        deferred: bool,
        /// Only those of this task
        #[arg(long, value_name = "NAME")]
        task: Option<String>,
        #[command(flatten)]
        page: PageArgs,
    },
    /// All that is known of a job
    Show(ShowArgs),
    /// Ask that a job be aborted, waiting or running
    Abort {
        #[arg(value_name = "ID", value_parser = job_id)]
        id: JobId,
    },
    /// Make a deferred job due now
    RunNow {
        #[arg(value_name = "ID", value_parser = job_id)]
        id: JobId,
    },
}

#[derive(Subcommand)]
pub(super) enum DeadCommand {
    /// List dead letters, newest first; with what `retry` and `discard` choose by, those that they would touch
    List {
        #[command(flatten)]
        which: LetterArgs,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Count what they died of, most of all first: texts that differ in numbers and ids alone are one
    Causes {
        #[command(flatten)]
        which: LetterArgs,
    },
    /// All that is known of a dead letter
    Show(ShowArgs),
    /// Put dead letters back into their queue: same id, attempts from 1, due now
    Retry {
        #[command(flatten)]
        which: ChooseArgs,
        /// Put back so many a second, not all at once: what they need may only just have come back
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
        per_second: Option<u32>,
    },
    /// Delete dead letters for good
    Discard(ChooseArgs),
}

#[derive(Subcommand)]
pub(super) enum ScheduleCommand {
    /// List the schedules of the workers that run now
    List,
}

#[derive(clap::Args)]
pub(super) struct PageArgs {
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = Self::LIMIT, value_parser = limit)]
    pub(super) limit: usize,
    /// Go on after this mark, which the page before told
    #[arg(long, value_name = "MARK", requires = "queue", value_parser = mark)]
    pub(super) after: Option<PageMark>,
    /// Show the arguments of tasks that no living worker knows, too
    #[arg(long)]
    pub(super) show_args: bool,
}

impl PageArgs {
    pub(super) const LIMIT: usize = 50;
}

#[derive(clap::Args)]
pub(super) struct ShowArgs {
    #[arg(value_name = "ID", value_parser = job_id)]
    pub(super) id: JobId,
    /// Show the arguments of a task that no living worker knows, too
    #[arg(long)]
    pub(super) show_args: bool,
}

#[derive(clap::Args)]
pub(super) struct ChooseArgs {
    /// These
    #[arg(value_name = "ID", value_parser = job_id, conflicts_with_all = ["task", "error", "older_than", "newer_than"])]
    pub(super) ids: Vec<JobId>,
    /// All
    #[arg(long, conflicts_with_all = ["ids", "task", "error", "older_than", "newer_than"])]
    pub(super) all: bool,
    #[command(flatten)]
    pub(super) which: LetterArgs,
    /// Don't ask
    #[arg(long, short)]
    pub(super) yes: bool,
}

/// Which dead letters are meant: those for which all of these hold.
#[derive(clap::Args)]
pub(super) struct LetterArgs {
    /// Those of this task
    #[arg(long, value_name = "NAME")]
    pub(super) task: Option<String>,
    /// Those in whose last failure this text is, as it is or as `dead list` shows it
    #[arg(long, value_name = "TEXT", value_parser = text)]
    pub(super) error: Option<String>,
    /// Those that died longer ago
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub(super) older_than: Option<Duration>,
    /// Those that died within this span
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub(super) newer_than: Option<Duration>,
}

impl Args {
    /// Reads the program's name and arguments, and the broker's address from the environment.
    pub(super) fn read(arguments: &[OsString]) -> Result<Self, OperateError> {
        let matches = without_blanks(Self::command()).try_get_matches_from(arguments)?;
        let mut args = Self::from_arg_matches(&matches)?;
        let set = || std::env::var(REDIS_URL).ok().filter(|value| !value.trim().is_empty());
        args.typed_url.clone_from(&args.redis);
        args.redis = args.redis.or_else(set);
        Ok(args)
    }
}

/// An empty text, as an unset variable of a shell leaves it, is in all.
fn text(text: &str) -> Result<String, String> {
    if text.trim().is_empty() { Err("it is a part of the failure's text".to_owned()) } else { Ok(text.to_owned()) }
}

fn queue(name: &str) -> Result<QueueName, String> {
    QueueName::new(name.trim()).map_err(|error| error.to_string())
}

fn job_id(id: &str) -> Result<JobId, String> {
    JobId::new(id).map_err(|error| error.to_string())
}

#[expect(clippy::unnecessary_wraps, reason = "clap's parsers may fail")]
fn mark(text: &str) -> Result<PageMark, String> {
    Ok(PageMark(text.to_owned()))
}

fn limit(text: &str) -> Result<usize, String> {
    let limit = text.parse().ok().filter(|limit| (1..=MAX_BATCH).contains(limit));
    limit.ok_or_else(|| format!("from 1 to {MAX_BATCH} are listed at a time; the rest follows with --after"))
}

fn pause(text: &str) -> Result<Duration, String> {
    let span = span(text)?;
    if span >= Duration::from_millis(100) { Ok(span) } else { Err("it is 100ms or longer".to_owned()) }
}
