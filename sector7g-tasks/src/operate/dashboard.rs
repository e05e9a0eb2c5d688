//! `dashboard`.

use std::net::TcpListener;
use std::sync::Arc;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::args::DashboardArgs;
use super::error::OperateError;
use super::show::Output;
use crate::broker::{QueueName, RedisBroker};
use crate::cli::args::RUST_LOG;
use crate::cli::log::{self, Format, LogConfig};
use crate::dashboard::{self, Alone, Dashboard, Token};
use crate::runner::Signals;

const TOKEN: &str = "SECTOR7G_DASHBOARD_TOKEN";

#[derive(Serialize)]
struct Listening {
    url: String,
    actions: bool,
}

pub(super) async fn run(
    broker: RedisBroker,
    queue: Option<&QueueName>,
    args: &DashboardArgs,
    output: &Output,
) -> Result<u8, OperateError> {
    let set = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
    let format = if output.json { Format::Json } else { Format::Pretty };
    log::start(&LogConfig::new(format, false, set(RUST_LOG).as_deref())?);
    let token = args.token.clone().or_else(|| set(TOKEN)).map(Token::new).transpose()?;
    let mut pages = Dashboard::new(Arc::new(broker))
        .allow_actions(args.allow_actions)
        .show_unknown_arguments(args.show_args)
        .thresholds(args.thresholds.read());
    if let Some(queue) = queue {
        pages = pages.only_queues([queue.clone()]);
    }
    let mut alone = Alone::new(pages, args.listen);
    if let Some(token) = token {
        alone = alone.token(token);
    }
    let router = args.host.iter().fold(alone, Alone::host).router()?;
    let failed = |source| OperateError::Listen { address: args.listen, source };
    let listener = TcpListener::bind(args.listen).map_err(failed)?;
    let url = format!("http://{}/", listener.local_addr().map_err(failed)?);
    let telling = Listening { url, actions: args.allow_actions };
    output.tell(&telling, || {
        let mode = if telling.actions { "actions are allowed" } else { "it only reads" };
        format!("The dashboard is at {} ({mode}). Ctrl-C ends it.", telling.url)
    });
    let stop = CancellationToken::new();
    let mut signals = Signals::new().map_err(|error| OperateError::System(error.into()))?;
    let serving = dashboard::serve(listener, router, stop.clone());
    let ending = async {
        signals.heard().await;
        stop.cancel();
    };
    let (served, ()) = tokio::join!(serving, ending);
    served.map_err(failed)?;
    Ok(0)
}
