//! Condition types. The first three are those of kstatus, which Flux, Helm and `kubectl wait` read.
//! <https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md>

/// Nothing is left to do and the spec is served: at rest on the wanted revision.
pub const READY: &str = "Ready";
/// Work towards the spec goes on.
pub const RECONCILING: &str = "Reconciling";
/// Nothing will happen until somebody changes something.
pub const STALLED: &str = "Stalled";
/// A run is on.
pub const PROGRESSING: &str = "Progressing";
/// What serves is what was proven to serve well.
pub const HEALTHY: &str = "Healthy";
/// The template in a Deployment is rejected and its former revision serves.
pub const ROLLED_BACK: &str = "RolledBack";
