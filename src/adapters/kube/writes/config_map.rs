//! Writes on ConfigMaps: some keys, nothing else ever.

use serde_json::{Map, Value, json};

use super::{Effect, Now, Subject};
use crate::adapters::kube::call::{CallError, Cluster, Patch, Path};
use crate::adapters::kube::views::ConfigMapView;
use crate::engine::world::Seen;

pub(super) async fn set(
    cluster: &Cluster,
    subject: Subject<'_>,
    config_map: &Seen,
    is_empty: bool,
    changes: &[(String, Option<String>)],
) -> Result<Effect, CallError> {
    let path = Path::of::<ConfigMapView>(subject.namespace(), &config_map.name);
    let patch = Patch::json(config_map, operations(is_empty, changes));
    Ok(Effect::ConfigMap(Now::Is(cluster.patch(&path, "", &patch).await?)))
}

/// Without a key there is no `data` to add one to.
fn operations(is_empty: bool, changes: &[(String, Option<String>)]) -> Vec<Value> {
    if is_empty {
        let texts = changes.iter().filter_map(|(key, text)| Some((key.clone(), text.clone()?.into())));
        return vec![json!({"op": "add", "path": "/data", "value": texts.collect::<Map<_, _>>()})];
    }
    // Keys of a ConfigMap hold neither '~' nor '/': nothing is to be escaped.
    let operation = |(key, text): &(String, Option<String>)| {
        let path = format!("/data/{key}");
        match text {
            Some(text) => json!({"op": "add", "path": path, "value": text}),
            None => json!({"op": "remove", "path": path}),
        }
    };
    changes.iter().map(operation).collect()
}
