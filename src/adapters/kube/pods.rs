//! Pods of one revision: what became of them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::call::{Cluster, Path};
use super::row::Whole;
use crate::engine::world::{ContainerSeen, PodSeen, PodsSeen};

/// Lists the pods that `selector` matches, at most 500. That they cannot be listed is an answer too.
pub async fn list(cluster: &Cluster, namespace: &str, selector: &BTreeMap<String, String>) -> PodsSeen {
    let now = cluster.now();
    let at = Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now);
    let path = Path::new(("", "v1", "pods", "Pod"), namespace, "");
    let labels: Vec<String> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let pods = match cluster.list::<Whole>(&path, &labels.join(","), "", None).await {
        Ok(page) => Ok(page.items.iter().map(seen).collect()),
        Err(error) => {
            tracing::warn!(namespace, %error, "the pods of a canary cannot be listed");
            Err(error.to_string())
        }
    };
    PodsSeen { at, pods }
}

fn seen(pod: &Whole) -> PodSeen {
    let status = pod.status.json("status").unwrap_or_default();
    // Containers that run beside the others are init containers too, and those start in their order.
    let containers = ["initContainerStatuses", "containerStatuses"].map(|list| array(&status, list));
    PodSeen {
        name: pod.metadata.name.clone(),
        is_ready: condition(&status, "Ready").is_some_and(|it| text(it, "status") == "True"),
        is_leaving: pod.metadata.is_deleting(),
        taken: taken(&status),
        unscheduled: unscheduled(&status),
        containers: containers.into_iter().flatten().map(container).collect(),
    }
}

fn array<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn condition<'v>(status: &'v Value, kind: &str) -> Option<&'v Value> {
    array(status, "conditions").iter().find(|it| text(it, "type") == kind)
}

/// Why the cluster has taken a pod away. The pods of a ReplicaSet start their containers again for ever: one that has failed was
/// evicted, refused or ended by its node.
/// <https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions>
fn taken(status: &Value) -> String {
    let disrupted = condition(status, "DisruptionTarget").filter(|it| text(it, "status") == "True");
    let reason = text(status, "reason");
    match disrupted {
        Some(condition) => text(condition, "reason").to_owned(),
        None if text(status, "phase") == "Failed" && reason.is_empty() => "Failed".to_owned(),
        None if text(status, "phase") == "Failed" || reason == "NodeLost" => reason.to_owned(),
        None => String::new(),
    }
}

fn unscheduled(status: &Value) -> String {
    let scheduled = condition(status, "PodScheduled").filter(|it| text(it, "status") == "False");
    let Some(condition) = scheduled else { return String::new() };
    let message = text(condition, "message");
    if message.is_empty() { text(condition, "reason").to_owned() } else { message.to_owned() }
}

fn container(status: &Value) -> ContainerSeen {
    let at = |pointer: &str| status.pointer(pointer);
    let waiting = at("/state/waiting").unwrap_or(&Value::Null);
    let ended = at("/state/terminated").or_else(|| at("/lastState/terminated"));
    let number = |value: Option<&Value>| {
        value.and_then(Value::as_i64).and_then(|it| i32::try_from(it).ok()).unwrap_or_default()
    };
    ContainerSeen {
        name: text(status, "name").to_owned(),
        is_ready: status.get("ready").and_then(Value::as_bool).unwrap_or(false),
        restarts: number(status.get("restartCount")),
        waiting: text(waiting, "reason").to_owned(),
        says: text(waiting, "message").to_owned(),
        ended: ended.map(|it| (text(it, "reason").to_owned(), number(it.get("exitCode")))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::adapters::kube::scripted::cluster;

    fn read(status: Value) -> PodSeen {
        seen(&serde_json::from_value(json!({"metadata": {"name": "p"}, "status": status})).unwrap())
    }

    #[test]
    fn a_container_that_was_killed_for_its_memory() {
        let pod = read(json!({
            "phase": "Running",
            "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "False"}],
            "containerStatuses": [{
                "name": "app", "ready": false, "restartCount": 3,
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
                "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}},
            }],
        }));
        assert!(!pod.is_ready && pod.taken.is_empty() && pod.unscheduled.is_empty());
        let container = &pod.containers[0];
        assert_eq!((container.restarts, container.waiting.as_str()), (3, "CrashLoopBackOff"));
        assert_eq!(container.ended, Some(("OOMKilled".to_owned(), 137)));
    }

    #[test]
    fn what_the_cluster_did_is_told_apart() {
        let taken = |status: Value| read(status).taken;
        assert_eq!(taken(json!({"phase": "Failed", "reason": "Evicted"})), "Evicted");
        assert_eq!(taken(json!({"phase": "Failed"})), "Failed");
        assert_eq!(taken(json!({"phase": "Running", "reason": "NodeLost"})), "NodeLost");
        let target = json!({"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"});
        assert_eq!(taken(json!({"phase": "Running", "conditions": [target]})), "PreemptionByScheduler");
        assert_eq!(taken(json!({"phase": "Running"})), "");
        let unscheduled = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/3 nodes are available"});
        assert_eq!(read(json!({"conditions": [unscheduled]})).unscheduled, "0/3 nodes are available");
        assert_eq!(read(json!(null)), PodSeen { name: "p".to_owned(), ..PodSeen::default() });
    }

    #[test]
    fn what_has_just_ended_counts_like_what_waits_to_be_started_again() {
        let pod = read(json!({
            "initContainerStatuses": [{"name": "setup", "ready": true, "restartCount": 0,
                "state": {"terminated": {"reason": "Completed", "exitCode": 0}}}],
            "containerStatuses": [{"name": "app", "ready": false, "restartCount": 1,
                "state": {"terminated": {"reason": "Error", "exitCode": 2}},
                "lastState": {"terminated": {"reason": "Error", "exitCode": 1}}}],
        }));
        assert_eq!(pod.containers.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["setup", "app"]);
        assert_eq!(pod.containers[1].ended, Some(("Error".to_owned(), 2)));
    }

    #[tokio::test]
    async fn one_request_lists_them_and_a_refusal_is_an_answer() {
        let (cluster, script) = cluster(std::time::Duration::from_secs(1));
        let selector = BTreeMap::from([("app".to_owned(), "shop".to_owned())]);
        script.say(200, json!({"items": [{"metadata": {"name": "p"}}]}));
        assert_eq!(list(&cluster, "shop", &selector).await.pods.unwrap().len(), 1);
        assert_eq!(script.lines(), ["GET /api/v1/namespaces/shop/pods?&labelSelector=app%3Dshop&limit=500"]);
        script.refuse(403, "Forbidden");
        let why = list(&cluster, "shop", &selector).await.pods.unwrap_err();
        assert!(why.contains("the verb 'list' on pods in shop"), "{why}");
    }
}
