use super::*;

/// Lines of a ledger, without their times: they are a second apart.
fn check(lines: &str, ends: &[(&str, End)]) -> Account {
    let lines = lines.lines().map(str::trim).filter(|line| !line.is_empty());
    let events: Vec<Event> = lines
        .enumerate()
        .map(|(second, line)| Event::read(&format!("{} {line}", (second + 1) * 1_000_000)).expect("a line"))
        .collect();
    let ends = ends.iter().map(|(id, end)| ((*id).to_owned(), *end)).collect();
    account(&events, &Ends { ends, ..Ends::default() })
}

const DONE: End = End::Done { fence: 1 };

#[test]
fn a_job_that_runs_once_is_right() {
    let account = check(
        "asked 1 a-work_for 0 0\n answered 1 a-work_for 0 0\n start 7 a-work_for 1 1\n end 7 a-work_for 1 1",
        &[("a-work_for", DONE)],
    );
    assert_eq!((account.asked, account.acknowledged, account.finished, account.again), (1, 1, 1, 0));
    assert!(account.lost.is_empty() && account.twice.is_empty() && account.unprovoked.is_empty());
    assert!(account.untrue.is_empty(), "{:?}", account.untrue);
}

#[test]
fn what_was_acknowledged_and_has_no_end_is_lost() {
    let account = check(
        "asked 1 a-work_for 0 0\n answered 1 a-work_for 0 0\n asked 1 b-work_for 0 0\n unknown 1 b-work_for 0 0",
        &[],
    );
    assert_eq!(account.lost, ["a-work_for"], "of the other one nobody was told that it is there");
}

#[test]
fn a_second_run_needs_a_fault() {
    let runs = "start 7 a-work_for 1 1\n end 7 a-work_for 1 1\n start 8 a-work_for 2 2\n end 8 a-work_for 2 2";
    let end = [("a-work_for", End::Done { fence: 2 })];
    assert_eq!(check(runs, &end).unprovoked.len(), 1);
    let killed = runs.replace("start 8", "killed 7 - 0 0\n start 8");
    assert_eq!(check(&killed, &end).unprovoked.len(), 0, "its end may not have been reported");
    let other = runs.replace("start 8", "killed 9 - 0 0\n start 8");
    assert_eq!(check(&other, &end).unprovoked.len(), 1, "another one's death explains nothing");
    let told = runs.replace("start 8", "told 7 - 0 0\n gone 7 - 0 0\n start 8");
    assert_eq!(check(&told, &end).unprovoked.len(), 1, "who is asked to stop reports what has ended");
    let hitch = format!("hitch 0 - 0 0\n {runs} \n mended 0 - 0 0");
    assert_eq!(check(&hitch, &end).unprovoked.len(), 1, "a hitch costs no lease");
    let trouble = hitch.replace("hitch", "trouble");
    assert_eq!(check(&trouble, &end).unprovoked.len(), 0);
}

#[test]
fn a_claim_that_nobody_ran_needs_a_fault_too() {
    let run = "asked 1 a-work_for 0 0\n answered 1 a-work_for 0 0\n start 7 a-work_for 2 2\n end 7 a-work_for 2 2";
    let end = [("a-work_for", End::Done { fence: 2 })];
    assert_eq!(check(run, &end).unprovoked.len(), 1);
    let killed = run.replace("start 7", "killed 6 - 0 0\n start 7");
    assert_eq!(check(&killed, &end).unprovoked.len(), 0);
}

#[test]
fn a_result_of_a_lost_lease_is_one_too_many() {
    let runs =
        "start 7 a-work_for 1 1\n frozen 7 - 0 0\n start 8 a-work_for 2 2\n thawed 7 - 0 0\n end 7 a-work_for 1 1";
    let account = check(runs, &[("a-work_for", DONE)]);
    assert_eq!((account.twice.len(), account.unprovoked.len()), (1, 0));
    assert_eq!(account.overlap, Duration::from_secs(1), "frozen, the first one ran beside nobody");
    assert_eq!(account.recovery, [Duration::from_secs(1)]);
}

#[test]
fn a_result_that_was_stored_again_is_one_too_many() {
    let mut ends = Ends::default();
    ends.ends.insert("a-work_for".to_owned(), DONE);
    ends.stored.insert("a-work_for".to_owned(), 2);
    assert_eq!(account(&[], &ends).twice.len(), 1);
}

#[test]
fn what_cannot_be_is_told() {
    for (lines, end) in [
        ("refused 1 a-work_for 0 0\n start 7 a-work_for 1 1\n end 7 a-work_for 1 1", DONE),
        ("start 7 a-work_for 1 1\n cut 7 a-work_for 1 1", DONE),
        ("asked 1 a-work_for 5000 0\n start 7 a-work_for 1 1\n end 7 a-work_for 1 1", DONE),
        ("start 7 a-work_for 1 1\n end 7 a-work_for 1 1", End::Dead),
    ] {
        assert_eq!(check(lines, &[("a-work_for", end)]).untrue.len(), 1, "{lines}");
    }
    let abort = check("start 7 a-abort 1 1\n end 7 a-abort 1 1", &[("a-abort", DONE)]);
    assert_eq!(abort.untrue.len(), 1, "it kills its worker");
    let lines =
        "start 7 a-work_for 1 1\n told 7 - 0 0\n cut 7 a-work_for 1 1\n start 8 a-work_for 2 2\n end 8 a-work_for 2 2";
    let counted = check(lines, &[("a-work_for", End::Done { fence: 2 })]);
    assert_eq!(counted.untrue.len(), 1, "the attempt was given back, and counted");
    assert_eq!((counted.again, counted.unprovoked.len()), (1, 0));
    let uncounted = check(&lines.replace("2 2", "1 2"), &[("a-work_for", End::Done { fence: 2 })]);
    assert!(uncounted.untrue.is_empty(), "{:?}", uncounted.untrue);
}

#[test]
fn a_worker_that_stays_away_after_a_trouble_is_late() {
    let outage = "start 7 a-work_for 1 1\n end 7 a-work_for 1 1\n trouble 0 - 0 0\n mended 0 - 0 0";
    let work = "\n start 8 b-work_for 1 1\n end 8 b-work_for 1 1".repeat(3);
    let quiet = check(&format!("{outage}{work}\n answered 1 b-work_for 0 0"), &[]);
    assert_eq!((quiet.watched, &*quiet.recovery), (1, &[Duration::from_secs(7)][..]), "7 starts nothing any more");
    let soon = check(&format!("{outage}{work}\n answered 1 b-work_for 0 0\n trouble 0 - 0 0"), &[]);
    assert_eq!(soon.watched, 1, "what comes after the work disturbs nobody");
    let hasty = check(&format!("{outage}\n hitch 0 - 0 0\n mended 0 - 0 0{work}"), &[]);
    assert_eq!(hasty.watched, 0, "the next one came at once");
}

#[test]
fn a_deaf_witness_is_told() {
    let mut ends = Ends::default();
    ends.ends.insert("a-work_for".to_owned(), DONE);
    assert_eq!(account(&[], &ends).witnessed, 0);
    ends.stored.insert("a-work_for".to_owned(), 1);
    assert_eq!(account(&[], &ends).witnessed, 1);
}
