use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::Dashboard;
use super::draw::{SPARK_HEIGHT, SPARK_WIDTH, long, points};
use crate::broker::MemoryBroker;

/// Serves as `sector-7g dashboard` does, and opens a connection that asks for this.
async fn asked(request: &str) -> (TcpStream, CancellationToken, tokio::task::JoinSet<()>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let router = Dashboard::new(Arc::new(MemoryBroker::new())).router();
    let (stop, mut serving) = (CancellationToken::new(), tokio::task::JoinSet::new());
    let bounded = crate::health::Bounded::new(listener).unwrap();
    serving.spawn(crate::health::serve(bounded, router, stop.clone()));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{request} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).await.unwrap();
    (stream, stop, serving)
}

/// Whoever watches has sent nothing for a long time, and takes what is sent: that is not idle.
#[tokio::test(start_paused = true)]
async fn numbers_come_for_longer_than_a_connection_may_be_idle() {
    let (mut stream, stop, mut serving) = asked("GET /events").await;
    let (start, mut events, mut bytes) = (Instant::now(), 0, vec![0; 64 << 10]);
    while start.elapsed() < Duration::from_mins(5) {
        let got = timeout(Duration::from_secs(30), stream.read(&mut bytes)).await.expect("numbers come").unwrap();
        assert!(got > 0, "it was ended after {:?}", start.elapsed());
        events += bytes[..got].windows(6).filter(|word| word == b"data: ").count();
    }
    assert!((100..=200).contains(&events), "{events} in 5 min, one each 2 s");
    stop.cancel();
    assert!(timeout(Duration::from_secs(5), serving.join_next()).await.is_ok(), "who watches holds no end up");
}

/// Who asks for nothing more is cut off.
#[tokio::test(start_paused = true)]
async fn a_connection_that_is_idle_ends() {
    let (mut stream, _stop, _serving) = asked("GET /dashboard.css").await;
    let (start, mut all) = (Instant::now(), Vec::new());
    timeout(Duration::from_mins(2), stream.read_to_end(&mut all)).await.expect("it is cut off").unwrap();
    assert!(start.elapsed() >= Duration::from_secs(50), "{:?}", start.elapsed());
}

proptest! {
    #[test]
    fn a_line_stays_within_its_box(values in prop::collection::vec(any::<u64>(), 0..200)) {
        let points = points(&values);
        prop_assert_eq!(points.split_whitespace().count(), values.len());
        for point in points.split_whitespace() {
            let (x, y) = point.split_once(',').unwrap();
            prop_assert!(x.parse::<usize>().unwrap() <= SPARK_WIDTH && y.parse::<usize>().unwrap() < SPARK_HEIGHT);
        }
    }

    #[test]
    fn any_text_is_shown_as_text(text in ".{0,400}(\n|<script>|\u{202e}|\"|').{0,40}") {
        let shown = long(&text).into_string();
        for never in ["<script", "\u{202e}"] {
            prop_assert!(!shown.contains(never), "{}", shown);
        }
    }
}

#[test]
fn a_long_text_is_folded() {
    let check = |text: &str, folded: bool| {
        assert_eq!(long(text).into_string().starts_with("<details>"), folded, "{text}");
    };
    check("", false);
    check("no coolant", false);
    check("no coolant\n", false);
    check("no coolant\nin reactor 7", true);
    check(&"é".repeat(160), false);
    check(&"é".repeat(161), true);
}
