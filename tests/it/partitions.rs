//! Queues in several parts: where jobs go, who runs them, and that none is left behind.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sector7g_tasks::inventory::Inventory;
use sector7g_tasks::prelude::*;
use sector7g_tasks::testing::Harness;
use tokio::time::sleep;

type Seen = Arc<Mutex<Vec<(String, u32)>>>;

#[task(queue = "orders", partitions = 4)]
async fn ship(ctx: &Context, State(seen): State<Seen>, order: u32) -> u32 {
    seen.lock().unwrap().push((ctx.queue().to_string(), order));
    sleep(Duration::from_secs(1)).await;
    order
}

#[task(queue = "orders", partitions = 4, cron = "0 * * * *")]
async fn count_stock() {}

#[task(queue = "orders", partitions = 4)]
async fn bill(order: u32) -> u32;

#[derive(Worker)]
#[worker(queues("orders", "later"), order = "strict", max_jobs = 4)]
struct Clerk;

#[task(queue = "later")]
async fn file_away(State(seen): State<Seen>, order: u32) {
    seen.lock().unwrap().push(("later".to_owned(), order));
}

fn harness(seen: &Seen) -> Harness {
    let inventory = Inventory::empty().task::<ship>().task::<count_stock>().task::<file_away>().worker::<Clerk>();
    let seen = Arc::clone(seen);
    Harness::new().inventory(inventory).setup(move |runner| runner.state(Arc::clone(&seen)))
}

#[tokio::test(start_paused = true)]
async fn a_worker_serves_all_partitions_of_its_queue() {
    let seen = Seen::default();
    let harness = harness(&seen);
    let handles = harness.client().enqueue_all((0..40).map(ship::job)).await.unwrap();
    let places: BTreeSet<String> = handles.iter().map(|handle| handle.queue().to_string()).collect();
    assert!(places.len() > 1, "{places:?}");
    harness.drain().await.unwrap();
    for (order, handle) in (0..).zip(&handles) {
        assert!(handle.id().as_str().starts_with(&format!("{}:", handle.queue())), "{}", handle.id());
        assert_eq!(handle.result().await.unwrap(), order);
        assert!(seen.lock().unwrap().contains(&(handle.queue().to_string(), order)));
    }
}

#[tokio::test(start_paused = true)]
async fn jobs_of_a_key_are_in_one_partition_and_an_id_is_one_job() {
    let harness = harness(&Seen::default());
    let client = harness.client();
    let keyed = client.enqueue_all((0..10).map(|order| ship::job(order).partition_key("customer-12"))).await.unwrap();
    assert!(keyed.iter().all(|handle| handle.queue().as_str() == "{orders:0}"));
    let first = client.enqueue(ship::job(1).id("order-1")).await.unwrap();
    let again = client.enqueue(ship::job(1).id("order-1")).await.unwrap();
    let by_whole_id = client.enqueue(ship::job(1).id(first.id().to_string())).await.unwrap();
    assert_eq!((first.is_new(), again.is_new(), by_whole_id.is_new()), (true, false, false));
    let elsewhere = client.enqueue(bill::job(1).partition_key("customer-12")).await.unwrap();
    assert_eq!(elsewhere.queue().as_str(), "{orders:0}", "declared without a body, it says the same");
    let untyped = Job::untyped("ship", "orders").arg(1).partitions(4).partition_key("customer-12");
    assert_eq!(client.enqueue(untyped).await.unwrap().queue().as_str(), "{orders:0}");
    let moved = client.enqueue(ship::job(1).queue("later").partition_key("customer-12")).await.unwrap();
    assert_eq!(moved.queue().as_str(), "later");
    let own = client.enqueue(ship::job(1).queue("orders").partition_key("customer-12")).await.unwrap();
    assert_eq!(own.queue().as_str(), "{orders:0}");
}

/// One partition has far more than the others: its jobs don't keep theirs waiting.
#[tokio::test(start_paused = true)]
async fn a_full_partition_leaves_slots_to_the_others() {
    let seen = Seen::default();
    let harness = harness(&seen);
    let to = |partition: u16| move |order| ship::job(order).id(format!("{{orders:{partition}}}:{order}"));
    harness.client().enqueue_all((0..200).map(to(0))).await.unwrap();
    harness.client().enqueue_all((1..4).flat_map(|part| (1_000..1_005).map(to(part)))).await.unwrap();
    harness.drain().await.unwrap();
    let seen = seen.lock().unwrap();
    let last = seen.iter().rposition(|(_, order)| *order >= 1_000).unwrap();
    assert_eq!(seen.len(), 215);
    assert!(last < 80, "the last of the 15 others was the {last}th of 215");
}

/// The order of queues is that of whole queues: no job of a later one before all partitions of an earlier one are empty.
#[tokio::test(start_paused = true)]
async fn a_later_queue_waits_for_all_partitions() {
    let seen = Seen::default();
    let harness = harness(&seen);
    harness.client().enqueue_all((0..5).map(file_away::job)).await.unwrap();
    harness.client().enqueue_all((100..140).map(ship::job)).await.unwrap();
    harness.drain().await.unwrap();
    let seen = seen.lock().unwrap();
    let first = seen.iter().position(|(queue, _)| queue == "later").unwrap();
    assert!(first >= 36, "{seen:?}"); // up to three slots may be free while the last ones run
}

#[tokio::test(start_paused = true)]
async fn a_schedule_ticks_once_in_some_partition() {
    let harness = harness(&Seen::default());
    let fleet = harness.start();
    harness.advance(Duration::from_secs(3 * 3_600 + 60)).await;
    assert_eq!(fleet.stop().await.unwrap().done(), 3);
}

#[task(queue = "orders")]
async fn forgets_partitions() {}

#[test]
fn all_tasks_of_a_queue_say_the_same() {
    let inventory = Inventory::empty().task::<ship>().task::<forgets_partitions>();
    let error = Runner::new().inventory(inventory).state(Seen::default()).check().unwrap_err().to_string();
    for part in ["`ship`", "`forgets_partitions`", "queue `orders`", "4 partitions", "no partitions", "partitions.rs:"]
    {
        assert!(error.contains(part), "{error}");
    }
}
