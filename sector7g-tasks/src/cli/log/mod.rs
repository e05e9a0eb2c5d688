use std::borrow::Cow;
use std::fmt;

use clap::builder::styling::{AnsiColor, Effects, Style};
use jiff::tz::TimeZone;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::fmt::format::{self, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use crate::clock::Clock;
use crate::inspect::text::{is_odd, plain};

/// The library's own events; their texts name the job, others' don't.
const OWN: &str = env!("CARGO_CRATE_NAME");

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// One JSON object a line
    Json,
    /// `HH:MM:SS: message`, in local time
    Pretty,
}

/// What to log, and how.
#[derive(Debug)]
pub(crate) struct LogConfig {
    pub(crate) format: Format,
    filter: EnvFilter,
}

impl LogConfig {
    /// `directives` are those of `RUST_LOG`, where it is set; `verbose` adds the library's details to them.
    pub(crate) fn new(format: Format, verbose: bool, directives: Option<&str>) -> Result<Self, ParseError> {
        Ok(Self { format, filter: filter(verbose, directives)? })
    }
}

fn filter(verbose: bool, directives: Option<&str>) -> Result<EnvFilter, ParseError> {
    let mut filter = directives.unwrap_or("info").to_owned();
    if verbose {
        filter = format!("{filter},{OWN}=debug");
    }
    EnvFilter::builder().parse(filter)
}

/// Logs to standard error from now on. A program that has set its own subscriber keeps it.
pub(crate) fn start(config: &LogConfig) {
    let ansi = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    let lines = tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(config.filter.clone());
    // Else a line that can't be written is told on the same stderr, with a panic in whatever job wrote it.
    let lines = lines.log_internal_errors(false);
    let started = match config.format {
        Format::Pretty => {
            let lines = lines.with_ansi(ansi).fmt_fields(fields());
            lines.event_format(Pretty::new(TimeZone::system())).try_init()
        }
        Format::Json => lines.json().flatten_event(true).with_span_list(false).try_init(),
    };
    if started.is_ok() {
        crate::worker::panics::tell_places();
    }
}

/// The line of an error that ends the program, shaped like the others.
pub(super) fn json_error(message: &str) -> String {
    let now = Clock::system().now().to_string();
    serde_json::json!({ "timestamp": now, "level": "ERROR", "message": message, "target": OWN }).to_string()
}

/// arq's lines, with the level of all that is not plain information, so that `grep ERROR` finds it.
struct Pretty {
    clock: Clock,
    zone: TimeZone,
}

impl Pretty {
    fn new(zone: TimeZone) -> Self {
        Self { clock: Clock::system(), zone }
    }

    fn time(&self) -> impl fmt::Display {
        let now = jiff::Timestamp::from_millisecond(self.clock.now().as_millis()).unwrap_or_default();
        now.to_zoned(self.zone.clone()).strftime("%H:%M:%S").to_string()
    }
}

impl<S, N> FormatEvent<S, N> for Pretty
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let meta = event.metadata();
        let dim = style(&writer, Style::new().effects(Effects::DIMMED));
        write!(writer, "{dim}{}:{dim:#} ", self.time())?;
        if *meta.level() != Level::INFO {
            let color = style(&writer, color(*meta.level()));
            write!(writer, "{color}{}{color:#} ", meta.level())?;
        }
        let is_own = meta.target().split("::").next() == Some(OWN);
        if *meta.level() > Level::INFO && !is_own {
            write!(writer, "{dim}{}:{dim:#} ", meta.target())?;
        }
        ctx.format_fields(writer.by_ref(), event)?;
        for span in
            ctx.event_scope().filter(|_| !is_own).into_iter().flat_map(tracing_subscriber::registry::Scope::from_root)
        {
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>().filter(|fields| !fields.is_empty()) {
                write!(writer, " {dim}{fields}{dim:#}")?;
            }
        }
        writeln!(writer)
    }
}

/// The message, and ` name=value` of each other field.
fn fields() -> impl for<'a> FormatFields<'a> + 'static {
    format::debug_fn(|writer, field, value| {
        if field.name() != "message" {
            let (name, dim) = (Style::new().effects(Effects::ITALIC), Style::new().effects(Effects::DIMMED));
            let (name, dim) = (style(writer, name), style(writer, dim));
            write!(writer, "{name}{field}{name:#}{dim}={dim:#}")?;
        }
        writer.write_str(&on_one_line(&format!("{value:?}")))
    })
    .delimited(" ")
}

/// An event is one line, whatever its texts hold: a failed `assert_eq!` has several lines, and others' texts could look like
/// lines of ours, or turn the direction of what is before them.
fn on_one_line(text: &str) -> Cow<'_, str> {
    if text.contains(is_odd) { plain(text).into() } else { text.into() }
}

fn style(writer: &Writer<'_>, style: Style) -> Style {
    if writer.has_ansi_escapes() { style } else { Style::new() }
}

fn color(level: Level) -> Style {
    let color = match level {
        Level::ERROR => AnsiColor::Red,
        Level::WARN => AnsiColor::Yellow,
        _ => AnsiColor::Blue,
    };
    Style::new().fg_color(Some(color.into()))
}

#[cfg(test)]
mod tests;
