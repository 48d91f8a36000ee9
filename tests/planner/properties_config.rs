//! Random releases of configuration, alone and with another image, against the promises: stable reads what it always read, and
//! nothing is left over at the end.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use jiff::Timestamp;
use palier::api::{ActionKind, Config, Outcome, RolloutSpec, RolloutState, RunIntent, Span};
use palier::engine::world::ConfigKind::{self, ConfigMap, Secret};
use palier::engine::{Answer, Measurement};
use palier::sim::{Cluster, Drive, Reply, Stop};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use crate::fixtures::{action, spec, start};
use crate::monitors::Monitors;
use crate::play::Play;
use crate::record;
use crate::seeds;

const WORKLOAD: &str = "shop-api";
const OBJECTS: [(ConfigKind, &str); 2] = [(ConfigMap, "app"), (Secret, "key")];
const VALUES: [&str; 3] = ["old", "new", "newer"];
const IMAGES: [&str; 3] = ["app:v1", "app:v2", "app:v3"];

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Event {
    /// Somebody writes one of the objects.
    Configure(usize, usize),
    /// The same, and another image with it.
    Release(usize, usize, usize),
    Push(usize),
    Wait(i64),
    Scale(i32),
    /// A node takes all pods of stable away; others start.
    Replace,
    Restart,
    Act(ActionKind),
    /// One decision; the controller dies after so many writes of it.
    Crash(usize),
}

fn event() -> impl Strategy<Value = Event> {
    let kind = prop_oneof![
        Just(ActionKind::Abort),
        Just(ActionKind::Promote),
        Just(ActionKind::Pause),
        Just(ActionKind::Resume),
        Just(ActionKind::Retry),
    ];
    let (object, value, image) = (0..OBJECTS.len(), 0..VALUES.len(), 0..IMAGES.len());
    prop_oneof![
        5 => (object.clone(), value.clone()).prop_map(|(object, value)| Event::Configure(object, value)),
        2 => (object, value, image.clone()).prop_map(|(object, value, image)| Event::Release(object, value, image)),
        1 => image.prop_map(Event::Push),
        10 => (1..200i64).prop_map(Event::Wait),
        2 => (1..8i32).prop_map(Event::Scale),
        2 => Just(Event::Replace),
        1 => Just(Event::Restart),
        2 => kind.prop_map(Event::Act),
        8 => (0..6usize).prop_map(Event::Crash),
    ]
}

/// A release of configuration, alone or with an image.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Script {
    pod_lag: i64,
    is_policy_active: bool,
    /// Evaluations of the gate that fail, by their number.
    failing: Vec<bool>,
    events: Vec<Event>,
}

fn script() -> impl Strategy<Value = Script> {
    (
        0..3i64,
        prop::bool::weighted(0.7),
        prop::collection::vec(prop::bool::weighted(0.1), 1..30),
        prop::collection::vec(event(), 1..25),
    )
        .prop_map(|(pod_lag, is_policy_active, failing, events)| Script {
            pod_lag,
            is_policy_active,
            failing,
            events,
        })
}

fn given() -> RolloutSpec {
    let mut spec = spec();
    spec.phases.iter_mut().for_each(|phase| phase.bake_time = Span::seconds(20));
    spec.components[0].config =
        Some(Config { config_maps: vec!["app".into()], secrets: vec!["key".into()], from_template: false });
    spec
}

/// What the copies that a revision names hold, by object.
fn held(cluster: &Cluster, config: &[String], kind: ConfigKind, name: &str) -> Option<String> {
    let start = format!("{}/{name}=", kind.word());
    let copy = config.iter().find_map(|line| line.strip_prefix(&start))?;
    cluster.configs.copies.get(&(kind, copy.to_owned())).map(|copy| copy.value.clone())
}

/// Pods of stable read stable's values, whenever they started; those of the canary its own.
fn watch(cluster: &Cluster) {
    let component = &cluster.status.components[0];
    let is_adopting = cluster
        .status
        .run
        .as_ref()
        .is_some_and(|run| run.ended_at.is_none() && run.intent == RunIntent::Adopt);
    let Some(stable) = component.stable.as_ref().filter(|_| !is_adopting) else { return };
    for (kind, name) in OBJECTS {
        let value = held(cluster, &stable.config, kind, name);
        assert!(value.is_some(), "a copy of stable's {name} is missing at {}", cluster.now);
        let read = cluster.reads(&stable.replica_set, kind, name);
        assert!(
            read.is_subset(&BTreeSet::from([value.clone()])),
            "stable reads {read:?} instead of {value:?} at {}",
            cluster.now
        );
        // No pod that has traffic, or could get it, is without its configuration.
        let canary = component.canary.as_ref().filter(|_| component.weight > 0);
        if let Some(canary) = canary {
            let wanted = held(cluster, &canary.config, kind, name);
            let read = cluster.reads(&canary.replica_set, kind, name);
            assert!(read.is_subset(&BTreeSet::from([wanted.clone()])), "the canary reads {read:?}");
        }
    }
}

fn happen<F: FnMut(&Measurement, Timestamp) -> Reply>(play: &mut Play<F>, event: &Event) {
    record::count(event);
    let cluster = &mut play.drive.cluster;
    let configure = |cluster: &mut Cluster, object: usize, value: usize| {
        let (kind, name) = OBJECTS[object];
        cluster.configure(kind, name, VALUES[value]);
    };
    let push = |cluster: &mut Cluster, image: usize| {
        // In the middle of a roll there is no whole version to go back to: that is another property.
        let own = cluster.deployments[WORKLOAD].at.uid.clone();
        let is_active = |set: &&palier::sim::deployments::ReplicaSet| {
            set.owner_uid.as_ref() == Some(&own) && set.replicas > 0
        };
        if cluster.sets.values().filter(is_active).count() == 1 {
            cluster.push_image(WORKLOAD, IMAGES[image]);
        }
    };
    match event {
        Event::Configure(object, value) => configure(cluster, *object, *value),
        Event::Release(object, value, image) => {
            configure(cluster, *object, *value);
            push(cluster, *image);
        }
        Event::Push(image) => push(cluster, *image),
        Event::Wait(seconds) => wait(play, *seconds),
        Event::Scale(replicas) => cluster.scale(WORKLOAD, *replicas),
        Event::Replace => {
            let stable = cluster.status.components[0].stable.as_ref().map(|it| it.replica_set.clone());
            stable.iter().for_each(|set| cluster.replace_pods(set));
        }
        Event::Restart => {
            let at = cluster.now.to_string();
            cluster.restart(WORKLOAD, &at);
        }
        Event::Act(kind) => {
            let run = cluster.status.run.as_ref().map_or(1, |run| run.number);
            cluster.act(action(*kind, run));
            if *kind == ActionKind::Promote {
                play.monitors.promoted.push(run);
            }
        }
        Event::Crash(after) => drop(play.turn(Some(*after))),
    }
    watch(&play.drive.cluster);
}

fn wait<F: FnMut(&Measurement, Timestamp) -> Reply>(play: &mut Play<F>, seconds: i64) {
    let limit = play.drive.cluster.now + jiff::SignedDuration::from_secs(seconds);
    while play.drive.cluster.now < limit {
        let stop = play.go_on();
        watch(&play.drive.cluster);
        if stop == Stop::AtRest {
            play.drive.cluster.now = limit;
        }
    }
}

impl crate::shapes::Script for Script {
    fn any() -> BoxedStrategy<Self> {
        script().boxed()
    }

    fn play(&self) {
        play(self);
    }
}

fn play(script: &Script) {
    let mut cluster = Cluster::new(given(), start());
    cluster.add_workload(WORKLOAD, IMAGES[0], 4);
    for (kind, name) in OBJECTS {
        cluster.configure(kind, name, VALUES[0]);
    }
    cluster.pod_lag = Span::seconds(script.pod_lag);
    cluster.policy_active = script.is_policy_active;
    let is_healed = Rc::new(RefCell::new(false));
    let (healed, failing, mut asked) = (Rc::clone(&is_healed), script.failing.clone(), 0usize);
    let drive = Drive::new(cluster, move |_: &Measurement, now| {
        asked += 1;
        let fails = !*healed.borrow() && failing[asked % failing.len()];
        if fails {
            record::count(&"Fail");
        }
        Reply::Now(Answer::Sample { value: if fails { 0.5 } else { 0.0 }, sampled_at: now })
    });
    let mut play = Play::new(drive, Monitors::default());
    play.run(60);
    // From here on every pod was started under the eyes of the Rollout.
    let stable = play.drive.working.components[0].stable.clone().expect("something serves");
    play.drive.cluster.replace_pods(&stable.replica_set);
    wait(&mut play, 60);
    for event in &script.events {
        happen(&mut play, event);
        play.check_abort();
    }
    *is_healed.borrow_mut() = true;
    // A run that is about to begin may be paused before it does.
    wait(&mut play, 60);
    let number = play.drive.cluster.status.run.as_ref().map_or(0, |run| run.number);
    play.drive.cluster.act(action(ActionKind::Resume, number));
    wait(&mut play, 3_000);
    check_end(&play);
}

/// The run has one of the declared ends, and of all copies just those of stable are left.
fn check_end<F: FnMut(&Measurement, Timestamp) -> Reply>(play: &Play<F>) {
    let (working, cluster) = (&play.drive.working, &play.drive.cluster);
    assert_ne!(working.state, RolloutState::Stalled, "{}", working.message);
    if let Some(run) = &working.run {
        let is_declared = matches!(
            run.outcome,
            Some(Outcome::Completed | Outcome::RolledBack | Outcome::Withdrawn | Outcome::Superseded)
        );
        assert!(is_declared && run.ended_at.is_some(), "{run:#?}");
    }
    play.check_end();
    let stable = working.components[0].stable.as_ref().expect("something serves");
    let wanted: BTreeSet<&str> =
        stable.config.iter().filter_map(|line| line.split_once('=')).map(|(_, copy)| copy).collect();
    let left: BTreeSet<&str> = cluster.configs.copies.keys().map(|(_, name)| name.as_str()).collect();
    assert_eq!(left, wanted, "{working:#?}");
    assert_eq!(cluster.configs.maps.len(), 1);
    if working.components[0].rejected.is_none() {
        for (kind, name) in OBJECTS {
            let now = cluster.configs.objects[&(kind, name.to_owned())].clone();
            let read = cluster.reads(&stable.replica_set, kind, name);
            assert_eq!(read, BTreeSet::from([Some(now)]), "what was not rejected is released: {working:#?}");
        }
    }
}

/// See `properties.rs`.
fn config() -> ProptestConfig {
    let usual = seeds::config("tests/planner/properties_config.proptest-regressions");
    ProptestConfig { cases: usual.cases / 8, max_shrink_iters: 300, ..usual }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn stable_reads_what_it_always_read_and_nothing_is_left(script in script()) {
        play(&script);
    }
}
