//! Requests to the API server: each with a deadline, none repeated by itself, and an outcome that callers can act on.

use std::time::Duration;

use http::Request;
use jiff::Timestamp;
use kube::Client;
use kube::api::{ListParams, Preconditions, PropagationPolicy};
use kube::core::Status;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::row::{Row, View};
use crate::adapters::clock::Clock;
use crate::api::names::FIELD_MANAGER;
use crate::engine::flaw::{self, Flaw};
use crate::engine::world::Seen;

/// The largest number of objects in one list.
const LIST_LIMIT: u32 = 500;

/// Why a request did not do what it was for.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// 404: it is not there (any more).
    #[error("{0} is not there")]
    NotFound(String),
    /// 409: somebody else changed it since it was looked at.
    #[error("{0} was changed by somebody else meanwhile")]
    Conflict(String),
    /// 409: something of that name is there already.
    #[error("{0} is there already")]
    AlreadyExists(String),
    /// 401 or 403: a right is missing.
    #[error("the API server forbids it: {message}; give Palier's ServiceAccount the verb '{verb}' on {what}")]
    Forbidden {
        /// What it was about.
        what: String,
        /// The verb that RBAC speaks of.
        verb: &'static str,
        /// The server's words.
        message: String,
    },
    /// 400 or 422: the API server or an admission policy refuses the object.
    #[error("the API server refuses {what}: {message}")]
    Refused {
        /// What it was about.
        what: String,
        /// The server's words.
        message: String,
    },
    /// No answer, or one that cannot be read: whether it was done is not known.
    #[error("no answer about {what} within {}: {message}; whether it was done is not known", .after.as_secs_f32())]
    Lost {
        /// What it was about.
        what: String,
        /// The deadline.
        after: Duration,
        /// What went wrong.
        message: String,
    },
    /// 429 or 5xx: the API server is in trouble; nothing is known to be done.
    #[error("the API server cannot serve {what} now ({code}): {message}")]
    Unavailable {
        /// What it was about.
        what: String,
        /// The HTTP status.
        code: u16,
        /// The server's words.
        message: String,
    },
    /// The request could not be written down.
    #[error("the request about {what} cannot be built: {message}")]
    Unsendable {
        /// What it was about.
        what: String,
        /// What went wrong.
        message: String,
    },
}

impl CallError {
    /// Whether the answer only says that the world is not as it was seen: look again and decide again.
    #[must_use]
    pub const fn is_outdated_view(&self) -> bool {
        matches!(self, Self::NotFound(_) | Self::Conflict(_) | Self::AlreadyExists(_))
    }

    /// A fixed word for metrics.
    #[must_use]
    pub const fn category(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "not_found",
            Self::Conflict(_) => "conflict",
            Self::AlreadyExists(_) => "already_exists",
            Self::Forbidden { .. } => "forbidden",
            Self::Refused { .. } => "refused",
            Self::Lost { .. } => "lost",
            Self::Unavailable { .. } => "unavailable",
            Self::Unsendable { .. } => "unsendable",
        }
    }
}

/// The API server.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    deadline: Duration,
    clock: Clock,
}

impl Cluster {
    /// The API server behind `client`, whose answers are awaited for `deadline`. The client must not repeat requests.
    #[must_use]
    pub const fn new(client: Client, deadline: Duration, clock: Clock) -> Self {
        Self { client, deadline, clock }
    }

    /// The time of day, by the clock of this process.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The client, for watches.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// The clock of this process.
    #[must_use]
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// How long an answer is awaited.
    #[must_use]
    pub const fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Reads one object from the API server.
    ///
    /// # Errors
    /// See [`CallError`]; that it is not there is one of them.
    pub async fn get<T: DeserializeOwned>(&self, at: &Path) -> Result<T, CallError> {
        self.send("get", at, Request::get(at.object()), Vec::new()).await
    }

    /// Reads the objects that `labels` and `fields` select, one page of at most 500.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn list<T: DeserializeOwned>(
        &self,
        at: &Path,
        labels: &str,
        fields: &str,
        limit: Option<u32>,
    ) -> Result<Page<T>, CallError> {
        let limit = limit.unwrap_or(LIST_LIMIT).min(LIST_LIMIT);
        let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let params = ListParams {
            label_selector: given(labels),
            field_selector: given(fields),
            limit: Some(limit),
            ..ListParams::default()
        };
        let request = kube::core::Request::new(at.collection()).list(&params);
        let request = request.map_err(|error| at.unsendable(&error))?;
        self.send("list", at, builder_of(&request), Vec::new()).await
    }

    /// Creates an object.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn create<T: DeserializeOwned>(&self, at: &Path, object: &Value) -> Result<T, CallError> {
        let uri = format!("{}?fieldManager={FIELD_MANAGER}", at.collection());
        let request = Request::post(uri).header("content-type", "application/json");
        self.send("create", at, request, object.to_string().into_bytes()).await
    }

    /// Replaces an object by one that carries the version which was looked at.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn replace<T: DeserializeOwned>(&self, at: &Path, object: &Value) -> Result<T, CallError> {
        let uri = format!("{}?fieldManager={FIELD_MANAGER}", at.object());
        let request = Request::put(uri).header("content-type", "application/json");
        self.send("update", at, request, object.to_string().into_bytes()).await
    }

    /// Patches an object, or its `subresource`.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn patch<T: DeserializeOwned>(
        &self,
        at: &Path,
        subresource: &str,
        patch: &Patch,
    ) -> Result<T, CallError> {
        let uri = format!("{}{subresource}?fieldManager={FIELD_MANAGER}", at.object());
        let request = Request::patch(uri).header("content-type", patch.content_type());
        self.send("patch", at, request, patch.body().to_string().into_bytes()).await
    }

    /// Deletes an object if it still is the one that was looked at.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn delete<V: View>(
        &self,
        at: &Path,
        seen: &Seen,
        propagation: PropagationPolicy,
    ) -> Result<Deleted<V>, CallError> {
        let answer = self.send_delete(at, seen, propagation).await?;
        // The answer is a Status, or the object: as it was if it is gone, with the time of its deletion if it waits.
        if answer.pointer("/metadata/deletionTimestamp").is_none() {
            return Ok(Deleted::Gone);
        }
        Ok(serde_json::from_value::<Box<Row<V>>>(answer).map_or(Deleted::Gone, Deleted::Going))
    }

    /// Deletes an object without finalizers and of no interest if it still is the one that was looked at.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn remove(&self, at: &Path, seen: &Seen) -> Result<(), CallError> {
        self.send_delete(at, seen, PropagationPolicy::Background).await.map(drop)
    }

    async fn send_delete(
        &self,
        at: &Path,
        seen: &Seen,
        propagation: PropagationPolicy,
    ) -> Result<Value, CallError> {
        let params = kube::api::DeleteParams {
            propagation_policy: Some(propagation),
            preconditions: (!flaw::is(Flaw::DeleteByName)).then(|| Preconditions {
                uid: Some(seen.uid.clone()),
                resource_version: Some(seen.resource_version.clone()),
            }),
            ..Default::default()
        };
        let body = serde_json::to_vec(&params).map_err(|error| at.unsendable(&error))?;
        let request = Request::delete(at.object()).header("content-type", "application/json");
        self.send("delete", at, request, body).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        verb: &'static str,
        at: &Path,
        request: http::request::Builder,
        body: Vec<u8>,
    ) -> Result<T, CallError> {
        let request = request.body(body).map_err(|error| at.unsendable(&error))?;
        match tokio::time::timeout(self.deadline, self.client.request::<T>(request)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(kube::Error::Api(status))) => Err(at.error_of(verb, &status)),
            Ok(Err(error)) => Err(at.lost(self.deadline, &error.to_string())),
            Err(_) => Err(at.lost(self.deadline, "the deadline has passed")),
        }
    }
}

/// What became of a deleted object.
#[derive(Debug)]
pub enum Deleted<V> {
    /// It is gone.
    Gone,
    /// It goes when its finalizers are done.
    Going(Box<Row<V>>),
}

/// One page of a list.
#[derive(Debug, Deserialize)]
pub struct Page<T> {
    /// The objects.
    pub items: Vec<T>,
}

/// A patch, as JSON.
#[derive(Clone, Debug, PartialEq)]
pub enum Patch {
    /// RFC 7386.
    Merge(Value),
    /// RFC 6902.
    Json(Value),
    /// Kubernetes' own, for built-in kinds: lists of owners are merged by uid.
    Strategic(Value),
}

impl Patch {
    /// A merge patch that the API server refuses (409) unless the object is still the one that was looked at.
    #[must_use]
    pub fn merge(seen: &Seen, body: Value) -> Self {
        Self::Merge(conditional(seen, body))
    }

    /// A strategic merge patch that the API server refuses (409) unless the object is still the one that was looked at.
    #[must_use]
    pub fn strategic(seen: &Seen, body: Value) -> Self {
        Self::Strategic(conditional(seen, body))
    }

    /// A JSON patch that the API server refuses (409) unless the object is still the one that was looked at.
    ///
    /// `replace` of the version is what makes it a precondition with an answer of its own; a failed `test` is answered
    /// with 422, as a bad patch is.
    #[must_use]
    pub fn json(seen: &Seen, operations: Vec<Value>) -> Self {
        let replace =
            |path: &str, value: &str| serde_json::json!({"op": "replace", "path": path, "value": value});
        let mut all = vec![replace("/metadata/uid", &seen.uid)];
        if !flaw::is(Flaw::WriteWithoutVersion) {
            all.push(replace("/metadata/resourceVersion", &seen.resource_version));
        }
        all.extend(operations);
        Self::Json(Value::Array(all))
    }

    /// A JSON patch that the API server refuses unless the object's spec is still the one that was looked at: 409 for
    /// another object, 422 for another generation.
    #[must_use]
    pub fn of_generation(seen: &Seen, generation: i64, operations: Vec<Value>) -> Self {
        let mut all = vec![
            serde_json::json!({"op": "replace", "path": "/metadata/uid", "value": seen.uid}),
            serde_json::json!({"op": "test", "path": "/metadata/generation", "value": generation}),
        ];
        all.extend(operations);
        Self::Json(Value::Array(all))
    }

    const fn content_type(&self) -> &'static str {
        match self {
            Self::Merge(_) => "application/merge-patch+json",
            Self::Json(_) => "application/json-patch+json",
            Self::Strategic(_) => "application/strategic-merge-patch+json",
        }
    }

    const fn body(&self) -> &Value {
        match self {
            Self::Merge(body) | Self::Json(body) | Self::Strategic(body) => body,
        }
    }
}

fn conditional(seen: &Seen, mut body: Value) -> Value {
    body["metadata"]["uid"] = seen.uid.clone().into();
    if !flaw::is(Flaw::WriteWithoutVersion) {
        body["metadata"]["resourceVersion"] = seen.resource_version.clone().into();
    }
    body
}

/// Where an object is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    kind: &'static str,
    plural: String,
    collection: String,
    namespace: String,
    name: String,
}

impl Path {
    /// The object `name` of a kind; in no namespace when `namespace` is empty.
    #[must_use]
    pub fn of<V: View>(namespace: &str, name: &str) -> Self {
        Self::new((V::GROUP, V::VERSION, V::PLURAL, V::KIND), namespace, name)
    }

    /// The object `name` of the kind (group, version, plural, kind).
    #[must_use]
    pub fn new(
        (group, version, plural, kind): (&str, &str, &str, &'static str),
        namespace: &str,
        name: &str,
    ) -> Self {
        let root =
            if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
        let scope = if namespace.is_empty() { String::new() } else { format!("/namespaces/{namespace}") };
        Self {
            kind,
            plural: if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") },
            collection: format!("{root}{scope}/{plural}"),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    /// Name of the object.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn collection(&self) -> String {
        self.collection.clone()
    }

    fn object(&self) -> String {
        format!("{}/{}", self.collection, self.name)
    }

    fn what(&self) -> String {
        let Self { kind, namespace, name, .. } = self;
        if namespace.is_empty() { format!("{kind} {name}") } else { format!("{kind} {namespace}/{name}") }
    }

    fn error_of(&self, verb: &'static str, status: &Status) -> CallError {
        let message = status.message.clone();
        match status.code {
            404 => CallError::NotFound(self.what()),
            409 if status.reason == "AlreadyExists" => CallError::AlreadyExists(self.what()),
            409 => CallError::Conflict(self.what()),
            401 | 403 => {
                let place =
                    if self.namespace.is_empty() { String::new() } else { format!(" in {}", self.namespace) };
                CallError::Forbidden { what: format!("{}{place}", self.plural), verb, message }
            }
            code @ (429 | 500..=599) => CallError::Unavailable { what: self.what(), code, message },
            _ => CallError::Refused { what: self.what(), message },
        }
    }

    fn lost(&self, after: Duration, message: &str) -> CallError {
        CallError::Lost { what: self.what(), after, message: message.to_owned() }
    }

    fn unsendable(&self, error: &dyn std::error::Error) -> CallError {
        CallError::Unsendable { what: self.what(), message: error.to_string() }
    }
}

fn builder_of(request: &Request<Vec<u8>>) -> http::request::Builder {
    Request::builder().method(request.method().clone()).uri(request.uri().clone())
}
