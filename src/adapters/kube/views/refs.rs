//! ConfigMaps and Secrets that a pod template refers to: the same places in which the admission policy puts copies.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::engine::world::ConfigKind;

/// The objects that volumes, projected volumes and environments of a pod template name.
pub(super) fn config_refs(template: &Value) -> BTreeSet<(ConfigKind, String)> {
    let mut refs = BTreeSet::new();
    for volume in items(template, "/spec/volumes") {
        note(&mut refs, volume, "/configMap/name", "/secret/secretName");
        for source in items(volume, "/projected/sources") {
            note(&mut refs, source, "/configMap/name", "/secret/name");
        }
    }
    for list in ["/spec/containers", "/spec/initContainers"] {
        for container in items(template, list) {
            for variable in items(container, "/env") {
                note(&mut refs, variable, "/valueFrom/configMapKeyRef/name", "/valueFrom/secretKeyRef/name");
            }
            for source in items(container, "/envFrom") {
                note(&mut refs, source, "/configMapRef/name", "/secretRef/name");
            }
        }
    }
    refs
}

fn items<'v>(value: &'v Value, pointer: &str) -> impl Iterator<Item = &'v Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn note(refs: &mut BTreeSet<(ConfigKind, String)>, value: &Value, map: &str, secret: &str) {
    for (kind, pointer) in [(ConfigKind::ConfigMap, map), (ConfigKind::Secret, secret)] {
        if let Some(name) = value.pointer(pointer).and_then(Value::as_str).filter(|name| !name.is_empty()) {
            refs.insert((kind, name.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_place_of_a_template_is_found() {
        let template = json!({"spec": {
            "volumes": [
                {"name": "a", "configMap": {"name": "volume"}},
                {"name": "b", "secret": {"secretName": "secret-volume"}},
                {"name": "c", "projected": {"sources": [
                    {"configMap": {"name": "projected"}}, {"secret": {"name": "secret-projected"}}, {"downwardAPI": {}},
                ]}},
                {"name": "d", "emptyDir": {}},
            ],
            "initContainers": [{"name": "i", "envFrom": [{"secretRef": {"name": "secret-from"}}, {"configMapRef": {"name": "from"}}]}],
            "containers": [{"name": "c", "env": [
                {"name": "PLAIN", "value": "1"},
                {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "key", "key": "a"}}},
                {"name": "B", "valueFrom": {"secretKeyRef": {"name": "secret-key", "key": "b"}}},
            ]}],
        }});
        let (maps, secrets): (Vec<_>, Vec<_>) =
            config_refs(&template).into_iter().partition(|(kind, _)| *kind == ConfigKind::ConfigMap);
        let names = |refs: Vec<(ConfigKind, String)>| refs.into_iter().map(|it| it.1).collect::<Vec<_>>();
        assert_eq!(names(maps), ["from", "key", "projected", "volume"]);
        assert_eq!(names(secrets), ["secret-from", "secret-key", "secret-projected", "secret-volume"]);
    }
}
