use std::sync::Arc;

use super::error::CliError;
use crate::broker::{Broker, MemoryBroker};

/// The broker at `url`, or the embedded one. It connects when it is first used.
pub(super) fn broker_for(url: Option<&str>) -> Result<Arc<dyn Broker>, CliError> {
    match url {
        None => Ok(Arc::new(MemoryBroker::new())),
        Some(url) => shared(url),
    }
}

#[cfg(feature = "redis")]
fn shared(url: &str) -> Result<Arc<dyn Broker>, CliError> {
    Ok(Arc::new(crate::broker::RedisBroker::builder(url).build()?))
}

#[cfg(not(feature = "redis"))]
fn shared(url: &str) -> Result<Arc<dyn Broker>, CliError> {
    match crate::broker::url::Address::parse(url) {
        Err(error) => Err(error.into()),
        Ok(address) => unreachable!("{address:?} needs a feature that is not there"),
    }
}
