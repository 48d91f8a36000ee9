//! Degraded mode: the switches of a ConfigMap are set while a gate fails, and go back as they were, whoever edits beside.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use palier::api::{DegradedState, DegradedStatus, Outcome, RolloutState, RolloutStatus, SwitchState};
use serde_json::{Value, json};

use super::parts::{CHAIN, visitors_of_all};
use crate::world::phases::{first_write_to_route, nobody_was_lost};
use crate::world::shop::{RUN, SOON};
use crate::world::trail::Deed;
use crate::world::{Gate, Given, Scene, Shop, Trail, install};

const FLAGS: &str = "flags";
/// A file of feature flags with a formatting of its own.
const FILE: &str = "{\n  \"flags\" : {\n\t\"search\": { \"state\":\"ENABLED\",  \"variants\": {\"on\": true} },\n    \"chat\": {\"state\": \"ENABLED\"}\n  }\n}\n\n";
/// Visitors a second on a quiet day, and of a crowd besides. The gate allows 30.
const QUIET: u32 = 8;
const CROWD: u32 = 60;

/// At most 30 requests a second; more asks for the mode `no-search`.
fn crowd_gate() -> Gate {
    Gate(json!({
        "name": "crowd", "interval": "1s", "window": "5s", "failureThreshold": 2, "threshold": {"max": 30},
        "prometheus": {"query": "sum(rate(http_requests_total{namespace=\"$namespace\"}[$window]))"},
        "onFailure": "DegradedMode", "degradedMode": "no-search",
    }))
}

fn no_search() -> Value {
    json!([{
        "name": "no-search", "recoverAfter": "3s", "deadline": "40s", "then": "FullRollback",
        "switches": [
            {"configMap": FLAGS, "key": "flags.json", "pointer": "/flags/search/state", "json": "\"DISABLED\""},
            {"configMap": FLAGS, "key": "flags.json", "pointer": "/flags/search/why", "value": "too \"busy\""},
            {"configMap": FLAGS, "key": "SEARCH", "value": "off"},
            {"configMap": FLAGS, "key": "BANNER", "value": "search is off"},
        ],
    }])
}

/// The file while the search is off.
fn degraded(file: &str) -> String {
    file.replace("\"state\":\"ENABLED\"", "\"state\":\"DISABLED\"")
        .replace("{\"on\": true} }", "{\"on\": true},  \"why\": \"too \\\"busy\\\"\" }")
}

pub async fn degraded_entered_left_entered_again_given_up(scene: Arc<Scene>) -> Result<()> {
    // Given flags that Palier may set, and a shop with few visitors
    let flags = Flags::create(&scene).await?;
    let phases = [("pilot", 10, "12s"), ("everyone", 100, "3s")];
    let given = Given::shop("v1").phases(&phases).judged_by(crowd_gate()).field("degradedModes", no_search());
    let shop = scene.given(given).await?;
    let visitors = shop.visitors(QUIET)?;
    shop.push("v2").await?;
    shop.until_baking(1, 10).await?;

    // When a crowd comes, then the search goes off and the run holds
    let crowd = shop.visitors(CROWD)?;
    until_on(&shop).await?;
    flags.is(&degraded(FILE), Some("off"), Some("search is off")).await?;

    // When somebody edits the same ConfigMap and the crowd goes, then all is as found, but for what they edited
    let edited = FILE.replace("{\"state\": \"ENABLED\"}", "{ \"state\": \"BETA\" }");
    flags.edit(json!({"flags.json": degraded(&edited), "theirs": "kept"})).await?;
    nobody_was_lost(&scene, &crowd.stop().await)?;
    let left = until_left(&shop).await?;
    ensure!(left.switches.iter().all(|it| it.state == SwitchState::Restored), "{left:?}");
    flags.is(&edited, Some("on"), None).await?;

    // When the crowd comes again and somebody sets a switch by hand, then theirs stays
    let crowd = shop.visitors(CROWD)?;
    until_on(&shop).await?;
    flags.is(&degraded(&edited), Some("off"), Some("search is off")).await?;
    flags.edit(json!({"SEARCH": "by hand"})).await?;
    nobody_was_lost(&scene, &crowd.stop().await)?;
    let left = until_left(&shop).await?;
    let foreign: Vec<&str> = of_state(&left, SwitchState::Foreign);
    ensure!(foreign == ["SEARCH"], "{left:?}");
    flags.is(&edited, Some("by hand"), None).await?;

    // When it comes to stay, then the run is given up: traffic first, then the switches
    let crowd = shop.visitors(CROWD)?;
    until_on(&shop).await?;
    let on_since = Timestamp::now();
    let ended = shop.until_ended(1, Outcome::RolledBack).await?;
    nobody_was_lost(&scene, &crowd.stop().await)?;
    let run = ended.run.context("it has just ended")?;
    ensure!(run.reason.contains("degraded mode no-search was on for 40s"), "{}", run.reason);
    flags.is(&edited, Some("by hand"), None).await?;
    nobody_was_lost(&scene, &visitors.stop().await)?;
    traffic_came_first(&scene, &shop, on_since)
}

pub async fn degraded_given_up_by_one_of_two(scene: Arc<Scene>) -> Result<()> {
    // Given two components, of which one sets a switch when it breaks its gate, and goes back alone when that does not help
    let flags = Flags::create(&scene).await?;
    let gate = Gate::errors_per_second()
        .with("onFailure", json!("DegradedMode"))
        .with("degradedMode", json!("no-search"));
    let mut modes = no_search();
    modes[0]["then"] = json!("PartialRollback");
    modes[0]["deadline"] = json!("6s");
    let phases = [("pilot", 10, "3s"), ("half", 50, "5s"), ("everyone", 100, "3s")];
    let given = Given::shop("v1").and("cart", "v1").replicas(3).phases(&phases).field("degradedModes", modes);
    let shop = scene.given(given.component("cart", "gates", json!([gate.0]))).await?;
    let loads = visitors_of_all(&shop)?;
    let [first, second] = &*shop.given.workloads else { unreachable!("two were asked for") };

    // When it breaks it with half of the traffic, then the search goes off and nobody is raised
    shop.push_to(first, "v2").await?;
    shop.push_to(second, "v2-err33").await?;
    let is_on = |status: &RolloutStatus| mode(status).is_some_and(|mode| mode.state == DegradedState::On);
    let on = shop.until("the mode is on", RUN, is_on).await?;
    ensure!(on.components[1].weight == 50, "cart has {} %", on.components[1].weight);
    flags.is(&degraded(FILE), Some("off"), Some("search is off")).await?;

    // When that has not helped in time, then it goes back alone, its switches after it, and the other one reaches everyone.
    let ended = shop.until_ended_within(1, Outcome::PartiallyCompleted, CHAIN).await?;
    let run = ended.run.context("it has just ended")?;
    ensure!(run.reason.contains("cart was taken back"), "{}", run.reason);
    ensure!(run.reason.contains("degraded mode no-search was on for 6s"), "{}", run.reason);
    flags.is(FILE, Some("on"), None).await?;
    let trail = Trail::of(&scene)?;
    ensure!(trail.weights("cart") == [10, 50, 0], "cart: {:?}", trail.weights("cart"));
    ensure!(trail.weights("shop") == [10, 50, 100, 0], "shop: {:?}", trail.weights("shop"));
    let set_back = scene.requests_of_palier()?.mutations().only(|entry| entry.resource == "configmaps");
    let last = set_back.0.last().context("no write to the ConfigMap")?;
    let back =
        trail.component("cart").filter(|step| step.deed == Deed::Weight(0)).map(|step| step.done).min();
    ensure!(
        back.is_some_and(|back| back <= last.at),
        "the switches went back at {}, cart at {back:?}",
        last.at
    );
    for load in loads {
        nobody_was_lost(&scene, &load.stop().await)?;
    }
    shop.serves(first, "v2").await?;
    shop.workload_answers_from(second, "v1").await
}

fn traffic_came_first(scene: &Scene, shop: &Shop, since: Timestamp) -> Result<()> {
    let back = first_write_to_route(scene, &shop.name, since)?;
    let asked = scene.requests_of_palier()?.only(|entry| entry.resource == "configmaps");
    let writes = asked.only(|entry| entry.is_mutation() && entry.code < 300);
    let last = writes.0.last().context("no write to a ConfigMap")?;
    ensure!(back.done <= last.at, "the switches went back at {}, the traffic at {}", last.at, back.done);
    ensure!(writes.0.len() == 6, "three times set and set back: {:?}", writes.counts());
    let is_modest = |verb: &str| ["get", "patch"].contains(&verb);
    ensure!(asked.0.iter().all(|entry| is_modest(&entry.verb)), "{:?}", asked.counts());
    scene.measured("writes to the ConfigMap", &writes.0.len().to_string(), "6");
    Ok(())
}

fn of_state(mode: &DegradedStatus, state: SwitchState) -> Vec<&str> {
    mode.switches.iter().filter(|it| it.state == state).map(|it| it.key.as_str()).collect()
}

fn mode(status: &RolloutStatus) -> Option<&DegradedStatus> {
    status.run.as_ref()?.degraded.iter().find(|it| it.mode == "no-search")
}

async fn until_on(shop: &Shop) -> Result<()> {
    let is_on = |status: &RolloutStatus| {
        status.state == RolloutState::DegradedMode
            && mode(status).is_some_and(|mode| mode.state == DegradedState::On)
    };
    let status = shop.until("the mode is on", SOON, is_on).await?;
    ensure!(status.components[0].weight == 10, "{} %", status.components[0].weight);
    Ok(())
}

async fn until_left(shop: &Shop) -> Result<DegradedStatus> {
    let is_left = |status: &RolloutStatus| mode(status).is_some_and(|mode| mode.state == DegradedState::Left);
    let status = shop.until("the mode is left", RUN, is_left).await?;
    mode(&status).cloned().context("the mode is gone")
}

/// The ConfigMap with the switches, as people see it.
struct Flags {
    api: Api<ConfigMap>,
}

impl Flags {
    /// With the right to set its switches.
    async fn create(scene: &Scene) -> Result<Self> {
        let settings = [
            &format!("degradedModes.configMaps[0].namespace={}", scene.namespace),
            "degradedModes.configMaps[0].name=flags",
        ];
        let chart = install::render(scene.lab(), install::HOME, &settings)?;
        let switches = |object: &Value| object["metadata"]["name"] == "palier-switches";
        let rights: Vec<Value> = chart.into_iter().filter(switches).collect();
        ensure!(rights.len() == 2, "a Role and its binding, not {rights:?}");
        install::apply(scene.lab(), &format!("rights-{}", scene.namespace), &rights)?;
        let api: Api<ConfigMap> = Api::namespaced(scene.lab().client(), &scene.namespace);
        let flags = json!({
            "metadata": {"name": FLAGS}, "data": {"flags.json": FILE, "SEARCH": "on", "other": "kept"},
        });
        api.create(&PostParams::default(), &serde_json::from_value(flags)?).await?;
        Ok(Self { api })
    }

    async fn edit(&self, data: Value) -> Result<()> {
        let params = PatchParams { field_manager: Some("kubectl-edit".into()), ..PatchParams::default() };
        self.api.patch(FLAGS, &params, &Patch::Merge(json!({"data": data}))).await?;
        // The next look of the controller is not to be the one before.
        tokio::time::sleep(Duration::from_millis(100)).await;
        Ok(())
    }

    /// Fails unless the texts are these, byte for byte.
    async fn is(&self, file: &str, search: Option<&str>, banner: Option<&str>) -> Result<()> {
        let data = self.api.get(FLAGS).await?.data.unwrap_or_default();
        let text = |key: &str| data.get(key).map(String::as_str);
        ensure!(text("flags.json") == Some(file), "{:?} instead of {file:?}", text("flags.json"));
        ensure!((text("SEARCH"), text("BANNER")) == (search, banner), "{data:?}");
        ensure!(text("other") == Some("kept"), "{data:?}");
        Ok(())
    }
}
