//! A changed template is paused in the very write that changes it, whoever writes and however.

use anyhow::{Context, Result, ensure};
use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

use super::place::Place;
use super::{Body, case};

pub fn cases() -> Vec<(String, Body)> {
    let merges: [(&str, Value, bool); 8] = [
        (
            "an_image",
            json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "app:v2"}]}}}}),
            true,
        ),
        ("a_label", json!({"spec": {"template": {"metadata": {"labels": {"tier": "web"}}}}}), true),
        ("an_annotation", json!({"spec": {"template": {"metadata": {"annotations": {"note": "x"}}}}}), true),
        (
            "an_annotation_taken_away",
            json!({"spec": {"template": {"metadata": {"annotations": {"old": null}}}}}),
            true,
        ),
        (
            "a_restart_and_an_annotation",
            json!({"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: "now", "note": "x"}}}}}),
            true,
        ),
        (
            "a_template_and_an_explicit_no",
            json!({"spec": {"paused": false, "template": {"metadata": {"labels": {"tier": "web"}}}}}),
            true,
        ),
        (
            "a_restart",
            json!({"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: "now"}}}}}),
            false,
        ),
        ("replicas", json!({"spec": {"replicas": 3}, "metadata": {"annotations": {"note": "x"}}}), false),
    ];
    let mut cases: Vec<_> = merges
        .into_iter()
        .flat_map(|(name, patch, paused)| {
            let verb = if paused { "is_paused" } else { "is_left_alone" };
            [None, Some(json!({"old": "x"})), Some(json!({RESTARTED_AT: "then"}))]
                .into_iter()
                .enumerate()
                .map(move |(before, annotations)| {
                    let patch = patch.clone();
                    // Nothing to take away: nothing is changed.
                    let paused = paused && !(name == "an_annotation_taken_away" && before != 1);
                    case(&format!("intercept_{name}_{verb}_{before}"), move |place| {
                        place.lab.block_on(merge(place, annotations.as_ref(), &patch, paused))
                    })
                })
        })
        .collect();
    cases.push(case("intercept_only_under_a_rollout", |place| {
        place.lab.block_on(only_under_a_rollout(place))
    }));
    cases.push(case("intercept_with_the_label_taken_away", |place| {
        place.lab.block_on(label_taken_away(place))
    }));
    cases.push(case("intercept_apply_from_git_keeps_the_pause", |place| place.lab.block_on(from_git(place))));
    cases
}

const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

fn manifest(image: &str, labels: &Value, annotations: Option<&Value>) -> Value {
    let mut metadata = json!({"labels": {"app": "own"}});
    if let Some(annotations) = annotations {
        metadata["annotations"] = annotations.clone();
    }
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "own", "namespace": "shop", "labels": labels},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": {"app": "own"}},
            "template": {"metadata": metadata, "spec": {"containers": [{"name": "app", "image": image}]}},
        },
    })
}

/// A Deployment as it is at rest.
async fn at_rest(place: &Place, labels: &Value, annotations: Option<&Value>) -> Result<Api<DynamicObject>> {
    let deployments = place.lab.api("apps/v1", "Deployment", "shop").await?;
    let _ = deployments.delete("own", &kube::api::DeleteParams::background()).await;
    let object: DynamicObject = serde_json::from_value(manifest("app:v1", labels, annotations))?;
    deployments
        .create(&kube::api::PostParams::default(), &object)
        .await
        .context("cannot create the Deployment")?;
    Ok(deployments)
}

fn paused(object: &DynamicObject) -> bool {
    object.data.pointer("/spec/paused").and_then(Value::as_bool).unwrap_or_default()
}

fn ours() -> Value {
    json!({"palier.dev/rollout": "shop"})
}

async fn merge(place: &Place, annotations: Option<&Value>, patch: &Value, expected: bool) -> Result<()> {
    let deployments = at_rest(place, &ours(), annotations).await?;
    // Strategic: the kind that `kubectl apply` and `kubectl set image` send.
    let after = deployments.patch("own", &PatchParams::default(), &Patch::Strategic(patch)).await?;
    ensure!(paused(&after) == expected, "spec is {} after {patch} on {annotations:?}", after.data["spec"]);
    Ok(())
}

async fn only_under_a_rollout(place: &Place) -> Result<()> {
    let deployments = at_rest(place, &json!({"app": "own"}), None).await?;
    let patch = json!({"spec": {"template": {"metadata": {"labels": {"tier": "web"}}}}});
    let after = deployments.patch("own", &PatchParams::default(), &Patch::Merge(&patch)).await?;
    ensure!(!paused(&after), "a Deployment that no Rollout names was paused");
    Ok(())
}

async fn label_taken_away(place: &Place) -> Result<()> {
    let deployments = at_rest(place, &ours(), None).await?;
    let patch = json!({"metadata": {"labels": {"palier.dev/rollout": null}},
                       "spec": {"template": {"metadata": {"labels": {"tier": "web"}}}}});
    let after = deployments.patch("own", &PatchParams::default(), &Patch::Merge(&patch)).await?;
    ensure!(paused(&after), "taking the label away in the same write got round the policy");
    Ok(())
}

/// Server-side apply gives a field to the manager that wrote it, and takes fields back that it writes no longer. The
/// pause must not count as written by the tool: its next apply, without a change, would end it.
async fn from_git(place: &Place) -> Result<()> {
    let deployments = at_rest(place, &ours(), None).await?;
    let apply = async |image: &str| -> Result<DynamicObject> {
        let wanted = manifest(image, &json!({}), None);
        let params = PatchParams::apply("git").force();
        Ok(deployments.patch("own", &params, &Patch::Apply(&wanted)).await?)
    };
    ensure!(!paused(&apply("app:v1").await?), "nothing changed, yet it was paused");
    for image in ["app:v2", "app:v2", "app:v2", "app:v3", "app:v3"] {
        ensure!(paused(&apply(image).await?), "applying {image} from Git ended the pause");
    }
    Ok(())
}
