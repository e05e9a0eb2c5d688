//! Pages that are watched: what a watcher costs who does not read.

use std::future::pending;

use axum::serve::Listener;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::*;

/// One connection, whose other end the test has.
struct Line(Option<DuplexStream>);

impl Listener for Line {
    type Io = DuplexStream;
    type Addr = ();

    async fn accept(&mut self) -> (DuplexStream, ()) {
        match self.0.take() {
            Some(io) => (io, ()),
            None => pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<()> {
        Ok(())
    }
}

/// All that comes while no time passes.
async fn drain(line: &mut DuplexStream) -> String {
    let mut text = Vec::new();
    let mut part = vec![0; 64 << 10];
    while let Ok(read) = timeout(Duration::from_millis(1), line.read(&mut part)).await {
        match read.unwrap() {
            0 => break,
            read => text.extend_from_slice(&part[..read]),
        }
    }
    String::from_utf8(text).unwrap()
}

/// What it has not taken is not made: it finds no more than fits into the connection's own buffer, and then the present.
#[tokio::test(start_paused = true)]
async fn a_watcher_that_never_reads_holds_little() {
    let broker: Arc<dyn Broker> = Arc::new(MemoryBroker::new());
    let jobs = |queue: u32| Job::untyped("nap", format!("queue-{queue}-{}", "x".repeat(100)));
    enqueue(&broker, (0..40).map(jobs).collect()).await;
    let (mut line, served) = duplex(4 << 10);
    let router = Dashboard::new(Arc::clone(&broker)).router();
    let mut serving = JoinSet::new();
    serving.spawn(async { axum::serve(Line(Some(served)), router).await });
    line.write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    sleep(Duration::from_secs(4 * 3600)).await;
    let unread = drain(&mut line).await;
    assert!(unread.starts_with("HTTP/1.1 200") && unread.matches("data: ").count() > 2, "{unread:.400}");
    assert!(unread.len() < 1 << 20, "{} bytes were kept for it", unread.len());
    enqueue(&broker, (0..40).map(jobs).cycle().take(123 * 40).collect()).await;
    sleep(Duration::from_secs(5)).await;
    let news = drain(&mut line).await;
    assert!((1..=4).contains(&news.matches("data: ").count()) && news.contains("124"), "{news:.2000}");
}

/// There are so many at most, and who goes makes room.
#[tokio::test(start_paused = true)]
async fn watchers_are_few() {
    const MOST: usize = 32;
    let router = Dashboard::new(Arc::new(MemoryBroker::new())).router();
    let watch = async || {
        let request = Request::get("/events").header("host", "localhost").body(Body::empty()).unwrap();
        router.clone().oneshot(request).await.unwrap()
    };
    let mut watchers = Vec::new();
    for _ in 0..MOST {
        watchers.push(watch().await);
    }
    assert!(watchers.iter().all(|watcher| watcher.status() == StatusCode::OK));
    assert_eq!(watch().await.status(), StatusCode::SERVICE_UNAVAILABLE);
    get(&router, "/events").await.expect(StatusCode::SERVICE_UNAVAILABLE, &["32 pages are watching already"]);
    watchers.pop();
    assert_eq!(watch().await.status(), StatusCode::OK);
}
