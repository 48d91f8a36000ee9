//! A gate that counts, in its place in a run: takes in its answers and asks what is due.

use std::collections::BTreeSet;

use crate::api::{ComponentStatus, Gate, GateStatistics, Phase, Span};
use crate::engine::judges::{Judge, judges, steps};
use crate::engine::plan::Measurement;
use crate::engine::query::Variables;
use crate::engine::turn::{Part, Turn, takes_part};
use crate::engine::world::Answered;

use super::{Counting, Next, Others, fold};

/// Takes in the answers for `gate`, whose status is `component.gates[at]`, and asks the next question when it is due.
///
/// # Errors
/// Why the question cannot be asked.
pub(in crate::engine) fn gather(
    turn: &mut Turn<'_>,
    component: &mut ComponentStatus,
    part: &Part<'_>,
    phase: &Phase,
    (gate, at): (&Judge<'_>, usize),
    variables: &Variables,
) -> Result<(), String> {
    let (Some(bake), Some(canary), Some(stable)) =
        (component.bake.as_ref(), component.canary.clone(), component.stable.clone())
    else {
        return Ok(());
    };
    let (started_at, planned) = (bake.started_at, planned(turn, &part.name));
    let canary_pods = usize::try_from(component.canary_replicas).unwrap_or(1);
    let counting = |counted: &GateStatistics| -> Result<Counting<'_>, String> {
        Ok(Counting {
            gate,
            rule: gate
                .rule_by(counted.preset.or(gate.prometheus.preset))
                .ok_or_else(|| "the gate has no rule".to_owned())?,
            started_at,
            planned,
            sets: (&canary.replica_set, &stable.replica_set),
            canary_pods,
            is_whole: phase.traffic >= 100,
            has_service: part.refs.service.is_some(),
        })
    };
    let index = entry(turn, component, gate, &canary.revision);
    let is_mine = |a: &&Answered| a.component == part.name && a.gate == gate.name;
    for answered in turn.world.answers.iter().filter(is_mine) {
        let others = others(turn, component, &gate.name);
        let known = (&component.gates[at], &component.statistics[index]);
        let (status, counted) = fold(&counting(known.1)?, known, answered, &others);
        component.gates[at] = status;
        component.statistics[index] = counted;
    }
    if turn.world.asking.contains(&(part.name.clone(), gate.name.clone())) {
        return Ok(());
    }
    let known = (&component.statistics[index], &component.gates[at]);
    match counting(known.0)?.next(known.0, known.1, variables, turn.now).map_err(|error| error.to_string())? {
        Next::Later(time) => turn.wake(time),
        Next::Ask(ask, key) => turn.measure(Measurement {
            component: part.name.clone(),
            gate: gate.name.clone(),
            key,
            source: gate.prometheus.source.clone(),
            ask,
        }),
    }
    Ok(())
}

/// Sets aside what the tests have shown, of harm and of safety; what was learned and counted holds.
pub(in crate::engine) fn begin_anew(component: &mut ComponentStatus) {
    for counted in &mut component.statistics {
        counted.state.clear();
        (counted.evidence, counted.safe, counted.ratio_at_least) = (0.0, false, None);
    }
}

/// The bake time of all phases of a component.
fn planned(turn: &Turn<'_>, component: &str) -> Span {
    let steps = steps(&turn.world.rollout.spec, component);
    Span::millis(steps.iter().map(|step| step.phase.bake_time.as_millis()).sum())
}

/// The place of the gate's counts. Counts of another run, revision or definition are void, and those of gates that are gone.
fn entry(turn: &Turn<'_>, component: &mut ComponentStatus, gate: &Gate, canary: &str) -> usize {
    let key = Counting::key_of(turn.run_number(), canary, gate);
    let spec = &turn.world.rollout.spec;
    let names: BTreeSet<String> = judges(spec, &component.name)
        .iter()
        .filter(|it| Counting::is_for(it))
        .map(|it| it.name.clone())
        .collect();
    component.statistics.retain(|it| names.contains(&it.name) && (it.name != gate.name || it.key == key));
    if let Some(index) = component.statistics.iter().position(|it| it.name == gate.name) {
        return index;
    }
    component.statistics.push(GateStatistics { name: gate.name.clone(), key, ..GateStatistics::default() });
    component.statistics.len() - 1
}

/// What the other tests of the run have shown so far.
fn others(turn: &Turn<'_>, component: &ComponentStatus, gate: &str) -> Others {
    let spec = &turn.world.rollout.spec;
    let tests_of = |name: &str| judges(spec, name).iter().filter(|it| Counting::is_test(it)).count();
    let started_at = turn.run().map(|run| run.started_at);
    // The component itself is not in its place while it is being looked at.
    let all = turn.status.components.iter().filter(|it| it.name != component.name && takes_part(it));
    let shown = all.chain([component]).flat_map(|it| {
        let is_own = it.name == component.name;
        it.statistics.iter().filter(move |counted| !(is_own && counted.name == gate))
    });
    let is_of_run = |it: &&GateStatistics| it.limit > 0.0 && it.counted_until >= started_at;
    Others {
        shown: shown.filter(is_of_run).map(|it| it.evidence).collect(),
        tests: spec.components.iter().map(|it| tests_of(&it.name)).sum(),
        alpha: spec.alpha,
    }
}
