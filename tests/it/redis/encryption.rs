//! Encrypted ways: those that work, those that must not be taken, and those that are encrypted at one end only. What is
//! wrong is told soon, with what to do, and without the password.

use std::error::Error;
use std::time::Duration;

use sector7g_tasks::broker::RedisBroker;
use support::{Certificate, RedisSentinel, RedisServer};
use tokio::time::timeout;

use super::connections::check_works;

const SECRET: &str = "thrillhouse";

/// `rediss` and its like, with a password, to a port.
fn urls(encrypted: bool, port: u16) -> [String; 3] {
    let s = if encrypted { "s" } else { "" };
    let place = format!(":{SECRET}@127.0.0.1:{port}");
    let name = RedisSentinel::NAME;
    [
        format!("redis{s}://{place}"),
        format!("redis{s}+sentinel://{place}/{name}"),
        format!("redis{s}+cluster://{place}"),
    ]
}

/// What a start that gives up at once says, whatever the port is of: a server, a sentinel, a cluster.
async fn check_refused(server: &RedisServer, ca: bool, urls: [String; 3], problem: &[&str], advice: &str) {
    for url in urls {
        let mut builder = RedisBroker::builder(&url).connect_retries(0, Duration::ZERO);
        if ca {
            builder = builder.ca(std::fs::read(server.ca_file()).unwrap());
        }
        // A handshake has a second.
        let outcome = timeout(Duration::from_secs(20), builder.connect()).await.expect("it does not hang");
        let error = outcome.expect_err("it can't work");
        let cause = error.source().map(ToString::to_string).unwrap_or_default();
        assert!(problem.iter().any(|problem| cause.contains(problem)), "{error}: {cause}");
        assert!(cause.ends_with(advice), "{error}: {cause}");
        assert!(!format!("{error} {error:?} {cause}").contains(SECRET), "{error:?}");
    }
}

fn server(certificate: Certificate) -> RedisServer {
    RedisServer::builder().password(SECRET).tls_with(certificate).start()
}

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

#[tokio::test]
async fn a_strangers_certificate() {
    let server = server(Certificate::Right);
    let advice = "name the authority that signed it, with `RedisBrokerBuilder::ca` or in `SSL_CERT_FILE`";
    check_refused(&server, false, urls(true, server.tls_port()), &["UnknownIssuer"], advice).await;
}

#[tokio::test]
async fn a_certificate_of_another_host() {
    let server = server(Certificate::OfAnother);
    let problem = [r#"not valid for name "127.0.0.1"; certificate is only valid for DnsName("shelbyville.example")"#];
    let advice = "say the host as its certificate does, or have one made for this name";
    check_refused(&server, true, urls(true, server.tls_port()), &problem, advice).await;
}

#[tokio::test]
async fn a_certificate_that_has_expired() {
    let server = server(Certificate::Expired);
    let advice = "renew the server's certificate, or set this machine's clock";
    check_refused(&server, true, urls(true, server.tls_port()), &["certificate expired"], advice).await;
}

#[tokio::test]
async fn an_encrypted_way_to_a_plain_port() {
    let server = server(Certificate::Right);
    let advice = "`rediss://` and its like need a port that takes encrypted connections (`tls-port`)";
    check_refused(&server, true, urls(true, server.port()), &["timed out", "corrupt message"], advice).await;
}

#[tokio::test]
async fn a_plain_way_to_an_encrypted_port() {
    let server = server(Certificate::Right);
    let advice = "if that port takes encrypted connections alone, say `rediss` in place of `redis`";
    let problems = ["reset by peer", "broken pipe", "terminated", "end of file"];
    check_refused(&server, false, urls(false, server.tls_port()), &problems, advice).await;
}
