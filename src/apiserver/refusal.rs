//! What the API server says when it does not do what it is asked for.

use serde_json::{Value, json};

use super::store::Key;

/// A refusal, as `meta/v1 Status`.
/// <https://kubernetes.io/docs/reference/generated/kubernetes-api/v1.33/#status-v1-meta>
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code} {reason}: {message}")]
pub struct Refusal {
    /// HTTP status.
    pub code: u16,
    /// `reason`.
    pub reason: &'static str,
    /// `message`.
    pub message: String,
    /// Seconds of `Retry-After`, if the server names them.
    pub retry_after: Option<u32>,
    /// `details`, which say what it is about; null if there are none.
    pub details: Value,
}

impl Refusal {
    /// A refusal with this status, reason and message.
    #[must_use]
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), retry_after: None, details: Value::Null }
    }

    /// 404.
    #[must_use]
    pub fn not_found(what: &str) -> Self {
        Self::new(404, "NotFound", format!("{what} not found"))
    }

    /// 409: the preconditions do not hold.
    #[must_use]
    pub fn conflict(what: &str, why: &str) -> Self {
        Self::new(409, "Conflict", format!("Operation cannot be fulfilled on {what}: {why}"))
    }

    /// 409: the name is taken.
    #[must_use]
    pub fn exists(what: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{what} already exists"))
    }

    /// 400.
    #[must_use]
    pub fn bad_request(why: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", why)
    }

    /// 422: what is asked for is not valid.
    #[must_use]
    pub fn invalid(why: impl Into<String>) -> Self {
        Self::new(422, "Invalid", why)
    }

    /// 403.
    #[must_use]
    pub fn forbidden(why: impl Into<String>) -> Self {
        Self::new(403, "Forbidden", why)
    }

    /// 410: the version is too old to go on from.
    #[must_use]
    pub fn expired(why: impl Into<String>) -> Self {
        Self::new(410, "Expired", why)
    }

    /// The same, with `details` about an object.
    #[must_use]
    pub fn about(mut self, key: &Key) -> Self {
        let facts = key.kind.facts();
        self.details = json!({"kind": facts.plural});
        if !key.name.is_empty() {
            self.details["name"] = key.name.as_str().into();
        }
        if !facts.group.is_empty() {
            self.details["group"] = facts.group.into();
        }
        self
    }

    /// The same, with the seconds after which to ask again.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The body of the answer.
    #[must_use]
    pub fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            status["reason"] = self.reason.into();
        }
        if !self.details.is_null() {
            status["details"] = self.details.clone();
        }
        if let Some(seconds) = self.retry_after {
            status["details"]["retryAfterSeconds"] = seconds.into();
        }
        status
    }
}
