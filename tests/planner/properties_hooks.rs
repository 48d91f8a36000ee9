//! Hooks under random fates, words of people and crashes: one Job for each attempt, never two at once, and always an end.

use std::collections::{BTreeMap, BTreeSet};

use palier::api::{ActionKind, Hook, HookFailure, HookPoint, HookState, Outcome, RunIntent, Span};
use palier::engine::world::JobState;
use palier::engine::{Answer, Measurement};
use palier::sim::{Cluster, Drive, Fate};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::fixtures::{action, at, cluster, spec};
use crate::monitors::{check_record, weight_of};
use crate::record;
use crate::seeds;

/// What one release is put through.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Script {
    hooks: Vec<(HookPoint, HookFailure, i32, Vec<Fate>)>,
    /// Answer of the gate, as a share in per cent.
    errors: i32,
    words: Vec<(i64, ActionKind)>,
    /// Writes after which the controller dies.
    crashes: BTreeSet<usize>,
    deleted_at: Option<i64>,
    pod_lag: i64,
}

fn fate() -> impl Strategy<Value = Fate> {
    let span = || (0..40i64).prop_map(Span::seconds);
    prop_oneof![
        4 => span().prop_map(Fate::Succeeds),
        2 => span().prop_map(Fate::Fails),
        1 => Just(Fate::Hangs),
        1 => (0..40i64).prop_map(|seconds| Fate::Vanishes(Span::seconds(seconds))),
        1 => Just(Fate::IsRefused("no".to_owned())),
    ]
}

fn script() -> impl Strategy<Value = Script> {
    use HookPoint::{AfterPhase, AfterRun, BeforePhase, BeforeRun, OnFullRollback, OnPartialRollback};
    let point = prop::sample::select(vec![
        BeforeRun,
        BeforePhase,
        AfterPhase,
        OnPartialRollback,
        OnFullRollback,
        OnFullRollback,
        AfterRun,
    ]);
    let policy = prop::sample::select(vec![HookFailure::Abort, HookFailure::Hold, HookFailure::Continue]);
    let hook = (point, policy, 0..3i32, prop::collection::vec(fate(), 1..4));
    let kind = prop::sample::select(vec![
        ActionKind::Abort,
        ActionKind::Promote,
        ActionKind::Pause,
        ActionKind::Resume,
    ]);
    (
        prop::collection::vec(hook, 1..6),
        prop::sample::select(vec![0, 0, 50]),
        prop::collection::vec((10..400i64, kind), 0..4),
        prop::collection::btree_set(1..60usize, 0..4),
        prop::option::weighted(0.2, 20..300i64),
        prop::sample::select(vec![0, 0, 3]),
    )
        .prop_map(|(hooks, errors, words, crashes, deleted_at, pod_lag)| Script {
            hooks,
            errors,
            words,
            crashes,
            deleted_at,
            pod_lag,
        })
}

fn name(index: usize) -> String {
    format!("hook-{index}")
}

fn given(script: &Script) -> Cluster {
    let mut spec = spec();
    spec.phases.iter_mut().for_each(|phase| phase.bake_time = Span::seconds(15));
    let mut has_backup = false;
    for (index, (point, on_failure, retries, _)) in script.hooks.iter().enumerate() {
        let is_backup = *point == HookPoint::BeforeRun && !has_backup;
        has_backup |= is_backup;
        let hook = json!({
            "name": name(index), "at": point, "cronJobRef": {"name": name(index)}, "timeout": "30s",
            "onFailure": on_failure, "retries": retries, "backup": is_backup,
        });
        spec.hooks.push(serde_json::from_value::<Hook>(hook).unwrap());
    }
    let mut cluster = cluster(spec);
    cluster.pod_lag = Span::seconds(script.pod_lag);
    for (index, (.., fates)) in script.hooks.iter().enumerate() {
        cluster.add_cron_job(&name(index), fates);
    }
    cluster
}

/// What holds at every instant.
fn watch(cluster: &Cluster) {
    check_record(cluster);
    let Some(run) = &cluster.status.run else { return };
    let made: BTreeSet<&String> = cluster.jobs.made.iter().map(|made| &made.name).collect();
    assert_eq!(made.len(), cluster.jobs.made.len(), "a Job was made twice: {:?}", cluster.jobs.made);
    for hook in &cluster.spec.hooks {
        let of_hook = cluster.made_from(&hook.name);
        let alive = of_hook.iter().filter(|made| {
            let job = cluster.jobs.jobs.get(&made.name);
            job.is_some_and(|job| job.state == JobState::Running && job.gone_at.is_none())
        });
        assert!(alive.count() <= 1, "two Jobs of {} run at once", hook.name);
        let is_stored = |job: &String| {
            run.ended_at.is_some()
                || run.hooks.iter().any(|it| it.name == hook.name && it.job >= *job || it.attempt > 1)
        };
        assert!(of_hook.iter().all(|made| is_stored(&made.name)), "a Job without an attempt");
    }
    for hook in &cluster.spec.hooks {
        let mut done = BTreeSet::new();
        let mut attempts: BTreeMap<_, i32> = BTreeMap::new();
        for made in cluster.made_from(&hook.name) {
            let of = ["PALIER_RUN", "PALIER_POINT", "PALIER_COMPONENT", "PALIER_PHASE"]
                .map(|it| &made.environment[it]);
            *attempts.entry(of).or_default() += 1;
            let is_done =
                cluster.jobs.jobs.get(&made.name).is_some_and(|job| job.state == JobState::Complete);
            assert!(!is_done || done.insert(of), "{} was done already: {of:?}", hook.name);
            let is_limited = hook.on_failure == HookFailure::Continue;
            assert!(!is_limited || attempts[&of] <= hook.retries + 1, "{} is tried for ever", hook.name);
        }
    }
    let is_over = |name: &String| {
        let states = run.hooks.iter().filter(|it| it.name == *name).map(|it| it.state);
        states.eq([HookState::Succeeded])
            || run.hooks.iter().any(|it| it.name == *name && it.state == HookState::Failed)
    };
    let is_first = |hook: &&Hook| hook.at == HookPoint::BeforeRun;
    if cluster.sets.len() > 1 && run.number == 1 && run.ended_at.is_none() {
        let first = cluster.spec.hooks.iter().filter(is_first);
        assert!(first.map(|hook| &hook.name).all(is_over), "canary pods before the first hooks were over");
    }
    if run.intent == RunIntent::RollBack && cluster.gateway_lag.is_zero() {
        let restores = cluster.spec.hooks.iter().filter(|hook| hook.at == HookPoint::OnFullRollback);
        let is_restoring = restores.into_iter().any(|hook| !cluster.made_from(&hook.name).is_empty());
        assert!(!is_restoring || weight_of(cluster, "shop-api").0 == 0, "it restores under traffic");
    }
}

/// Plays a script; a person who sees the run held by a hook promotes in the end.
fn play(script: &Script) -> Drive<impl FnMut(&Measurement, jiff::Timestamp) -> Answer + use<>> {
    let errors = f64::from(script.errors) / 100.0;
    let mut drive = Drive::new(given(script), move |_: &Measurement, now| Answer::Sample {
        value: errors,
        sampled_at: now,
    });
    drive.run(at(10), |_, _| {});
    drive.cluster.now = at(10);
    drive.cluster.push_image("shop-api", "app:v2");
    let mut words = script.words.clone();
    words.sort_by_key(|(second, _)| *second);
    let mut patience = at(2_000);
    let (mut writes, mut is_resumed) = (0, false);
    for _ in 0..6_000 {
        while words.first().is_some_and(|(second, _)| drive.cluster.now >= at(*second)) {
            drive.cluster.act(action(words.remove(0).1, 1));
        }
        if script.deleted_at.is_some_and(|second| drive.cluster.now >= at(second)) {
            drive.cluster.deleting = true;
        }
        if drive.cluster.now >= patience {
            let kind = if is_resumed { ActionKind::Promote } else { ActionKind::Resume };
            (is_resumed, patience) =
                (true, drive.cluster.now.checked_add(jiff::SignedDuration::from_secs(700)).unwrap());
            drive.cluster.act(action(kind, 1));
        }
        let plan = drive.turn(&mut |cluster, _| {
            watch(cluster);
            writes += 1;
            !script.crashes.contains(&writes)
        });
        record::decision(&plan);
        let is_busy = plan.persist || !plan.writes.is_empty() || drive.plan() != plan;
        let is_gone = drive.cluster.deleting && !drive.cluster.has_finalizer;
        let has_ended = drive.working.run.as_ref().is_some_and(|run| run.ended_at.is_some());
        match drive.next(&plan) {
            _ if is_gone => return drive,
            _ if is_busy => {}
            None if has_ended => return drive,
            None => drive.cluster.now = patience.max(drive.cluster.now),
            Some(next) => {
                let people = words.first().map_or(patience, |(second, _)| at(*second).min(patience));
                let deleted = script
                    .deleted_at
                    .map_or(people, |second| if drive.cluster.deleting { people } else { at(second) });
                drive.cluster.now = next.min(people).min(deleted).max(drive.cluster.now);
            }
        }
    }
    panic!("no end: {:#?}", drive.working);
}

/// The same scripts at every change; see `properties.rs`.
fn config() -> ProptestConfig {
    let usual = seeds::config("tests/planner/properties_hooks.proptest-regressions");
    ProptestConfig { cases: usual.cases / 8, ..usual }
}

/// Plays a script, and looks at what is left.
fn check(script: &Script) {
    let drive = play(script);
    let cluster = &drive.cluster;
    let Some(run) = drive.working.run.as_ref() else { return };
    for hook in &run.hooks {
        assert!(matches!(hook.state, HookState::Succeeded | HookState::Failed), "{hook:?}");
    }
    for spec in &cluster.spec.hooks {
        let made = cluster.made_from(&spec.name);
        if spec.at == HookPoint::OnFullRollback && !made.is_empty() {
            assert_eq!(run.outcome, Some(Outcome::RolledBack));
            let backups = cluster.spec.hooks.iter().filter(|it| it.backup).map(|it| &it.name);
            let done = run
                .hooks
                .iter()
                .find(|it| backups.clone().any(|name| *name == it.name) && it.state == HookState::Succeeded);
            let expected = done.map(|it| it.job.clone()).unwrap_or_default();
            for made in made {
                assert_eq!(&made.environment["PALIER_BACKUP"], &expected);
            }
        }
    }
    let is_left =
        cluster.jobs.jobs.values().any(|job| job.state == JobState::Running && job.gone_at.is_none());
    assert!(!is_left || cluster.deleting, "a Job goes on after the run: {:?}", cluster.jobs.jobs);
}

impl crate::shapes::Script for Script {
    fn any() -> BoxedStrategy<Self> {
        script().boxed()
    }

    fn play(&self) {
        self.hooks.iter().flat_map(|(.., fates)| fates).for_each(record::count);
        self.words.iter().for_each(|(_, kind)| record::count(&format!("Act({kind:?})")));
        self.crashes.iter().for_each(|_| record::count(&"Crash"));
        self.deleted_at.iter().for_each(|_| record::count(&"Delete"));
        check(self);
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn hooks_keep_their_promises_whatever_happens(script in script()) {
        check(&script);
    }
}
