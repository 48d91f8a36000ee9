//! One of the two servers, with what was learnt from it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result};
use http::Request;
use kube::client::Body;
use serde_json::{Value, json};

use super::mask::Mask;
use super::script::{Asked, Watch};

/// An answer, masked.
#[derive(Debug, PartialEq)]
pub struct Reply {
    pub code: u16,
    pub body: Value,
}

impl fmt::Display for Reply {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.body.to_string();
        text.truncate(text.char_indices().nth(700).map_or(text.len(), |(end, _)| end));
        write!(out, "{} {text}", self.code)
    }
}

pub struct Side {
    client: kube::Client,
    mask: Mask,
    /// Identity and versions of objects, by collection and name.
    known: BTreeMap<String, Known>,
    token: String,
    begun: String,
}

#[derive(Clone, Default)]
struct Known {
    uid: String,
    versions: Vec<String>,
}

impl Side {
    pub fn new(client: kube::Client) -> Self {
        Self {
            client,
            mask: Mask::default(),
            known: BTreeMap::new(),
            token: String::new(),
            begun: String::new(),
        }
    }

    /// Makes the namespace, and notes the version at which it begins.
    pub async fn begin(&mut self, namespace: &str) -> Result<()> {
        let manifest = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        let (code, body) =
            self.raw("POST", "/api/v1/namespaces", "application/json", Some(&manifest)).await?;
        anyhow::ensure!(code == 201, "{body}");
        self.begun = body["metadata"]["resourceVersion"].as_str().context("a version")?.to_owned();
        Ok(())
    }

    /// Sends a request in the words of this side.
    pub async fn send(&mut self, asked: &Asked) -> Result<Reply> {
        let known = self.known.get(&asked.about).cloned().unwrap_or_default();
        let (path, body) = (self.filled(&asked.line, &known), asked.body.as_ref());
        let body = body.map(|body| self.filled(&body.to_string(), &known));
        let body: Option<Value> = body.map(|text| serde_json::from_str(&text)).transpose()?;
        let (code, body) = self.raw(asked.method, &path, asked.media, body.as_ref()).await?;
        self.learn(asked, &body);
        let mut body = body;
        if asked.line.contains("dryRun")
            && let Some(metadata) = body["metadata"].as_object_mut()
        {
            metadata.remove("resourceVersion");
        }
        Ok(Reply { code, body: self.mask.mask(body) })
    }

    /// What a watch from the beginning tells within a second.
    pub async fn watch(&self, watch: &Watch) -> Result<Vec<Value>> {
        let version = if watch.from_the_beginning { self.begun.clone() } else { "1".to_owned() };
        let line = format!("{}&resourceVersion={version}&timeoutSeconds=1", watch.line);
        let request = Request::get(&line).body(Body::empty())?;
        let answer = self.client.send(request).await?;
        let text = tokio::time::timeout(Duration::from_secs(5), answer.into_body().collect_bytes()).await??;
        let lines = std::str::from_utf8(&text)?.lines();
        let mut events = lines.map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
        events.retain(|event| event["type"] != "BOOKMARK");
        Ok(events)
    }

    /// The same events, masked.
    pub fn masked(&mut self, events: Vec<Value>) -> Vec<Value> {
        let masked = |mut event: Value| {
            event["object"] = self.mask.mask(event["object"].take());
            event
        };
        events.into_iter().map(masked).collect()
    }

    async fn raw(&self, method: &str, line: &str, media: &str, body: Option<&Value>) -> Result<(u16, Value)> {
        let bytes = body.map_or_else(Vec::new, |body| body.to_string().into_bytes());
        let request = Request::builder().method(method).uri(line).header("content-type", media);
        let answer = self.client.send(request.body(Body::from(bytes))?).await?;
        let code = answer.status().as_u16();
        let bytes = answer.into_body().collect_bytes().await?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Ok((code, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    fn filled(&self, text: &str, known: &Known) -> String {
        let last = known.versions.last().map_or("1", String::as_str);
        let old = known.versions.iter().rev().nth(1).map_or("1", String::as_str);
        let nobody = "00000000-0000-0000-0000-00000000dead";
        let uid = if known.uid.is_empty() { nobody } else { &known.uid };
        text.replace("{uid}", uid)
            .replace("{version}", last)
            .replace("{old}", old)
            .replace("{begun}", &self.begun)
            .replace("{token}", &self.token)
    }

    fn learn(&mut self, asked: &Asked, body: &Value) {
        let metadata = &body["metadata"];
        if let Some(token) = metadata["continue"].as_str() {
            // Tokens stand in queries.
            self.token = url::form_urlencoded::byte_serialize(token.as_bytes()).collect();
        }
        let (Some(uid), Some(version)) = (metadata["uid"].as_str(), metadata["resourceVersion"].as_str())
        else {
            return;
        };
        if asked.line.contains("dryRun") {
            return;
        }
        let known = self.known.entry(asked.about.clone()).or_default();
        known.uid = uid.to_owned();
        if known.versions.last().map(String::as_str) != Some(version) {
            known.versions.push(version.to_owned());
        }
    }
}
