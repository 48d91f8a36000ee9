//! Row 13: the main path in each form: both ways of interception, shares of pods, two components, a route of many rules.

use std::sync::Arc;

use anyhow::{Result, ensure};
use palier::api::{Interception, Outcome};
use serde_json::json;

use crate::world::given::{backend, image};
use crate::world::phases::{IN_A_MOMENT, nobody_noticed, pods_are_the_first_ones, stretch};
use crate::world::shop::is_ready;
use crate::world::{Apart, Gate, Given, Scene, Shop};

use crate::lab::{Target, eventually};

const RATE: u32 = 50;

/// A good version reaches everyone; nothing is different afterwards but its image.
async fn reaches_everyone(scene: &Scene, shop: &Shop, apart: Apart) -> Result<()> {
    let visitors = shop.visitors(RATE)?;
    shop.push("v2").await?;
    shop.until_ended(1, Outcome::Completed).await?;
    shop.until("it is at rest", IN_A_MOMENT, is_ready).await?;
    shop.serves(shop.workload(), "v2").await?;
    nobody_noticed(scene, &visitors.stop().await)?;
    pods_are_the_first_ones(scene, "v2", 4)?;
    shop.until_as(&shop.found[0].clone().with_image(&image("v2")), apart).await
}

pub async fn row13_at_rest(scene: Arc<Scene>) -> Result<()> {
    // Given a Deployment that stays paused between runs
    let shop = scene.given(Given::shop("v1").intercepted_by(Interception::AtRest)).await?;
    shop.until_paused().await?;
    // It can be scaled there, as ever.
    shop.scale(6).await?;
    let six = |deployment: Option<&k8s_openapi::api::apps::v1::Deployment>| {
        deployment?.status.as_ref().filter(|status| status.available_replicas == Some(6)).map(drop)
    };
    scene.record.deployments.until("six pods at rest", &shop.name, IN_A_MOMENT, six).await?;
    shop.scale(4).await?;
    reaches_everyone(&scene, &shop, Apart::FromTheLabelAndThePause).await?;
    ensure!(
        shop.deployment().await?.spec.and_then(|spec| spec.paused) == Some(true),
        "not paused after the run"
    );
    // A second run starts from the state that the first one has left.
    let visitors = shop.visitors(RATE)?;
    shop.push("v3").await?;
    shop.until_ended(2, Outcome::Completed).await?;
    nobody_noticed(&scene, &visitors.stop().await)
}

pub async fn row13_share_of_pods(scene: Arc<Scene>) -> Result<()> {
    // Given a shop that shares by pods: 50 % of four pods are four more
    let phases = [("quarter", 20, "4s"), ("half", 50, "4s"), ("everyone", 100, "4s")];
    let shop = scene.given(Given::shop("v1").phases(&phases).sharing_by_pods()).await?;
    reaches_everyone(&scene, &shop, Apart::FromTheLabel).await?;
    let selector = &shop.look().await?[0].service["spec"]["selector"];
    ensure!(*selector == json!({"app": "shop"}), "the Service was pinned: {selector}");
    Ok(())
}

pub async fn row13_two_components(scene: Arc<Scene>) -> Result<()> {
    // Given two components side by side
    let shop = scene.given(Given::shop("v1").and("cart", "v1").judged_by(Gate::errors())).await?;
    let [first, second] = &*shop.given.workloads else { unreachable!("two were asked for") };
    let loads = [shop.visitors_of(first, RATE)?, shop.visitors_of(second, RATE)?];

    // When a new image comes to both, one after the other
    shop.push_to(first, "v2").await?;
    shop.push_to(second, "v2").await?;

    // Then both reach everyone, in one run or two
    let both = |status: &palier::api::RolloutStatus| is_ready(status) && status.run.is_some();
    loop {
        let status = shop.until("a run has ended", crate::world::shop::RUN, both).await?;
        let ended = status.run.and_then(|run| run.outcome);
        let mut images = Vec::new();
        for workload in &shop.given.workloads {
            images.push(shop.answered_by(workload).await?);
        }
        if images.iter().all(|tag| tag == "v2") {
            ensure!(ended == Some(Outcome::Completed), "ended {ended:?}");
            break;
        }
        ensure!(
            matches!(ended, Some(Outcome::Superseded | Outcome::Completed)),
            "ended {ended:?} with {images:?}"
        );
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    for (load, (found, now)) in loads.into_iter().zip(shop.found.iter().zip(shop.look().await?)) {
        nobody_noticed(&scene, &load.stop().await)?;
        found.clone().with_image(&image("v2")).is_kept(&now, Apart::FromTheLabel)?;
    }
    Ok(())
}

pub async fn row13_route_of_five_rules(scene: Arc<Scene>) -> Result<()> {
    // Given a route of five rules with filters and matches, of which three name the Service
    let path = |prefix: &str| json!({"path": {"type": "PathPrefix", "value": prefix}});
    let header = json!({"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x-shop", "value": "yes"}]}});
    let redirect =
        json!({"type": "RequestRedirect", "requestRedirect": {"hostname": "old.example", "statusCode": 302}});
    let rewrite = json!({"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}});
    let rules = vec![
        json!({"matches": [path("/old")], "filters": [redirect]}),
        json!({"matches": [path("/api"), {"headers": [{"name": "x-api", "value": "1"}]}], "filters": [header],
               "backendRefs": [backend("shop")]}),
        json!({"matches": [path("/other")], "backendRefs": [backend("other")]}),
        json!({"matches": [path("/weighed")], "filters": [rewrite], "backendRefs": [{"name": "shop", "port": 80, "weight": 3}]}),
        json!({"matches": [path("/")], "timeouts": {"request": "10s"}, "backendRefs": [backend("shop")]}),
    ];
    // somebody else's Service in it, of a Deployment that no Rollout names
    for manifest in Given::shop("x1").called("other").workloads[0].manifests(&scene.namespace) {
        scene.lab().apply(&manifest.to_string()).await?;
    }
    let shop = scene.given(Given::shop("v1").rules(rules).baking("4s")).await?;
    let before = scene.record.routes.latest("shop").map(|route| route.data["spec"].clone());

    // When a good version reaches everyone, then nothing of the route is different afterwards,
    reaches_everyone(&scene, &shop, Apart::FromTheLabel).await?;
    // and meanwhile only the backends of the rules that name the Service were
    let (from, to) = stretch(&scene, &shop, 1, 50)?;
    let seen = scene.record.routes.of("shop");
    let during = seen.iter().rfind(|sight| sight.at < to).map(|sight| sight.object.data["spec"].clone());
    let (Some(mut before), Some(mut during)) = (before, during) else {
        anyhow::bail!("the route was not seen")
    };
    ensure!(before != during, "nothing of the route was different at {from}");
    for rule in [1, 3, 4] {
        before["rules"][rule]["backendRefs"] = json!(null);
        during["rules"][rule]["backendRefs"] = json!(null);
    }
    ensure!(before == during, "more than the backends was changed:\n{before}\n{during}");
    Ok(())
}

pub async fn row13_one_namespace_alone(scene: Arc<Scene>) -> Result<()> {
    // Given a controller with Roles in one namespace alone, where no policy can pause a changed Deployment
    let given = Given::shop("v1").judged_by(Gate::errors());
    let shop = scene.given(given).await?;
    reaches_everyone(&scene, &shop, Apart::FromTheLabelAndThePause).await?;
    // Then it has asked for nothing outside of it.
    let elsewhere = scene
        .lab()
        .audit()
        .read()?
        .by(&scene.user)
        .only(|entry| entry.namespace != scene.namespace && !entry.resource.is_empty());
    ensure!(elsewhere.0.is_empty(), "it asked for more than its namespace: {:?}", elsewhere.counts());
    Ok(())
}

pub async fn row13_grpc_route(scene: Arc<Scene>) -> Result<()> {
    // Given a Service that is called over gRPC as well, by a GRPCRoute with a weight of its own
    let namespace = &scene.namespace;
    let host = format!("calls.{namespace}.example");
    let route = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GRPCRoute",
        "metadata": {"name": "calls", "namespace": namespace},
        "spec": {
            "parentRefs": [{"name": "lab", "namespace": "lab"}], "hostnames": [host],
            "rules": [{"backendRefs": [{"name": "shop", "port": 80, "weight": 3}]}],
        },
    });
    scene.lab().apply(&route.to_string()).await?;
    let routes = json!({"httpRoutes": [{"name": "shop"}], "grpcRoutes": [{"name": "calls"}]});
    let traffic = json!({"service": "shop", "gatewayAPI": routes});
    let components = json!([{"name": "shop", "workloadRef": {"name": "shop"}, "traffic": traffic}]);
    let given = Given::shop("v1").baking("6s").field("components", components);
    let shop = scene.given(given).await?;
    let port =
        r#"{"spec": {"ports": [{"port": 80, "targetPort": 8080, "appProtocol": "kubernetes.io/h2c"}]}}"#;
    scene.lab().kubectl(&["-n", namespace, "patch", "service", "shop", "-p", port])?;
    let calls = || scene.lab().load(Target::grpc(&host, "/lab.Greeter/Greet", RATE));
    eventually("calls are answered", IN_A_MOMENT, async || {
        let load = calls()?;
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        let report = load.stop().await;
        if report.total() > 0 && report.failures().is_empty() { Ok(()) } else { Err(report.into()) }
    })
    .await?;
    let found = scene.lab().api("gateway.networking.k8s.io/v1", "GRPCRoute", namespace).await?;
    let before = found.get("calls").await?;

    // When a good image is pushed, then calls are split as well, none fails, and the route is as it was found
    let load = calls()?;
    shop.push("v2").await?;
    shop.until_ended(1, Outcome::Completed).await?;
    shop.until("it is at rest", IN_A_MOMENT, is_ready).await?;
    let report = load.stop().await;
    nobody_noticed(&scene, &report)?;
    let (from, to) = stretch(&scene, &shop, 1, 50)?;
    let share = report.between(from, to).share_of("v2");
    scene.measured("share of calls at 50 %", &format!("{share:.1} %"), "±6 points");
    ensure!((share - 50.0).abs() <= 6.0, "not half of the calls: {}", report.between(from, to));
    let after = found.get("calls").await?;
    ensure!(after.data["spec"] == before.data["spec"], "the route is not as found: {}", after.data["spec"]);
    Ok(())
}
