//! ConfigMaps, the people who edit them, and an API server that refuses.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::Inquiry;
use crate::engine::world::{ConfigMapSeen, Look, Seen};

use super::cluster::{Cluster, Conflict};

/// How long a refusal is remembered before it is tried again.
pub(super) const REFUSED_FOR: jiff::SignedDuration = jiff::SignedDuration::from_secs(30);

impl Cluster {
    /// Somebody creates a ConfigMap, or one of that name anew.
    pub fn add_config_map(&mut self, name: &str, data: &[(&str, &str)]) {
        let at = self.fresh(name);
        let data = data.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
        self.config_maps.insert(name.to_owned(), ConfigMapSeen { at, is_immutable: false, data });
    }

    /// Somebody edits a ConfigMap, if it is there.
    pub fn edit_config_map(&mut self, name: &str, edit: impl FnOnce(&mut BTreeMap<String, String>)) {
        let version = self.bump();
        if let Some(found) = self.config_maps.get_mut(name) {
            edit(&mut found.data);
            found.at.resource_version = version;
        }
    }

    /// The text of a key.
    #[must_use]
    pub fn config(&self, name: &str, key: &str) -> Option<&str> {
        self.config_maps.get(name)?.data.get(key).map(String::as_str)
    }

    pub(super) fn config_maps_seen(
        &self,
        looked: &BTreeSet<Inquiry>,
    ) -> BTreeMap<String, Look<ConfigMapSeen>> {
        let names = looked.iter().filter_map(|inquiry| match inquiry {
            Inquiry::ConfigMap(name) => Some(name),
            _ => None,
        });
        let look = |name: &String| self.config_maps.get(name).cloned().map_or(Look::Missing, Look::Found);
        names.map(|name| (name.clone(), look(name))).collect()
    }

    pub(super) fn set_config_map(
        &mut self,
        at: &Seen,
        changes: &[(String, Option<String>)],
        version: String,
    ) -> Result<(), Conflict> {
        if let Some(words) = self.refused_writes.get(&at.name) {
            return Err(Conflict(words.clone()));
        }
        let found = self.config_maps.get_mut(&at.name).filter(|found| found.at == *at);
        let Some(found) = found.filter(|found| !found.is_immutable) else {
            return Err(Conflict(format!("{} is another version", at.name)));
        };
        for (key, text) in changes {
            match text {
                Some(text) => drop(found.data.insert(key.clone(), text.clone())),
                None => drop(found.data.remove(key)),
            }
        }
        found.at.resource_version = version;
        Ok(())
    }
}
