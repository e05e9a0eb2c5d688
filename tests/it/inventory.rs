//! Every mistake in tasks and workers stops the start, with the culprits' places.

use sector7g_tasks::inventory::Inventory;
use sector7g_tasks::prelude::*;
use sector7g_tasks::testing::Harness;

mod one {
    use sector7g_tasks::prelude::*;

    #[task(queue = "inventory", name = "same")]
    pub(super) async fn first() {}
}

#[task(queue = "inventory", name = "same")]
async fn second() {}

#[derive(Clone)]
struct Db;

#[task(queue = "inventory")]
async fn wants_state(State(_db): State<Db>) {}

#[task(queue = "inventory", cron = "61 * * * *")]
async fn bad_cron() {}

#[task(queue = "inventory")]
async fn wants_argument(reactor: u8) -> u8 {
    reactor
}

#[derive(Worker)]
#[worker(queue = "clockwork", cron(wants_argument, "0 * * * *"))]
struct Clockwork;

type Outcome = Result<(), String>;

#[task(queue = "inventory")]
async fn hidden_result() -> Outcome {
    Ok(())
}

#[task(queue = "inventory")]
async fn good() -> u8 {
    7
}

#[derive(Worker)]
#[worker(queue = "inventory")]
struct Smithers;

#[derive(Worker)]
#[worker(queues("other", "inventory"))]
struct Burns;

fn problem(inventory: Inventory) -> String {
    Runner::new().inventory(inventory).check().expect_err("it should be refused").to_string()
}

#[track_caller]
fn assert_says(problem: &str, parts: &[&str]) {
    for part in parts {
        assert!(problem.contains(part), "{problem:?} should contain {part:?}");
    }
}

#[test]
fn nothing_linked_explains_the_linker() {
    assert_says(&problem(Inventory::empty()), &["no task is linked", "use my_tasks as _;"]);
}

#[test]
fn mistakes_are_named_with_their_places() {
    let empty = Inventory::empty;
    assert_says(
        &problem(empty().task::<one::first>().task::<second>()),
        &["two tasks are named `same`", "it/inventory.rs:11", "it/inventory.rs:15"],
    );
    assert_says(
        &problem(empty().task::<wants_state>()),
        &["`wants_state`", "inventory.rs:", "Db>, which nobody gave", ".state(..)"],
    );
    assert_says(&problem(empty().task::<bad_cron>()), &["`bad_cron`", "inventory.rs:", "61 * * * *"]);
    assert_says(
        &problem(empty().task::<wants_argument>().worker::<Clockwork>()),
        &["worker `clockwork`", "`wants_argument`", "argument `reactor` of type `u8` is missing"],
    );
    assert_says(&problem(empty().task::<hidden_result>()), &["`hidden_result`", "Result under another name"]);
    let workers = empty().task::<good>().worker::<Smithers>().worker::<Burns>();
    assert_says(&problem(workers), &["queue `inventory` has two workers", "`smithers`", "`burns`", "inventory.rs:"]);
}

#[test]
fn all_mistakes_come_at_once() {
    let all = problem(Inventory::empty().task::<wants_state>().task::<bad_cron>().task::<hidden_result>());
    assert_says(&all, &["3 mistakes", "`wants_state`", "`bad_cron`", "`hidden_result`"]);
}

#[test]
fn a_state_that_was_given_is_found() {
    let inventory = Inventory::empty().task::<wants_state>();
    Runner::new().inventory(inventory).state(Db).check().unwrap();
}

#[test]
fn an_unknown_worker_is_told_the_known_ones() {
    let inventory = Inventory::empty().task::<good>().worker::<Smithers>();
    let error = Runner::new().inventory(inventory).only(["nobody"]).check().unwrap_err();
    assert_eq!(error.to_string(), "there is no worker `nobody`; known: smithers");
}

#[tokio::test(start_paused = true)]
async fn a_queue_without_a_worker_type_gets_one_with_defaults() {
    let inventory = Inventory::empty().task::<good>();
    assert_eq!(inventory.worker_names(), ["inventory"]);
    assert_eq!(Harness::new().inventory(inventory).run(good::job()).await.unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_runner_logs_what_it_found() {
    let (lines, _guard) = support::Lines::capture();
    let harness = Harness::new().inventory(Inventory::empty().task::<good>().worker::<Smithers>());
    harness.drain().await.unwrap();
    assert_eq!(lines.with("Starting 1 workers: smithers").len(), 1, "{:?}", lines.all());
    assert_eq!(lines.with("1 tasks: good").len(), 1, "{:?}", lines.all());
}

#[tokio::test(start_paused = true)]
async fn strict_order_empties_the_first_queue_first() {
    #[task(queue = "urgent")]
    async fn urgent() {}
    #[task(queue = "later")]
    async fn later() {}
    #[derive(Worker)]
    #[worker(queues("urgent", "later"), max_jobs = 1)]
    struct Strict;

    let (lines, _guard) = support::Lines::capture();
    let harness = Harness::new().inventory(Inventory::empty().task::<urgent>().task::<later>().worker::<Strict>());
    let client = harness.client();
    client.enqueue_all((0..20).map(|_| later::job())).await.unwrap();
    client.enqueue_all((0..20).map(|_| urgent::job())).await.unwrap();
    harness.drain().await.unwrap();
    let starts: Vec<bool> = lines.with("→").iter().map(|line| line.contains(":urgent(")).collect();
    assert_eq!(starts.len(), 40);
    assert!(starts[..20].iter().all(|urgent| *urgent), "{starts:?}");
}

#[tokio::test(start_paused = true)]
async fn weighted_order_starves_nobody() {
    #[task(queue = "heavy")]
    async fn heavy() {}
    #[task(queue = "light")]
    async fn light() {}
    #[derive(Worker)]
    #[worker(queues("heavy" = 3, "light" = 1), max_jobs = 1)]
    struct Weighted;

    let (lines, _guard) = support::Lines::capture();
    let harness = Harness::new().inventory(Inventory::empty().task::<heavy>().task::<light>().worker::<Weighted>());
    let client = harness.client();
    client.enqueue_all((0..600).map(|_| heavy::job())).await.unwrap();
    client.enqueue_all((0..600).map(|_| light::job())).await.unwrap();
    harness.drain().await.unwrap();
    let early = lines.with("→").iter().take(400).filter(|line| line.contains(":light(")).count();
    // 100 expected; 60 and 140 are more than four standard deviations away.
    assert!(
        (60..140).contains(&early),
        "of the first 400 jobs, {early} came from the queue with a quarter of the weight"
    );
}
