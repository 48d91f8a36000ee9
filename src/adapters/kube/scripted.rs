//! An API server for tests that says what it is told to say and writes down what it was asked.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use super::call::Cluster;
use crate::adapters::clock::Clock;

/// A request as it arrived.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// Method and path with its query.
    pub line: String,
    /// The `content-type` header.
    pub content_type: String,
    /// The body; null if there is none.
    pub body: Value,
}

/// What was asked so far.
#[derive(Clone, Debug, Default)]
pub struct Script {
    asked: Arc<Mutex<Vec<Asked>>>,
    answers: Arc<Mutex<VecDeque<(u16, Value)>>>,
}

impl Script {
    /// Adds an answer.
    pub fn say(&self, status: u16, body: Value) {
        self.answers.lock().unwrap().push_back((status, body));
    }

    /// Adds a refusal.
    pub fn refuse(&self, status: u16, reason: &str) {
        let body = json!({"kind": "Status", "status": "Failure", "code": status, "reason": reason, "message": reason});
        self.say(status, body);
    }

    /// Takes what was asked since the last call.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    /// Takes the lines of what was asked since the last call.
    pub fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }
}

/// A cluster that follows a script; when the script has nothing more to say it never answers.
pub fn cluster(deadline: Duration) -> (Cluster, Script) {
    let script = Script::default();
    let seen = script.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let script = seen.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await.unwrap();
            script.asked.lock().unwrap().push(Asked {
                line: format!("{} {}", parts.method, parts.uri),
                content_type: parts
                    .headers
                    .get("content-type")
                    .map_or(String::new(), |it| it.to_str().unwrap().to_owned()),
                body: if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() },
            });
            let answer = script.answers.lock().unwrap().pop_front();
            let Some((status, body)) = answer else {
                std::future::pending::<()>().await;
                unreachable!("pending for ever")
            };
            let body = Body::from(body.to_string().into_bytes());
            Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap())
        }
    });
    (Cluster::new(Client::new(service, "default"), deadline, Clock::system()), script)
}

/// A recorded object.
pub fn recorded(name: &str) -> Value {
    let path = format!("{}/tests/fixtures/kube/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}
