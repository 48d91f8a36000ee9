//! Writes on copies of configuration, and on the map that the admission policy reads.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Effect, Subject};
use crate::adapters::kube::call::{CallError, Cluster, Patch};
use crate::adapters::kube::config::{content_of, path_of};
use crate::api::names::{COMPONENT_LABEL, CONFIG_COPY, CONFIG_LABEL, CONFIG_MAP_LABEL, ROLLOUT_LABEL};
use crate::engine::Write;
use crate::engine::config::copy_name;
use crate::engine::world::{ConfigKind, Seen};

/// Does one write on configuration.
pub(super) async fn perform(
    cluster: &Cluster,
    subject: Subject<'_>,
    write: &Write,
) -> Result<Effect, CallError> {
    match write {
        Write::CreateCopy { component, kind, source, name } => {
            create_copy(cluster, subject, component, (*kind, source), name).await
        }
        Write::PutConfigMap { component, name, seen, data } => {
            put_map(cluster, subject, component, (name, seen.as_ref()), data).await
        }
        Write::DeleteConfig { component, kind, object } => {
            delete(cluster, subject, component, *kind, object).await
        }
        Write::HandConfig { component, kind, object, deployment } => {
            hand(cluster, subject, component, (*kind, object), deployment).await
        }
        other => Err(CallError::Unsendable {
            what: format!("{other:?}"),
            message: "it is no write on configuration".to_owned(),
        }),
    }
}

/// Copies an object, if it still holds what the copy is named after.
async fn create_copy(
    cluster: &Cluster,
    subject: Subject<'_>,
    component: &str,
    (kind, source): (ConfigKind, &str),
    name: &str,
) -> Result<Effect, CallError> {
    let path = path_of(kind, subject.namespace(), source);
    let original: Value = cluster.get(&path).await?;
    let content = content_of(&original);
    if copy_name(&subject.rollout.at.uid, component, kind, source, &content) != name {
        let what = format!("{} {}/{source}", kind.as_str(), subject.namespace());
        return Err(CallError::Conflict(what));
    }
    let mut copy = json!({
        "apiVersion": "v1",
        "kind": kind.as_str(),
        "metadata": {
            "name": name,
            "namespace": subject.namespace(),
            "labels": {
                ROLLOUT_LABEL: subject.rollout.at.name, COMPONENT_LABEL: component, CONFIG_LABEL: CONFIG_COPY,
            },
            "ownerReferences": [subject.owner()],
        },
        "immutable": true,
    });
    if let (Some(copy), Value::Object(fields)) = (copy.as_object_mut(), content) {
        copy.extend(fields.into_iter().filter(|(_, value)| !value.is_null()));
    }
    let path = path_of(kind, subject.namespace(), name);
    match cluster.create::<Ignored>(&path, &copy).await {
        // Its name says what it holds. One that is not ours shows at the next look.
        Ok(Ignored {}) | Err(CallError::AlreadyExists(_)) => Ok(Effect::Config(component.to_owned())),
        Err(error) => Err(error),
    }
}

/// Creates the map, or replaces what it says.
async fn put_map(
    cluster: &Cluster,
    subject: Subject<'_>,
    component: &str,
    (name, seen): (&str, Option<&Seen>),
    data: &BTreeMap<String, String>,
) -> Result<Effect, CallError> {
    let path = path_of(ConfigKind::ConfigMap, subject.namespace(), name);
    let mut map = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "namespace": subject.namespace(),
            "labels": {
                ROLLOUT_LABEL: subject.rollout.at.name, COMPONENT_LABEL: component, CONFIG_MAP_LABEL: "true",
            },
            "ownerReferences": [subject.owner()],
        },
        "data": data,
    });
    match seen {
        None => cluster.create::<Ignored>(&path, &map).await?,
        Some(seen) => {
            map["metadata"]["uid"] = seen.uid.clone().into();
            map["metadata"]["resourceVersion"] = seen.resource_version.clone().into();
            cluster.replace::<Ignored>(&path, &map).await?
        }
    };
    Ok(Effect::Config(component.to_owned()))
}

/// Deletes a copy or the map; one that is gone already is as good.
async fn delete(
    cluster: &Cluster,
    subject: Subject<'_>,
    component: &str,
    kind: ConfigKind,
    object: &Seen,
) -> Result<Effect, CallError> {
    match cluster.remove(&path_of(kind, subject.namespace(), &object.name), object).await {
        Ok(()) | Err(CallError::NotFound(_)) => Ok(Effect::Config(component.to_owned())),
        Err(error) => Err(error),
    }
}

/// Makes the Deployment the owner in place of the Rollout.
async fn hand(
    cluster: &Cluster,
    subject: Subject<'_>,
    component: &str,
    (kind, object): (ConfigKind, &Seen),
    deployment: &Seen,
) -> Result<Effect, CallError> {
    let owner = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "name": deployment.name, "uid": deployment.uid,
    });
    let body = json!({"metadata": {
        "labels": {ROLLOUT_LABEL: null, COMPONENT_LABEL: null},
        "ownerReferences": [owner],
    }});
    let path = path_of(kind, subject.namespace(), &object.name);
    cluster.patch::<Ignored>(&path, "", &Patch::merge(object, body)).await?;
    Ok(Effect::Config(component.to_owned()))
}

/// The answer to a write: the object, of which nothing is kept.
#[derive(serde::Deserialize)]
struct Ignored {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::adapters::kube::scripted::cluster;
    use crate::engine::world::RolloutSeen;

    const HIDDEN: &str = "aHVudGVyMg==";

    fn rollout() -> RolloutSeen {
        RolloutSeen {
            namespace: "shop".to_owned(),
            at: Seen {
                name: "shop".to_owned(),
                uid: "rollout-uid".to_owned(),
                resource_version: "1".to_owned(),
            },
            generation: 1,
            deleting: false,
            has_finalizer: true,
            spec: serde_json::from_value(json!({"components": []})).unwrap(),
            status: Default::default(),
        }
    }

    async fn copy(name: &str) -> (Result<Effect, CallError>, Vec<crate::adapters::kube::scripted::Asked>) {
        let (cluster, script) = cluster(Duration::from_millis(200));
        script.say(200, json!({"metadata": {"name": "key"}, "type": "Opaque", "data": {"token": HIDDEN}}));
        script.say(201, json!({"metadata": {"name": name}, "data": {"token": HIDDEN}}));
        let rollout = rollout();
        let subject =
            Subject { rollout: &rollout, finalizers: &[], service: None, deployment: None, run: None };
        let write = Write::CreateCopy {
            component: "api".to_owned(),
            kind: ConfigKind::Secret,
            source: "key".to_owned(),
            name: name.to_owned(),
        };
        (super::super::perform(&cluster, subject, &write).await, script.asked())
    }

    fn name_of_copy() -> String {
        let content = content_of(&json!({"type": "Opaque", "data": {"token": HIDDEN}}));
        copy_name("rollout-uid", "api", ConfigKind::Secret, "key", &content)
    }

    #[tokio::test]
    async fn a_secret_is_copied_as_it_is_and_for_good() {
        let name = name_of_copy();
        let (outcome, asked) = copy(&name).await;
        assert!(matches!(outcome, Ok(Effect::Config(component)) if component == "api"));
        let lines: Vec<&str> = asked.iter().map(|asked| asked.line.as_str()).collect();
        let collection = "/api/v1/namespaces/shop/secrets";
        assert_eq!(
            lines,
            [&format!("GET {collection}/key"), &format!("POST {collection}?fieldManager=palier")]
        );
        let body = &asked[1].body;
        assert_eq!(body["metadata"]["name"], name);
        assert_eq!(body["metadata"]["ownerReferences"][0]["uid"], "rollout-uid");
        assert_eq!((&body["immutable"], &body["type"]), (&json!(true), &json!("Opaque")));
        assert_eq!(body["data"], json!({"token": HIDDEN}));
    }

    #[tokio::test]
    async fn what_holds_something_else_by_now_is_not_copied_and_no_value_is_told() {
        let (outcome, asked) = copy("key-otherother").await;
        assert_eq!(asked.len(), 1);
        let error = outcome.unwrap_err();
        assert!(error.is_outdated_view(), "{error}");
        assert!(!format!("{error} {error:?} {}", name_of_copy()).contains(HIDDEN));
    }
}
