//! What the gates that ask for a degraded mode say now.

use jiff::Timestamp;

use crate::api::{ComponentStatus, DegradedStatus, OnFailure, Span, Stage, Verdict};
use crate::engine::judges::{Judge, judges};
use crate::engine::turn::{Turn, after, between, goes_forward};

/// How much later than two intervals an evaluation may be for the time since the one before to be proven by both.
const SLACK: Span = Span::seconds(15);

/// What the gates of a mode say.
pub(super) enum Gates {
    /// The component that asked goes back, and has traffic still: that goes first.
    GoingBack,
    /// No component on its way forward has a gate that asks for the mode.
    NobodyAsks,
    /// One fails, has no evidence or has not spoken, for this component.
    Fail { component: String },
    /// All pass, measured up to this time. The component is the one that asked.
    Pass { component: String, until: Timestamp },
}

/// What the gates of a mode say.
pub(super) fn of(turn: &Turn<'_>, mode: &DegradedStatus) -> Gates {
    let spec = &turn.world.rollout.spec;
    let asks = |judge: &Judge<'_>| {
        judge.asks == OnFailure::DegradedMode && judge.degraded_mode.as_ref() == Some(&mode.mode)
    };
    let mut asking: Vec<(&ComponentStatus, Vec<Judge<'_>>)> = Vec::new();
    for component in turn.status.components.iter().filter(|c| goes_forward(c)) {
        let gates: Vec<_> = judges(spec, &component.name).into_iter().filter(asks).collect();
        if !gates.is_empty() {
            asking.push((component, gates));
        }
    }
    let is_going_back =
        |c: &&ComponentStatus| c.name == mode.component && c.stage == Stage::RollingBack && c.weight > 0;
    if turn.status.components.iter().any(|c| is_going_back(&c)) {
        return Gates::GoingBack;
    }
    // The one that asked comes first: it is the one that goes back.
    asking.sort_by_key(|(component, _)| component.name != mode.component);
    let Some((first, _)) = asking.first() else { return Gates::NobodyAsks };
    let (component, mut until) = (first.name.clone(), turn.now);
    for (component, gate) in asking.iter().flat_map(|(c, gates)| gates.iter().map(move |gate| (c, gate))) {
        match says(turn, mode, component, gate) {
            Some(Some(at)) => until = until.min(at),
            Some(None) => {}
            None => return Gates::Fail { component: component.name.clone() },
        }
    }
    Gates::Pass { component, until }
}

/// `Some` if one gate does not speak against leaving the mode, with the time of what it said; `None` if it does.
fn says(
    turn: &Turn<'_>,
    mode: &DegradedStatus,
    component: &ComponentStatus,
    gate: &Judge<'_>,
) -> Option<Option<Timestamp>> {
    let status = component.gates.iter().find(|status| status.name == gate.name);
    let verdict = status.map_or(Verdict::Wait, |status| status.verdict);
    if status.is_some_and(|status| status.tripped) {
        return None;
    }
    match verdict {
        Verdict::Pass => {
            let at = status?.evaluated_at?;
            let patience = Span::millis(gate.interval.as_millis() * 2 + SLACK.as_millis());
            // A verdict that is older proves nothing of the time since, in which nobody may have measured.
            let is_fresh = between(at, turn.now) <= patience || after(at, patience) >= turn.now;
            is_fresh.then_some(Some(at))
        }
        // One that never asked has not begun.
        Verdict::Wait if component.name != mode.component => Some(None),
        Verdict::Wait | Verdict::Fail | Verdict::NoData | Verdict::Error => None,
    }
}
