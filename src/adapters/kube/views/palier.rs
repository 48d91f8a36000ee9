//! Palier's own kinds.

use jiff::Timestamp;

use crate::adapters::kube::row::{View, Whole};
use crate::api::names::{FINALIZER, GROUP, VERSION};
use crate::api::{GateTemplateSpec, MetricSourceSpec, RolloutSpec, RolloutStatus};
use crate::engine::world::{ActionSeen, RolloutSeen, Seen};

/// What is kept of a Rollout.
#[derive(Clone, Debug, PartialEq)]
pub struct RolloutView {
    /// When it was created: the older of two Rollouts has the better claim.
    pub created_at: Timestamp,
    /// All its finalizers.
    pub finalizers: Vec<String>,
    /// The rest.
    pub seen: RolloutSeen,
}

impl View for RolloutView {
    const GROUP: &'static str = GROUP;
    const VERSION: &'static str = VERSION;
    const KIND: &'static str = "Rollout";
    const PLURAL: &'static str = "rollouts";

    fn of(whole: Whole) -> Result<Self, String> {
        let Whole { metadata, spec, status, .. } = whole;
        let spec: RolloutSpec = spec.read("spec")?;
        let status: RolloutStatus =
            if status.is_absent() { RolloutStatus::default() } else { status.read("status")? };
        Ok(Self {
            created_at: metadata.creation_timestamp.unwrap_or(Timestamp::UNIX_EPOCH),
            seen: RolloutSeen {
                at: metadata.seen(),
                generation: metadata.generation,
                deleting: metadata.is_deleting(),
                has_finalizer: metadata.finalizers.iter().any(|it| it == FINALIZER),
                // Kept for as long as the Rollout rests. A list that was read has room for more; its copy has not.
                spec: spec.clone(),
                status: status.clone(),
                namespace: metadata.namespace,
            },
            finalizers: metadata.finalizers,
        })
    }

    fn at(&self) -> &Seen {
        &self.seen.at
    }

    fn rollout(&self) -> Option<&str> {
        Some(&self.seen.at.name)
    }
}

/// What is kept of a RolloutAction.
#[derive(Clone, Debug, PartialEq)]
pub struct ActionView {
    at: Seen,
    /// The action.
    pub seen: ActionSeen,
}

impl View for ActionView {
    const GROUP: &'static str = GROUP;
    const VERSION: &'static str = VERSION;
    const KIND: &'static str = "RolloutAction";
    const PLURAL: &'static str = "rolloutactions";

    fn of(whole: Whole) -> Result<Self, String> {
        let Whole { metadata, spec, .. } = whole;
        Ok(Self {
            at: metadata.seen(),
            seen: ActionSeen {
                created_at: metadata.creation_timestamp.unwrap_or(Timestamp::UNIX_EPOCH),
                action: spec.read("spec")?,
                uid: metadata.uid,
            },
        })
    }

    fn at(&self) -> &Seen {
        &self.at
    }

    fn rollout(&self) -> Option<&str> {
        Some(&self.seen.action.rollout)
    }
}

/// What is kept of a MetricSource.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricSourceView {
    at: Seen,
    /// The source.
    pub spec: MetricSourceSpec,
}

impl View for MetricSourceView {
    const GROUP: &'static str = GROUP;
    const VERSION: &'static str = VERSION;
    const KIND: &'static str = "MetricSource";
    const PLURAL: &'static str = "metricsources";

    fn of(whole: Whole) -> Result<Self, String> {
        Ok(Self { at: whole.metadata.seen(), spec: whole.spec.read("spec")? })
    }

    fn at(&self) -> &Seen {
        &self.at
    }

    fn rollout(&self) -> Option<&str> {
        None
    }

    fn is_watched(&self) -> bool {
        true
    }
}

/// What is kept of a GateTemplate.
#[derive(Clone, Debug, PartialEq)]
pub struct GateTemplateView {
    at: Seen,
    /// The template.
    pub spec: GateTemplateSpec,
}

impl View for GateTemplateView {
    const GROUP: &'static str = GROUP;
    const VERSION: &'static str = VERSION;
    const KIND: &'static str = "GateTemplate";
    const PLURAL: &'static str = "gatetemplates";

    fn of(whole: Whole) -> Result<Self, String> {
        Ok(Self { at: whole.metadata.seen(), spec: whole.spec.read("spec")? })
    }

    fn at(&self) -> &Seen {
        &self.at
    }

    fn rollout(&self) -> Option<&str> {
        None
    }

    fn is_watched(&self) -> bool {
        true
    }
}

/// What is kept of a ClusterGateTemplate.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterGateTemplateView(pub GateTemplateView);

impl View for ClusterGateTemplateView {
    const GROUP: &'static str = GROUP;
    const VERSION: &'static str = VERSION;
    const KIND: &'static str = "ClusterGateTemplate";
    const PLURAL: &'static str = "clustergatetemplates";

    fn of(whole: Whole) -> Result<Self, String> {
        GateTemplateView::of(whole).map(Self)
    }

    fn at(&self) -> &Seen {
        self.0.at()
    }

    fn rollout(&self) -> Option<&str> {
        None
    }

    fn is_watched(&self) -> bool {
        true
    }
}

/// What is kept of a RolloutRun: that it is there. Runs are written and never watched.
#[derive(Clone, Debug, PartialEq)]
pub struct RunView {
    at: Seen,
    /// Uid of the controlling owner.
    pub owner_uid: Option<String>,
}

impl View for RunView {
    const GROUP: &'static str = GROUP;
    const VERSION: &'static str = VERSION;
    const KIND: &'static str = "RolloutRun";
    const PLURAL: &'static str = "rolloutruns";

    fn of(whole: Whole) -> Result<Self, String> {
        Ok(Self { at: whole.metadata.seen(), owner_uid: whole.metadata.controller_uid() })
    }

    fn at(&self) -> &Seen {
        &self.at
    }

    fn rollout(&self) -> Option<&str> {
        None
    }
}
