//! Random scripts against the promises.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use jiff::{SignedDuration, Timestamp};
use palier::api::{ActionKind, RolloutSpec, RolloutState, Span};
use palier::engine::{Answer, Measurement};
use palier::sim::cluster::ROLLOUT_UID;
use palier::sim::{Ailing, Cluster, Drive, Reply, Stop};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use crate::fixtures::{action, start};
use crate::monitors::Monitors;
use crate::play::{Play, check_end};
use crate::record;
use crate::seeds;

const WORKLOADS: [&str; 3] = ["shop-api", "shop-web", "shop-worker"];
const IMAGES: [&str; 4] = ["app:v1", "app:v2", "app:v3", "app:never-ready"];

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Event {
    Push(usize, usize),
    Restart(usize),
    Scale(usize, i32),
    Act(ActionKind, bool),
    /// An action on a run that is over.
    ActLate(ActionKind),
    Delete,
    Reapply(usize),
    Split(usize, i32),
    Gateway(bool),
    /// A version that is being released breaks down, and stays broken.
    Break(usize),
    /// The gateway refuses, or takes again, routes that name a canary.
    Refuse(bool),
    Policy(bool),
    LosePods(usize),
    Ail(usize, i32, i32),
    Resume(usize),
    Wait(i64),
    Jump(i64),
    Crash(usize),
    Takeover,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Said {
    Pass,
    Fail,
    Nan,
    Infinite,
    Empty,
    Two,
    Error,
    Hang,
    /// A good number of ten minutes ago.
    Old,
    Warnings,
    WrongType,
}

/// A release of up to three parts that know nothing of each other, and all that may happen to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Script {
    components: usize,
    phases: Vec<(i32, i64)>,
    gates: Vec<(i64, i32, i32, String)>,
    pod_lag: i64,
    gateway_lag: i64,
    is_policy_active: bool,
    said: Vec<Said>,
    events: Vec<Event>,
    /// In the end the Deployments are deleted, and then the Rollout.
    #[serde(default)]
    all_leave: bool,
}

fn kind() -> impl Strategy<Value = ActionKind> + Clone {
    prop_oneof![
        Just(ActionKind::Abort),
        Just(ActionKind::Promote),
        Just(ActionKind::Pause),
        Just(ActionKind::Resume),
        Just(ActionKind::Retry),
    ]
}

fn event(components: usize) -> impl Strategy<Value = Event> {
    let (c, kind) = (0..components, kind());
    prop_oneof![
        6 => (c.clone(), 0..4usize).prop_map(|(c, image)| Event::Push(c, image)),
        12 => (1..200i64).prop_map(Event::Wait),
        2 => (c.clone(), 1..12i32).prop_map(|(c, n)| Event::Scale(c, n)),
        3 => (kind, any::<bool>()).prop_map(|(kind, full)| Event::Act(kind, full)),
        1 => c.clone().prop_map(Event::Restart),
        1 => Just(Event::Delete),
        1 => c.clone().prop_map(Event::Reapply),
        1 => (c.clone(), 1..=100i32).prop_map(|(c, n)| Event::Split(c, n)),
        1 => any::<bool>().prop_map(Event::Gateway),
        1 => any::<bool>().prop_map(Event::Policy),
        1 => c.clone().prop_map(Event::LosePods),
        1 => (1..3usize, 0..3i32, 0..4i32).prop_map(|(image, pods, times)| Event::Ail(image, pods, times)),
        1 => c.prop_map(Event::Resume),
        1 => prop_oneof![Just(3_600i64), Just(-3_600), Just(-60)].prop_map(Event::Jump),
        3 => (0..4usize).prop_map(Event::Crash),
        2 => Just(Event::Takeover),
    ]
}

fn said() -> impl Strategy<Value = Said> + Clone {
    prop_oneof![
        16 => Just(Said::Pass),
        1 => Just(Said::Fail),
        1 => prop_oneof![Just(Said::Nan), Just(Said::Infinite), Just(Said::Empty), Just(Said::Two)],
        1 => prop_oneof![Just(Said::Error), Just(Said::Hang)],
    ]
}

/// What scripts by seed have besides: in a strategy of their own, so that the scripts on record stay what they are.
fn wild_event(components: usize) -> impl Strategy<Value = Event> {
    prop_oneof![
        14 => event(components),
        1 => kind().prop_map(Event::ActLate),
        1 => prop::bool::weighted(0.3).prop_map(Event::Refuse),
        1 => (0..components).prop_map(Event::Break),
    ]
}

fn wild_said() -> impl Strategy<Value = Said> + Clone {
    let odd = prop_oneof![Just(Said::Old), Just(Said::Warnings), Just(Said::WrongType)];
    prop_oneof![
        16 => said(),
        1 => odd,
    ]
}

fn script() -> impl Strategy<Value = Script> {
    script_of(said(), |components| event(components).boxed())
}

/// What a script by seed is made of.
pub fn wild() -> impl Strategy<Value = Script> {
    let script = script_of(wild_said(), |components| wild_event(components).boxed());
    // Long outages: many bad answers in a row.
    let long =
        (prop::option::weighted(0.15, (0..40usize, 10..400usize, wild_said())), prop::bool::weighted(0.1));
    (script, long).prop_map(|(mut script, (outage, all_leave))| {
        if let Some((at, long, said)) = outage {
            let at = at.min(script.said.len());
            script.said.splice(at..at, std::iter::repeat_n(said, long));
        }
        Script { all_leave, ..script }
    })
}

fn script_of(
    said: impl Strategy<Value = Said> + Clone + 'static,
    event: fn(usize) -> BoxedStrategy<Event>,
) -> impl Strategy<Value = Script> {
    let phase = (1..100i32, prop_oneof![Just(0i64), Just(20), Just(60)]);
    let on_failure = prop_oneof![4 => Just("FullRollback"), 2 => Just("Hold"), 1 => Just("Notify")];
    let on_failure = on_failure.prop_map(str::to_owned);
    let gate = (prop_oneof![Just(10i64), Just(30)], 1..4i32, 1..3i32, on_failure);
    (1..=3usize, 0..4i64, 0..3i64, any::<bool>()).prop_flat_map(move |(components, pod, gateway, policy)| {
        let lists = (
            prop::collection::vec(phase.clone(), 0..3),
            prop::collection::vec(gate.clone(), 0..3),
            prop::collection::vec(said.clone(), 1..40),
            prop::collection::vec(event(components), 1..25),
        );
        lists.prop_map(move |(mut phases, gates, said, events)| {
            phases.sort_unstable();
            phases.dedup_by_key(|phase| phase.0);
            phases.push((100, 30));
            let (pod_lag, gateway_lag, is_policy_active) = (pod * 3, gateway, policy);
            let all_leave = false;
            Script {
                components,
                phases,
                gates,
                pod_lag,
                gateway_lag,
                is_policy_active,
                said,
                events,
                all_leave,
            }
        })
    })
}

fn spec_of(script: &Script) -> RolloutSpec {
    let components: Vec<_> = WORKLOADS[..script.components]
        .iter()
        .map(|workload| {
            serde_json::json!({
                "name": workload.trim_start_matches("shop-"),
                "workloadRef": {"name": workload},
                "traffic": {"service": workload, "gatewayAPI": {"httpRoutes": [{"name": workload}]}},
            })
        })
        .collect();
    let phases: Vec<_> = script
        .phases
        .iter()
        .map(|(traffic, bake)| serde_json::json!({"name": format!("p{traffic}"), "traffic": traffic, "bakeTime": format!("{bake}s")}))
        .collect();
    let gates: Vec<_> = script
        .gates
        .iter()
        .enumerate()
        .map(|(index, (interval, min, threshold, on_failure))| {
            serde_json::json!({
                "name": format!("g{index}"), "interval": format!("{interval}s"), "minEvaluations": min,
                "failureThreshold": threshold, "onFailure": on_failure, "threshold": {"max": 0.01},
                "prometheus": {"query": "sum(up)"}, "onNoData": {"deadline": "5m"},
            })
        })
        .collect();
    serde_json::from_value(serde_json::json!({
        "components": components, "phases": phases, "gates": gates, "progressDeadline": "2m",
    }))
    .expect("a valid spec")
}

fn answer(said: Said, now: Timestamp) -> Reply {
    let sample = |value| Answer::Sample { value, sampled_at: now };
    Reply::Now(match said {
        Said::Pass => sample(0.0),
        Said::Fail => sample(0.5),
        Said::Nan => sample(f64::NAN),
        Said::Infinite => sample(f64::NEG_INFINITY),
        Said::Empty => Answer::Empty,
        Said::Two => Answer::ManySeries(2),
        Said::Old => Answer::Sample { value: 0.0, sampled_at: now - SignedDuration::from_mins(10) },
        Said::Warnings => Answer::Warnings("some of the series are missing".into()),
        Said::WrongType => Answer::WrongType("a matrix".into()),
        Said::Error => Answer::Failed("503".into()),
        Said::Hang => return Reply::Late(Span::seconds(25), Answer::Failed("no answer in time".into())),
    })
}

type Metrics = Rc<RefCell<dyn FnMut(Timestamp) -> Reply>>;

impl<F: FnMut(&Measurement, Timestamp) -> Reply> Play<F> {
    fn happen(&mut self, event: &Event) {
        record::count(event);
        let cluster = &mut self.drive.cluster;
        match event {
            Event::Push(c, image) => {
                cluster.push_image(WORKLOADS[*c], IMAGES[*image]);
                if is_mixed(cluster, WORKLOADS[*c]) {
                    self.mixed.insert(WORKLOADS[*c]);
                }
            }
            Event::Restart(c) => {
                let at = cluster.now.to_string();
                cluster.restart(WORKLOADS[*c], &at);
            }
            Event::Scale(c, replicas) => cluster.scale(WORKLOADS[*c], *replicas),
            Event::Act(kind, full) => {
                let run = cluster.status.run.as_ref().map_or(1, |run| run.number);
                let mut spec = action(*kind, run);
                spec.full = *full && *kind == ActionKind::Promote;
                cluster.act(spec);
                if *kind == ActionKind::Promote {
                    self.monitors.promoted.push(run);
                }
            }
            Event::ActLate(kind) => {
                let run = cluster.status.run.as_ref().map_or(1, |run| run.number);
                if run > 1 {
                    cluster.act(action(*kind, run - 1));
                }
            }
            Event::Break(c) => break_canary(cluster, WORKLOADS[*c]),
            Event::Refuse(refuses) => {
                cluster.gateway_refuses = refuses.then(|| "no such backend".to_owned());
                cluster.settle();
            }
            Event::Delete => cluster.deleting = true,
            Event::Reapply(c) => {
                cluster.reapply_route(WORKLOADS[*c]);
                self.monitors.forgive_weight(cluster, WORKLOADS[*c]);
            }
            Event::Split(c, percent) => {
                if cluster.services.contains_key(&format!("{}-canary", WORKLOADS[*c])) {
                    cluster.split_route(WORKLOADS[*c], *percent);
                    self.monitors.forgive_weight(cluster, WORKLOADS[*c]);
                }
            }
            Event::Gateway(accepts) => cluster.gateway_accepts = *accepts,
            Event::Policy(active) => cluster.policy_active = *active,
            Event::LosePods(c) => {
                let image = cluster.deployments[WORKLOADS[*c]].image.clone();
                cluster.lose_pods(&image);
            }
            Event::Ail(image, pods, times) => {
                let ailing = Ailing::container(*pods, "CrashLoopBackOff", *times, Some(("Error", 1)));
                cluster.ailing.insert(IMAGES[*image].to_owned(), ailing);
                cluster.settle();
            }
            Event::Resume(c) => cluster.pause_by_hand(WORKLOADS[*c], false),
            Event::Jump(seconds) => {
                self.drive.jump(SignedDuration::from_secs(*seconds));
                self.monitors.jump(self.drive.cluster.now);
            }
            Event::Wait(seconds) => {
                let stop = self.run(*seconds);
                assert_ne!(stop, Stop::Restless, "{:?}\nplan {:#?}", self.drive.working, self.drive.plan());
            }
            Event::Crash(after) => {
                self.turn(Some(*after));
            }
            Event::Takeover => self.take_over(),
        }
    }
}

/// Caught in the middle of a roll: there is no whole version to end at.
fn is_mixed(cluster: &Cluster, workload: &str) -> bool {
    let own = &cluster.deployments[workload].at.uid;
    cluster.sets.values().filter(|set| set.owner_uid.as_ref() == Some(own) && set.replicas > 0).count() > 1
}

fn play(script: &Script) {
    let mut cluster = Cluster::new(spec_of(script), start());
    for workload in &WORKLOADS[..script.components] {
        cluster.add_workload(workload, IMAGES[0], 4);
    }
    cluster.broken_images.insert(IMAGES[3].into());
    cluster.pod_lag = Span::seconds(script.pod_lag);
    cluster.gateway_lag = Span::seconds(script.gateway_lag);
    cluster.policy_active = script.is_policy_active;
    let (said, mut next) = (script.said.clone(), 0usize);
    let is_healed = Rc::new(RefCell::new(false));
    let healed = Rc::clone(&is_healed);
    let metrics: Metrics = Rc::new(RefCell::new(move |now: Timestamp| {
        next += 1;
        let said = if *healed.borrow() { Said::Pass } else { said[next % said.len()] };
        if !matches!(said, Said::Pass) {
            record::count(&said);
        }
        answer(said, now)
    }));
    let drive = Drive::new(cluster, move |_: &Measurement, now| (metrics.borrow_mut())(now));
    let mut play = Play::new(drive, Monitors::default());
    play.run(60);
    for event in &script.events {
        play.happen(event);
        play.check_abort();
    }
    heal(&mut play, &is_healed);
    if script.all_leave {
        leave(&mut play);
    }
}

/// P25: a Rollout can go when the Deployments have gone before it, and leaves nothing of its own.
fn leave<F: FnMut(&Measurement, Timestamp) -> Reply>(play: &mut Play<F>) {
    record::count(&"Gone");
    let workloads: Vec<String> = play.drive.cluster.deployments.keys().cloned().collect();
    for workload in workloads {
        play.drive.cluster.delete_deployment(&workload);
    }
    play.drive.cluster.deleting = true;
    play.run(3_000);
    let cluster = &play.drive.cluster;
    assert!(!cluster.has_finalizer, "the Rollout cannot go after its Deployments: {:#?}", play.drive.working);
    assert!(cluster.sets.values().all(|set| set.owner_uid.is_none()), "a ReplicaSet of ours stays");
    assert!(cluster.services.values().all(|service| service.owner_uid.is_none()), "a Service of ours stays");
}

impl crate::shapes::Script for Script {
    fn any() -> BoxedStrategy<Self> {
        wild().boxed()
    }

    fn play(&self) {
        play(self);
    }
}

/// The pods of a canary fail from now on; a version that serves alone is spared.
fn break_canary(cluster: &mut Cluster, workload: &str) {
    let deployment = &cluster.deployments[workload];
    let is_stable = |set: &palier::sim::deployments::ReplicaSet| {
        set.image == deployment.image && set.owner_uid.as_deref() != Some(ROLLOUT_UID) && set.replicas > 0
    };
    let image = deployment.image.clone();
    if !cluster.sets.values().any(is_stable) {
        cluster.broken_images.insert(image);
        cluster.settle();
    }
}

/// Faults end: everything comes to rest, and stays there.
fn heal<F: FnMut(&Measurement, Timestamp) -> Reply>(play: &mut Play<F>, is_healed: &RefCell<bool>) {
    *is_healed.borrow_mut() = true;
    play.drive.cluster.gateway_accepts = true;
    play.drive.cluster.gateway_refuses = None;
    play.drive.cluster.broken_images = BTreeSet::from([IMAGES[3].to_owned()]);
    play.drive.cluster.policy_active = true;
    play.drive.cluster.ailing.clear();
    for (index, workload) in WORKLOADS.iter().enumerate() {
        // A version that never serves and rolled without gates has no good end.
        let deployment = play.drive.cluster.deployments.get(*workload);
        if deployment.is_some_and(|deployment| deployment.image == IMAGES[3] && !deployment.paused) {
            play.happen(&Event::Push(index, 2));
        }
    }
    play.drive.cluster.settle();
    play.run(30);
    let number = play.drive.cluster.status.run.as_ref().map_or(0, |run| run.number);
    play.drive.cluster.act(action(ActionKind::Resume, number));
    let stop = play.run(3_000);
    let working = &play.drive.working;
    if working.state == RolloutState::Stalled {
        return;
    }
    assert_eq!(stop, Stop::AtRest, "{working:?}\n{:?}", play.drive.plan());
    check_end(&play.drive.cluster, &play.mixed);
    // P14, P22: at rest nothing is written, however often it is looked at.
    for _ in 0..10 {
        let plan = play.turn(None);
        assert!(!plan.persist && plan.writes.is_empty(), "restless: {plan:#?}");
    }
}

proptest! {
    #![proptest_config(seeds::config("tests/planner/properties.proptest-regressions"))]

    #[test]
    fn promises_hold_on_every_committed_state(script in script()) {
        play(&script);
    }
}

#[test]
fn a_version_that_never_serves_resumed_by_hand_and_deleted() {
    play(&Script {
        components: 1,
        phases: vec![(100, 30)],
        gates: vec![],
        pod_lag: 6,
        gateway_lag: 0,
        is_policy_active: true,
        said: vec![Said::Pass],
        events: vec![Event::Push(0, 3), Event::Resume(0), Event::Delete],
        all_leave: false,
    });
}
