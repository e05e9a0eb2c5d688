use std::io;
use std::sync::{Arc, Mutex};

use tracing_subscriber::fmt::MakeWriter;

use super::*;
use crate::clock::Timestamp;

/// What was logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn logged(ansi: bool, directives: (bool, Option<&str>), log: impl FnOnce()) -> String {
    let lines = Lines::default();
    let clock = Clock::starting_from(Timestamp::from_millis(45_296_789)); // 12:34:56.789
    let subscriber = tracing_subscriber::fmt()
        .with_writer(lines.clone())
        .with_env_filter(filter(directives.0, directives.1).unwrap())
        .with_ansi(ansi)
        .fmt_fields(fields())
        .event_format(Pretty { clock, zone: TimeZone::UTC })
        .finish();
    tracing::subscriber::with_default(subscriber, log);
    String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
}

fn log_all() {
    let span = tracing::info_span!("job", job_id = "7", task = "nap");
    let _in_job = span.enter();
    tracing::info!("own");
    tracing::debug!("own detail");
    tracing::error!(target: "plant", boxes = 3, "dropped");
    tracing::debug!(target: "plant", "their detail");
    tracing::warn!(target: "sector7g_tasks_extra", "not own");
}

#[test]
fn lines_look_like_arqs() {
    let check = |directives, expected: &str| assert_eq!(logged(false, directives, log_all), expected, "{directives:?}");
    let quiet = "12:34:56: own\n\
        12:34:56: ERROR dropped boxes=3 job_id=\"7\" task=\"nap\"\n\
        12:34:56: WARN not own job_id=\"7\" task=\"nap\"\n";
    check((false, None), quiet);
    check((true, None), &quiet.replacen('\n', "\n12:34:56: DEBUG own detail\n", 1));
    check((false, Some("off,plant=warn,job=info")), "12:34:56: ERROR dropped boxes=3\n");
    check(
        (false, Some("warn,plant=debug")),
        "12:34:56: ERROR dropped boxes=3\n12:34:56: DEBUG plant: their detail\n12:34:56: WARN not own\n",
    );
    check(
        (true, Some("off")),
        "12:34:56: own\n12:34:56: DEBUG own detail\n12:34:56: WARN not own job_id=\"7\" task=\"nap\"\n",
    );
}

#[test]
fn colours_only_on_demand() {
    let colourful = logged(true, (false, Some("warn")), || tracing::error!("dropped"));
    assert!(colourful.contains("\x1b[31mERROR\x1b[0m"), "{colourful:?}");
    assert!(!logged(false, (false, None), log_all).contains('\x1b'));
}

#[test]
fn an_event_is_one_line() {
    let log = || {
        let span = tracing::info_span!("order", boxes = "3\n12:34:56: ERROR forged");
        let _in_order = span.enter();
        tracing::error!(target: "plant", cause = %"a\r\nb", "assertion failed\n  left: 1\n right: 2\u{1b}[2J\u{b}\u{202e}\u{2028}\u{200b}");
    };
    let expected = "12:34:56: ERROR assertion failed\\n  left: 1\\n right: 2\\u{1b}[2J\\u{b}\\u{202e}\\u{2028}\\u{200b} cause=a\\r\\nb \
                    boxes=\"3\\n12:34:56: ERROR forged\"\n";
    assert_eq!(logged(false, (false, None), log), expected);
}

#[test]
fn an_error_at_the_end_is_one_json_object() {
    let line = json_error("queue \"homer\"\nhas two workers");
    assert!(!line.contains('\n'));
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(value["level"], "ERROR");
    assert_eq!(value["message"], "queue \"homer\"\nhas two workers");
}
