use super::*;

/// Lines of a ledger, without their times: they are a second apart.
fn check(lines: &str, ends: &[(&str, End)]) -> Account {
    check_with(lines, ends, None)
}

fn check_with(lines: &str, ends: &[(&str, End)], loss: Option<Loss>) -> Account {
    let lines = lines.lines().map(str::trim).filter(|line| !line.is_empty());
    let events: Vec<Event> = lines
        .enumerate()
        .map(|(second, line)| Event::read(&format!("{} {line}", (second + 1) * 1_000_000)).expect("a line"))
        .collect();
    let known = ends.iter().map(|(id, end)| ((*id).to_owned(), *end)).collect();
    account(&events, &Ends { known, ..Ends::default() }, 3, loss)
}

const DONE: End = End::Done { fence: 1 };

#[test]
fn a_job_that_runs_once_is_right() {
    let account = check(
        "asked 1 a-good 0 0\n answered 1 a-good 0 0\n start 7 a-good 1 1\n end 7 a-good 1 1",
        &[("a-good", DONE)],
    );
    assert_eq!((account.asked, account.acknowledged, account.finished, account.again), (1, 1, 1, 0));
    assert!(account.lost.is_empty() && account.twice.is_empty() && account.unprovoked.is_empty());
    assert!(account.untrue.is_empty(), "{:?}", account.untrue);
}

#[test]
fn what_was_acknowledged_and_has_no_end_is_lost() {
    let account = check("asked 1 a-good 0 0\n answered 1 a-good 0 0\n asked 1 b-good 0 0\n unknown 1 b-good 0 0", &[]);
    assert_eq!(account.lost, ["a-good"], "of the other one nobody was told that it is there");
}

#[test]
fn a_second_run_needs_a_fault() {
    let runs = "start 7 a-good 1 1\n end 7 a-good 1 1\n start 8 a-good 2 2\n end 8 a-good 2 2";
    let end = [("a-good", End::Done { fence: 2 })];
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
fn a_pill_that_was_claimed_once_more_needs_another_death() {
    let starts =
        "start 7 a-abort 1 1\n gone 7 - 0 0\n start 8 a-abort 2 2\n gone 8 - 0 0\n start 9 a-abort 3 3\n gone 9 - 0 0";
    let dead = |attempt| [("a-abort", End::Dead { attempt })];
    assert_eq!(check(starts, &dead(4)).untrue.len(), 0);
    assert_eq!(check(starts, &dead(5)).untrue.len(), 1, "nobody died of anything else");
    let nothing = |seconds: usize| "clock 1 - 0 0\n".repeat(seconds);
    let died_after = |seconds| format!("{starts}\n {} gone 10 - 0 0", nothing(seconds));
    assert_eq!(
        check(&died_after(4), &dead(5)).untrue.len(),
        0,
        "its next worker died, too, two leases and a second later"
    );
    assert_eq!(check(&died_after(5), &dead(5)).untrue.len(), 1, "that was another time");
    let queue = format!(
        "asked 1 b-good 0 0\n answered 1 b-good 0 0\n {} start 11 b-good 1 1\n end 11 b-good 1 1\n",
        nothing(2)
    );
    let in_line = |seconds| format!("{queue} {}", died_after(seconds));
    let ends = [("a-abort", End::Dead { attempt: 5 }), ("b-good", DONE)];
    assert_eq!(check(&in_line(7), &ends).untrue.len(), 0, "jobs waited three seconds for their turn just before");
    assert_eq!(check(&in_line(8), &ends).untrue.len(), 1);
}

#[test]
fn who_is_told_to_stop_sees_jobs_through() {
    let run = "start 7 a-good 1 1\n told 7 - 0 0\n end 7 a-good 1 1\n gone 7 - 0 0";
    assert_eq!(check(run, &[("a-good", DONE)]).seen_through, 1);
    assert_eq!(check(&run.replace("end", "cut"), &[("a-good", DONE)]).seen_through, 0, "it was cut off");
    assert_eq!(check(&run.replace("told 7", "told 8"), &[("a-good", DONE)]).seen_through, 0, "another one was told");
}

#[test]
fn a_claim_that_nobody_ran_needs_a_fault_too() {
    let run = "asked 1 a-good 0 0\n answered 1 a-good 0 0\n start 7 a-good 2 2\n end 7 a-good 2 2";
    let end = [("a-good", End::Done { fence: 2 })];
    assert_eq!(check(run, &end).unrun.len(), 1);
    let killed = run.replace("start 7", "killed 6 - 0 0\n start 7");
    assert_eq!(check(&killed, &end).unrun.len(), 0);
    assert_eq!(check(&format!("told 6 - 0 0\n {run}\n gone 6 - 0 0"), &end).unrun.len(), 0, "it had not yet stopped");
    assert_eq!(check(&format!("told 6 - 0 0\n gone 6 - 0 0\n {run}"), &end).unrun.len(), 1, "it had stopped before");
    let long_ago = "told 6 - 0 0\n start 9 b-good 1 1\n end 9 b-good 1 1\n start 9 c-good 1 1";
    assert_eq!(check(&format!("{long_ago}\n {run}\n gone 6 - 0 0"), &end).unrun.len(), 1, "it claims no more");
}

#[test]
fn a_result_of_a_lost_lease_is_one_too_many() {
    let runs = "start 7 a-good 1 1\n frozen 7 - 0 0\n start 8 a-good 2 2\n thawed 7 - 0 0\n end 7 a-good 1 1";
    let account = check(runs, &[("a-good", DONE)]);
    assert_eq!((account.twice.len(), account.unprovoked.len()), (1, 0));
    assert_eq!(account.overlap, Duration::from_secs(1), "frozen, the first one ran beside nobody");
    assert_eq!(account.recovery, [Duration::from_secs(1)]);
}

#[test]
fn a_result_that_was_stored_again_is_one_too_many() {
    let mut ends = Ends::default();
    ends.known.insert("a-good".to_owned(), DONE);
    ends.stored.insert("a-good".to_owned(), 2);
    assert_eq!(account(&[], &ends, 3, None).twice.len(), 1);
}

#[test]
fn what_cannot_be_is_told() {
    for (lines, end) in [
        ("refused 1 a-good 0 0\n start 7 a-good 1 1\n end 7 a-good 1 1", DONE),
        ("start 7 a-good 1 1\n cut 7 a-good 1 1", DONE),
        ("asked 1 a-good 5000 0\n start 7 a-good 1 1\n end 7 a-good 1 1", DONE),
        ("start 7 a-good 1 1\n end 7 a-good 1 1", End::Dead { attempt: 1 }),
    ] {
        assert_eq!(check(lines, &[("a-good", end)]).untrue.len(), 1, "{lines}");
    }
    let abort = check("start 7 a-abort 1 1\n end 7 a-abort 1 1", &[("a-abort", DONE)]);
    assert_eq!(abort.untrue.len(), 2, "it kills its worker, three times");
    let lines = "start 7 a-good 1 1\n told 7 - 0 0\n cut 7 a-good 1 1\n start 8 a-good 2 2\n end 8 a-good 2 2";
    let counted = check(lines, &[("a-good", End::Done { fence: 2 })]);
    assert_eq!(counted.untrue.len(), 1, "the attempt was given back, and counted");
    assert_eq!((counted.again, counted.unprovoked.len()), (1, 0));
    let uncounted = check(&lines.replace("2 2", "1 2"), &[("a-good", End::Done { fence: 2 })]);
    assert!(uncounted.untrue.is_empty(), "{:?}", uncounted.untrue);
    let lines = "start 7 a-good 1 1\n frozen 7 - 0 0\n start 8 a-good 2 2\n thawed 7 - 0 0\n told 7 - 0 0\n cut 7 a-good 1 1\n end 8 a-good 2 2";
    let lost = check(lines, &[("a-good", End::Done { fence: 2 })]);
    assert_eq!((lost.untrue.len(), lost.given_back), (0, 0), "it was another's before its worker was told to stop");
}

#[test]
fn a_worker_that_stays_away_after_a_trouble_is_late() {
    let outage = "start 7 a-good 1 1\n end 7 a-good 1 1\n trouble 0 - 0 0\n mended 0 - 0 0";
    let work = "\n start 8 b-good 1 1\n end 8 b-good 1 1".repeat(3);
    let quiet = check(&format!("{outage}{work}\n answered 1 b-good 0 0"), &[]);
    assert_eq!((quiet.watched, &*quiet.recovery), (1, &[Duration::from_secs(7)][..]), "7 starts nothing any more");
    let soon = check(&format!("{outage}{work}\n answered 1 b-good 0 0\n trouble 0 - 0 0"), &[]);
    assert_eq!(soon.watched, 1, "what comes after the work disturbs nobody");
    let hasty = check(&format!("{outage}\n hitch 0 - 0 0\n mended 0 - 0 0{work}"), &[]);
    assert_eq!(hasty.watched, 0, "the next one came at once");
}

#[test]
fn a_deaf_witness_is_told() {
    let mut ends = Ends::default();
    ends.known.insert("a-good".to_owned(), DONE);
    assert_eq!(account(&[], &ends, 3, None).witnessed, 0);
    ends.stored.insert("a-good".to_owned(), 1);
    assert_eq!(account(&[], &ends, 3, None).witnessed, 1);
}

#[test]
fn how_a_job_ends_is_its_kinds_affair() {
    let none = "asked 1 a-aborted 0 0";
    assert_eq!(check(none, &[("a-aborted", End::Aborted)]).untrue.len(), 1, "nobody has asked for it");
    let asked = "asked 1 a-aborted 0 0\n aborting 1 a-aborted 0 0";
    let account = check(asked, &[("a-aborted", End::Aborted)]);
    assert_eq!((account.aborted, account.untrue.len()), (1, 0));
    assert_eq!(check(none, &[("a-good", End::Aborted)]).untrue.len(), 1);
    let late = "asked 1 a-aborted 0 0\n start 7 a-aborted 1 1\n abort-taken 1 a-aborted 0 0\n end 7 a-aborted 1 1";
    assert_eq!(check(late, &[("a-aborted", DONE)]).untrue.len(), 1, "it worked on");
    let before = "asked 1 a-aborted 0 0\n start 7 a-aborted 1 1\n end 7 a-aborted 1 1\n abort-taken 1 a-aborted 0 0";
    assert_eq!(check(before, &[("a-aborted", DONE)]).untrue.len(), 0, "it had ended");
    let trouble = late.replace("end 7", "trouble 1 - 0 0\n mended 1 - 0 0\n end 7");
    assert_eq!(check(&trouble, &[("a-aborted", DONE)]).untrue.len(), 0, "nobody could tell it");
    assert_eq!(check("", &[("a-too-late", End::Expired), ("b-tight", End::Expired)]).expired, 2);
    let run = "start 7 a-tight 1 1\n end 7 a-tight 1 1";
    for (id, end) in [("a-tight", End::Expired), ("a-good", End::Expired), ("a-too-late", DONE)] {
        assert!(!check(&run.replace("a-tight", id), &[(id, end)]).untrue.is_empty(), "{id}: {end:?}");
    }
}

#[test]
fn a_pill_is_tried_as_often_as_it_may_be() {
    let start = |number: u32| format!("start {number} a-abort {number} {number}\n gone {number} - 0 0\n");
    let starts = |numbers: &[u32]| numbers.iter().map(|number| start(*number)).collect::<String>();
    let dead = |attempt| [("a-abort", End::Dead { attempt })];
    assert_eq!(check(&starts(&[1, 2, 3]), &dead(4)).untrue, [""; 0]);
    assert_eq!(check(&starts(&[1, 2, 3, 4]), &dead(4)).untrue.len(), 1, "once too often");
    assert_eq!(check(&starts(&[1, 2]), &dead(4)).untrue.len(), 1, "once too little");
    assert_eq!(check(&starts(&[1, 2, 3]), &dead(3)).untrue.len(), 1, "it had not yet used its tries up");
    assert_eq!(
        check(&starts(&[1, 3]), &dead(4)).untrue,
        [""; 0],
        "the second claim's worker died before it could start"
    );
    let last = starts(&[1, 2]) + "killed 9 - 0 0";
    assert_eq!(check(&last, &dead(4)).untrue, [""; 0], "so may have the third one's");
    let others = |deaths: &str| deaths.replace(',', " - 0 0\n");
    assert_eq!(
        check(&others("killed 1,killed 2,killed 3,"), &dead(4)).untrue,
        [""; 0],
        "each claim's worker died before it could start"
    );
    assert_eq!(check(&others("killed 1,killed 2,"), &dead(4)).untrue.len(), 1, "fewer deaths than claims");
}

#[test]
fn a_delayed_job_is_late_from_when_nothing_is_broken() {
    let job = "asked 1 a-good 1500 0\n answered 1 a-good 0 0\n";
    let run = "start 7 a-good 1 1\n end 7 a-good 1 1";
    assert_eq!(check(&format!("{job}{run}"), &[]).late, [Duration::from_millis(500)]);
    let trouble = format!("{job}trouble 1 - 0 0\n mended 1 - 0 0\n{run}");
    assert_eq!(check(&trouble, &[]).late, [Duration::from_secs(1)], "since it was mended");
    let hit = format!("{job}killed 6 - 0 0\n{run}");
    assert_eq!(check(&hit, &[]).late, [], "the dead one may have had it");
}

#[test]
fn who_stops_in_trouble_may_not_be_heard() {
    let lines =
        "start 7 a-good 1 1\n told 7 - 0 0\n cut 7 a-good 1 1\n gone 7 - 0 0\n start 8 a-good 2 2\n end 8 a-good 2 2";
    let end = [("a-good", End::Done { fence: 2 })];
    assert_eq!(check(lines, &end).untrue.len(), 1);
    let trouble = lines.replace("cut 7", "hitch 1 - 0 0\n mended 1 - 0 0\n cut 7");
    assert_eq!(check(&trouble, &end).untrue, [""; 0]);
}

#[test]
fn a_trouble_explains_what_comes_soon_after_it() {
    let job = "start 7 a-good 1 1\n trouble 1 - 0 0\n mended 1 - 0 0\n";
    let again = "start 8 a-good 2 2\n end 8 a-good 2 2";
    let end = [("a-good", End::Done { fence: 2 })];
    assert_eq!(check(&format!("{job}{again}"), &end).unprovoked, [""; 0]);
    let others: String = ["b", "c", "d"].map(|id| format!("start 9 {id}-good 1 1\n end 9 {id}-good 1 1\n")).concat();
    assert_eq!(check(&format!("{job}{others}{again}"), &end).unprovoked.len(), 1, "a lease would have ended before");
    let later = format!("trouble 1 - 0 0\n mended 1 - 0 0\n{others}start 7 a-good 1 1\n{again}");
    assert_eq!(check(&later, &end).unprovoked.len(), 1, "it had not begun then");
}

#[test]
fn an_older_claim_that_starts_late_was_away() {
    let runs = "start 8 a-good 2 2\n end 8 a-good 2 2\n start 7 a-good 1 1\n cut 7 a-good 1 1";
    let end = [("a-good", End::Done { fence: 2 })];
    assert_eq!(check(runs, &end).unprovoked.len(), 1);
    let frozen = format!("frozen 7 - 0 0\n {}", runs.replace("start 7", "thawed 7 - 0 0\n start 7"));
    assert_eq!(check(&frozen, &end).unprovoked, [""; 0]);
}

#[test]
fn redis_may_lose_what_was_acknowledged_near_a_strike_and_nothing_else() {
    // Each line is a second later than the one before: what comes just before the strike is near.
    let failover = Loss { before: Duration::from_secs(1), by_restarts: false, takes_jobs: true };
    let work = "start 9 z-good 1 1\n end 9 z-good 1 1\n".repeat(3);
    let lines = format!(
        "answered 1 a-good 0 0\n{work}answered 1 b-good 0 0\n trouble 1 - 0 0\n mended 1 - 0 0\n {work}answered 1 c-good 0 0"
    );
    let account = check_with(&lines, &[], Some(failover));
    assert_eq!(account.lost, ["a-good", "c-good"], "long before the strike, and long after it");
    assert_eq!((account.near.jobs, account.near.lost), (1, 1));
    assert_eq!(check_with(&lines, &[], None).lost.len(), 3, "what keeps all that it has answered loses nothing");
    let confirmed = check_with(&lines, &[], Some(Loss { takes_jobs: false, ..failover }));
    assert_eq!((confirmed.lost.len(), confirmed.near.jobs), (3, 0), "a replica has confirmed them");
    let hitch = lines.replace("trouble", "hitch");
    assert_eq!(check_with(&hitch, &[], Some(failover)).lost.len(), 3, "no failover");
    let restart = Loss { by_restarts: true, ..failover };
    assert_eq!(check_with(&hitch, &[], Some(restart)).lost, ["a-good", "c-good"]);
    let everything = Loss { before: Duration::MAX, ..restart };
    assert_eq!(check_with(&hitch, &[], Some(everything)).lost, ["c-good"], "kept nowhere, but after the strike");
    let own = format!("answered 1 a-good 0 0\n{work}switched 0 - 0 0\n{work}answered 1 c-good 0 0");
    assert_eq!(check_with(&own, &[], Some(failover)).lost.len(), 2);
    let near = own.replace("switched", "answered 1 b-good 0 0\n switched");
    assert_eq!(check_with(&near, &[], Some(failover)).lost, ["a-good", "c-good"], "nobody asked the sentinel for it");
}

#[test]
fn what_was_done_near_a_strike_may_be_done_again_and_nothing_else() {
    let restart = Some(Loss { before: Duration::from_secs(1), by_restarts: true, takes_jobs: true });
    let runs = |id| format!("start 7 {id}-good 1 1\n end 7 {id}-good 1 1\n");
    let again = |id| format!("start 8 {id}-good 1 2\n end 8 {id}-good 1 2\n");
    let strike = "hitch 1 - 0 0\n mended 1 - 0 0\n";
    let (work, more) = (runs("w") + &runs("x"), runs("y") + &runs("z"));
    let near = format!("{}{strike}{more}{}", runs("a"), again("a"));
    let end = [("a-good", End::Done { fence: 1 })];
    let account = check_with(&near, &end, restart);
    assert_eq!((account.twice.len(), account.unprovoked.len(), account.again), (0, 0, 1));
    assert_eq!((account.near.twice, account.near.unprovoked), (1, 1));
    let far = format!("{}{work}{strike}{more}{}", runs("a"), again("a"));
    let account = check_with(&far, &end, restart);
    assert_eq!((account.twice.len(), account.unprovoked.len()), (1, 1), "both runs were long before it, or after");
    assert_eq!((account.near.twice, account.near.unprovoked), (0, 0));
    let claimed = format!("asked 1 a-good 0 0\n answered 1 a-good 0 0\n{work}start 7 a-good 1 2\n end 7 a-good 1 2\n");
    assert_eq!(check_with(&claimed, &[], restart).unrun.len(), 1);
    let lost = check_with(&format!("{claimed}{strike}"), &[], restart);
    assert_eq!((lost.unrun.len(), lost.near.unrun), (1, 0), "it had been claimed long before");
    let lost = check_with(&claimed.replace("start 7 a", &format!("{strike}start 7 a")), &[], restart);
    assert_eq!((lost.unrun.len(), lost.near.unrun), (0, 1));
    let panics = check_with(&format!("start 7 a-panic 1 1\n{strike}end 7 a-panic 1 1"), &[("a-panic", DONE)], restart);
    assert_eq!(panics.untrue.len(), 1, "no loss makes it end well");
}

#[test]
fn what_still_waits_is_not_lost() {
    let event = Event::read("1 answered 1 a-good 0 0").expect("a line");
    let ends = Ends { waiting: ["a-good".to_owned()].into(), ..Ends::default() };
    let account = account(&[event], &ends, 3, None);
    assert_eq!((account.unfinished, account.lost), (1, Vec::new()));
}

#[test]
fn who_has_lost_a_job_ends_its_run_soon_after_it_can_hear_of_it() {
    let end = [("a-good", End::Done { fence: 2 })];
    let runs = |between: &str, after: &str| {
        format!("start 7 a-good 1 1\n {between} start 8 a-good 2 2\n {after} cut 7 a-good 1 1\n end 8 a-good 2 2")
    };
    let account = check(&runs("killed 9 - 0 0\n", ""), &end);
    assert_eq!((account.beside.len(), account.unheeded), (1, Duration::ZERO), "nothing kept 7 from its heartbeats");
    let told = check(&runs("told 7 - 0 0\n", ""), &end);
    assert_eq!(told.beside.len(), 1, "given back before it was cut");
    let hitch = check(&runs("hitch 1 - 0 0\n mended 1 - 0 0\n", ""), &end);
    assert_eq!(hitch.beside.len(), 1, "it costs no leases");
    for (from, to) in [("frozen 7 - 0 0\n", "thawed 7 - 0 0\n"), ("parted 7 - 0 0\n", "rejoined 7 - 0 0\n")] {
        let soon = check(&runs(from, to), &end);
        assert_eq!((soon.beside.len(), soon.unheeded), (0, Duration::from_secs(1)), "{from}");
        assert!(soon.unheeded <= NOTICE);
        let late = check(&runs(from, &format!("{to} start 9 b-good 1 1\n")), &end);
        assert_eq!((late.beside.len(), late.unheeded), (0, Duration::from_secs(2)), "{from}");
        assert!(late.unheeded > NOTICE);
        let other = check(&runs(&from.replace('7', "8"), &to.replace('7', "8")), &end);
        assert_eq!(other.beside.len(), 1, "{from}: the other one was away");
        let again = check(&runs(&format!("{from} {to}"), &format!("{from} {to}")), &end);
        assert_eq!(again.unheeded, Duration::from_secs(1), "{from}: away twice, and heard twice for a second");
    }
    let trouble = check(&runs("trouble 1 - 0 0\n", "mended 1 - 0 0\n"), &end);
    assert_eq!((trouble.beside.len(), trouble.unheeded), (0, Duration::from_secs(1)));
    let third = runs("parted 7 - 0 0\n", "end 8 a-good 2 2\n start 6 a-good 3 3\n rejoined 7 - 0 0\n");
    assert_eq!(check(&third, &end).unheeded, Duration::from_secs(1), "also beside the one after the next");
}

#[test]
fn where_each_job_may_be_lost_nothing_was_tried() {
    let mut all = crate::catalogue::all().into_iter();
    let scenario = all.find(|scenario| scenario.name == "restart, no persistence").expect("it is in the list");
    let told = |jobs: usize| {
        let near = Near { jobs, ..Near::default() };
        let broken = scenario.gates(&Account { acknowledged: 3, near, ..Account::default() });
        broken.iter().any(|breach| breach.what.contains("may have lost each job"))
    };
    assert!(told(3) && !told(2));
}

#[test]
fn a_job_beside_itself_breaks_a_gate() {
    let scenario = crate::catalogue::all().swap_remove(0);
    let is_it = |breach: &crate::scenario::Breach| breach.what.contains("beside itself");
    let told = |account: &Account| scenario.gates(account).iter().filter(|breach| is_it(breach)).count();
    assert_eq!(told(&Account { unheeded: NOTICE, ..Account::default() }), 0);
    assert_eq!(told(&Account { unheeded: NOTICE + Duration::from_millis(1), ..Account::default() }), 1);
    assert_eq!(told(&Account { beside: vec!["a-good".to_owned()], ..Account::default() }), 1);
}

#[test]
fn a_percentile_is_the_least_that_so_many_do_not_exceed() {
    let of = |count: u64, percent| nearest_rank(&(1..=count).map(Duration::from_secs).collect::<Vec<_>>(), percent);
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    assert_eq!(of(0, 99), None);
    assert_eq!([50, 99, 100].map(|percent| of(1, percent)), [seconds(1); 3]);
    assert_eq!([50, 99, 100].map(|percent| of(10, percent)), [seconds(5), seconds(10), seconds(10)]);
    assert_eq!([50, 99, 100].map(|percent| of(200, percent)), [seconds(100), seconds(198), seconds(200)]);
}
