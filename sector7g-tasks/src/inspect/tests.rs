use std::time::Duration;

use super::health::span;
use super::{Overview, QueueView, ReasonKind, Status, Thresholds, WorkerView};
use crate::broker::ServerInfo;
use crate::clock::Timestamp;

const NOW: Timestamp = Timestamp::from_millis(1_000_000_000);

fn well() -> Overview {
    let worker = WorkerView { name: "homer".to_owned(), at: NOW, max_jobs: Some(3), ..WorkerView::default() };
    let queue = QueueView { name: "homer".to_owned(), workers: vec![worker], ..QueueView::default() };
    let server = ServerInfo { memory_used: Some(90), memory_limit: Some(100), ..ServerInfo::default() };
    Overview { location: "here".to_owned(), at: NOW, server: Some(server), queues: vec![queue], ..Overview::default() }
}

fn check(change: impl FnOnce(&mut Overview), expected: &[ReasonKind]) {
    let mut overview = well();
    change(&mut overview);
    let health = Thresholds::default().assess(overview);
    let kinds: Vec<ReasonKind> = health.reasons.iter().map(|reason| reason.kind).collect();
    assert_eq!(kinds, expected, "{:#?}", health.reasons);
    assert_eq!(health.status, if expected.is_empty() { Status::Healthy } else { Status::Degraded });
}

#[test]
fn each_threshold_is_kept_up_to_itself() {
    check(|_| {}, &[]);
    check(|all| all.queues[0].depth = 10_000, &[]);
    check(|all| all.queues[0].depth = 10_001, &[ReasonKind::Depth]);
    check(|all| all.queues[0].oldest_due_ms = Some(300_000), &[]);
    check(|all| all.queues[0].oldest_due_ms = Some(300_001), &[ReasonKind::Age]);
    check(|all| all.queues[0].dead = 1, &[ReasonKind::Dead]);
    check(|all| all.queues[0].workers.clear(), &[ReasonKind::Workers]);
    check(|all| all.queues[0].paused_since = Some(NOW), &[ReasonKind::Paused]);
    check(|all| all.concerns.push("its maxmemory-policy".to_owned()), &[ReasonKind::SetUp]);
    check(|all| all.server.as_mut().unwrap().memory_used = Some(91), &[ReasonKind::Memory]);
    check(|all| all.server.as_mut().unwrap().memory_limit = None, &[]);
    check(|all| all.queues.clear(), &[]);
}

/// A worker that is full renews its leases; of a Python worker nobody knows when it heard something.
#[test]
fn a_silent_worker_is_missed_full_or_not() {
    let long_ago = NOW - Duration::from_secs(61);
    check(|all| all.queues[0].workers[0].at = NOW - Duration::from_mins(1), &[]);
    check(|all| all.queues[0].workers[0].at = long_ago, &[ReasonKind::Silent]);
    let full = |all: &mut Overview| (all.queues[0].workers[0].at, all.queues[0].workers[0].running) = (long_ago, 3);
    check(full, &[ReasonKind::Silent]);
    let python =
        |all: &mut Overview| (all.queues[0].workers[0].at, all.queues[0].workers[0].is_python) = (long_ago, true);
    check(python, &[]);
}

#[test]
fn a_hostile_name_is_text_in_a_reason() {
    let mut overview = well();
    (overview.queues[0].name, overview.queues[0].dead) = ("a\u{1b}[2Jb".to_owned(), 1);
    let health = Thresholds::default().assess(overview);
    assert!(health.reasons[0].message.contains(r"`a\u{1b}[2Jb`"), "{:?}", health.reasons);
}

#[test]
fn spans_have_two_units_at_most() {
    let check = |ms, expected: &str| assert_eq!(span(Duration::from_millis(ms)), expected);
    check(0, "0s");
    check(999, "999ms");
    check(1_000, "1s");
    check(61_999, "1m 1s");
    check(3_600_000, "1h");
    check(90_061_000, "1d 1h");
}
