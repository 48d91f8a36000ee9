//! The kinds that are served.

use crate::api::names::{GROUP, VERSION};

/// A kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `palier.dev` Rollout.
    Rollout,
    /// `palier.dev` RolloutRun.
    RolloutRun,
    /// `palier.dev` RolloutAction.
    RolloutAction,
    /// `palier.dev` MetricSource.
    MetricSource,
    /// `palier.dev` GateTemplate.
    GateTemplate,
    /// `palier.dev` ClusterGateTemplate.
    ClusterGateTemplate,
    /// `apps` Deployment.
    Deployment,
    /// `apps` ReplicaSet.
    ReplicaSet,
    /// Pod.
    Pod,
    /// Service.
    Service,
    /// `discovery.k8s.io` EndpointSlice.
    EndpointSlice,
    /// ConfigMap.
    ConfigMap,
    /// Secret.
    Secret,
    /// Namespace.
    Namespace,
    /// `events.k8s.io` Event.
    Event,
    /// `coordination.k8s.io` Lease.
    Lease,
    /// `batch` Job.
    Job,
    /// `batch` CronJob.
    CronJob,
    /// `gateway.networking.k8s.io` HTTPRoute.
    HttpRoute,
    /// `gateway.networking.k8s.io` GRPCRoute.
    GrpcRoute,
    /// `admissionregistration.k8s.io` MutatingAdmissionPolicy.
    MutatingPolicy,
    /// `admissionregistration.k8s.io` MutatingAdmissionPolicyBinding.
    MutatingBinding,
}

/// What changes `metadata.generation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// Nothing: the kind has none.
    None,
    /// A change of `spec`.
    Spec,
    /// A change of `spec` or of an annotation: Deployments, whose ReplicaSets get their annotations.
    SpecAndAnnotations,
    /// A change of anything but `metadata` and `status`: custom resources.
    Content,
}

/// What there is to know of a kind.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Version.
    pub version: &'static str,
    /// Plural, as in paths.
    pub plural: &'static str,
    /// Name, as in `kind`.
    pub name: &'static str,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// Whether status is a subresource.
    pub status: bool,
    /// What changes its generation.
    pub generation: Generation,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 22] = [
        Self::Rollout,
        Self::RolloutRun,
        Self::RolloutAction,
        Self::MetricSource,
        Self::GateTemplate,
        Self::ClusterGateTemplate,
        Self::Deployment,
        Self::ReplicaSet,
        Self::Pod,
        Self::Service,
        Self::EndpointSlice,
        Self::ConfigMap,
        Self::Secret,
        Self::Namespace,
        Self::Event,
        Self::Lease,
        Self::Job,
        Self::CronJob,
        Self::HttpRoute,
        Self::GrpcRoute,
        Self::MutatingPolicy,
        Self::MutatingBinding,
    ];

    /// What there is to know of it.
    #[must_use]
    pub const fn facts(self) -> Facts {
        const fn facts(
            (group, version): (&'static str, &'static str),
            (plural, name): (&'static str, &'static str),
            (namespaced, status): (bool, bool),
            generation: Generation,
        ) -> Facts {
            Facts { group, version, plural, name, namespaced, status, generation }
        }
        const OURS: (&str, &str) = (GROUP, VERSION);
        const CORE: (&str, &str) = ("", "v1");
        const APPS: (&str, &str) = ("apps", "v1");
        const BATCH: (&str, &str) = ("batch", "v1");
        const GATEWAY: (&str, &str) = ("gateway.networking.k8s.io", "v1");
        const ADMISSION: (&str, &str) = ("admissionregistration.k8s.io", "v1");
        use Generation::{Content, None, Spec, SpecAndAnnotations};
        match self {
            Self::Rollout => facts(OURS, ("rollouts", "Rollout"), (true, true), Content),
            Self::RolloutRun => facts(OURS, ("rolloutruns", "RolloutRun"), (true, true), Content),
            Self::RolloutAction => facts(OURS, ("rolloutactions", "RolloutAction"), (true, false), Content),
            Self::MetricSource => facts(OURS, ("metricsources", "MetricSource"), (false, false), Content),
            Self::GateTemplate => facts(OURS, ("gatetemplates", "GateTemplate"), (true, false), Content),
            Self::ClusterGateTemplate => {
                facts(OURS, ("clustergatetemplates", "ClusterGateTemplate"), (false, false), Content)
            }
            Self::Deployment => facts(APPS, ("deployments", "Deployment"), (true, true), SpecAndAnnotations),
            Self::ReplicaSet => facts(APPS, ("replicasets", "ReplicaSet"), (true, true), Spec),
            Self::Pod => facts(CORE, ("pods", "Pod"), (true, true), Spec),
            Self::Service => facts(CORE, ("services", "Service"), (true, true), None),
            Self::EndpointSlice => {
                facts(("discovery.k8s.io", "v1"), ("endpointslices", "EndpointSlice"), (true, false), Content)
            }
            Self::ConfigMap => facts(CORE, ("configmaps", "ConfigMap"), (true, false), None),
            Self::Secret => facts(CORE, ("secrets", "Secret"), (true, false), None),
            Self::Namespace => facts(CORE, ("namespaces", "Namespace"), (false, true), None),
            Self::Event => facts(("events.k8s.io", "v1"), ("events", "Event"), (true, false), None),
            Self::Lease => facts(("coordination.k8s.io", "v1"), ("leases", "Lease"), (true, false), None),
            Self::Job => facts(BATCH, ("jobs", "Job"), (true, true), Spec),
            Self::CronJob => facts(BATCH, ("cronjobs", "CronJob"), (true, true), Spec),
            Self::HttpRoute => facts(GATEWAY, ("httproutes", "HTTPRoute"), (true, true), Content),
            Self::GrpcRoute => facts(GATEWAY, ("grpcroutes", "GRPCRoute"), (true, true), Content),
            Self::MutatingPolicy => facts(
                ADMISSION,
                ("mutatingadmissionpolicies", "MutatingAdmissionPolicy"),
                (false, false),
                Spec,
            ),
            Self::MutatingBinding => facts(
                ADMISSION,
                ("mutatingadmissionpolicybindings", "MutatingAdmissionPolicyBinding"),
                (false, false),
                Spec,
            ),
        }
    }

    /// Whether it is served from a CustomResourceDefinition.
    #[must_use]
    pub const fn is_custom(self) -> bool {
        matches!(
            self,
            Self::Rollout
                | Self::RolloutRun
                | Self::RolloutAction
                | Self::MetricSource
                | Self::GateTemplate
                | Self::ClusterGateTemplate
                | Self::HttpRoute
                | Self::GrpcRoute
        )
    }

    /// Whether an update may come without the version that it is based on. Custom resources must bring it.
    /// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>
    #[must_use]
    pub const fn takes_unconditional_updates(self) -> bool {
        !self.is_custom() && !matches!(self, Self::Lease | Self::MutatingPolicy | Self::MutatingBinding)
    }

    /// Whether an update of what is not there creates it.
    #[must_use]
    pub const fn is_created_by_updates(self) -> bool {
        matches!(self, Self::Lease | Self::Service | Self::Event)
    }

    /// `apiVersion`.
    #[must_use]
    pub fn api_version(self) -> String {
        let facts = self.facts();
        if facts.group.is_empty() {
            facts.version.to_owned()
        } else {
            format!("{}/{}", facts.group, facts.version)
        }
    }

    /// The kind of a path.
    #[must_use]
    pub fn of_path(group: &str, version: &str, plural: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| {
            let facts = kind.facts();
            facts.group == group && facts.version == version && facts.plural == plural
        })
    }

    /// The kind of a manifest.
    #[must_use]
    pub fn of_manifest(api_version: &str, name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.facts().name == name && kind.api_version() == api_version)
    }
}
