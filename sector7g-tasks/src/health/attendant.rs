use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Health;
use crate::error::BoxError;

/// Tells the world outside how a runner is, from a thread and a runtime of its own: also when the workers' runtime is
/// blocked, and so that whoever asks does not hold up heartbeats.
#[derive(Debug)]
pub(crate) struct Attendant {
    stop: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// What an attendant has to do.
#[derive(Debug, Default)]
pub(crate) struct Duties {
    #[cfg(feature = "http")]
    pub(crate) listener: Option<std::net::TcpListener>,
    #[cfg(feature = "http")]
    pub(crate) router: axum::Router,
    #[cfg(all(unix, feature = "systemd"))]
    pub(crate) notify: bool,
}

impl Attendant {
    pub(crate) fn start(health: Health, duties: Duties) -> Result<Self, BoxError> {
        let stop = CancellationToken::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let work = duties.work(health, stop.clone());
        let thread = std::thread::Builder::new().name("s7g-health".to_owned());
        let thread = thread.spawn(move || {
            runtime.block_on(work);
            runtime.shutdown_background(); // whoever still asks is not waited for
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// To be called once the workers have ended.
    pub(crate) async fn end(mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!("the thread that tells health had panicked");
            }
        }
    }
}

impl Drop for Attendant {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Duties {
    async fn work(self, health: Health, stop: CancellationToken) {
        let mut duties = JoinSet::new();
        #[cfg(feature = "http")]
        if let Some(listener) = self.listener {
            let (router, stop) = (self.router.merge(health.router()), stop.clone());
            match super::http::Bounded::new(listener) {
                Ok(listener) => drop(duties.spawn(super::http::serve(listener, router, stop))),
                Err(error) => tracing::error!("health can't be told by HTTP: {error}"), // systemd is, all the same
            }
        }
        #[cfg(all(unix, feature = "systemd"))]
        if self.notify {
            duties.spawn(super::systemd::notify(health, stop.clone()));
        }
        while let Some(ended) = duties.join_next().await {
            if let Err(error) = ended {
                tracing::error!("health is told no more in one of its ways: {error}");
            }
        }
    }
}
