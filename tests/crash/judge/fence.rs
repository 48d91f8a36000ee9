//! P13: once a later leader has claimed a Rollout, nothing that an earlier one still sends about it is accepted.

use std::collections::BTreeMap;

use palier::apiserver::Kind;

use super::{Broken, Look, Monitor, broke};

/// Who claimed which Rollout last.
#[derive(Default)]
pub struct Fence {
    /// Epoch and leader by namespace and Rollout.
    claims: BTreeMap<(String, String), (i64, String)>,
    /// The term for which each process was given the Lease.
    terms: BTreeMap<String, i64>,
}

impl Monitor for Fence {
    fn look(&mut self, look: &Look<'_>, broken: &mut Vec<Broken>) {
        let change = look.change;
        if change.key.kind == Kind::Lease
            && let Some(term) = change.after["spec"]["leaseTransitions"].as_i64()
        {
            self.terms.insert(change.pod.clone(), term);
        }
        if !look.is_ours || matches!(change.key.kind, Kind::Lease | Kind::Event) {
            return;
        }
        let rollout = match change.key.kind {
            Kind::Rollout => Some(change.key.name.clone()),
            _ => change.after["metadata"]["labels"]["palier.dev/rollout"].as_str().map(str::to_owned),
        };
        let Some(rollout) = rollout else { return };
        let place = (change.key.namespace.clone(), rollout);
        if change.key.kind == Kind::Rollout
            && let Some(epoch) = change.after["status"]["epoch"].as_i64()
            && self.claims.get(&place).is_none_or(|(claimed, _)| epoch > *claimed)
        {
            self.claims.insert(place, (epoch, change.pod.clone()));
            return;
        }
        if let Some((epoch, leader)) = self.claims.get(&place)
            && self.terms.get(&change.pod).is_none_or(|term| term < epoch)
        {
            let what =
                format!("{} wrote {} after {leader} had claimed it in term {epoch}", change.pod, change.key);
            broken.push(broke(look, "P13", what));
        }
    }
}
