//! Deployments and ReplicaSets.

use std::sync::Arc;

use serde_json::Value;

use crate::adapters::kube::row::{View, Whole};
use crate::api::names::{
    COMPONENT_LABEL, DESIRED_REPLICAS, INTERCEPTED, POD_TEMPLATE_HASH, RETIRED, ROLLOUT_LABEL,
};
use crate::engine::revision::identity_of;
use crate::engine::world::{DeploymentSeen, ReplicaSetSeen, Seen};

use super::refs::config_refs;
use super::{count, number, text, texts};

/// The Deployment controller's number of a ReplicaSet in the history of its Deployment.
const HISTORY_REVISION: &str = "deployment.kubernetes.io/revision";

/// What is kept of a Deployment.
#[derive(Clone, Debug, PartialEq)]
pub struct DeploymentView {
    /// What decisions rest on.
    pub seen: DeploymentSeen,
    /// All of its spec, while it is paused by us: a canary is going to be a copy of it.
    pub spec: Option<Arc<Value>>,
}

impl View for DeploymentView {
    const GROUP: &'static str = "apps";
    const VERSION: &'static str = "v1";
    const KIND: &'static str = "Deployment";
    const PLURAL: &'static str = "deployments";

    fn of(whole: Whole) -> Result<Self, String> {
        let Whole { metadata, spec, status, .. } = whole;
        let (spec, status) = (spec.json("spec")?, status.json("status")?);
        let template = spec.get("template").ok_or("spec.template is missing")?;
        let (revision, template_hash) = identity_of(template);
        let seen = DeploymentSeen {
            at: metadata.seen(),
            deleting: metadata.is_deleting(),
            rollout_label: metadata.labels.get(ROLLOUT_LABEL).cloned(),
            paused: spec.get("paused").and_then(Value::as_bool).unwrap_or(false),
            is_intercepted: metadata.annotations.contains_key(INTERCEPTED),
            replicas: count(&spec, "/replicas", 1),
            recreates: text(&spec, "/strategy/type") == Some("Recreate"),
            selector: texts(&spec, "/selector/matchLabels"),
            template_labels: texts(template, "/metadata/labels"),
            revision,
            template_hash,
            config_refs: config_refs(template),
            generation: metadata.generation,
            observed_generation: number(&status, "/observedGeneration", 0),
            total_replicas: count(&status, "/replicas", 0),
            updated_replicas: count(&status, "/updatedReplicas", 0),
            available_replicas: count(&status, "/availableReplicas", 0),
        };
        let spec = (seen.paused && seen.is_intercepted).then(|| Arc::new(spec));
        Ok(Self { seen, spec })
    }

    fn at(&self) -> &Seen {
        &self.seen.at
    }

    fn rollout(&self) -> Option<&str> {
        self.seen.rollout_label.as_deref()
    }
}

/// What is kept of a ReplicaSet.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplicaSetView {
    /// Value of the label `palier.dev/rollout`.
    pub rollout: Option<String>,
    /// Value of the label `palier.dev/component`.
    pub component: String,
    /// The rest.
    pub seen: ReplicaSetSeen,
}

impl View for ReplicaSetView {
    const GROUP: &'static str = "apps";
    const VERSION: &'static str = "v1";
    const KIND: &'static str = "ReplicaSet";
    const PLURAL: &'static str = "replicasets";

    fn of(whole: Whole) -> Result<Self, String> {
        let Whole { metadata, spec, status, .. } = whole;
        let (spec, status) = (spec.json("spec")?, status.json("status")?);
        let template = spec.get("template").ok_or("spec.template is missing")?;
        let (revision, template_hash) = identity_of(template);
        let annotation = |name: &str| metadata.annotations.get(name);
        Ok(Self {
            rollout: metadata.labels.get(ROLLOUT_LABEL).cloned(),
            component: metadata.labels.get(COMPONENT_LABEL).cloned().unwrap_or_default(),
            seen: ReplicaSetSeen {
                at: metadata.seen(),
                deleting: metadata.is_deleting(),
                is_labelled: metadata.labels.contains_key(ROLLOUT_LABEL),
                owner_uid: metadata.controller_uid(),
                is_retired: texts(template, "/metadata/annotations").contains_key(RETIRED),
                pod_hash: metadata.labels.get(POD_TEMPLATE_HASH).cloned().unwrap_or_default(),
                revision,
                template_hash,
                replicas: count(&spec, "/replicas", 1),
                desired_annotation: annotation(DESIRED_REPLICAS).and_then(|it| it.parse().ok()),
                history_revision: annotation(HISTORY_REVISION).and_then(|it| it.parse().ok()).unwrap_or(0),
                is_observed: number(&status, "/observedGeneration", 0) >= metadata.generation,
                current: count(&status, "/replicas", 0),
                // What is available is ready; a server may leave the second number out.
                ready: count(&status, "/readyReplicas", 0).max(count(&status, "/availableReplicas", 0)),
                available: count(&status, "/availableReplicas", 0),
            },
        })
    }

    fn at(&self) -> &Seen {
        &self.seen.at
    }

    fn rollout(&self) -> Option<&str> {
        self.rollout.as_deref()
    }
}
