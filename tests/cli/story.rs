//! A release of six parts as the engine writes it: what the pages of `rollouts/chain*.yaml` were made from.
//! `UPDATE_STORY=1` makes them anew.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use jiff::{SignedDuration, Timestamp};
use palier::api::{
    ComponentStatus, Rollout, RolloutRun, RolloutRunSpec, RolloutRunStatus, RolloutSpec, RolloutStatus, Stage,
};
use palier::engine::{Answer, Measurement, Plan, Write};
use palier::sim::{Cluster, Drive};

use crate::fixtures::{path, rollout, run};

/// Five domains in a chain, the last of them with a second leg, and one beside them that skips the pilot.
fn spec() -> RolloutSpec {
    let gate = |name: &str, max: f64| {
        serde_json::json!({
            "name": name, "interval": "30s", "threshold": {"max": max},
            "prometheus": {"query": format!("{name}{{pod=~\"$canary_pods\"}}")},
        })
    };
    let component = |name: &str, on: &[&str]| {
        serde_json::json!({
            "name": name, "workloadRef": {"name": format!("shop-{name}")}, "dependsOn": on,
            "gates": [gate("errors", 0.01)],
            "traffic": {"service": format!("shop-{name}"), "gatewayAPI": {"httpRoutes": [{"name": format!("shop-{name}")}]}},
        })
    };
    let mut news = component("news", &[]);
    news["phases"] =
        serde_json::json!([{"name": "pilot", "skip": true}, {"name": "half", "bakeTime": "75m"}]);
    serde_json::from_value(serde_json::json!({
        "components": [
            component("suppliers", &[]),
            component("stock", &["suppliers"]),
            component("production", &["stock"]),
            component("clients", &["production"]),
            component("reports", &["clients", "news"]),
            news,
        ],
        "phases": [
            {"name": "pilot", "traffic": 10, "bakeTime": "10m"},
            {"name": "half", "traffic": 50, "bakeTime": "10m"},
            {"name": "everyone", "traffic": 100, "bakeTime": "10m"},
        ],
        "gates": [gate("latency", 0.3)],
    }))
    .unwrap()
}

type Voice = Rc<RefCell<BTreeMap<(String, String), f64>>>;

struct Story<F> {
    drive: Drive<F>,
    voice: Voice,
    record: Option<(RolloutRunSpec, RolloutRunStatus)>,
}

fn begin() -> Story<impl FnMut(&Measurement, Timestamp) -> Answer> {
    let spec = spec();
    let mut cluster = Cluster::new(spec.clone(), "2026-03-01T12:00:00Z".parse().unwrap());
    for component in &spec.components {
        cluster.add_workload(&component.workload_ref.name, "app:v1", 4);
    }
    let voice = Voice::default();
    let said = Rc::clone(&voice);
    let mut drive = Drive::new(cluster, move |m: &Measurement, now| {
        let usual = if m.gate == "errors" { 0.002 } else { 0.118 };
        let value = said.borrow().get(&(m.component.clone(), m.gate.clone())).copied().unwrap_or(usual);
        Answer::Sample { value, sampled_at: now }
    });
    drive.run("2026-03-01T12:01:00Z".parse().unwrap(), |_, _| {});
    for component in &spec.components {
        drive.cluster.push_image(&component.workload_ref.name, "app:v2");
    }
    Story { drive, voice, record: None }
}

impl<F: FnMut(&Measurement, Timestamp) -> Answer> Story<F> {
    /// Goes on until `is_there`, a few seconds at a time.
    fn until(&mut self, is_there: impl Fn(&RolloutStatus) -> bool) {
        let limit = self.drive.cluster.now + SignedDuration::from_hours(3);
        while !is_there(&self.drive.working) {
            self.wait(5);
            assert!(self.drive.cluster.now < limit, "{:#?}", self.drive.working);
        }
    }

    fn wait(&mut self, seconds: i64) {
        let record = &mut self.record;
        let keep = |_: &Cluster, plan: &Plan| {
            for write in &plan.writes {
                if let Write::RecordRun { number, started_at, components, status, .. } = write {
                    let spec = RolloutRunSpec {
                        rollout: "shop".to_owned(),
                        number: *number,
                        components: components.clone(),
                        phases: spec().phases,
                        started_at: *started_at,
                    };
                    *record = Some((spec, (**status).clone()));
                }
            }
        };
        self.drive.run(self.drive.cluster.now + SignedDuration::from_secs(seconds), keep);
    }

    fn say(&self, component: &str, gate: &str, value: f64) {
        self.voice.borrow_mut().insert((component.to_owned(), gate.to_owned()), value);
    }

    /// The Rollout as `kubectl get` would show it now.
    fn rollout(&self) -> Rollout {
        let mut rollout = Rollout::new("shop", self.drive.cluster.spec.clone());
        rollout.metadata.namespace = Some("shop".to_owned());
        rollout.metadata.generation = Some(self.drive.cluster.generation);
        // What is not stored yet is on no page; a look at the page comes a little later.
        let mut status = self.drive.working.clone();
        status.checkpointed_at = Some(self.drive.cluster.now);
        status.conditions.clear();
        rollout.status = Some(status);
        rollout
    }
}

fn part<'s>(status: &'s RolloutStatus, name: &str) -> &'s ComponentStatus {
    status.components.iter().find(|c| c.name == name).unwrap()
}

/// Compares what a page was made from with what the engine writes: where each part is, not every word.
fn check(name: &str, told: &Rollout) {
    if std::env::var_os("UPDATE_STORY").is_some() {
        let text = serde_saphyr::to_string(&serde_json::to_value(told).unwrap()).unwrap();
        std::fs::write(path("rollouts", &format!("{name}.yaml")), text).unwrap();
    }
    let places = |rollout: &Rollout| {
        let status = rollout.status.clone().unwrap();
        let place = |c: &ComponentStatus| (c.name.clone(), c.stage, c.phase_index, c.weight, c.gates.len());
        (status.state, status.components.iter().map(place).collect::<Vec<_>>())
    };
    assert_eq!(places(&rollout(name)), places(told), "{name}: UPDATE_STORY=1 makes it anew");
}

#[test]
fn the_pages_show_what_the_engine_writes() {
    let mut story = begin();
    story.until(|status| {
        let stock = part(status, "stock");
        stock.stage == Stage::Baking && stock.weight == 50
    });
    story.wait(345);
    check("chain", &story.rollout());
    story.until(|status| part(status, "production").weight == 50);
    story.wait(200);
    story.say("production", "errors", 0.084);
    story.until(|status| part(status, "production").stage == Stage::RollingBack);
    story.wait(3);
    check("chain-going-back", &story.rollout());
    story.until(|status| part(status, "news").stage == Stage::Baking && part(status, "news").weight == 100);
    story.wait(90);
    check("chain-taken-back", &story.rollout());
    story.until(|status| status.run.as_ref().is_some_and(|run| run.ended_at.is_some()));
    story.wait(600);
    check("chain-partial", &story.rollout());
    let (spec, status) = story.record.clone().unwrap();
    let mut told = RolloutRun::new("shop-1", spec);
    told.status = Some(status);
    if std::env::var_os("UPDATE_STORY").is_some() {
        let text = serde_saphyr::to_string(&serde_json::to_value(&told).unwrap()).unwrap();
        std::fs::write(path("rollouts", "chain-run.yaml"), text).unwrap();
    }
    let gist = |run: &RolloutRun| {
        let status = run.status.clone().unwrap();
        (status.outcome, status.taken_back, status.components.len(), status.timeline.len())
    };
    assert_eq!(gist(&run("chain-run")), gist(&told), "chain-run: UPDATE_STORY=1 makes it anew");
}
