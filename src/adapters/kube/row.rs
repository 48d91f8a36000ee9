//! One object as it comes off the wire, turned into a small value at once.
//!
//! The API server's objects are large (pod templates, managed fields); what decisions need of them is not. A [`Row`]
//! is deserialized in place of the object. A body that does not fit its kind makes a row without a view: it is reported
//! and skipped, and never ends a watch. What a watch tells comes as an [`Arrival`], which is read in full only if it is
//! news: most of it is the echo of our own writes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::marker::PhantomData;

use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

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

/// An object with its metadata read and the rest as it came.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Whole {
    /// The metadata that matters.
    pub metadata: Meta,
    /// `spec`.
    pub spec: Body,
    /// `status`.
    pub status: Body,
    /// `endpoints` of an EndpointSlice.
    pub endpoints: Body,
    /// `data` of a ConfigMap.
    pub data: Body,
    /// `immutable` of a ConfigMap.
    pub immutable: Body,
}

/// A part of an object as it came off the wire: read when somebody asks for it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct Body(Option<Box<RawValue>>);

impl Body {
    /// Reads it as `T`; what is absent is read as null.
    ///
    /// # Errors
    /// When it does not fit; the words begin with `field`.
    pub fn read<T: DeserializeOwned>(&self, field: &str) -> Result<T, String> {
        let text = self.0.as_deref().map_or("null", RawValue::get);
        serde_json::from_str(text).map_err(|error| format!("{field}: {error}"))
    }

    /// Reads it as JSON.
    ///
    /// # Errors
    /// When it is nested too deeply to be read.
    pub fn json(&self, field: &str) -> Result<Value, String> {
        self.read(field)
    }

    /// Whether there is nothing.
    #[must_use]
    pub const fn is_absent(&self) -> bool {
        self.0.is_none()
    }
}

/// The metadata that matters.
#[derive(Clone, Debug, Default, Deserialize)]
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
#[derive(Clone, Debug, Default, Deserialize)]
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

/// Which object something speaks of, and in which version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// Namespace; empty for a cluster-wide object.
    pub namespace: &'a str,
    /// Name.
    pub name: &'a str,
    /// Uid.
    pub uid: &'a str,
    /// Version.
    pub version: &'a str,
}

impl<'a> Place<'a> {
    fn of(meta: &'a ObjectMeta) -> Self {
        Self {
            namespace: meta.namespace.as_deref().unwrap_or_default(),
            name: meta.name.as_deref().unwrap_or_default(),
            uid: meta.uid.as_deref().unwrap_or_default(),
            version: meta.resource_version.as_deref().unwrap_or_default(),
        }
    }

    /// Namespace and name.
    #[must_use]
    pub fn key(&self) -> (String, String) {
        (self.namespace.to_owned(), self.name.to_owned())
    }
}

impl<V> Row<V> {
    /// Which object it is, and in which version.
    #[must_use]
    pub fn place(&self) -> Place<'_> {
        Place::of(&self.meta)
    }

    /// Name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.place().name
    }

    /// Identity and version.
    #[must_use]
    pub fn seen(&self) -> Seen {
        let Place { name, uid, version, .. } = self.place();
        Seen { name: name.to_owned(), uid: uid.to_owned(), resource_version: version.to_owned() }
    }
}

impl<'de, V: View> Deserialize<'de> for Row<V> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Arrival::deserialize(from).map(Arrival::open)
    }
}

/// An object that a watch tells of, not read in full yet.
#[derive(Clone, Debug)]
pub struct Arrival<V> {
    meta: ObjectMeta,
    whole: Whole,
    kind: PhantomData<fn() -> V>,
}

impl<V> Arrival<V> {
    /// Which object it is, and in which version.
    #[must_use]
    pub fn place(&self) -> Place<'_> {
        Place::of(&self.meta)
    }
}

impl<V: View> Arrival<V> {
    /// Reads it.
    #[must_use]
    pub fn open(self) -> Row<V> {
        Row { meta: self.meta, view: V::of(self.whole) }
    }
}

impl<'de, V: View> Deserialize<'de> for Arrival<V> {
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
        Ok(Arrival { meta, whole, kind: PhantomData })
    }
}

impl<V: View> Resource for Arrival<V> {
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
