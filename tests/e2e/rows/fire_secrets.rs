//! Under fire: a metric server that repeats the credentials it was asked with. They are looked for wherever somebody may read.

use std::sync::Arc;

use anyhow::{Result, ensure};
use palier::api::{Outcome, Verdict};
use serde_json::json;

use crate::lab::{Mood, eventually};
use crate::world::install::{HOME, RELEASE};
use crate::world::phases::{IN_A_MOMENT, nobody_noticed};
use crate::world::shop::SOON;
use crate::world::{Gate, Given, Scene, Shop};

const RATE: u32 = 25;
/// What must never be seen.
const TOKEN: &str = "canary-token-51c7e0";
const PASSWORD: &str = "canary-password-93ab4d";

/// Two metric servers that ask for credentials, which the controller may read by name.
async fn sources(scene: &Scene) -> Result<[String; 2]> {
    let lab = scene.lab();
    let name = format!("{}-canary", scene.namespace);
    let home = json!({"name": name, "namespace": HOME});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": home,
        "stringData": {"token": TOKEN, "username": "ana", "password": PASSWORD}});
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": home,
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "resourceNames": [name], "verbs": ["get"]}]});
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": home,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": RELEASE, "namespace": HOME}]});
    for object in [&secret, &role, &binding] {
        lab.apply(&object.to_string()).await?;
    }
    let names = ["token", "password"].map(|kind| format!("{}-{kind}", scene.namespace));
    let credentials =
        [json!({"bearerTokenRef": {"name": name, "key": "token"}}), json!({"basicAuthRef": {"name": name}})];
    for (source, mut server) in names.iter().zip(credentials) {
        server["url"] = json!(lab.moods().routable_url(source));
        server["timeout"] = json!("2s");
        let object = json!({"apiVersion": "palier.dev/v1alpha1", "kind": "MetricSource",
            "metadata": {"name": source}, "spec": {"prometheus": server, "namespaces": [scene.namespace]}});
        lab.apply(&object.to_string()).await?;
    }
    Ok(names)
}

pub async fn fire7_secrets_are_never_shown(scene: Arc<Scene>) -> Result<()> {
    // Given two gates whose servers ask for a token and for a password
    let sources = sources(&scene).await?;
    let gates = sources.each_ref().map(|source| Gate::errors().of_source(source));
    let [first, second] = gates;
    let given = Given::shop("v1").phases(&[("half", 50, "5s"), ("everyone", 100, "2s")]);
    let shop = scene.given(given.judged_by(first).judged_by(second.with("name", json!("other")))).await?;
    let visitors = shop.visitors(RATE)?;
    shop.push("v2").await?;
    shop.until_baking(1, 50).await?;

    // When the servers repeat what they were asked with, in every way an answer can
    for mood in [Mood::Echo, Mood::Status(401), Mood::Html, Mood::Redirect] {
        sources.iter().for_each(|source| scene.lab().moods().set(source, mood.clone()));
        shop.until("both gates have no answer", SOON, |status| {
            let gates = &status.components[0].gates;
            gates.len() == 2 && gates.iter().all(|gate| gate.verdict == Verdict::Error)
        })
        .await?;
        nowhere(&scene, &shop, &sources).await?;
    }
    sources.iter().for_each(|source| scene.lab().moods().set(source, Mood::Truthful));
    shop.until_ended(1, Outcome::Completed).await?;

    // Then the credentials went where they belong, and stand nowhere else
    let shown = sources.each_ref().map(|source| scene.lab().moods().credentials(source).unwrap_or_default());
    ensure!(shown[0].contains(TOKEN) && shown[1].starts_with("Basic "), "the servers were shown {shown:?}");
    let places = nowhere(&scene, &shop, &sources).await?;
    scene.measured("places where credentials were looked for", &places.to_string(), "seen nowhere");
    nobody_noticed(&scene, &visitors.stop().await)
}

/// Fails when one of the secrets, as it is or as a header holds it, stands somewhere; gives the number of places.
async fn nowhere(scene: &Scene, shop: &Shop, sources: &[String; 2]) -> Result<usize> {
    let lab = scene.lab();
    let mut places = vec![("palier explain", shop.palier("explain", &[]).await?)];
    places.push(("palier status", shop.palier("status", &[]).await?));
    places.push(("palier history", shop.palier("history", &[]).await?));
    let kinds =
        "rollouts,rolloutruns,events.v1.events.k8s.io,deployments,replicasets,services,httproutes,leases";
    places.push((
        "objects of the namespace",
        lab.kubectl(&["-n", &scene.namespace, "get", kinds, "-o", "yaml"])?,
    ));
    places.push(("objects of the controller", lab.kubectl(&["-n", HOME, "get", kinds, "-o", "yaml"])?));
    places
        .push(("metric sources", lab.kubectl(&["get", "metricsources", sources[0].as_str(), "-o", "yaml"])?));
    for controller in &scene.controllers {
        places.push(("metrics", controller.metrics().await?));
        let log = std::fs::read(lab.children().log(&controller.name))?;
        places.push(("log", String::from_utf8_lossy(&log).into_owned()));
    }
    let in_a_header = scene.lab().moods().credentials(&sources[1]).unwrap_or_default().replace("Basic ", "");
    let secrets = [TOKEN, PASSWORD, if in_a_header.is_empty() { PASSWORD } else { &in_a_header }];
    for (place, text) in &places {
        ensure!(text.len() > 20, "{place} is empty");
        let seen = secrets.iter().find(|secret| text.contains(**secret));
        ensure!(seen.is_none(), "{place} shows {seen:?}");
    }
    // They would be found: where they belong they stand.
    eventually("the Secret holds them", IN_A_MOMENT, async || {
        let name = format!("{}-canary", scene.namespace);
        let held = lab.kubectl(&[
            "-n",
            HOME,
            "get",
            "secret",
            &name,
            "-o",
            "go-template={{range .data}}{{.|base64decode}} {{end}}",
        ])?;
        if held.contains(TOKEN) && held.contains(PASSWORD) { Ok(()) } else { Err(held.into()) }
    })
    .await?;
    Ok(places.len())
}
