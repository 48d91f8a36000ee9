//! What must hold of the pods that serve: nobody takes them away from under their callers, none serves before it may, and
//! stable is whole for as long as somebody may have to go back to it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use palier::api::RunIntent;
use palier::api::names::{CANARY_SUFFIX, POD_TEMPLATE_HASH};
use palier::engine::Write;
use palier::engine::route::Backends;
use palier::engine::world::Seen;
use palier::sim::Cluster;
use palier::sim::cluster::ROLLOUT_UID;
use palier::sim::deployments::ReplicaSet;

/// What is remembered from one look to the next.
#[derive(Clone, Debug, Default)]
pub struct Serving {
    /// Since when a canary has had fewer pods than its share asks for, by workload.
    too_small_since: BTreeMap<String, Timestamp>,
    /// When the gateway was last seen not to work.
    silent_at: Option<Timestamp>,
}

/// How long a canary may be smaller than its share asks for, while nothing keeps it from growing.
const FOLLOWS_WITHIN: SignedDuration = SignedDuration::from_secs(30);

/// Whether the gateway does what a route says.
fn gateway_works(cluster: &Cluster) -> bool {
    cluster.gateway_accepts && cluster.gateway_refuses.is_none()
}

/// The canary's share of the requests, as the data plane sends them now.
fn share_in_effect(cluster: &Cluster, workload: &str) -> i32 {
    let canary = format!("{workload}{CANARY_SUFFIX}");
    let backends = Backends { namespace: "shop", stable: workload, canary: &canary };
    cluster.routes.get(workload).map_or(0, |route| backends.weight(&route.in_effect).percent())
}

fn need(cluster: &Cluster, workload: &str, share: i32) -> i32 {
    let desired = cluster.deployments.get(workload).map_or(0, |deployment| deployment.replicas);
    ((desired * share + 99) / 100).max(1)
}

fn is_ours(set: &ReplicaSet) -> bool {
    set.owner_uid.as_deref() == Some(ROLLOUT_UID) && set.gone_at.is_none()
}

fn set_of<'c>(cluster: &'c Cluster, at: &Seen) -> Option<&'c ReplicaSet> {
    cluster.sets.get(&at.name).filter(|set| set.at.uid == at.uid)
}

/// Whether the Deployment's own pods are of its present template: it rolled by itself.
fn has_rolled(cluster: &Cluster, workload: &str) -> bool {
    cluster.deployments.get(workload).is_none_or(|deployment| {
        let is_native = |set: &&ReplicaSet| {
            set.owner_uid.as_ref() == Some(&deployment.at.uid)
                && set.replicas > 0
                && set.image == deployment.image
        };
        cluster.sets.values().any(|set| is_native(&set))
    })
}

impl Serving {
    /// Looks at what is about to be written.
    pub fn look_at_writes(&self, cluster: &Cluster, writes: &[Write], (has_jumped, is_late): (bool, bool)) {
        let lag = SignedDuration::from_millis(cluster.gateway_lag.as_millis() * 4 + 5_000);
        let is_back = self.silent_at.is_none_or(|at| cluster.now.duration_since(at) > lag);
        look_at_writes(cluster, writes, is_back && gateway_works(cluster) && !has_jumped, is_late);
    }

    /// Looks at one committed state.
    pub fn look(&mut self, cluster: &Cluster, has_jumped: bool) {
        if !gateway_works(cluster) {
            self.silent_at = Some(cluster.now);
        }
        for component in cluster.spec.components.iter().filter(|c| c.traffic.is_some()) {
            let workload = &component.workload_ref.name;
            look_at_leak(cluster, workload);
            self.look_at_size(cluster, workload, has_jumped);
        }
    }

    /// P32: a canary follows the size of its Deployment.
    fn look_at_size(&mut self, cluster: &Cluster, workload: &str, has_jumped: bool) {
        let share = share_in_effect(cluster, workload);
        let is_on_way = cluster
            .status
            .run
            .as_ref()
            .is_some_and(|run| run.ended_at.is_none() && run.intent == RunIntent::Release);
        let asked: i32 = cluster
            .sets
            .values()
            .filter(|set| set.app == *workload && is_ours(set))
            .map(|set| set.replicas)
            .sum();
        let is_free = cluster.spec.max_extra_pods.is_none()
            && cluster.deployments.get(workload).is_some_and(|deployment| deployment.replicas > 0);
        let is_judged = share > 0 && is_on_way && is_free && gateway_works(cluster) && !has_jumped;
        if !is_judged || asked == 0 || asked >= need(cluster, workload, share) {
            self.too_small_since.remove(workload);
            return;
        }
        let since = *self.too_small_since.entry(workload.to_owned()).or_insert(cluster.now);
        let lasts = cluster.now.duration_since(since);
        assert!(
            lasts <= FOLLOWS_WITHIN,
            "{asked} of {} pods for {share} % of {workload} since {since}",
            need(cluster, workload, share)
        );
    }
}

/// A Service that is not pinned selects no pod of a canary.
fn look_at_leak(cluster: &Cluster, workload: &str) {
    let Some(service) = cluster.services.get(workload) else { return };
    if service.selector.contains_key(POD_TEMPLATE_HASH) || has_rolled(cluster, workload) {
        return;
    }
    let leaks = |set: &&ReplicaSet| set.app == workload && is_ours(set) && set.available > 0;
    let leak = cluster.sets.values().find(leaks);
    assert!(leak.is_none(), "callers of {workload} reach {:?} past the route", leak.map(|set| &set.at.name));
}

/// Looks at what is about to be written, before it is. `is_reliable` says that the data plane has done for a while what routes
/// say, so that nobody had to go on without it; `is_late`, that it was decided from an old view.
fn look_at_writes(cluster: &Cluster, writes: &[Write], is_reliable: bool, is_late: bool) {
    for write in writes {
        match write {
            Write::ScaleReplicaSet { replica_set, replicas, .. } => {
                look_at_shrinking(cluster, replica_set, *replicas, is_reliable);
            }
            Write::DeleteReplicaSet { replica_set } => {
                look_at_shrinking(cluster, replica_set, 0, is_reliable);
            }
            Write::DeleteService { service } if is_reliable => {
                let workload = service.name.trim_end_matches(CANARY_SUFFIX);
                let share = share_in_effect(cluster, workload);
                let is_served = !cluster.ready_behind(&cluster.services[&service.name]).is_empty();
                assert!(share == 0 || !is_served, "a Service goes that has {share} % of {workload}");
            }
            Write::ResumeDeployment { deployment, .. } => look_at_resume(cluster, &deployment.name),
            Write::ReleaseReplicaSet { replica_set, .. } if !is_late => {
                look_at_handover(cluster, replica_set)
            }
            _ => {}
        }
    }
}

/// P24: what we let roll is a version that has pods already, or stable when somebody resumed the Deployment by hand and put the
/// former template back; never one that nobody has proven.
fn look_at_resume(cluster: &Cluster, workload: &str) {
    let Some(deployment) = cluster.deployments.get(workload).filter(|deployment| deployment.replicas > 0)
    else {
        return;
    };
    let stable = cluster.status.components.iter().find(|it| it.workload == workload);
    let stable = stable.and_then(|it| it.stable.as_ref()).map(|it| it.revision.as_str());
    let is_known = cluster.sets.values().any(|set| {
        let is_proven = set.replicas > 0 || stable == Some(set.revision.as_str());
        set.app == workload && set.image == deployment.image && is_proven && set.gone_at.is_none()
    });
    assert!(is_known, "{workload} is resumed with {}, which nobody has proven", deployment.image);
}

/// P8: a canary whose template is no longer asked for goes back; it never becomes the Deployment's own.
fn look_at_handover(cluster: &Cluster, at: &Seen) {
    let Some(set) = set_of(cluster, at).filter(|set| is_ours(set)) else { return };
    let Some(deployment) = cluster.deployments.get(&set.app) else { return };
    assert_eq!(
        set.image, deployment.image,
        "{} is handed over, and {} asks for something else by now",
        at.name, set.app
    );
}

/// P10: traffic goes first, pods go last. P11: stable stays whole until the canary is the Deployment's own.
fn look_at_shrinking(cluster: &Cluster, at: &Seen, replicas: i32, is_reliable: bool) {
    let Some(set) = set_of(cluster, at).filter(|set| replicas < set.replicas) else { return };
    let workload = set.app.as_str();
    if is_ours(set) {
        let share = share_in_effect(cluster, workload);
        let is_needed = share > 0 && replicas < need(cluster, workload, share) && set.available > replicas;
        let is_judged = is_reliable && cluster.deployments.contains_key(workload);
        assert!(
            !(is_needed && is_judged),
            "{} goes to {replicas} pods under {share} % of {workload} at {}",
            at.name,
            cluster.now
        );
        return;
    }
    let Some(deployment) = cluster.deployments.get(workload) else { return };
    let has_canary = cluster.sets.values().any(|other| other.app == workload && is_ours(other));
    if set.image != deployment.image && has_canary && !has_rolled(cluster, workload) {
        panic!("{} of stable goes to {replicas} pods before the canary is the Deployment's own", at.name);
    }
}
