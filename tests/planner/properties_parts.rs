//! Random releases of several parts against the promises.

use std::cell::RefCell;
use std::rc::Rc;

use jiff::Timestamp;
use palier::api::{ActionKind, Outcome, RolloutSpec, RolloutState};
use palier::engine::{Answer, Measurement};
use palier::sim::{Cluster, Drive, Reply, Stop};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use crate::fixtures::{action, start};
use crate::monitors::Monitors;
use crate::play::Play;
use crate::record;
use crate::seeds;

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Event {
    Push(usize),
    Wait(i64),
    Scale(usize, i32),
    LosePods(usize),
    Act(ActionKind),
    Crash(usize),
}

/// A release of parts that depend on each other.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Script {
    /// For each component, a bit for every component before it in the list that it depends on.
    depends_on: Vec<u8>,
    /// For each component, what its gate asks for.
    wishes: Vec<String>,
    /// For each component, the evaluations that fail, by their number.
    failing: Vec<Vec<bool>>,
    /// Extra pods beyond the least that is needed.
    room: Option<i32>,
    is_given_up: bool,
    /// The component that skips the first phase, if there is one.
    skips: usize,
    pod_lag: i64,
    events: Vec<Event>,
}

fn event(components: usize) -> impl Strategy<Value = Event> {
    let c = 0..components;
    let kind = prop_oneof![
        1 => Just(ActionKind::Abort), 2 => Just(ActionKind::Promote), 1 => Just(ActionKind::Retry),
    ];
    prop_oneof![
        1 => c.clone().prop_map(Event::Push),
        10 => (1..300i64).prop_map(Event::Wait),
        2 => (c.clone(), 1..5i32).prop_map(|(c, n)| Event::Scale(c, n)),
        1 => c.prop_map(Event::LosePods),
        1 => kind.prop_map(Event::Act),
        4 => (0..5usize).prop_map(Event::Crash),
    ]
}

fn script() -> impl Strategy<Value = Script> {
    let wish = prop_oneof![
        4 => Just("PartialRollback"), 2 => Just("StepBack"), 1 => Just("FullRollback"), 1 => Just("Hold"),
    ];
    let wish = wish.prop_map(str::to_owned);
    let fails = prop::bool::weighted(0.06);
    (2..=8usize).prop_flat_map(move |n| {
        (
            prop::collection::vec(any::<u8>(), n),
            prop::collection::vec(wish.clone(), n),
            prop::collection::vec(prop::collection::vec(fails, 1..30), n),
            prop::option::weighted(0.4, 0..6i32),
            any::<bool>(),
            0..2 * n,
            0..3i64,
            prop::collection::vec(event(n), 1..20),
        )
            .prop_map(|(depends_on, wishes, failing, room, is_given_up, skips, pod_lag, events)| {
                Script { depends_on, wishes, failing, room, is_given_up, skips, pod_lag, events }
            })
    })
}

fn name(index: usize) -> String {
    format!("c{index}")
}

const PODS_MAX: i32 = 4;

fn spec_of(script: &Script) -> RolloutSpec {
    let gate = |wish: &str| {
        serde_json::json!({
            "name": "own", "interval": "10s", "minEvaluations": 1, "threshold": {"max": 0.01}, "onFailure": wish,
            "prometheus": {"query": "sum(up)"},
        })
    };
    let component = |index: usize| {
        // Sparse enough that some go side by side.
        let on = (0..index).filter(|before| script.depends_on[index] & (1 << before) != 0).take(2).map(name);
        let skips = if script.skips == index {
            vec![serde_json::json!({"name": "pilot", "skip": true})]
        } else {
            vec![]
        };
        serde_json::json!({
            "name": name(index), "workloadRef": {"name": name(index)}, "dependsOn": on.collect::<Vec<_>>(),
            "gates": [gate(&script.wishes[index])], "phases": skips,
            "traffic": {"service": name(index), "gatewayAPI": {"httpRoutes": [{"name": name(index)}]}},
        })
    };
    let count = script.depends_on.len();
    let mut spec = serde_json::json!({
        "components": (0..count).map(component).collect::<Vec<_>>(),
        "phases": [
            {"name": "pilot", "traffic": 10, "bakeTime": "20s"},
            {"name": "half", "traffic": 50, "bakeTime": "20s"},
            {"name": "everyone", "traffic": 100, "bakeTime": "20s"},
        ],
        "progressDeadline": "5m",
        "retain": if script.is_given_up { "UntilBaked" } else { "UntilRunEnds" },
    });
    if let Some(room) = script.room {
        let least = if script.is_given_up { PODS_MAX } else { PODS_MAX * i32::try_from(count).unwrap() };
        spec["maxExtraPods"] = serde_json::json!(least + room);
    }
    serde_json::from_value(spec).expect("a valid spec")
}

fn happen<F: FnMut(&Measurement, Timestamp) -> Reply>(play: &mut Play<F>, event: &Event) {
    record::count(event);
    let cluster = &mut play.drive.cluster;
    let run = cluster.status.run.as_ref().map_or(1, |run| run.number);
    match event {
        Event::Push(c) => cluster.push_image(&name(*c), "app:v3"),
        Event::Wait(seconds) => {
            let stop = play.run(*seconds);
            assert_ne!(stop, Stop::Restless, "{:?}\nplan {:#?}", play.drive.working, play.drive.plan());
        }
        Event::Scale(c, pods) => cluster.scale(&name(*c), *pods),
        Event::LosePods(c) => {
            let image = cluster.deployments[&name(*c)].image.clone();
            cluster.lose_pods(&image);
        }
        Event::Act(kind) => {
            cluster.act(action(*kind, run));
            if *kind == ActionKind::Promote {
                play.monitors.promoted.push(run);
            }
        }
        Event::Crash(after) => {
            play.turn(Some(*after));
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
    let mut cluster = Cluster::new(spec_of(script), start());
    for index in 0..script.depends_on.len() {
        cluster.add_workload(&name(index), "app:v1", 3);
    }
    cluster.pod_lag = palier::api::Span::seconds(script.pod_lag);
    let is_healed = Rc::new(RefCell::new(false));
    let (healed, failing) = (Rc::clone(&is_healed), script.failing.clone());
    let mut asked = vec![0usize; failing.len()];
    let drive = Drive::new(cluster, move |m: &Measurement, now| {
        let index: usize = m.component[1..].parse().expect("a number");
        asked[index] += 1;
        let fails = !*healed.borrow() && failing[index][asked[index] % failing[index].len()];
        if fails {
            record::count(&"Fail");
        }
        Reply::Now(Answer::Sample { value: if fails { 0.5 } else { 0.0 }, sampled_at: now })
    });
    let mut play = Play::new(drive, Monitors::default());
    play.run(30);
    for index in 0..script.depends_on.len() {
        play.drive.cluster.push_image(&name(index), "app:v2");
    }
    for event in &script.events {
        happen(&mut play, event);
        play.check_abort();
    }
    *is_healed.borrow_mut() = true;
    let stop = play.run(20_000);
    let working = &play.drive.working;
    assert_eq!(stop, Stop::AtRest, "{working:#?}\n{:?}", play.drive.plan());
    assert_ne!(working.state, RolloutState::Stalled, "{}", working.message);
    let run = working.run.as_ref().expect("a run");
    let is_declared = matches!(
        run.outcome,
        Some(Outcome::Completed | Outcome::PartiallyCompleted | Outcome::RolledBack | Outcome::Withdrawn)
    );
    assert!(is_declared && run.ended_at.is_some(), "{run:#?}");
    play.check_end();
    check_fellows(working);
}

/// What went back only with another waits for something that is rejected, never for nothing.
fn check_fellows(status: &palier::api::RolloutStatus) {
    let rejected = |name: &str| status.components.iter().any(|c| c.name == name && c.rejected.is_some());
    for component in &status.components {
        let with = &component.went_back_with;
        assert!(with.is_empty() || rejected(with), "{} waits for {with} in vain", component.name);
    }
}

fn config() -> ProptestConfig {
    let usual = seeds::config("tests/planner/properties_parts.proptest-regressions");
    // A script of eight components takes its time.
    ProptestConfig { cases: usual.cases / 8, max_shrink_iters: 300, ..usual }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn promises_hold_for_every_order_of_parts(script in script()) {
        play(&script);
    }
}
