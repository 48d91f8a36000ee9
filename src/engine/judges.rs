//! Who judges a component, and by which phases: what the Rollout says for all, with what the component says for itself.

use std::ops::Deref;

use crate::api::{Gate, NoDataThen, OnFailure, Phase, RolloutSpec};

/// A gate with what it asks for when it trips.
#[derive(Clone, Copy)]
pub(super) struct Judge<'w> {
    gate: &'w Gate,
    /// What it asks for.
    pub asks: OnFailure,
    /// What happens when it goes without evidence for too long.
    pub then: NoDataThen,
}

impl<'w> Judge<'w> {
    fn new(gate: &'w Gate, usual: (OnFailure, NoDataThen)) -> Self {
        Judge {
            gate,
            asks: gate.on_failure.unwrap_or(usual.0),
            then: gate.on_no_data.then.unwrap_or(usual.1),
        }
    }

    /// Whether the run goes on whatever it says.
    pub fn is_mute(&self) -> bool {
        self.asks == OnFailure::Notify
    }
}

impl Deref for Judge<'_> {
    type Target = Gate;

    fn deref(&self) -> &Gate {
        self.gate
    }
}

/// The gates that judge a component: the Rollout's, then its own. A failure of the first is everybody's, a failure of the
/// others the component's, unless the gate says otherwise.
pub(super) fn judges<'w>(spec: &'w RolloutSpec, component: &str) -> Vec<Judge<'w>> {
    let own = spec.components.iter().find(|c| c.name == component).map_or(&[][..], |c| &c.gates);
    let of_all =
        spec.gates.iter().map(|g| Judge::new(g, (OnFailure::FullRollback, NoDataThen::FullRollback)));
    let partial = (OnFailure::PartialRollback, NoDataThen::PartialRollback);
    of_all.chain(own.iter().map(|g| Judge::new(g, partial))).collect()
}

/// A phase as one component goes through it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step {
    /// Its place in `spec.phases`.
    pub index: usize,
    /// The phase, with this component's bake time.
    pub phase: Phase,
}

/// The phases of a component, in order: without those that it skips. The last one stays, whatever the spec says.
pub(super) fn steps(spec: &RolloutSpec, component: &str) -> Vec<Step> {
    let own = spec.components.iter().find(|c| c.name == component).map_or(&[][..], |c| &c.phases);
    let last = spec.phases.len().saturating_sub(1);
    let all = spec.phases.iter().enumerate();
    all.filter_map(|(index, phase)| {
        let differs = own.iter().find(|it| it.name == phase.name);
        if index < last && differs.is_some_and(|it| it.skip) {
            return None;
        }
        let bake_time = differs.and_then(|it| it.bake_time).unwrap_or(phase.bake_time);
        Some(Step { index, phase: Phase { bake_time, ..phase.clone() } })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> RolloutSpec {
        let gate = |name: &str| serde_json::json!({"name": name, "prometheus": {"query": "up"}, "threshold": {"min": 1.0}});
        serde_json::from_value(serde_json::json!({
            "components": [
                {"name": "api", "workloadRef": {"name": "api"}, "gates": [gate("own")],
                 "phases": [{"name": "pilot", "skip": true}, {"name": "half", "bakeTime": "1h"},
                            {"name": "everyone", "skip": true}]},
                {"name": "web", "workloadRef": {"name": "web"}},
            ],
            "gates": [gate("all")],
        }))
        .expect("a spec")
    }

    #[test]
    fn a_gate_of_a_component_takes_the_component_back_and_one_of_the_rollout_everything() {
        let spec = spec();
        let asked: Vec<_> =
            judges(&spec, "api").iter().map(|it| (it.name.clone(), it.asks, it.then)).collect();
        assert_eq!(
            asked,
            [
                ("all".to_owned(), OnFailure::FullRollback, NoDataThen::FullRollback),
                ("own".to_owned(), OnFailure::PartialRollback, NoDataThen::PartialRollback)
            ]
        );
        assert_eq!(judges(&spec, "web").len(), 1);
        assert_eq!(judges(&spec, "unknown").len(), 1);
    }

    #[test]
    fn a_component_skips_phases_and_bakes_longer_but_always_reaches_the_last() {
        let spec = spec();
        let own: Vec<_> =
            steps(&spec, "api").into_iter().map(|it| (it.index, it.phase.name, it.phase.bake_time)).collect();
        let (hour, usual) = (crate::api::Span::seconds(3_600), crate::api::Span::seconds(600));
        assert_eq!(own, [(1, "half".to_owned(), hour), (2, "everyone".to_owned(), usual)]);
        assert_eq!(steps(&spec, "web").len(), 3);
    }
}
