//! One object as it comes off the wire, turned into a small value at once.
//!
//! The API server's objects are large (pod templates, managed fields); what decisions need of them is not. A [`Row`]
//! is deserialized in place of the object, so that the large form of only one object exists at a time, in lists of
//! any length too. A body that does not fit its kind makes a row without a view: it is reported and skipped, and
//! never ends a watch.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Debug;

use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::engine::world::Seen;

/// What is kept of one kind of object.
pub trait View: Sized + Clone + Debug + Send + Sync + 'static {
    /// API group; empty for the core group.
    const GROUP: &'static str;
    /// API version.
    const VERSION: &'static str;
    /// Kind.
    const KIND: &'static str;
    /// Plural name in paths.
    const PLURAL: &'static str;

    /// Takes what is kept. The error says which field does not fit.
    ///
    /// # Errors
    /// When a field that decisions rest on is absent or of another type.
    fn of(whole: Whole) -> Result<Self, String>;

    /// Identity and version.
    fn at(&self) -> &Seen;

    /// The Rollout that the object belongs to by label or by field; `None` when it says nothing of the kind.
    fn rollout(&self) -> Option<&str>;

    /// Whether the watch of this kind delivers the object. An object that lost the label is no longer delivered,
    /// so it must not stay in a store either.
    fn is_watched(&self) -> bool {
        self.rollout().is_some()
    }
}

/// An object with its metadata read and the rest as JSON.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Whole {
    /// The metadata that matters.
    pub metadata: Meta,
    /// `spec`.
    pub spec: Value,
    /// `status`.
    pub status: Value,
    /// `endpoints` of an EndpointSlice.
    pub endpoints: Value,
    /// `data` of a ConfigMap.
    pub data: Value,
    /// `immutable` of a ConfigMap.
    pub immutable: Value,
}

/// The metadata that matters.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    /// Name.
    pub name: String,
    /// Namespace; empty for a cluster-wide object.
    pub namespace: String,
    /// Uid.
    pub uid: String,
    /// Version.
    pub resource_version: String,
    /// Generation of the spec.
    pub generation: i64,
    /// When it was created.
    pub creation_timestamp: Option<Timestamp>,
    /// When its deletion was asked.
    pub deletion_timestamp: Option<Timestamp>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Finalizers.
    pub finalizers: Vec<String>,
    /// Owners.
    pub owner_references: Vec<Owner>,
}

/// An owner of an object.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Owner {
    /// Its uid.
    pub uid: String,
    /// Whether it controls the object.
    pub controller: bool,
}

impl Meta {
    /// Identity and version.
    #[must_use]
    pub fn seen(&self) -> Seen {
        Seen {
            name: self.name.clone(),
            uid: self.uid.clone(),
            resource_version: self.resource_version.clone(),
        }
    }

    /// Uid of the controlling owner.
    #[must_use]
    pub fn controller_uid(&self) -> Option<String> {
        self.owner_references.iter().find(|owner| owner.controller).map(|owner| owner.uid.clone())
    }

    /// Whether deletion was asked.
    #[must_use]
    pub const fn is_deleting(&self) -> bool {
        self.deletion_timestamp.is_some()
    }
}

/// An object off the wire, in small.
#[derive(Clone, Debug)]
pub struct Row<V> {
    meta: ObjectMeta,
    /// What is kept of it, or why it cannot be read.
    pub view: Result<V, String>,
}

impl<V> Row<V> {
    /// Namespace; empty for a cluster-wide object.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.meta.namespace.as_deref().unwrap_or_default()
    }

    /// Name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.meta.name.as_deref().unwrap_or_default()
    }

    /// Uid.
    #[must_use]
    pub fn uid(&self) -> &str {
        self.meta.uid.as_deref().unwrap_or_default()
    }

    /// Identity and version.
    #[must_use]
    pub fn seen(&self) -> Seen {
        Seen {
            name: self.name().to_owned(),
            uid: self.uid().to_owned(),
            resource_version: self.resource_version().to_owned(),
        }
    }

    /// Version.
    #[must_use]
    pub fn resource_version(&self) -> &str {
        self.meta.resource_version.as_deref().unwrap_or_default()
    }
}

impl<'de, V: View> Deserialize<'de> for Row<V> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let whole = Whole::deserialize(from)?;
        if whole.metadata.name.is_empty() || whole.metadata.uid.is_empty() {
            return Err(D::Error::custom("an object without a name or a uid"));
        }
        let meta = ObjectMeta {
            name: Some(whole.metadata.name.clone()),
            namespace: Some(whole.metadata.namespace.clone()).filter(|it| !it.is_empty()),
            uid: Some(whole.metadata.uid.clone()),
            resource_version: Some(whole.metadata.resource_version.clone()),
            ..ObjectMeta::default()
        };
        Ok(Row { meta, view: V::of(whole) })
    }
}

impl<V: View> Resource for Row<V> {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        V::KIND.into()
    }
    fn group((): &()) -> Cow<'_, str> {
        V::GROUP.into()
    }
    fn version((): &()) -> Cow<'_, str> {
        V::VERSION.into()
    }
    fn plural((): &()) -> Cow<'_, str> {
        V::PLURAL.into()
    }
    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}
