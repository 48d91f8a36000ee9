//! What goes back to the client.

use axum::body::{Body, Bytes};
use http::Response;
use serde_json::{Value, json};

use super::refusal::Refusal;
use super::request::Unserved;

/// An answer with a body of known length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub code: u16,
    /// The body.
    pub body: Bytes,
    /// `content-type`.
    pub media: &'static str,
    /// Seconds of `Retry-After`.
    pub retry_after: Option<u32>,
}

const JSON: &str = "application/json";

impl Answer {
    /// An answer with an object.
    #[must_use]
    pub fn json(code: u16, body: &Value) -> Self {
        Self::text(code, Bytes::from(body.to_string()))
    }

    /// An answer with an object that is written down already.
    #[must_use]
    pub const fn text(code: u16, body: Bytes) -> Self {
        Self { code, body, media: JSON, retry_after: None }
    }

    /// The answer to a path that is not served.
    #[must_use]
    pub const fn no_such_path() -> Self {
        let body = Bytes::from_static(b"404 page not found\n");
        Self { code: 404, body, media: "text/plain; charset=utf-8", retry_after: None }
    }

    /// As HTTP.
    #[must_use]
    pub fn into_response(self) -> Response<Body> {
        let mut answer = Response::new(Body::from(self.body));
        *answer.status_mut() = http::StatusCode::from_u16(self.code).unwrap_or_default();
        let headers = answer.headers_mut();
        headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(self.media));
        if let Some(seconds) = self.retry_after {
            headers.insert(http::header::RETRY_AFTER, seconds.into());
        }
        answer
    }
}

impl From<Unserved> for Answer {
    fn from(unserved: Unserved) -> Self {
        let plain = |code, reason, why: &str| {
            Self::from(Refusal { details: json!({}), ..Refusal::new(code, reason, why) })
        };
        match unserved {
            Unserved::Path => Self::no_such_path(),
            Unserved::Resource => plain(404, "NotFound", "the server could not find the requested resource"),
            Unserved::Part(key) => Refusal::not_found(&key.to_string()).about(&key).into(),
            Unserved::Method => plain(
                405,
                "MethodNotAllowed",
                "the server does not allow this method on the requested resource",
            ),
        }
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        let answer = Self::json(refusal.code, &refusal.status());
        Self { retry_after: refusal.retry_after, ..answer }
    }
}
