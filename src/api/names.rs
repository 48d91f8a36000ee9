//! Names that Palier puts on objects: one place, so that the chart's policies, the watches and the tests agree.

/// The API group of all Palier kinds.
pub const GROUP: &str = "palier.dev";
/// The served version.
pub const VERSION: &str = "v1alpha1";
/// Label on every object that Palier watches or owns; its value is the Rollout's name.
pub const ROLLOUT_LABEL: &str = "palier.dev/rollout";
/// Label on canary ReplicaSets and canary Services; its value is the component's name.
pub const COMPONENT_LABEL: &str = "palier.dev/component";
/// Label on the Jobs of hooks; its value is the number of the run.
pub const RUN_LABEL: &str = "palier.dev/run";
/// Finalizer on a Rollout: one version serves before the object goes.
pub const FINALIZER: &str = "palier.dev/hand-back";
/// Finalizer on the Job of a hook until its attempt was seen to have started: one that is deleted before does not vanish, so that
/// it is not taken for one that was never created.
pub const JOB_FINALIZER: &str = "palier.dev/until-seen";
/// The field manager of all writes.
pub const FIELD_MANAGER: &str = "palier";
/// The label that the Deployment controller gives to the pods of one ReplicaSet, and by which Services are pinned.
/// <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#pod-template-hash-label>
pub const POD_TEMPLATE_HASH: &str = "pod-template-hash";
/// The annotation that `kubectl rollout restart` sets on a pod template; it asks for new pods, not for a new version.
pub const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
/// What the Deployment controller compares with `spec.replicas` before it calls a ReplicaSet saturated.
pub const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
/// The Deployment controller's record of the most pods that a Deployment may have.
pub const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";
/// Appended to a Service's name for the Service of the canary.
pub const CANARY_SUFFIX: &str = "-canary";
/// Annotation on a Deployment that Palier or its admission policy paused, so that a person's pause is told apart from
/// ours. Its value is `true`; it goes with the pause.
pub const INTERCEPTED: &str = "palier.dev/intercepted";
/// Label on pods whose configuration was replaced by copies at their creation, its value a hash of the copies' names; on
/// the copies themselves, with the value [`CONFIG_COPY`].
pub const CONFIG_LABEL: &str = "palier.dev/config";
/// Value of [`CONFIG_LABEL`] on copies.
pub const CONFIG_COPY: &str = "copy";
/// Label on the ConfigMap that tells the admission policy which pods get which copies; its value is `true`.
pub const CONFIG_MAP_LABEL: &str = "palier.dev/config-map";
/// Annotation on the pod template of a ReplicaSet of a former configuration: only the adopted one is the Deployment's.
pub const RETIRED: &str = "palier.dev/retired";
/// Name of the admission policy (and of its binding) that gives pods their copies.
pub const CONFIG_POLICY: &str = "palier-config";
/// Name of the admission policy (and of its binding) that pauses a labelled Deployment whose template changes.
pub const INTERCEPT_POLICY: &str = "palier-intercept";
