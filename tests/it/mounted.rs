//! A service that mounts what a worker tells into pages of its own.

use std::sync::Arc;

use axum::Router;
use sector7g_tasks::broker::MemoryBroker;
use sector7g_tasks::inventory::Inventory;
use sector7g_tasks::metrics::Prometheus;
use sector7g_tasks::prelude::*;
use sector7g_tasks::runner::Runner;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::operating::get;

#[task(queue = "mounted")]
async fn nods() {}

#[tokio::test]
async fn a_service_shows_health_and_metrics_under_paths_of_its_own() {
    let prometheus = Prometheus::install().unwrap();
    let broker: Arc<dyn Broker> = Arc::new(MemoryBroker::new());
    let (client, stop) = (Client::new(Arc::clone(&broker)), CancellationToken::new());
    let runner = Runner::new().broker(broker).inventory(Inventory::empty().task::<nods>());
    let runner = runner.handle_signals(false).stop_on(stop.clone());
    let app = Router::new()
        .nest("/ops/health", runner.health().router())
        .nest("/ops", prometheus.router())
        .fallback(|| async { "the service's own" });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut service = JoinSet::new();
    service.spawn(axum::serve(listener, app).into_future());

    let (status, why) = get(port, "/ops/health/ready").await;
    assert_eq!((status, &*why), (503, "starting: the broker has not answered yet\n"), "before it runs");
    let mut running = JoinSet::new();
    running.spawn(runner.run());
    client.enqueue(nods::job()).await.unwrap().result().await.unwrap();
    assert_eq!(get(port, "/ops/health/live").await, (200, "ok\n".to_owned()));
    assert_eq!(get(port, "/ops/health/ready").await, (200, "ok\n".to_owned()));
    let (status, metrics) = get(port, "/ops/metrics").await;
    let ran = metrics.lines().any(|line| line.contains("sector7g_") && line.contains("task=\"nods\""));
    assert!(status == 200 && ran, "{metrics}");
    assert_eq!(get(port, "/elsewhere").await.1, "the service's own");

    stop.cancel();
    running.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!(get(port, "/ops/health/ready").await, (503, "stopped\n".to_owned()));
    assert_eq!(get(port, "/ops/health/live").await.0, 200);
}
