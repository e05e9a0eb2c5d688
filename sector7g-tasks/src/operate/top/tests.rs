use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::draw::draw;
use super::model::{Act, Filter, Model, Screen};
use crate::broker::JobState;
use crate::clock::Timestamp;
use crate::inspect::{JobView, JobWorker, Overview, QueueView, WorkerView};
use crate::job::{Failure, FailureKind, Ran};

const NOW: Timestamp = Timestamp::from_millis(1_764_288_000_000);

fn overview(done: u64, at: Timestamp) -> Overview {
    let worker = WorkerView { instance: "1".to_owned(), at, done, ..WorkerView::default() };
    let homer = QueueView {
        name: "homer".to_owned(),
        depth: 12,
        queued: 7,
        deferred: 2,
        running: 3,
        dead: 1,
        oldest_due_ms: Some(61_000),
        workers: vec![worker],
        ..QueueView::default()
    };
    let lenny = QueueView {
        name: "len\u{1b}[2Jny".to_owned(),
        paused_since: Some(NOW - Duration::from_secs(90)),
        ..QueueView::default()
    };
    Overview { location: "redis://here".to_owned(), at, queues: vec![homer, lenny], ..Overview::default() }
}

fn model() -> Model {
    let mut model = Model::default();
    "redis://here".clone_into(&mut model.location);
    model.see(overview(10, NOW - Duration::from_secs(10)));
    model.see(overview(25, NOW));
    model
}

fn job() -> JobView {
    let mut failure = Failure::new(FailureKind::Error, "no coolant", 1, NOW - Duration::from_secs(5));
    failure.error_type = Some("std::io::Error".to_owned());
    let (worker, host) = ("carl".to_owned(), "sector-7h".to_owned());
    failure.ran = Some(Box::new(Ran { started_at: NOW - Duration::from_millis(9500), worker, host, pid: 741 }));
    JobView {
        id: "0193".to_owned(),
        queue: "homer".to_owned(),
        state: JobState::InProgress,
        task: Some("inspect".to_owned()),
        codec: Some("json".to_owned()),
        arguments: Some("7, ***".to_owned()),
        unreadable: None,
        size: Some(80),
        attempt: 2,
        max_tries: Some(5),
        enqueued_at: Some(NOW - Duration::from_secs(20)),
        due_at: Some(NOW - Duration::from_secs(3)),
        died_at: None,
        started_at: Some(NOW - Duration::from_secs(2)),
        finished_at: None,
        worker: Some(JobWorker {
            instance: "1".to_owned(),
            name: Some("homer".to_owned()),
            host: Some("sector-7g".to_owned()),
            pid: Some(742),
        }),
        tick: None,
        trace_id: None,
        outcome: None,
        failures: vec![failure],
        progress: Some(serde_json::json!({ "rods": 3 })),
        abort_requested: false,
    }
}

fn press(model: &mut Model, code: KeyCode) -> Act {
    model.key(KeyEvent::new(code, KeyModifiers::NONE))
}

fn shown(model: &mut Model) -> String {
    let mut terminal = Terminal::new(TestBackend::new(100, 20)).expect("memory has no errors");
    terminal.draw(|frame| draw(frame, model)).expect("memory has no errors");
    terminal.backend().to_string()
}

#[test]
fn queues_are_shown() {
    insta::assert_snapshot!(shown(&mut model()));
}

#[test]
fn jobs_of_a_queue_are_shown() {
    let mut model = model();
    assert_eq!(press(&mut model, KeyCode::Enter), Act::Look);
    assert_eq!(model.screen, Screen::Queue { name: "homer".to_owned() });
    model.jobs = vec![job()];
    model.stay_within();
    insta::assert_snapshot!(shown(&mut model));
}

#[test]
fn a_job_is_shown() {
    let mut model = model();
    press(&mut model, KeyCode::Enter);
    model.jobs = vec![job()];
    model.stay_within();
    assert_eq!(press(&mut model, KeyCode::Enter), Act::Look);
    assert_eq!(model.screen, Screen::Job { queue: "homer".to_owned(), id: "0193".to_owned() });
    model.job = Some(job());
    insta::assert_snapshot!(shown(&mut model));
}

#[test]
fn an_outage_is_shown_over_what_was_seen_last() {
    let mut model = model();
    model.trouble = Some("the broker at redis://here is unavailable".to_owned());
    let shown = shown(&mut model);
    assert!(shown.contains("! the broker at redis://here is unavailable") && shown.contains("homer"), "{shown}");
}

#[test]
fn rates_are_those_between_two_words_of_a_worker() {
    let mut model = model();
    assert_eq!(model.per_minute(0), Some(90), "15 in 10 s");
    model.see(overview(25, NOW));
    assert_eq!(model.per_minute(0), Some(90), "it has said nothing new");
    model.see(overview(25, NOW + Duration::from_secs(10)));
    assert_eq!((model.per_minute(0), model.per_minute(1)), (Some(0), None));
}

#[test]
fn keys_lead_down_and_back_and_out() {
    let mut model = model();
    assert_eq!(press(&mut model, KeyCode::Down), Act::Draw);
    press(&mut model, KeyCode::Down); // there are only two
    press(&mut model, KeyCode::Enter);
    assert_eq!(model.screen, Screen::Queue { name: "len\u{1b}[2Jny".to_owned() });
    assert_eq!(press(&mut model, KeyCode::Enter), Act::Draw, "it holds no job");
    assert_eq!(press(&mut model, KeyCode::Char('d')), Act::Look);
    assert_eq!(model.filter, Filter::Dead);
    assert_eq!(press(&mut model, KeyCode::Esc), Act::Look);
    assert_eq!(model.screen, Screen::Queues);
    assert_eq!(press(&mut model, KeyCode::Char('x')), Act::Draw);
    assert_eq!(press(&mut model, KeyCode::Char('q')), Act::Quit);
    assert_eq!(model.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Act::Quit);
    model.see(Overview::default());
    assert_eq!(model.queue_row.selected(), None, "the rows are gone");
    assert_eq!(press(&mut model, KeyCode::Enter), Act::Draw);
}
