//! Every order of events in a small world, to a bounded depth: one component, two phases, one gate, and a crash after any
//! write. The monitors look at every state.

use std::collections::BTreeSet;

use jiff::Timestamp;
use palier::api::{ActionKind, RolloutSpec};
use palier::engine::{Answer, Measurement};
use palier::sim::{Cluster, Drive, Reply};

use crate::fixtures::{action, spec, start};
use crate::monitors::{Monitors, weight_of};
use crate::play::Play;

type Metrics = fn(&Measurement, Timestamp) -> Reply;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Everything that is to do now is done, and the clock goes on to what is due next.
    Go,
    /// One decision; the controller dies after so many writes of it.
    Crash(usize),
    Push(&'static str),
    Abort,
    Fails,
    Passes,
    LosePods,
    Scale(i32),
}

const STEPS: [Step; 12] = [
    Step::Go,
    Step::Crash(0),
    Step::Crash(1),
    Step::Crash(2),
    Step::Push("app:v1"),
    Step::Push("app:v2"),
    Step::Push("app:v3"),
    Step::Abort,
    Step::Fails,
    Step::Passes,
    Step::LosePods,
    Step::Scale(3),
];

/// States that are looked at, at most: keeps the test within seconds.
const STATES_MAX: usize = 1_000;

fn passes(_: &Measurement, now: Timestamp) -> Reply {
    Reply::Now(Answer::Sample { value: 0.0, sampled_at: now })
}

fn fails(_: &Measurement, now: Timestamp) -> Reply {
    Reply::Now(Answer::Sample { value: 0.5, sampled_at: now })
}

fn small() -> RolloutSpec {
    let mut spec = spec();
    spec.phases.remove(0);
    for phase in &mut spec.phases {
        phase.bake_time = "20s".parse().expect("a duration");
    }
    spec
}

/// What tells two states apart: all but versions, names of actions and the record of what happened.
fn key(play: &Play<Metrics>) -> String {
    let cluster: &Cluster = &play.drive.cluster;
    let mut status = play.drive.working.clone();
    status.checkpointed_at = None;
    status.conditions.clear();
    if let Some(run) = status.run.as_mut() {
        run.timeline.clear();
        run.handled_actions.clear();
    }
    let sets: Vec<_> =
        cluster.sets.values().map(|s| (&s.at.name, s.replicas, s.available, &s.owner_uid)).collect();
    let services: Vec<_> = cluster.services.values().map(|s| (&s.at.name, &s.selector)).collect();
    let deployment = &cluster.deployments["shop-api"];
    let deployment = (&deployment.image, deployment.paused, deployment.replicas, &deployment.rollout_label);
    let weights = weight_of(cluster, "shop-api");
    let says = play.drive.prometheus as usize;
    format!("{:?}", (cluster.now, status, sets, services, deployment, weights, says, cluster.actions.len()))
}

fn take(mut play: Play<Metrics>, step: Step) -> Play<Metrics> {
    let cluster = &mut play.drive.cluster;
    match step {
        Step::Go => drop(play.go_on()),
        Step::Crash(after) => drop(play.turn(Some(after))),
        Step::Push(image) => cluster.push_image("shop-api", image),
        Step::Abort => {
            cluster.act(action(ActionKind::Abort, cluster.status.run.as_ref().map_or(1, |run| run.number)))
        }
        Step::Fails => play.drive.prometheus = fails,
        Step::Passes => play.drive.prometheus = passes,
        Step::LosePods => cluster.lose_pods("app:v2"),
        Step::Scale(replicas) => cluster.scale("shop-api", replicas),
    }
    play.monitors.look(&play.drive.cluster);
    play
}

#[test]
fn no_order_of_events_breaks_a_promise() {
    let mut cluster = Cluster::new(small(), start());
    cluster.add_workload("shop-api", "app:v1", 4);
    let mut first = Play::new(Drive::new(cluster, passes as Metrics), Monitors::default());
    first.run(10);
    first.drive.cluster.push_image("shop-api", "app:v2");
    let mut known = BTreeSet::from([key(&first)]);
    let (mut frontier, mut depth) = (vec![first], 0);
    while known.len() < STATES_MAX && !frontier.is_empty() {
        depth += 1;
        let mut next = Vec::new();
        for (play, step) in frontier.iter().flat_map(|play| STEPS.iter().map(move |step| (play, *step))) {
            let play = take(play.clone(), step);
            if known.len() < STATES_MAX && known.insert(key(&play)) {
                play.check_abort();
                next.push(play);
            }
        }
        frontier = next;
    }
    println!("{} states to depth {depth}", known.len());
    assert!(depth >= 4, "{} states to depth {depth}", known.len());
}
