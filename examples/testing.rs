//! How to test tasks: as plain functions, on the worker's real path, in virtual time.
//!
//! ```text
//! cargo test --example testing   # the tests below: days of schedules and retries, in milliseconds
//! cargo run --example testing    # the same scenario, told
//! ```

use std::time::Duration;

use sector7g_tasks::prelude::*;
use sector7g_tasks::testing::{Harness, virtual_time};

/// Orders donuts; the shop is often closed, so it tries again, ever later.
#[task(queue = "canteen", max_tries = 6, backoff = "exponential(1m, max = 1h, jitter = 0)")]
async fn order_donuts(ctx: &Context, State(shop): State<Shop>, boxes: u32) -> Result<u32, TaskError> {
    if ctx.worker().now().as_millis() < shop.opens_at_ms {
        return Err(format!("the shop is closed (attempt {})", ctx.attempt()).into());
    }
    ctx.client().enqueue(announce::job(format!("{boxes} boxes of donuts")).delay(Duration::from_mins(10))).await?;
    Ok(boxes * 12)
}

/// Bakes, ten minutes a box; says at which attempt.
#[task(queue = "canteen", timeout = "2h", max_tries = 3)]
async fn bake_donuts(ctx: &Context, boxes: u32) -> u32 {
    tokio::time::sleep(Duration::from_mins(10) * boxes).await;
    ctx.attempt()
}

/// Tells everybody.
#[task(queue = "canteen")]
async fn announce(what: String) -> String {
    format!("{what} in the canteen!")
}

/// Counts what is left, every night.
#[task(queue = "canteen", cron = "0 3 * * *", timezone = "America/Chicago")]
async fn take_stock(ctx: &Context) -> String {
    format!("counted at {}", ctx.worker().now())
}

#[derive(Clone, Debug)]
struct Shop {
    opens_at_ms: i64,
}

/// All linked tasks, with a shop that opens in half an hour of the harness's time.
fn canteen() -> Harness {
    let harness = Harness::new();
    let shop = Shop { opens_at_ms: (harness.now() + Duration::from_mins(30)).as_millis() };
    harness.setup(move |runner| runner.state(shop.clone()))
}

#[expect(clippy::print_stdout, reason = "it is a program for a terminal")]
fn main() {
    virtual_time(async {
        let harness = canteen();
        let before = harness.now();
        let donuts = harness.run(order_donuts::job(3)).await;
        let waited = harness.now().since(before).as_secs() / 60;
        println!("ordered {donuts:?} donuts after {waited} minutes of virtual time");
        let waiting = harness.jobs("canteen").await.unwrap_or_default();
        for job in waiting {
            println!("waiting: {job}, due at {}", job.due_at);
        }
    });
}

#[cfg(test)]
mod tests {
    use sector7g_tasks::testing::TestContext;

    use super::*;

    #[tokio::test]
    async fn a_task_is_a_plain_function() {
        let ctx = TestContext::new().attempt(2).build();
        let closed = Shop { opens_at_ms: i64::MAX };
        let error = order_donuts(&ctx, State(closed), 3).await.unwrap_err();
        assert_eq!(error.message(), "the shop is closed (attempt 2)");
    }

    /// 1 + 2 + 4 + 8 + 16 minutes are the first sum of delays that is past half an hour.
    #[tokio::test(start_paused = true)]
    async fn retries_climb_their_ladder() {
        let harness = canteen();
        let before = harness.now();
        assert_eq!(harness.run(order_donuts::job(3)).await.unwrap(), 36);
        assert_eq!(harness.now().since(before), Duration::from_mins(31));
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_task_enqueues_can_be_asserted() {
        let harness = canteen();
        harness.run(order_donuts::job(3)).await.unwrap();
        let job = harness.assert_enqueued::<announce>(("3 boxes of donuts".to_owned(),)).await;
        assert_eq!(job.due_at.since(harness.now()), Duration::from_mins(10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_crash_costs_a_lease_and_no_job() {
        let harness = canteen();
        let before = harness.now();
        let baking = harness.client().enqueue(bake_donuts::job(3)).await.unwrap();
        let workers = harness.start();
        harness.advance(Duration::from_mins(20)).await;
        workers.crash().await; // twenty minutes of work are lost; the job is not
        let workers = harness.start();
        assert_eq!(baking.result().await.unwrap(), 2);
        let extra = harness.now().since(before + Duration::from_mins(20 + 30));
        assert!(!extra.is_zero() && extra <= Duration::from_secs(10), "{extra:?} is not what was left of a lease");
        workers.stop().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_week_of_nights() {
        let harness = canteen();
        let workers = harness.start();
        harness.advance(Duration::from_hours(7 * 24)).await;
        assert_eq!(workers.stop().await.unwrap().done(), 7);
    }
}
