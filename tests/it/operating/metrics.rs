//! What `/metrics` says after jobs have ended in all ways, and while Redis is away.

use sector7g_tasks::prelude::*;
use support::RedisServer;

use super::{Observed, client, end};

#[tokio::test]
async fn each_end_counts() {
    let server = RedisServer::start();
    let observed = Observed::start(&server, &[]).await;
    let client = client(&server).await;
    for how in ["works", "works", "fails once", "fails", "panics"] {
        client.enqueue(end(how)).await.unwrap();
    }
    client.enqueue(end("snoozes").id("snoozed")).await.unwrap();
    let hanging = client.enqueue(end("hangs")).await.unwrap();
    client.enqueue(Job::untyped("of_others", "observed")).await.unwrap();
    client.enqueue(Job::untyped("block", "observed").arg(0).arg(1)).await.unwrap();
    let finished = |outcome: &str| {
        format!("sector7g_jobs_finished_total{{outcome=\"{outcome}\",queue=\"observed\",task=\"end\"}}")
    };
    // Seven first attempts, and second ones of what fails once, fails, panics and snoozes.
    observed.expect_value("sector7g_jobs_started_total{queue=\"observed\",task=\"end\"}", 11.0).await;
    assert!(hanging.abort().await.unwrap(), "it runs");
    observed.expect_value(&finished("aborted"), 1.0).await;
    // Two that work, one at its second attempt, one after its snooze.
    observed.expect_value(&finished("done"), 4.0).await;
    observed.expect_value(&finished("retried"), 3.0).await;
    observed.expect_value(&finished("failed"), 2.0).await;
    observed.expect_value(&finished("given_back"), 1.0).await;
    observed.expect_value("sector7g_jobs_enqueued_total{queue=\"observed\",task=\"block\"}", 1.0).await;
    observed.expect_value("sector7g_queue_dead_jobs{queue=\"observed\"}", 2.0).await;
    observed.expect_value("sector7g_queue_workers{queue=\"observed\"}", 1.0).await;
    let scrape = observed.scrape().await;
    let at_least_one = "sector7g_jobs_finished_total{outcome=\"given_back\",queue=\"observed\",task=\"_unknown\"}";
    assert!(scrape.values[at_least_one] >= 1.0, "{:#?}", scrape.values);
    assert!(!scrape.values.keys().any(|series| series.contains("of_others")), "others' names make no series");
    assert!(scrape.values["sector7g_jobs_started_total{queue=\"observed\",task=\"rest\"}"].abs() < 0.5, "there as 0");
    let errors =
        |kind: &str| format!("sector7g_job_errors_total{{error_type=\"{kind}\",queue=\"observed\",task=\"end\"}}");
    observed.expect_value(&errors("error"), 3.0).await;
    observed.expect_value(&errors("panic"), 2.0).await;
    assert!(scrape.metrics.values().all(|(_, help)| !help.is_empty()), "each says what it is: {:#?}", scrape.metrics);
}

/// While the broker is away, the gauges of its queues are no numbers, and its worker says so.
#[tokio::test]
async fn a_broker_that_is_away_shows() {
    let mut server = RedisServer::builder().append_only().start();
    let observed = Observed::start(&server, &[]).await;
    observed.expect_value("sector7g_broker_up{worker=\"observed\"}", 1.0).await;
    server.kill9();
    observed.expect_value("sector7g_broker_up{worker=\"observed\"}", 0.0).await;
    let scrape = observed.scrape().await;
    assert!(scrape.values["sector7g_queue_depth_jobs{queue=\"observed\"}"].is_nan(), "{:#?}", scrape.values);
    server.restart();
    observed.expect_value("sector7g_broker_up{worker=\"observed\"}", 1.0).await;
    observed.expect_value("sector7g_queue_depth_jobs{queue=\"observed\"}", 0.0).await;
}
