//! What happens to a cluster from outside: nodes are lost, pods die, autoscalers resize.

use jiff::Timestamp;
use serde_json::json;

use super::fields::{image, is_active, uid};
use super::hand::Hand;
use super::{Native, Nature, pods};
use crate::apiserver::{Caller, Key, Kind, Part, Refusal, Store};

impl Nature {
    /// A node is gone, with its pods: they are not ready from now on, and are deleted if `evicts`.
    ///
    /// # Errors
    /// A pod cannot be deleted: admission refuses it.
    pub fn lose_node(
        &mut self,
        store: &mut Store,
        at: Timestamp,
        node: &str,
        evicts: bool,
    ) -> Result<(), Refusal> {
        self.settings.lost_nodes.insert(node.to_owned());
        let mut hand =
            Hand { store, caller: Caller::new("system:serviceaccount:kube-system:node-controller", at) };
        for (key, pod) in pods::on_node(&hand, node) {
            self.wake_at((Native::Pods, key.clone()), at);
            if evicts {
                hand.delete(&key, uid(&pod), Some(1))?;
            }
        }
        Ok(())
    }

    /// A node is there again.
    pub fn return_node(&mut self, node: &str) {
        self.settings.lost_nodes.remove(node);
    }

    /// The containers of every pod of an image die now; they start again after a while. How many pods these were.
    pub fn crash(&mut self, store: &Store, at: Timestamp, of_image: &str) -> usize {
        let is_hit = |pod: &serde_json::Value| image(pod) == of_image && is_active(pod);
        let hit: Vec<_> = store.list(Kind::Pod, None).filter(|(_, pod)| is_hit(pod)).collect();
        for (key, pod) in &hit {
            self.lives.crash(pod, at);
            self.wake_at((Native::Pods, (*key).clone()), at);
        }
        hit.len()
    }

    /// A pod is evicted: deleted, with its time to end.
    ///
    /// # Errors
    /// Admission refuses it.
    pub fn evict(&mut self, store: &mut Store, at: Timestamp, pod: &Key) -> Result<(), Refusal> {
        let mut hand = Hand { store, caller: Caller::new("system:kube-scheduler", at) };
        match hand.get(pod) {
            Some(found) => hand.delete(pod, uid(&found), Some(30)),
            None => Ok(()),
        }
    }

    /// An autoscaler resizes a Deployment.
    ///
    /// # Errors
    /// The Deployment is not there, or admission refuses it.
    pub fn resize(
        &mut self,
        store: &mut Store,
        at: Timestamp,
        deployment: &Key,
        replicas: u32,
    ) -> Result<(), Refusal> {
        let user = "system:serviceaccount:kube-system:horizontal-pod-autoscaler";
        let mut hand = Hand { store, caller: Caller::new(user, at) };
        hand.edit(deployment, Part::Main, |object| object["spec"]["replicas"] = json!(replicas)).map(drop)
    }
}
