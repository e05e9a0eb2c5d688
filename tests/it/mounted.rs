//! A service that mounts what a worker tells into pages of its own.

use std::sync::Arc;

use axum::Router;
use sector7g_tasks::broker::MemoryBroker;
use sector7g_tasks::inventory::Inventory;
use sector7g_tasks::metrics::Prometheus;
use sector7g_tasks::prelude::*;
use sector7g_tasks::runner::Runner;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

#[task(queue = "mounted")]
async fn nods() {}

/// The status and the text of a page.
async fn page(port: u16, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let asked = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n");
    stream.write_all(asked.as_bytes()).await.unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    let (head, body) = said.split_once("\r\n\r\n").expect("an answer");
    (head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status"), body.to_owned())
}

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

    let (status, why) = page(port, "/ops/health/ready").await;
    assert_eq!((status, &*why), (503, "starting: the broker has not answered yet\n"), "before it runs");
    let mut running = JoinSet::new();
    running.spawn(runner.run());
    client.enqueue(nods::job()).await.unwrap().result().await.unwrap();
    assert_eq!(page(port, "/ops/health/live").await, (200, "ok\n".to_owned()));
    assert_eq!(page(port, "/ops/health/ready").await, (200, "ok\n".to_owned()));
    let (status, metrics) = page(port, "/ops/metrics").await;
    let ran = metrics.lines().any(|line| line.contains("sector7g_") && line.contains("task=\"nods\""));
    assert!(status == 200 && ran, "{metrics}");
    assert_eq!(page(port, "/elsewhere").await.1, "the service's own");

    stop.cancel();
    running.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!(page(port, "/ops/health/ready").await, (503, "stopped\n".to_owned()));
    assert_eq!(page(port, "/ops/health/live").await.0, 200);
}
