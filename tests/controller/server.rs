//! An API server in memory: objects with versions, lists, and watches that stay open and silent.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

/// What is stored and what was asked.
#[derive(Clone, Default)]
pub struct Server {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    version: u64,
    /// Objects by path.
    objects: BTreeMap<String, Value>,
    /// Groups that are not served.
    missing: BTreeSet<String>,
    asked: Vec<String>,
    is_down: bool,
}

impl Server {
    /// A client of this server.
    pub fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        Client::new(service, "default")
    }

    /// Leaves out an API group.
    pub fn without(&self, group: &str) {
        self.state.lock().unwrap().missing.insert(group.to_owned());
    }

    /// From now on every request fails.
    pub fn go_down(&self) {
        self.state.lock().unwrap().is_down = true;
    }

    /// Stores an object.
    pub fn put(&self, path: &str, mut object: Value) {
        let mut state = self.state.lock().unwrap();
        state.version += 1;
        object["metadata"]["resourceVersion"] = state.version.to_string().into();
        state.objects.insert(path.to_owned(), object);
    }

    /// A stored object.
    pub fn get(&self, path: &str) -> Option<Value> {
        self.state.lock().unwrap().objects.get(path).cloned()
    }

    /// Method and path of everything that was asked, without queries.
    pub fn asked(&self) -> Vec<String> {
        self.state.lock().unwrap().asked.clone()
    }

    async fn answer(&self, request: Request<Body>) -> Response<axum::body::Body> {
        let (parts, body) = request.into_parts();
        let (path, query) = (parts.uri.path().to_owned(), parts.uri.query().unwrap_or_default().to_owned());
        let bytes = body.collect_bytes().await.unwrap();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        if query.contains("watch=true") {
            // Open and silent, for as long as somebody listens.
            let silence = futures::stream::pending::<Result<Vec<u8>, Infallible>>();
            return Response::new(axum::body::Body::from_stream(silence));
        }
        let (status, body) = self.decide(&parts.method, &path, body);
        let body = axum::body::Body::from(body.to_string());
        Response::builder().status(status).body(body).unwrap()
    }

    fn decide(&self, method: &Method, path: &str, body: Value) -> (StatusCode, Value) {
        let mut state = self.state.lock().unwrap();
        state.asked.push(format!("{method} {path}"));
        if state.is_down {
            return refusal(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable");
        }
        if state.missing.iter().any(|group| path.contains(group.as_str())) {
            return refusal(StatusCode::NOT_FOUND, "NotFound");
        }
        match *method {
            Method::POST => {
                let name = body["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                state.store(format!("{path}/{name}"), body)
            }
            Method::PUT => {
                let stored = state.objects.get(path).map(|it| it["metadata"]["resourceVersion"].clone());
                if stored.as_ref() != Some(&body["metadata"]["resourceVersion"]) {
                    return refusal(StatusCode::CONFLICT, "Conflict");
                }
                state.store(path.to_owned(), body)
            }
            _ => state.read(path),
        }
    }
}

impl State {
    fn store(&mut self, path: String, mut object: Value) -> (StatusCode, Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.objects.insert(path, object.clone());
        (StatusCode::OK, object)
    }

    fn read(&self, path: &str) -> (StatusCode, Value) {
        if let Some(object) = self.objects.get(path) {
            return (StatusCode::OK, object.clone());
        }
        let is_list = path.rsplit('/').next().is_some_and(|last| last.ends_with('s') && !last.contains('-'));
        if !is_list {
            return refusal(StatusCode::NOT_FOUND, "NotFound");
        }
        let below = |key: &&String| {
            let (head, plural) = path.rsplit_once('/').unwrap_or_default();
            key.starts_with(head) && key.rsplit('/').nth(1) == Some(plural)
        };
        let items: Vec<&Value> = self.objects.keys().filter(below).map(|key| &self.objects[key]).collect();
        let version = (self.version + 1).to_string();
        (StatusCode::OK, json!({"kind": "List", "metadata": {"resourceVersion": version}, "items": items}))
    }
}

fn refusal(status: StatusCode, reason: &str) -> (StatusCode, Value) {
    let body = json!({
        "kind": "Status", "status": "Failure", "code": status.as_u16(), "reason": reason, "message": reason,
    });
    (status, body)
}
