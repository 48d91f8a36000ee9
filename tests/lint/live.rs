//! Manifests held against what a cluster has.

use std::collections::BTreeMap;
use std::fs;
use std::process::Output;
use std::sync::Arc;

use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use crate::server::{GOOD, codes, lint, serve};

const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/default/deployments/shop-api";
const SERVICE: &str = "/api/v1/namespaces/default/services/shop-api";
const ROUTE: &str = "/apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes/shop";
const SOURCE: &str = "/apis/palier.dev/v1alpha1/metricsources/default";

/// The objects of a cluster by their paths. A list is what lies below its path.
type Objects = BTreeMap<String, Value>;

fn add(objects: &mut Objects, path: &str, object: Value) {
    let mut object = object;
    object["metadata"]["name"] = json!(path.rsplit('/').next());
    objects.insert(path.to_owned(), object);
}

/// Everything that the least Rollout names, as it should be.
fn whole() -> Objects {
    let mut objects = Objects::new();
    let pods = json!({"metadata": {"labels": {"app": "shop-api", "tier": "web"}},
                      "spec": {"containers": [{"name": "app", "image": "shop:1"}]}});
    add(&mut objects, DEPLOYMENT, json!({"spec": {"replicas": 4, "template": pods}}));
    add(&mut objects, SERVICE, json!({"spec": {"selector": {"app": "shop-api"}}}));
    let rules = json!([{"backendRefs": [{"name": "shop-api", "port": 80}]}]);
    add(&mut objects, ROUTE, json!({"spec": {"rules": rules}}));
    add(
        &mut objects,
        SOURCE,
        json!({"spec": {"namespaces": ["*"], "prometheus": {"url": "http://prometheus:9090"}}}),
    );
    let set = json!([{"kind": "ReplicaSet", "name": "shop-api-5d4c", "controller": true}]);
    let pod = json!({"metadata": {"labels": {"app": "shop-api"}, "ownerReferences": set}});
    add(&mut objects, "/api/v1/namespaces/default/pods/shop-api-5d4c-abcde", pod);
    objects
}

fn answer(objects: &Objects, path: &str) -> Response {
    if let Some(object) = objects.get(path) {
        return axum::Json(object).into_response();
    }
    let lists = ["deployments", "services", "pods", "rollouts"];
    if path.rsplit('/').next().is_some_and(|it| lists.contains(&it)) {
        let items: Vec<&Value> = objects
            .iter()
            .filter(|(of, _)| of.rsplit_once('/').is_some_and(|(folder, _)| folder == path))
            .map(|(_, object)| object)
            .collect();
        return axum::Json(json!({"metadata": {}, "items": items})).into_response();
    }
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404,
                        "message": "not found"});
    (StatusCode::NOT_FOUND, axum::Json(status)).into_response()
}

/// The codes of what is found in the least Rollout beside such a cluster.
async fn found(name: &str, objects: Objects) -> Vec<String> {
    codes(&beside(name, GOOD, objects).await)
}

/// What is found in a manifest beside such a cluster.
async fn beside(name: &str, manifest: &str, objects: Objects) -> Output {
    let objects = Arc::new(objects);
    let app = axum::Router::new().fallback(move |uri: Uri| {
        let objects = objects.clone();
        async move { answer(&objects, uri.path()) }
    });
    let server = serve(app).await;
    let file = std::env::temp_dir().join(format!("palier-lint-{name}-{}", std::process::id()));
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": server}}],
        "users": [{"name": "test", "user": {}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    });
    fs::write(&file, config.to_string()).unwrap();
    let output = lint(&[manifest, "--cluster", "--kubeconfig", file.to_str().unwrap()]).await;
    fs::remove_file(&file).unwrap();
    output
}

#[tokio::test]
async fn a_cluster_that_has_what_is_named_is_no_finding() {
    assert_eq!(found("whole", whole()).await, [""; 0]);
}

#[tokio::test]
async fn templates_of_the_cluster_give_their_gates() {
    const PATH: &str = "/apis/palier.dev/v1alpha1/clustergatetemplates/http";
    let rollout = r#"{"apiVersion": "palier.dev/v1alpha1", "kind": "Rollout", "metadata": {"name": "shop"}, "spec": {
        "components": [{"name": "api", "workloadRef": {"name": "shop-api"},
            "traffic": {"service": "shop-api", "gatewayAPI": {"httpRoutes": [{"name": "shop"}]}}}],
        "gatesFrom": [{"kind": "ClusterGateTemplate", "name": "http", "parameters": {"limit": "0.01"}}]}}"#;
    let file = std::env::temp_dir().join(format!("palier-lint-from-{}.json", std::process::id()));
    fs::write(&file, rollout).unwrap();
    let template = |queries: Value, source: &str| {
        let mut prometheus = queries;
        prometheus["source"] = json!(source);
        let gate = json!({"name": "errors", "prometheus": prometheus, "threshold": {"max": "$limit"}});
        let parameters = json!([{"name": "limit", "type": "Number", "description": "The most"}]);
        let mut objects = whole();
        add(&mut objects, PATH, json!({"spec": {"parameters": parameters, "gates": [gate]}}));
        objects
    };
    let counters = json!({"bad": "sum by (pod) (requests_total{pod=~\"$pods\",code=~\"5..\"})",
                          "total": "sum by (pod) (requests_total{pod=~\"$pods\"})"});
    let rates = json!({"bad": "sum by (pod) (rate(requests_total{pod=~\"$pods\",code=~\"5..\"}[1m]))",
                       "total": "sum by (pod) (requests_total{pod=~\"$pods\"})"});
    let look = |name, queries, source| beside(name, file.to_str().unwrap(), template(queries, source));
    assert_eq!(codes(&look("from", counters.clone(), "default").await), [""; 0]);
    // A mistake in the cluster's template stands at the entry that names it.
    let output = look("from-rates", rates, "default").await;
    assert_eq!(codes(&output), ["PAL104 spec.gatesFrom[http]"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("(in the cluster's template: prometheus.bad)"), "{said}");
    // So does a source that only the template names.
    assert_eq!(codes(&look("from-source", counters, "elsewhere").await), ["PAL704 spec.gatesFrom[http]"]);
    fs::remove_file(&file).unwrap();
}

#[tokio::test]
async fn what_the_cluster_does_not_have() {
    let mut objects = whole();
    objects.remove(ROUTE);
    let route = "PAL704 spec.components[api].traffic.gatewayAPI.httpRoutes[shop].name";
    assert_eq!(found("missing", objects).await, [route]);
}

/// What it is, how it comes about, and what is found.
type Mistake = (&'static str, fn(&mut Objects), &'static str);

#[tokio::test]
async fn what_stands_in_the_way_in_the_cluster() {
    let mistakes: [Mistake; 9] = [
        (
            "recreate",
            |all| all.get_mut(DEPLOYMENT).unwrap()["spec"]["strategy"] = json!({"type": "Recreate"}),
            "PAL501 spec.strategy.type",
        ),
        (
            "selector",
            |all| all.get_mut(SERVICE).unwrap()["spec"]["selector"]["app"] = json!("shop"),
            "PAL503 spec.selector.app",
        ),
        ("no selector", |all| all.get_mut(SERVICE).unwrap()["spec"] = json!({}), "PAL503 spec.selector"),
        (
            "route",
            |all| {
                all.get_mut(ROUTE).unwrap()["spec"]["rules"] =
                    json!([{"backendRefs": [{"name": "x", "port": 1}]}])
            },
            "PAL504 spec.rules",
        ),
        (
            "other deployment",
            |all| {
                let template = json!({"metadata": {"labels": {"app": "shop-api", "job": "mail"}}});
                add(
                    all,
                    "/apis/apps/v1/namespaces/default/deployments/mail",
                    json!({"spec": {"template": template}}),
                );
            },
            "PAL506 spec.selector",
        ),
        (
            "pod of a set",
            |all| {
                let owner = json!([{"kind": "StatefulSet", "name": "shop-api", "controller": true}]);
                let pod = json!({"metadata": {"labels": {"app": "shop-api"}, "ownerReferences": owner}});
                add(all, "/api/v1/namespaces/default/pods/shop-api-0", pod);
            },
            "PAL506 spec.selector",
        ),
        (
            "canary",
            |all| add(all, "/api/v1/namespaces/default/services/shop-api-canary", json!({})),
            "PAL507 metadata.name",
        ),
        (
            "two rollouts",
            |all| {
                let spec = json!({"components": [{"name": "api", "workloadRef": {"name": "shop-api"}}]});
                add(
                    all,
                    "/apis/palier.dev/v1alpha1/namespaces/default/rollouts/other",
                    json!({"spec": spec}),
                );
            },
            "PAL508 spec.components[api].workloadRef.name",
        ),
        (
            "source",
            |all| all.get_mut(SOURCE).unwrap()["spec"]["namespaces"] = json!(["shop"]),
            "PAL511 spec.gates[errors].prometheus.source",
        ),
    ];
    for (name, mistake, wanted) in mistakes {
        let mut objects = whole();
        mistake(&mut objects);
        assert_eq!(found(&name.replace(' ', "-"), objects).await, [wanted], "{name}");
    }
}

#[tokio::test]
async fn a_run_under_way_is_no_finding() {
    let mut objects = whole();
    let service = objects.get_mut(SERVICE).unwrap();
    service["metadata"]["labels"] = json!({"palier.dev/rollout": "shop"});
    service["spec"]["selector"]["pod-template-hash"] = json!("5d4c");
    let owner = json!([{"kind": "Rollout", "name": "shop", "apiVersion": "palier.dev/v1alpha1"}]);
    let canary = json!({"metadata": {"ownerReferences": owner}});
    add(&mut objects, "/api/v1/namespaces/default/services/shop-api-canary", canary);
    let backends = json!([{"name": "shop-api", "port": 80, "weight": 90},
                          {"name": "shop-api-canary", "port": 80, "weight": 10}]);
    objects.get_mut(ROUTE).unwrap()["spec"]["rules"] = json!([{"backendRefs": backends}]);
    // The Rollout itself, as it was applied.
    let spec = json!({"components": [{"name": "api", "workloadRef": {"name": "shop-api"}}]});
    add(&mut objects, "/apis/palier.dev/v1alpha1/namespaces/default/rollouts/shop", json!({"spec": spec}));
    assert_eq!(found("under-way", objects).await, [""; 0]);
}
