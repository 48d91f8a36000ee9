//! Hooks: Jobs at fixed points of a run.

use crate::api::HookPoint;

use super::turn::Turn;

/// How far the hooks of one point are.
pub(super) enum Hooked {
    /// There are none, or all are done with.
    Done,
    /// One is under way, in words.
    Under(String),
}

/// Runs the hooks of one point, for a component and a phase where the point has them.
pub(super) fn run_at(_turn: &mut Turn<'_>, _point: HookPoint, _component: &str, _phase: &str) -> Hooked {
    Hooked::Done
}
