use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::{enqueued, names};
use crate::error::BoxError;

/// How often what histograms were told is summed up: what was told since then takes memory, each value by itself.
const UPKEEP: Duration = Duration::from_secs(5);

/// Upper bounds of a run time's buckets, in seconds.
const RUN_TIMES: [f64; 13] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0];

/// Upper bounds of a latency's buckets, in seconds.
const LATENCIES: [f64; 12] = [0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0, 1_800.0, 7_200.0];

/// The type of Prometheus's text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

static INSTALLED: Mutex<Option<PrometheusHandle>> = Mutex::new(None);

/// The process's metrics as Prometheus reads them: these here, and what else the program's code tells the facade
/// [`metrics`](https://docs.rs/metrics).
#[derive(Clone, Debug)]
pub struct Prometheus {
    handle: PrometheusHandle,
}

/// Why metrics can't be exported to Prometheus.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// A recorder of the program's own gets the metrics.
    #[error("the program has installed another recorder of metrics, which gets them all; export them from that one")]
    Taken,
    /// The exporter could not be set up.
    #[error("the exporter for Prometheus can't be set up")]
    System(#[source] BoxError),
}

impl Prometheus {
    /// Installs the recorder of this process, or finds it installed. Metrics count from now on; so call it before
    /// jobs are enqueued and before a runner runs. [`Runner::listen`](crate::Runner::listen) calls it.
    ///
    /// # Errors
    /// [`InstallError`].
    pub fn install() -> Result<Self, InstallError> {
        let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = &*installed {
            return Ok(Self { handle: handle.clone() });
        }
        let whole = |name: &str| Matcher::Full(name.to_owned());
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(whole(names::RUN_TIME.name), &RUN_TIMES)
            .and_then(|builder| builder.set_buckets_for_metric(whole(names::LATENCY.name), &LATENCIES))
            .map_err(|error| InstallError::System(error.into()))?;
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        let upkeep = keep_up(handle.clone()).map_err(|error| InstallError::System(error.into()))?;
        ::metrics::set_global_recorder(recorder).map_err(|_| InstallError::Taken)?;
        let _ = upkeep.send(()); // it waits for that
        names::describe();
        enqueued::forget();
        *installed = Some(handle.clone());
        Ok(Self { handle })
    }

    /// All metrics, in Prometheus's text format.
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// A router with `GET /metrics`, to be mounted where the program serves such things. It has no login.
    pub fn router(&self) -> Router {
        let own = self.clone();
        Router::new().route("/metrics", get(move || async move { ([(CONTENT_TYPE, TEXT)], own.render()) }))
    }
}

/// Once told to, sums up, whether anybody reads or not, for as long as the recorder lives: until the process ends.
fn keep_up(handle: PrometheusHandle) -> std::io::Result<mpsc::Sender<()>> {
    let (begin, is_installed) = mpsc::channel();
    let upkeep = move || {
        if is_installed.recv().is_err() {
            return;
        }
        loop {
            std::thread::park_timeout(UPKEEP);
            handle.run_upkeep();
        }
    };
    std::thread::Builder::new().name("s7g-metrics".to_owned()).spawn(upkeep).map(|_| begin)
}
