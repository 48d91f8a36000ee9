//! What is done to a cluster, in words that need no names given by controllers.

use serde_json::Value;

/// Something that is done.
#[derive(Clone, Debug)]
pub enum Step {
    /// A Deployment and a Service `api` of this image and size.
    Deploy(&'static str, u32),
    /// An object: the path of its collection, its manifest.
    Create(&'static str, Value),
    /// A merge patch of an object: collection, name, patch.
    Merge(&'static str, &'static str, Value),
    /// A merge patch of the ReplicaSet of an image.
    MergeSet(&'static str, Value),
    /// Another image for the Deployment.
    Push(&'static str),
    /// Another size for the Deployment.
    Scale(u32),
    /// The Deployment is paused, or goes on.
    Pause(bool),
    /// A ReplicaSet of the Deployment's template with this hash and size, owned by somebody else.
    Canary(&'static str, u32),
    /// The owner of the ReplicaSet with this hash lets it go; the size of the Deployment is noted on it.
    Release(&'static str),
    /// A new size for the ReplicaSet with this hash.
    Resize(&'static str, u32),
    /// The Service selects the pods of the ReplicaSet of this image only, or all again.
    Pin(Option<&'static str>),
    /// Something is deleted: collection, name, what becomes of what it owns.
    Delete(&'static str, &'static str, &'static str),
    /// The ReplicaSet of this image is deleted; of several the one without pods.
    DeleteSet(&'static str),
    /// One pod of an image is deleted.
    DeletePod(&'static str),
    /// One pod of an image gets another label.
    Relabel(&'static str, Value),
}

pub const DEPLOYMENTS: &str = "apis/apps/v1/deployments";
pub const SETS: &str = "apis/apps/v1/replicasets";
pub const PODS: &str = "api/v1/pods";
pub const SERVICES: &str = "api/v1/services";
pub const SLICES: &str = "apis/discovery.k8s.io/v1/endpointslices";
pub const JOBS: &str = "apis/batch/v1/jobs";
pub const MAPS: &str = "api/v1/configmaps";
