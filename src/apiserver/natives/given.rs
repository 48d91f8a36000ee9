//! Manifests of ordinary workloads, for tests and demonstrations.

use serde_json::{Value, json};

use crate::apiserver::Kind;

/// A Deployment of `replicas` pods with a Service and an HTTPRoute of its name, as the API server stores them.
#[must_use]
pub fn workload(name: &str, image: &str, replicas: u32) -> [(Kind, Value); 3] {
    let route = json!({
        "metadata": {"name": name},
        "spec": {
            "parentRefs": [{"name": "edge"}],
            "hostnames": [format!("{name}.example.com")],
            "rules": [{"backendRefs": [{"name": name, "port": 80}]}],
        },
    });
    [
        (Kind::Deployment, deployment(name, image, replicas)),
        (Kind::Service, service(name)),
        (Kind::HttpRoute, route),
    ]
}

/// A Deployment whose pods carry the label `app` with its name.
#[must_use]
pub fn deployment(name: &str, image: &str, replicas: u32) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 10,
            "progressDeadlineSeconds": 600,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{
                    "name": "app", "image": image, "ports": [{"containerPort": 8080, "name": "http", "protocol": "TCP"}],
                }]},
            },
        },
    })
}

/// A Service in front of the pods with the label `app` of its name.
#[must_use]
pub fn service(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "type": "ClusterIP",
            "selector": {"app": name},
            "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}],
        },
    })
}

/// A suspended CronJob whose Jobs run one container of `image`.
#[must_use]
pub fn cron_job(name: &str, image: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "schedule": "0 0 * * *",
            "suspend": true,
            "jobTemplate": {"spec": job_spec(image)},
        },
    })
}

/// A Job that runs one container of `image` once.
#[must_use]
pub fn job(name: &str, image: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": job_spec(image)})
}

fn job_spec(image: &str) -> Value {
    json!({
        "backoffLimit": 0,
        "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "hook", "image": image}]}},
    })
}
