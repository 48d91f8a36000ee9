//! What the server writes into new objects of built-in kinds.
//!
//! Left out: the defaults of fields in `spec`, which decisions do not depend on, but for those that other controllers take for
//! granted.

use serde_json::{Value, json};

use super::kinds::Kind;

/// Completes a new object. What the request said stays.
pub(super) fn at_creation(kind: Kind, object: &mut Value) {
    match kind {
        Kind::Deployment => {
            set(object, "/spec", "replicas", json!(1));
            set(object, "/spec", "revisionHistoryLimit", json!(10));
            set(object, "/spec", "progressDeadlineSeconds", json!(600));
            set(object, "/spec", "strategy", json!({"type": "RollingUpdate"}));
            if object.pointer("/spec/strategy/type") == Some(&json!("RollingUpdate")) {
                set(object, "/spec/strategy", "rollingUpdate", json!({}));
                set(object, "/spec/strategy/rollingUpdate", "maxSurge", json!("25%"));
                set(object, "/spec/strategy/rollingUpdate", "maxUnavailable", json!("25%"));
            }
            pod(object, "/spec/template/spec");
            object["status"] = json!({});
        }
        Kind::ReplicaSet => {
            set(object, "/spec", "replicas", json!(1));
            pod(object, "/spec/template/spec");
            object["status"] = json!({"replicas": 0});
        }
        Kind::Pod => {
            pod(object, "/spec");
            object["status"] = json!({"phase": "Pending", "qosClass": "BestEffort"});
        }
        Kind::Service => {
            set(object, "/spec", "type", json!("ClusterIP"));
            set(object, "/spec", "sessionAffinity", json!("None"));
            set(object, "/spec", "internalTrafficPolicy", json!("Cluster"));
            for port in object.pointer_mut("/spec/ports").and_then(Value::as_array_mut).into_iter().flatten()
            {
                let number = port["port"].clone();
                set(port, "", "protocol", json!("TCP"));
                set(port, "", "targetPort", number);
            }
            object["status"] = json!({"loadBalancer": {}});
        }
        Kind::Job => {
            set(object, "/spec", "backoffLimit", json!(6));
            set(object, "/spec", "completionMode", json!("NonIndexed"));
            set(object, "/spec", "suspend", json!(false));
            pod(object, "/spec/template/spec");
            object["status"] = json!({});
        }
        Kind::CronJob => {
            set(object, "/spec", "concurrencyPolicy", json!("Allow"));
            set(object, "/spec", "suspend", json!(false));
            object["status"] = json!({});
        }
        Kind::Namespace => {
            let name = object["metadata"]["name"].clone();
            set(object, "/metadata", "labels", json!({}));
            set(object, "/metadata/labels", "kubernetes.io/metadata.name", name);
            object["spec"] = json!({"finalizers": ["kubernetes"]});
            object["status"] = json!({"phase": "Active"});
        }
        Kind::Secret => set(object, "", "type", json!("Opaque")),
        _ => {}
    }
}

/// Defaults of a pod's spec.
fn pod(object: &mut Value, spec: &str) {
    for (field, value) in [
        ("restartPolicy", json!("Always")),
        ("dnsPolicy", json!("ClusterFirst")),
        ("schedulerName", json!("default-scheduler")),
        ("securityContext", json!({})),
        ("terminationGracePeriodSeconds", json!(30)),
    ] {
        set(object, spec, field, value);
    }
}

/// Sets a field of a map that is there, if the field is not.
fn set(object: &mut Value, map: &str, field: &str, value: Value) {
    if let Some(fields) = object.pointer_mut(map).and_then(Value::as_object_mut) {
        fields.entry(field.to_owned()).or_insert(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_stays() {
        let mut deployment = json!({"spec": {
            "replicas": 3, "strategy": {"rollingUpdate": {"maxSurge": 1}, "type": "RollingUpdate"},
            "template": {"spec": {"dnsPolicy": "None"}},
        }});
        at_creation(Kind::Deployment, &mut deployment);
        let spec = &deployment["spec"];
        assert_eq!((&spec["replicas"], &spec["progressDeadlineSeconds"]), (&json!(3), &json!(600)));
        assert_eq!(spec["strategy"]["rollingUpdate"], json!({"maxSurge": 1, "maxUnavailable": "25%"}));
        assert_eq!(spec["template"]["spec"]["dnsPolicy"], "None");
        assert_eq!(spec["template"]["spec"]["terminationGracePeriodSeconds"], 30);
    }
}
