//! Every promise of a broker, on Redis: each test has a server of its own.

use std::sync::Arc;
use std::time::Duration;

use sector7g_tasks::broker::{Broker, RedisBroker};
use sector7g_tasks::testing::conformance::Fixture;
use support::RedisServer;

struct OnRedis {
    server: RedisServer,
}

impl OnRedis {
    fn start() -> Self {
        Self { server: RedisServer::start() }
    }
}

impl Fixture for OnRedis {
    async fn broker(&self) -> Arc<dyn Broker> {
        Arc::new(RedisBroker::connect(self.server.url()).await.expect("the server answers"))
    }

    async fn pass(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }
}

sector7g_tasks::broker_conformance!(redis: OnRedis::start);
