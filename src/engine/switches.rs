//! Feature switches: what a switch is now, what it is to be, and the ConfigMaps as one decision wants them.

use std::collections::BTreeMap;

use crate::api::{Switch, SwitchStatus};

use super::plan::Write;
use super::splice::{self, PlaceError};
use super::world::{ConfigMapSeen, Look, World};

/// The longest former value that is remembered, in bytes: the status of a Rollout has to stay small.
pub(super) const FOUND_MAX: usize = 16_384;
/// The longest value that is set, in bytes.
const SET_MAX: usize = 4_096;

/// Why a switch cannot be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SwitchError {
    /// There is no such ConfigMap.
    #[error("there is no ConfigMap {0}: create it or correct the name")]
    NoConfigMap(String),
    /// It cannot be changed.
    #[error("the ConfigMap {0} is immutable: replace it by one that is not")]
    Immutable(String),
    /// A pointer into a key that is not there.
    #[error("the ConfigMap {0} has no key {1} for the pointer to lead into: add it or correct the key")]
    NoKey(String, String),
    /// A pointer that leads nowhere.
    #[error("the key {key} of the ConfigMap {config_map}: {error}")]
    Place {
        /// Name of the ConfigMap.
        config_map: String,
        /// The key.
        key: String,
        /// Why.
        error: PlaceError,
    },
    /// What is there now is too long to be remembered.
    #[error(
        "what the key {1} of the ConfigMap {0} holds now is longer than {FOUND_MAX} bytes, more than can be remembered: \
         use a pointer to the switch in it"
    )]
    TooLong(String, String),
    /// The JSON to set is none.
    #[error("json is no JSON value: {0}")]
    NotJson(String),
    /// What is to be set is too long once it is written as JSON.
    #[error("value is longer than {SET_MAX} bytes when it is written as JSON: shorten it")]
    LongValue,
}

/// What a switch sets: the text of its key, or JSON for its pointer.
///
/// # Errors
/// When `json` is no JSON value, or the value is too long.
pub(super) fn text_to_set(switch: &Switch) -> Result<String, SwitchError> {
    let text = match (&switch.pointer, &switch.json, &switch.value) {
        (Some(_), Some(json), _) => {
            let json = json.trim();
            let read = serde_json::from_str::<serde_json::Value>(json);
            read.map_err(|error| SwitchError::NotJson(error.to_string()))?;
            json.to_owned()
        }
        (Some(_), None, value) => serde_json::Value::from(value.clone().unwrap_or_default()).to_string(),
        (None, _, value) => value.clone().unwrap_or_default(),
    };
    if text.len() > SET_MAX { Err(SwitchError::LongValue) } else { Ok(text) }
}

/// What a place in a ConfigMap holds: the text of the key, or the JSON at the pointer as it is written there. `None` if
/// nothing is there but could be.
///
/// # Errors
/// When the place cannot be: see [`SwitchError`].
pub(super) fn present<'w>(
    config_map: &'w ConfigMapSeen,
    key: &str,
    pointer: Option<&str>,
) -> Result<Option<&'w str>, SwitchError> {
    let text = config_map.data.get(key);
    let Some(pointer) = pointer else { return Ok(text.map(String::as_str)) };
    let (name, key) = (config_map.at.name.clone(), key.to_owned());
    let Some(text) = text else { return Err(SwitchError::NoKey(name, key)) };
    splice::value_at(text, pointer).map_err(|error| SwitchError::Place { config_map: name, key, error })
}

/// Whether a switch holds this value now; JSON is compared by what it means.
pub(super) fn holds(switch: &SwitchStatus, now: Option<&str>, value: Option<&str>) -> bool {
    match (now, value) {
        (Some(now), Some(value)) if switch.pointer.is_some() => splice::is_same(now, value),
        (now, value) => now == value,
    }
}

/// The record of a switch, made from what was looked at.
///
/// # Errors
/// When it cannot be set, or what is there is too long to be remembered.
pub(super) fn record(switch: &Switch, config_map: &ConfigMapSeen) -> Result<SwitchStatus, SwitchError> {
    if config_map.is_immutable {
        return Err(SwitchError::Immutable(switch.config_map.clone()));
    }
    let set = text_to_set(switch)?;
    let found = present(config_map, &switch.key, switch.pointer.as_deref())?;
    if found.is_some_and(|found| found.len() > FOUND_MAX) {
        return Err(SwitchError::TooLong(switch.config_map.clone(), switch.key.clone()));
    }
    Ok(SwitchStatus {
        config_map: switch.config_map.clone(),
        uid: config_map.at.uid.clone(),
        key: switch.key.clone(),
        pointer: switch.pointer.clone(),
        set,
        found: found.map(str::to_owned),
        ..SwitchStatus::default()
    })
}

/// Where a switch is, for people. Never its value.
pub(super) fn name_of(switch: &SwitchStatus) -> String {
    let SwitchStatus { config_map, key, .. } = switch;
    let pointer = switch.pointer.as_deref().unwrap_or_default();
    format!("{config_map}/{key}{}{pointer}", if pointer.is_empty() { "" } else { "#" })
}

/// Whether two places are one, or one is within the other.
pub(super) fn overlap(one: &Switch, other: &Switch) -> bool {
    if (&one.config_map, &one.key) != (&other.config_map, &other.key) {
        return false;
    }
    let (Some(one), Some(other)) = (&one.pointer, &other.pointer) else { return true };
    let within = |inner: &str, outer: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    within(one, other) || within(other, one)
}

/// What was found of a ConfigMap.
pub(super) enum Sight<'w> {
    /// It has to be looked at first.
    Unseen,
    /// The API server refuses the look, in its words.
    Refused(&'w str),
    /// It is not there.
    Gone,
    /// There it is.
    Seen(&'w ConfigMapSeen),
}

/// What is known of a ConfigMap.
pub(super) fn sight<'w>(world: &'w World, name: &str) -> Sight<'w> {
    match (world.config_maps.get(name), world.refusals.get(name)) {
        (Some(Look::Found(seen)), _) => Sight::Seen(seen),
        (Some(Look::Missing), _) => Sight::Gone,
        (_, Some(words)) => Sight::Refused(words),
        _ => Sight::Unseen,
    }
}

/// The ConfigMaps as one decision wants them: every change of one ConfigMap goes into one write.
#[derive(Default)]
pub(super) struct Drafts<'w> {
    drafts: BTreeMap<String, (&'w ConfigMapSeen, BTreeMap<String, Option<String>>)>,
}

impl<'w> Drafts<'w> {
    /// Sets a switch to a value, or takes it out (`None`).
    ///
    /// # Errors
    /// When there is no such place.
    pub fn set(
        &mut self,
        config_map: &'w ConfigMapSeen,
        switch: &SwitchStatus,
        to: Option<&str>,
    ) -> Result<(), SwitchError> {
        let (_, texts) =
            self.drafts.entry(switch.config_map.clone()).or_insert_with(|| (config_map, BTreeMap::new()));
        let text = texts.get(&switch.key).cloned();
        let text = text.unwrap_or_else(|| config_map.data.get(&switch.key).cloned());
        let wanted = match (&switch.pointer, text) {
            (None, _) => to.map(str::to_owned),
            (Some(_), None) => {
                return Err(SwitchError::NoKey(switch.config_map.clone(), switch.key.clone()));
            }
            (Some(pointer), Some(text)) => {
                let spliced = match to {
                    Some(value) => splice::put(&text, pointer, value),
                    None => splice::take_out(&text, pointer),
                };
                let (config_map, key) = (switch.config_map.clone(), switch.key.clone());
                Some(spliced.map_err(|error| SwitchError::Place { config_map, key, error })?)
            }
        };
        texts.insert(switch.key.clone(), wanted);
        Ok(())
    }

    /// The writes, one for each ConfigMap that is to change.
    pub fn into_writes(self) -> Vec<Write> {
        let write = |(config_map, texts): (&ConfigMapSeen, BTreeMap<String, Option<String>>)| {
            let changes: Vec<_> =
                texts.into_iter().filter(|(key, text)| config_map.data.get(key) != text.as_ref()).collect();
            let is_empty = config_map.data.is_empty();
            (!changes.is_empty()).then(|| Write::SetConfigMap {
                config_map: config_map.at.clone(),
                is_empty,
                changes,
            })
        };
        self.drafts.into_values().filter_map(write).collect()
    }
}
