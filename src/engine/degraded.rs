//! Degraded modes: feature switches that are set while a gate fails.

use super::evidence::Trip;
use super::turn::Turn;

/// A gate asks for a degraded mode.
pub(super) fn enter(_turn: &mut Turn<'_>, _component: &str, _trip: &Trip) {}

/// One step of every mode that was entered.
pub(super) fn go_on(_turn: &mut Turn<'_>) {}

/// Whether a mode keeps the run where it is.
pub(super) fn is_on(_turn: &Turn<'_>) -> bool {
    false
}
