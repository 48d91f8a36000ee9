//! Random scripts against the promises.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use jiff::{SignedDuration, Timestamp};
use palier::api::names::POD_TEMPLATE_HASH;
use palier::api::{ActionKind, RolloutSpec, RolloutState, RunIntent, Span, Stage};
use palier::engine::world::World;
use palier::engine::{Answer, Measurement, Plan, decide};
use palier::sim::{Ailing, Cluster, Drive, Reply, Stop};
use proptest::prelude::*;

use crate::fixtures::{action, start};
use crate::monitors::{Entry, Monitors, Proof, weight_of};
use crate::seeds;

const WORKLOADS: [&str; 3] = ["shop-api", "shop-web", "shop-worker"];
const IMAGES: [&str; 4] = ["app:v1", "app:v2", "app:v3", "app:never-ready"];

#[derive(Clone, Debug)]
enum Event {
    Push(usize, usize),
    Restart(usize),
    Scale(usize, i32),
    Act(ActionKind, bool),
    Delete,
    Reapply(usize),
    Split(usize, i32),
    Gateway(bool),
    Policy(bool),
    LosePods(usize),
    Ail(usize, i32, i32),
    Resume(usize),
    Wait(i64),
    Jump(i64),
    Crash(usize),
    Takeover,
}

#[derive(Clone, Copy, Debug)]
enum Said {
    Pass,
    Fail,
    Nan,
    Infinite,
    Empty,
    Two,
    Error,
    Hang,
}

#[derive(Clone, Debug)]
struct Script {
    components: usize,
    phases: Vec<(i32, i64)>,
    gates: Vec<(i64, i32, i32, &'static str)>,
    pod_lag: i64,
    gateway_lag: i64,
    is_policy_active: bool,
    said: Vec<Said>,
    events: Vec<Event>,
}

fn event(components: usize) -> impl Strategy<Value = Event> {
    let kind = prop_oneof![
        Just(ActionKind::Abort),
        Just(ActionKind::Promote),
        Just(ActionKind::Pause),
        Just(ActionKind::Resume),
        Just(ActionKind::Retry),
    ];
    let c = 0..components;
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

fn script() -> impl Strategy<Value = Script> {
    let said = prop_oneof![
        16 => Just(Said::Pass),
        1 => Just(Said::Fail),
        1 => prop_oneof![Just(Said::Nan), Just(Said::Infinite), Just(Said::Empty), Just(Said::Two)],
        1 => prop_oneof![Just(Said::Error), Just(Said::Hang)],
    ];
    let phase = (1..100i32, prop_oneof![Just(0i64), Just(20), Just(60)]);
    let on_failure = prop_oneof![4 => Just("FullRollback"), 2 => Just("Hold"), 1 => Just("Notify")];
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
            Script { components, phases, gates, pod_lag, gateway_lag, is_policy_active, said, events }
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
        Said::Error => Answer::Failed("503".into()),
        Said::Hang => return Reply::Late(Span::seconds(25), Answer::Failed("no answer in time".into())),
    })
}

fn proof_of(answer: &Answer) -> Proof {
    match answer {
        Answer::Sample { value, .. } if *value == 0.0 => Proof::Pass,
        Answer::Sample { value, .. } if *value == 0.5 => Proof::Fail,
        _ => Proof::Nothing,
    }
}

type Metrics = Rc<RefCell<dyn FnMut(Timestamp) -> Reply>>;

/// A drive under the eyes of the monitors.
#[derive(Clone)]
pub struct Play<F> {
    pub drive: Drive<F>,
    pub monitors: Monitors,
    mixed: BTreeSet<&'static str>,
}

/// The same World with the lists that an edge may deliver in any order turned round.
fn shuffled(world: &World) -> World {
    let mut world = world.clone();
    world.actions.reverse();
    for component in world.components.values_mut() {
        component.replica_sets.reverse();
    }
    world
}

impl<F: FnMut(&Measurement, Timestamp) -> Reply> Play<F> {
    pub fn new(drive: Drive<F>, monitors: Monitors) -> Self {
        Self { drive, monitors, mixed: BTreeSet::new() }
    }

    /// Does all that is to do now and goes on to what is due next.
    pub fn go_on(&mut self) -> Stop {
        let at = self.drive.cluster.now;
        for _ in 0..100 {
            let before = self.drive.world();
            let plan = self.turn(None);
            let is_busy = plan.persist || !plan.writes.is_empty() || self.drive.world() != before;
            if let Some(next) = self.drive.next(&plan).filter(|_| !is_busy) {
                self.drive.cluster.now = next.max(at);
                return Stop::Limit;
            }
            if !is_busy {
                return Stop::AtRest;
            }
        }
        panic!("restless: {:#?}", self.drive.plan());
    }

    /// One decision with all monitors; `crash_after` writes the controller dies.
    pub fn turn(&mut self, crash_after: Option<usize>) -> Plan {
        self.drive.catch_up();
        let world = self.drive.world();
        let now = self.drive.cluster.now;
        // P15.
        assert!(decide(&world, now) == decide(&shuffled(&world), now), "the order of lists changes the plan");
        let (monitors, mut count) = (&mut self.monitors, 0);
        let delivered = delivered(&world);
        let known = monitors.ledger.len();
        monitors.ledger.extend(delivered);
        let mut is_dead = crash_after == Some(0);
        let mut is_lost = is_dead;
        if is_dead {
            self.drive.crash();
        }
        let plan = if is_dead {
            self.drive.plan()
        } else {
            self.drive.turn(&mut |cluster, plan| {
                monitors.look(cluster);
                count += 1;
                is_dead = crash_after.is_some_and(|after| count >= after);
                is_lost = is_dead && !plan.persist;
                !is_dead
            })
        };
        if is_lost {
            monitors.ledger.truncate(known);
        }
        monitors.look(&self.drive.cluster);
        plan
    }

    pub fn run(&mut self, seconds: i64) -> Stop {
        let limit = self.drive.cluster.now + SignedDuration::from_secs(seconds);
        for _ in 0..600 {
            let before = self.drive.world();
            let plan = self.turn(None);
            let is_busy = plan.persist || !plan.writes.is_empty() || self.drive.world() != before;
            if is_busy {
                continue;
            }
            match self.drive.next(&plan) {
                None => return Stop::AtRest,
                Some(at) if at > limit => {
                    self.drive.cluster.now = limit;
                    return Stop::Limit;
                }
                Some(at) => self.drive.cluster.now = at.max(self.drive.cluster.now),
            }
        }
        Stop::Restless
    }

    fn happen(&mut self, event: &Event) {
        let cluster = &mut self.drive.cluster;
        match event {
            Event::Push(c, image) => {
                cluster.push_image(WORKLOADS[*c], IMAGES[*image]);
                let own = &cluster.deployments[WORKLOADS[*c]].at.uid;
                let is_active = |set: &&palier::sim::deployments::ReplicaSet| {
                    set.owner_uid.as_ref() == Some(own) && set.replicas > 0
                };
                if cluster.sets.values().filter(is_active).count() > 1 {
                    // Caught in the middle of a roll: there is no whole version to end at.
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
                cluster.now += SignedDuration::from_secs(*seconds);
                self.monitors.jump(cluster.now);
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

    /// Another leader claims; then the old one carries out what it had decided before.
    fn take_over(&mut self) {
        let (seen, plan) = (self.drive.working.clone(), self.drive.plan());
        self.drive.crash();
        self.drive.epoch += 1;
        self.turn(None);
        self.turn(None);
        let is_claimed = self.drive.cluster.status.epoch == self.drive.epoch;
        let cluster = &mut self.drive.cluster;
        if plan.persist {
            let is_accepted = cluster.store_status(&seen, plan.status.clone()).is_ok();
            assert!(!(is_claimed && is_accepted), "the old leader stores a status");
            if !is_accepted {
                return;
            }
            self.drive.crash();
        }
        for write in &plan.writes {
            if self.drive.cluster.apply(write).is_err() {
                break;
            }
            self.monitors.look(&self.drive.cluster);
        }
    }

    /// Nothing borrowed is left.
    pub fn check_end(&self) {
        check_end(&self.drive.cluster, &self.mixed);
    }

    /// P9: from here an abort takes all traffic away in a few turns, with every metric server silent.
    pub fn check_abort(&self) {
        let cluster = &self.drive.cluster;
        let Some(run) = cluster.status.run.as_ref().filter(|run| run.ended_at.is_none()) else { return };
        if run.intent != RunIntent::Release || cluster.deleting {
            return;
        }
        let never = |_: &Measurement, _: Timestamp| Reply::Late(Span::seconds(86_400), Answer::Empty);
        let mut other = Drive::new(cluster.clone(), never);
        other.epoch = self.drive.epoch;
        other.cluster.act(action(ActionKind::Abort, run.number));
        // Those that depend on others go back before them, one turn after the other.
        for _ in 0..6 + 2 * cluster.spec.components.len() {
            other.turn(&mut |_, _| true);
        }
        let is_given_up = |name: &str| {
            let component = other.cluster.status.components.iter().find(|c| c.name == name);
            component.is_some_and(|c| matches!(c.stage, Stage::Adopting | Stage::Adopted))
        };
        for component in cluster.spec.components.iter().filter(|c| !is_given_up(&c.name)) {
            let weight = weight_of(&other.cluster, &component.workload_ref.name).0;
            assert_eq!(weight, 0, "abort leaves {weight} % in {:#?}", other.working);
        }
    }
}

fn delivered(world: &World) -> Vec<Entry> {
    let entry = |answered: &palier::engine::world::Answered| Entry {
        component: answered.component.clone(),
        gate: answered.gate.clone(),
        at: answered.at,
        proof: proof_of(&answered.answer),
    };
    world.answers.iter().map(entry).collect()
}

/// What must be true once everything is healed and at rest.
fn check_end(cluster: &Cluster, mixed: &BTreeSet<&str>) {
    for component in &cluster.spec.components {
        let workload = component.workload_ref.name.as_str();
        let service = &cluster.services[workload];
        assert_eq!(service.selector.get(POD_TEMPLATE_HASH), None, "{workload} stays pinned");
        assert_eq!(service.rollout_label, None);
        assert!(!cluster.services.contains_key(&format!("{workload}-canary")), "a canary Service stays");
        assert_eq!(weight_of(cluster, workload).0, 0);
        assert_eq!(cluster.routes[workload].backends[0].len(), 1, "the route is not as found");
        let deployment = &cluster.deployments[workload];
        let sets = || cluster.sets.values().filter(|set| set.app == workload && set.replicas > 0);
        assert!(
            sets().all(|set| set.owner_uid.as_ref() == Some(&deployment.at.uid)),
            "a ReplicaSet of ours stays"
        );
        if !mixed.contains(workload) {
            assert_eq!(sets().count(), 1, "{:?}", sets().collect::<Vec<_>>());
            assert_eq!(sets().map(|set| set.available).sum::<i32>(), deployment.replicas);
        }
        if cluster.deleting {
            assert_eq!(deployment.rollout_label, None);
        }
    }
    assert!(!cluster.deleting || !cluster.has_finalizer, "the Rollout cannot go");
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
        answer(if *healed.borrow() { Said::Pass } else { said[next % said.len()] }, now)
    }));
    let drive = Drive::new(cluster, move |_: &Measurement, now| (metrics.borrow_mut())(now));
    let mut play = Play::new(drive, Monitors::default());
    play.run(60);
    for event in &script.events {
        play.happen(event);
        play.check_abort();
    }
    heal(&mut play, &is_healed);
}

/// Faults end: everything comes to rest, and stays there.
fn heal<F: FnMut(&Measurement, Timestamp) -> Reply>(play: &mut Play<F>, is_healed: &RefCell<bool>) {
    *is_healed.borrow_mut() = true;
    play.drive.cluster.gateway_accepts = true;
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
    });
}
