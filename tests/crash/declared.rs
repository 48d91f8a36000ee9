//! Declared states: a Rollout is edited step by step as its schema allows, and what the cluster comes to depends on the last state alone.
//!
//! | oracle | how |
//! |---|---|
//! | a state is reached | after each edit the cluster comes to rest, with every workload served and every promise kept |
//! | revert | an edit and its reversal leave things as they were before |
//! | path | the last state alone, on a fresh cluster with the same versions, gives the same objects, before and after a release, unless it does not fit the cluster |

mod strategy;

use std::collections::BTreeMap;

use palier::api::Span;
use palier::apiserver::natives::Settings;
use palier::apiserver::{Key, Kind, Store};
use palier::rig::given::{SHOP, image};
use palier::rig::{Replica, Rig, Setup, play};
use serde_json::{Value, json};

use crate::dice::Dice;
use crate::judge::{Case, judge};
use crate::performance::{is_work, line, told_in_full};
use crate::rest::wrong_with;
use crate::stories::rest;
use strategy::edit;

/// Workloads of the cluster; the Rollout begins with the first two.
const WORKLOADS: [&str; 3] = ["api", "web", "worker"];
/// Edits of one walk.
const STEPS: usize = 4;
/// Walks, unless `WALKS` says otherwise.
const WALKS: u64 = 24;
/// Nothing is written for so many seconds: that is rest.
const QUIET: u64 = 240;
/// Rest comes within so many times that.
const PATIENCE: usize = 30;

type Snapshot = BTreeMap<String, Value>;

/// One cluster with one Rollout.
struct House {
    rig: Rig,
    _replica: Replica,
}

impl House {
    /// With workloads that serve these tags.
    fn build(rig: &Rig, tags: &BTreeMap<&'static str, String>, spec: Option<&Value>) -> Self {
        let replica = Replica::start(rig, Setup::plain(rig, "a"));
        let made = rig.furnish_as(&WORKLOADS, |objects| {
            for object in objects.iter_mut() {
                let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                if object["kind"] == "Deployment" {
                    let tag = tags.get(name.as_str()).map_or("v1", String::as_str);
                    object["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image(&name, tag));
                } else if object["kind"] == "Rollout" {
                    if let Some(all) = object["spec"]["components"].as_array_mut() {
                        all.truncate(2);
                    }
                    if let Some(spec) = spec {
                        object["spec"] = spec.clone();
                    }
                }
            }
        });
        made.expect("the cluster takes it");
        Self { rig: rig.clone(), _replica: replica }
    }

    fn spec(&self) -> Value {
        let rollout = self.rig.server.read(|store| store.get(Kind::Rollout, SHOP, "shop").cloned());
        rollout.map(|it| it["spec"].clone()).unwrap_or_default()
    }

    fn apply(&self, spec: &Value) {
        let key = Key::new(Kind::Rollout, SHOP, "shop");
        self.rig.change("developer", &key, |it| it["spec"] = spec.clone()).expect("it was looked at before");
    }

    /// Waits until nothing is written any more.
    async fn rest(&self) -> Result<(), String> {
        for _ in 0..PATIENCE {
            let before = self.rig.server.read(Store::revision);
            rest(QUIET).await;
            let writes = |store: &Store| store.since(before).unwrap_or_default().iter().any(is_work);
            if !self.rig.server.read(writes) {
                return Ok(());
            }
        }
        let log = self.rig.server.read(|store| store.log().to_vec());
        told_in_full(&log);
        let last: Vec<String> = log.iter().rev().filter(|it| is_work(it)).take(4).map(line).collect();
        Err(format!("no rest: {}", last.join("; ")))
    }

    /// Releases a version of each workload and puts the former one back where it does not get through; the tags that serve then.
    async fn release(
        &self,
        tag: &str,
        tags: &mut BTreeMap<&'static str, String>,
    ) -> Result<Snapshot, String> {
        for name in WORKLOADS {
            self.rig.push(SHOP, name, &image(name, tag)).map_err(|it| it.to_string())?;
        }
        self.rest().await?;
        let after = self.snapshot();
        // A run that waits for something that never comes is ended by a person.
        drop(self.rig.act(SHOP, "shop", "Abort"));
        self.rest().await?;
        for name in WORKLOADS {
            let serves = self.rig.server.read(|store| serving(store, name));
            let tag = serves.unwrap_or_else(|| tags.get(name).cloned().unwrap_or_default());
            self.rig.push(SHOP, name, &image(name, &tag)).map_err(|it| it.to_string())?;
            tags.insert(name, tag);
        }
        self.rest().await?;
        Ok(after)
    }

    fn snapshot(&self) -> Snapshot {
        self.rig.server.read(snapshot)
    }

    fn wrong(&self) -> Vec<String> {
        let log = self.rig.server.read(|store| store.log().to_vec());
        let broken = judge(&Case { log: &log, given: &self.rig.prometheus.given(), ..Case::default() });
        let wrong = self
            .rig
            .server
            .read(|store| WORKLOADS.iter().flat_map(|name| wrong_with(store, name)).collect::<Vec<_>>());
        broken.iter().map(ToString::to_string).chain(wrong).collect()
    }
}

/// The tag of the version that serves.
fn serving(store: &Store, name: &str) -> Option<String> {
    let of = |set: &Value| {
        let image = set["spec"]["template"]["spec"]["containers"][0]["image"].as_str()?;
        Some(image.rsplit_once(':')?.1.to_owned())
    };
    let sets = store.list(Kind::ReplicaSet, Some(SHOP)).map(|(_, set)| set);
    let mut sets = sets.filter(|set| {
        set["spec"]["selector"]["matchLabels"]["app"] == name
            && set["spec"]["replicas"] != 0
            && set["metadata"]["ownerReferences"][0]["kind"] == "Deployment"
    });
    of(sets.next()?)
}

/// What there is, without history: names of ReplicaSets, versions that do not run, records of runs, times.
fn snapshot(store: &Store) -> Snapshot {
    let mut all = Snapshot::new();
    for kind in [Kind::Deployment, Kind::Service, Kind::HttpRoute, Kind::ConfigMap] {
        for (key, object) in store.list(kind, Some(SHOP)) {
            let mut spec = if kind == Kind::Service {
                object["spec"]["selector"].clone()
            } else {
                object["spec"].clone()
            };
            if spec["paused"] == false {
                // Said or not: it is the same.
                spec.as_object_mut().map(|spec| spec.remove("paused"));
            }
            let (metadata, status) = (&object["metadata"], &object["status"]);
            let what = json!({
                "labels": metadata["labels"], "spec": spec, "data": object["data"],
                "intercepted": metadata["annotations"]["palier.dev/intercepted"],
                "ready": [status["replicas"], status["readyReplicas"]],
            });
            all.insert(key.to_string(), what);
        }
    }
    for (_, set) in store.list(Kind::ReplicaSet, Some(SHOP)).filter(|(_, set)| set["spec"]["replicas"] != 0) {
        let owners = set["metadata"]["ownerReferences"].as_array().into_iter().flatten();
        let owners: Vec<&Value> = owners.map(|owner| &owner["kind"]).collect();
        let image = &set["spec"]["template"]["spec"]["containers"][0]["image"];
        all.insert(
            format!("pods of {image}"),
            json!([owners, set["spec"]["replicas"], set["status"]["readyReplicas"]]),
        );
    }
    if let Some(rollout) = store.get(Kind::Rollout, SHOP, "shop") {
        let conditions = rollout["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let is_stalled = conditions.iter().any(|it| it["type"] == "Stalled" && it["status"] == "True");
        all.insert("Rollout".to_owned(), json!({"stalled": is_stalled}));
    }
    all
}

/// A Rollout that does not fit the cluster takes hold of nothing, and lets nothing go that it holds: what it holds is history.
fn is_stalled(snapshot: &Snapshot) -> bool {
    snapshot.get("Rollout").is_none_or(|it| it["stalled"] == true)
}

fn differences(what: &str, wanted: &Snapshot, found: &Snapshot) -> Vec<String> {
    let keys: std::collections::BTreeSet<&String> = wanted.keys().chain(found.keys()).collect();
    let other = keys.into_iter().filter(|key| wanted.get(*key) != found.get(*key));
    other.map(|key| format!("{what}: {key}\n  {:?}\n  {:?}", wanted.get(key), found.get(key))).collect()
}

/// What one walk came to.
struct Walked {
    edits: Vec<String>,
    wrong: Vec<String>,
}

fn settings(seed: u64) -> Settings {
    Settings { seed, pod_start: Span::seconds(2), pod_end: Span::seconds(1), ..Settings::default() }
}

fn walk(seed: u64) -> Walked {
    let mut tags: BTreeMap<&'static str, String> =
        WORKLOADS.iter().map(|name| (*name, "v1".to_owned())).collect();
    let (mut edits, mut wrong) = (Vec::new(), Vec::new());
    let last = play(seed, settings(seed), async |rig: Rig| {
        let house = House::build(&rig, &tags, None);
        let walked = steps(&house, seed, &mut tags, (&mut edits, &mut wrong)).await;
        wrong.extend(house.wrong());
        walked
    });
    match last.expect("a runtime can be had") {
        Ok((spec, started, [before, after])) => {
            let fresh = play(seed, settings(seed), async |rig: Rig| {
                let mut tags = started.clone();
                let house = House::build(&rig, &started, Some(&spec));
                house.rest().await?;
                let before = house.snapshot();
                Ok::<_, String>([before, house.release("last", &mut tags).await?])
            });
            match fresh.expect("a runtime can be had") {
                Ok([fresh_before, _]) if is_stalled(&fresh_before) => {}
                Ok([fresh_before, fresh_after]) => {
                    wrong.extend(differences("another path, at rest", &fresh_before, &before));
                    wrong.extend(differences("another path, after a release", &fresh_after, &after));
                }
                Err(late) => wrong.push(format!("on a fresh cluster: {late}")),
            }
        }
        Err(late) => wrong.push(late),
    }
    Walked { edits, wrong }
}

type Last = (Value, BTreeMap<&'static str, String>, [Snapshot; 2]);

async fn steps(
    house: &House,
    seed: u64,
    tags: &mut BTreeMap<&'static str, String>,
    (edits, wrong): (&mut Vec<String>, &mut Vec<String>),
) -> Result<Last, String> {
    let mut dice = Dice::new(seed);
    house.rest().await?;
    for step in 0..STEPS {
        let (spec, before) = (house.spec(), house.snapshot());
        let edit = edit(&spec, &mut dice);
        edits.push(edit.what.clone());
        house.apply(&edit.spec);
        house.rest().await.map_err(|late| format!("after {}: {late}", edit.what))?;
        let edited = house.snapshot();
        house.apply(&spec);
        house.rest().await.map_err(|late| format!("after {} and back: {late}", edit.what))?;
        if !is_stalled(&before) {
            wrong.extend(differences(&format!("{} and back", edit.what), &before, &house.snapshot()));
        }
        house.apply(&edit.spec);
        house.rest().await?;
        if !is_stalled(&edited) {
            wrong.extend(differences(&format!("{} again", edit.what), &edited, &house.snapshot()));
        }
        house
            .release(&format!("step{step}"), tags)
            .await
            .map_err(|late| format!("release {step}: {late}"))?;
    }
    let (started, before) = (tags.clone(), house.snapshot());
    let after = house.release("last", tags).await.map_err(|late| format!("the last release: {late}"))?;
    Ok((house.spec(), started, [before, after]))
}

#[test]
fn declared_states_are_reached_whatever_the_path() {
    let number =
        |name: &str, usual: u64| std::env::var(name).ok().and_then(|it| it.parse().ok()).unwrap_or(usual);
    let (first, count) = (number("FIRST_WALK", 1), number("WALKS", WALKS));
    let mut failed = Vec::new();
    for seed in first..first + count {
        let walked = walk(seed);
        if !walked.wrong.is_empty() {
            failed.push(format!(
                "FIRST_WALK={seed} WALKS=1 cargo test --profile search --test crash declared\n  {:#?}\n  {}",
                walked.edits,
                walked.wrong.join("\n  ")
            ));
        }
    }
    assert!(failed.is_empty(), "{} of {count} walks:\n{}", failed.len(), failed.join("\n\n"));
}
