use support::{RedisCluster, RedisSentinel};

use super::runs;

#[tokio::test]
async fn a_cluster_has_three_masters_and_takes_all_keys() {
    let cluster = RedisCluster::start().await;
    let nodes = cluster.cli(&["CLUSTER", "NODES"]);
    assert_eq!(nodes.lines().filter(|line| line.contains("master") && line.contains(" connected ")).count(), 3);
    for key in ["homer", "lenny", "carl", "moe", "barney", "apu"] {
        assert_eq!(cluster.cli(&["SET", key, "donut"]), "OK");
        assert_eq!(cluster.cli(&["GET", key]), "donut");
    }
    let keys: Vec<_> = cluster.nodes().iter().map(|node| node.cli(&["DBSIZE"])).collect();
    assert_eq!(keys, ["2", "1", "3"], "by the hash slots of the keys");
    let moved = cluster.nodes().iter().filter_map(|node| node.try_cli(&["GET", "homer"]).err());
    assert_eq!(moved.filter(|error| error.starts_with("MOVED ")).count(), 2, "one node has the key");

    let pids: Vec<_> = cluster.nodes().iter().map(support::RedisServer::pid).collect();
    drop(cluster);
    assert!(!pids.into_iter().any(runs));
}

#[tokio::test]
async fn a_sentinel_makes_the_replica_master() {
    let mut trio = RedisSentinel::start().await;
    let (one, other) = (trio.master().port(), trio.replica().port());
    trio.master().cli(&["SET", "reactor", "7"]);
    trio.failover().await;
    assert_eq!((trio.master().port(), trio.replica().port()), (other, one));
    assert_eq!(trio.master().cli(&["GET", "reactor"]), "7");
    assert!(trio.replica().try_cli(&["SET", "reactor", "8"]).unwrap_err().starts_with("READONLY"));

    trio.kill_master().await;
    assert_eq!(trio.master().port(), one);
    assert_eq!(trio.master().cli(&["GET", "reactor"]), "7");
    assert_eq!(trio.master().cli(&["SET", "reactor", "8"]), "OK");
}
