//! `/live` and `/ready`, and the small listener that serves them.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::serve::IncomingStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Health, Unwell};

/// Connections at once; others wait until one ends.
const CONNECTIONS: usize = 64;

/// How long a connection may live without a byte from the other side.
const IDLE: Duration = Duration::from_mins(1);

/// How long an answer that is under way may take once the workers have ended.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

impl Health {
    /// A router with `GET /live` and `GET /ready`: 200 and `ok`, or 503 and why. It has no login.
    ///
    /// To be mounted where the program serves such things:
    ///
    /// ```
    /// use axum::Router;
    /// use sector7g_tasks::runner::Runner;
    ///
    /// let runner = Runner::new(); // with what it is to run
    /// let app: Router = Router::new().nest("/ops", runner.health().router());
    /// ```
    pub fn router(&self) -> Router {
        let (live, ready) = (self.clone(), self.clone());
        Router::new()
            .route("/live", get(move || async move { answer(live.live()) }))
            .route("/ready", get(move || async move { answer(ready.ready()) }))
    }
}

fn answer(health: Result<(), Unwell>) -> impl IntoResponse {
    match health {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(unwell) => (StatusCode::SERVICE_UNAVAILABLE, format!("{unwell}\n")),
    }
}

pub(crate) async fn serve(listener: Bounded, router: Router, stop: CancellationToken) {
    let ended = stop.clone().cancelled_owned();
    let router = router.into_make_service_with_connect_info::<Peer>();
    let serving = axum::serve(listener, router).with_graceful_shutdown(ended).into_future();
    let late = async {
        stop.cancelled().await;
        sleep(LAST_ANSWERS).await;
    };
    tokio::select! {
        _ = serving => {} // cancel safe: nobody is left to answer
        () = late => {} // cancel safe: only waits
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(
    #[cfg_attr(not(feature = "operate"), allow(dead_code, reason = "a login asks for it"))] pub(crate) SocketAddr,
);

impl Connected<IncomingStream<'_, Bounded>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Bounded>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// A listener with a bound on connections.
pub(crate) struct Bounded {
    listener: TcpListener,
    slots: Arc<Semaphore>,
    /// Whether the last try to accept a connection failed.
    is_failing: bool,
}

impl Bounded {
    pub(crate) fn new(listener: std::net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        Ok(Self { listener: TcpListener::from_std(listener)?, slots, is_failing: false })
    }
}

impl axum::serve::Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            let slot = timeout(IDLE, Arc::clone(&self.slots).acquire_owned()).await;
            let Ok(Ok(slot)) = slot else { continue };
            match self.listener.accept().await {
                Ok((stream, address)) => {
                    self.is_failing = false;
                    let idle = Box::pin(sleep(IDLE));
                    return (Connection { stream, idle, _slot: slot }, address);
                }
                // Of one connection, or for want of descriptors, which others may give back.
                Err(error) => {
                    if !std::mem::replace(&mut self.is_failing, true) {
                        tracing::warn!("connections can't be accepted, tried again each 100 ms: {error}");
                    }
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends when the other side has neither sent nor taken a byte for too long.
pub(crate) struct Connection {
    stream: TcpStream,
    idle: Pin<Box<Sleep>>,
    _slot: OwnedSemaphorePermit,
}

impl Connection {
    /// What became of a read or a write, or an error once the other side has neither sent nor taken a byte for too long.
    fn or_idle<T>(&mut self, cx: &mut Context<'_>, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match done {
            Poll::Ready(done) => {
                self.idle.as_mut().reset(Instant::now() + IDLE);
                Poll::Ready(done)
            }
            Poll::Pending => self.idle.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.or_idle(cx, read)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.or_idle(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
