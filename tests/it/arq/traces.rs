//! Jobs with a trace's context that Python runs, and jobs without one that Python enqueues.

use sector7g_tasks::broker::JobId;
use sector7g_tasks::prelude::*;
use serde_json::json;

use super::ground::Ground;
use super::in_each_codec;
use crate::traces::{Traced, assert_root, attribute};

#[tokio::test]
async fn python_runs_a_job_with_a_context_as_any_other() {
    in_each_codec(async |ground: Ground| {
        let traced = Traced::start();
        let job = Job::untyped("add", "mixed").arg(19).arg(23).id("traced");
        let handle = ground.client.enqueue(job).await.unwrap();
        let trace = traced.named("send mixed")[0].span_context.trace_id().to_string();
        let stored = ground.redis(&["GET", "arq:job:traced"]);
        assert!(stored.contains("traceparent") && stored.contains(&trace), "it carries its context: {stored:?}");
        let python = ground.python_worker(&[]).await;
        assert_eq!(handle.result().await.unwrap(), json!(42), "{}", python.said());
        assert_eq!(ground.python_result("traced").await["result"], json!(42));
        ground.assert_nothing_left();
    })
    .await;
}

#[tokio::test]
async fn a_job_of_pythons_has_no_context_and_begins_a_trace() {
    in_each_codec(async |ground: Ground| {
        let traced = Traced::start();
        let id = ground.python_enqueues(&["add", "--args", "[19, 23]"]).await;
        let worker = ground.rust_worker();
        assert_eq!(ground.rust_result(&id).await.unwrap(), json!(42));
        worker.stop().await.unwrap();
        let processed = traced.named("process mixed");
        assert_eq!(processed.len(), 1);
        assert_root(&processed[0]);
        assert_eq!(attribute(&processed[0], "messaging.message.id"), JobId::new(&id).unwrap().as_str());
    })
    .await;
}
