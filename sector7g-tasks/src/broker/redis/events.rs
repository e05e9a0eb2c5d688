//! Keyspace notifications, where a server has them on: jobs of Python producers, who ring no bell, are seen at once.

use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use redis::aio::PubSub;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::link::Link;
use super::reply::Reply;
use crate::broker::BrokerError;

/// The least time between two looks that notifications cause: in a busy queue there are many, most of them our own.
const CALM: Duration = Duration::from_millis(50);

/// The pause before a lost subscription is made anew; polling goes on meanwhile.
const AGAIN: Duration = Duration::from_secs(1);

/// Tells `seen` when one of the queues has changed, for as long as the server publishes that.
pub(super) async fn watch(link: &Link, queues: &[String], seen: &Notify) {
    loop {
        match subscribe(link, queues).await {
            Ok(Some(events)) => follow(events, seen).await,
            Ok(None) => return,
            Err(error) => tracing::debug!("no keyspace notifications: {}", crate::error::Chain(&error)),
        }
        sleep(AGAIN).await;
    }
}

async fn follow(mut events: PubSub, seen: &Notify) {
    let mut changes = events.on_message();
    while changes.next().await.is_some() {
        while let Some(Some(_)) = changes.next().now_or_never() {} // all that are here mean «look»
        seen.notify_one();
        sleep(CALM).await; // those that come meanwhile mean the next look
    }
}

/// `None` when the server publishes no changes of sorted sets, or does not let this user listen.
async fn subscribe(link: &Link, queues: &[String]) -> Result<Option<PubSub>, BrokerError> {
    if link.is_cluster() || !is_on(link).await? {
        return Ok(None);
    }
    let (mut events, database) = link.events().await?;
    for queue in queues {
        let channel = format!("__keyspace@{database}__:{queue}");
        if let Err(error) = events.subscribe(channel).await {
            return match link.error(&error) {
                BrokerError::Refused(_) => Ok(None),
                error => Err(error),
            };
        }
    }
    Ok(Some(events))
}

async fn is_on(link: &Link) -> Result<bool, BrokerError> {
    let answer = link.command(redis::cmd("CONFIG").arg("GET").arg("notify-keyspace-events")).await;
    let value: redis::Value = match answer {
        Err(BrokerError::Refused(_)) => return Ok(false), // not a right that every user has
        answer => answer?,
    };
    let redis::Value::Array(_) = value else { return Ok(false) };
    let mut reply = Reply::of("CONFIG GET", value)?;
    let (_, classes) = (reply.text()?, reply.text()?.unwrap_or_default());
    Ok(classes.contains('K') && classes.contains(['z', 'A']))
}
