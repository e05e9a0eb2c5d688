//! `deploy/kubernetes`: each worker and the dashboard, started as compose.yaml starts them.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use support::RedisServer;

use super::{METRICS, ROOMS, WORKERS, longest_stop, shows, yaml};

/// Its arguments are those with which the test above starts the workers of compose.yaml.
#[test]
fn kubernetes_has_each_worker_with_its_probes_and_the_shared_rooms() {
    let list: Value = yaml("deploy/kubernetes/plant.yaml");
    let items = list["items"].as_array().unwrap();
    let of_kind = |kind: &'static str| items.iter().filter(move |item| item["kind"] == kind);
    let claims: Vec<&Value> = of_kind("PersistentVolumeClaim").collect();
    let [claim] = claims[..] else { panic!("one claim, which all share: {claims:?}") };
    assert_eq!((&claim["apiVersion"], &claim["spec"]["accessModes"]), (&"v1".into(), &json!(["ReadWriteMany"])));
    let mut found = BTreeSet::new();
    let is_worker = |item: &&Value| item["metadata"]["name"].as_str().is_some_and(|name| name.starts_with("worker-"));
    for deployment in of_kind("Deployment").filter(is_worker) {
        assert_eq!(deployment["apiVersion"], "apps/v1");
        let name = deployment["metadata"]["name"].as_str().unwrap();
        let (spec, pod) = (&deployment["spec"], &deployment["spec"]["template"]["spec"]);
        for labels in [
            &deployment["metadata"]["labels"],
            &spec["selector"]["matchLabels"],
            &spec["template"]["metadata"]["labels"],
        ] {
            assert_eq!(labels["app.kubernetes.io/name"], name);
        }
        let worker = name.strip_prefix("worker-").unwrap();
        assert!(pod["terminationGracePeriodSeconds"].as_u64() > Some(longest_stop(worker).as_secs()), "{name}");
        let container = &pod["containers"][0];
        assert_eq!(container["args"], json!([worker, "--listen", METRICS]));
        assert_eq!(container["ports"][0]["containerPort"], 9464);
        assert_eq!(spec["template"]["metadata"]["annotations"]["prometheus.io/port"], "9464");
        for (probe, path) in [("livenessProbe", "/live"), ("readinessProbe", "/ready"), ("startupProbe", "/ready")] {
            assert_eq!(container[probe]["httpGet"], json!({ "path": path, "port": "http" }), "{name}");
        }
        assert_eq!(container["env"][0]["name"], "REDIS_URL");
        let variables = container["env"].as_array().unwrap().iter();
        let rooms = variables.filter(|variable| variable["name"] == ROOMS).map(|variable| &variable["value"]);
        let mounts = container["volumeMounts"].as_array().unwrap().iter();
        let mounted = mounts.filter(|mount| mount["name"] == "rooms").map(|mount| &mount["mountPath"]);
        assert!(rooms.eq(mounted), "{name} finds its rooms in the volume: {container}");
        let rooms = pod["volumes"].as_array().unwrap().iter().find(|volume| volume["name"] == "rooms").unwrap();
        assert_eq!(rooms["persistentVolumeClaim"]["claimName"], claim["metadata"]["name"], "{name}");
        let user = &pod["securityContext"];
        assert_eq!(user["fsGroup"], user["runAsUser"], "{name} may write there");
        found.insert(worker.to_owned());
    }
    assert!(found.iter().eq(WORKERS), "{found:?}");
    assert_eq!(items.len(), 1 + 2 * WORKERS.len() + 2, "nothing else is there that these tests do not look at");
}

/// A drain takes one pod at a time, and is never held up: not by a worker's only pod, nor by one that is not ready.
#[test]
fn kubernetes_drains_a_worker_pod_by_pod() {
    let list: Value = yaml("deploy/kubernetes/plant.yaml");
    let items = list["items"].as_array().unwrap().iter();
    let budgets = items.filter(|item| item["kind"] == "PodDisruptionBudget");
    let mut found = BTreeSet::new();
    for budget in budgets {
        let name = budget["metadata"]["name"].as_str().unwrap();
        assert_eq!(budget["apiVersion"], "policy/v1");
        let wanted = json!({
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": { "matchLabels": { "app.kubernetes.io/name": name } },
        });
        assert_eq!(budget["spec"], wanted, "{name}");
        found.insert(name.strip_prefix("worker-").unwrap());
    }
    assert!(found.into_iter().eq(WORKERS));
}

#[tokio::test]
async fn kubernetes_has_a_dashboard_whose_token_is_a_secret() {
    let list: Value = yaml("deploy/kubernetes/plant.yaml");
    let named = |kind: &str| {
        let mut items = list["items"].as_array().unwrap().iter();
        items.find(|item| item["kind"] == kind && item["metadata"]["name"] == "dashboard").unwrap()
    };
    let (deployment, service) = (&named("Deployment")["spec"], &named("Service")["spec"]);
    let labels = &deployment["template"]["metadata"]["labels"];
    for (name, value) in service["selector"].as_object().unwrap() {
        assert_eq!(&labels[name], value, "the service finds the pods");
        assert_eq!(&deployment["selector"]["matchLabels"][name], value);
    }
    let container = &deployment["template"]["spec"]["containers"][0];
    let words = |field: &str| -> Vec<String> { serde_json::from_value(container[field].clone()).unwrap() };
    shows(&RedisServer::start(), &words("command").join(" "), &words("args")).await;
    assert_eq!(container["ports"], json!([{ "name": "http", "containerPort": 8090 }]));
    assert_eq!(service["ports"], json!([{ "name": "http", "port": 8090, "targetPort": "http" }]));
    for probe in ["livenessProbe", "readinessProbe"] {
        assert_eq!(container[probe]["httpGet"], json!({ "path": "/login", "port": "http" }), "needs no login");
    }
    let secrets = container["env"].as_array().unwrap().iter().filter(|variable| variable["name"] != "SECTOR7G_EXPECT");
    let secrets = secrets.map(|variable| (&variable["name"], &variable["valueFrom"]["secretKeyRef"]["name"]));
    let wanted = [("REDIS_URL", "sector7g-redis"), ("SECTOR7G_DASHBOARD_TOKEN", "sector7g-dashboard")];
    let wanted = wanted.map(|(name, secret)| (Value::from(name), Value::from(secret)));
    assert!(secrets.eq(wanted.iter().map(|(name, secret)| (name, secret))), "{container}");
}
