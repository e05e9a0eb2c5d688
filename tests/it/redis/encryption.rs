//! Encrypted ways.

use std::time::Duration;

use sector7g_tasks::broker::RedisBroker;
use support::RedisServer;

use super::connections::check_works;

#[tokio::test]
async fn a_cluster_with_an_authority_of_its_own() {
    let node = RedisServer::builder().tls().line("cluster-enabled yes").line("tls-cluster yes").start();
    node.cli(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    while !node.cli(&["CLUSTER", "INFO"]).contains("cluster_state:ok") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let ca = std::fs::read(node.ca_file()).unwrap();
    let url = format!("rediss+cluster://127.0.0.1:{}", node.tls_port());
    check_works(RedisBroker::builder(url).ca(ca).connect().await.unwrap()).await;
}
