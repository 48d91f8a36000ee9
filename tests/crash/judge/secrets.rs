//! P31: no secret in a status, an Event, a label or a ConfigMap.

use palier::apiserver::Kind;

use super::{Broken, Look, Monitor, broke};
use crate::stories::SECRET;

/// Looks for the one secret of the stories in all that the controller writes.
pub struct Secrets;

impl Monitor for Secrets {
    fn look(&mut self, look: &Look<'_>, broken: &mut Vec<Broken>) {
        let change = look.change;
        if look.is_ours && change.key.kind != Kind::Secret && change.after.to_string().contains(SECRET) {
            broken.push(broke(look, "P31", format!("{} holds a secret", change.key)));
        }
    }
}
