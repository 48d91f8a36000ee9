//! What is sent: requests that a seed chooses, and watches.

use std::fmt;

use serde_json::{Value, json};

use super::chance::Chance;
use super::given::{Given, Sample};

const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
const PATCH: &str = "application/json-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
/// Kinds that one sequence is about.
const KINDS: usize = 3;

/// A request. `{uid}`, `{version}` and `{old}` stand for what the side has last learnt about the object that it is about.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: &'static str,
    pub line: String,
    pub media: &'static str,
    pub body: Option<Value>,
    /// Collection and name.
    pub about: String,
}

impl fmt::Display for Asked {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.method, self.line)?;
        self.body.as_ref().map_or(Ok(()), |body| write!(out, " {} {body}", self.media))
    }
}

/// A watch, without its version.
#[derive(Clone, Debug)]
pub struct Watch {
    pub line: String,
    pub from_the_beginning: bool,
}

/// The watches that are opened when a sequence is over.
pub fn watches(namespace: &str) -> Vec<Watch> {
    let selected = |selector: &str| {
        [
            "/api/v1/namespaces/{}/configmaps",
            "/apis/apps/v1/namespaces/{}/replicasets",
            "/apis/palier.dev/v1alpha1/namespaces/{}/rollouts",
        ]
        .map(|path| Watch {
            line: format!("{}?watch=true{selector}", path.replace("{}", namespace)),
            from_the_beginning: true,
        })
    };
    let mut all = selected("").to_vec();
    all.extend(selected("&labelSelector=tier%3Dweb"));
    all
}

/// The requests of a seed.
pub fn requests(seed: u64, namespace: &str, given: &Given, count: usize) -> Vec<Asked> {
    let mut chance = Chance::of(seed);
    // Those that are watched come often.
    let often = ["configmaps", "replicasets", "rollouts"];
    let first = given.samples.iter().filter(|sample| often.contains(&sample.plural)).collect::<Vec<_>>();
    let mut kinds = vec![*chance.one(&first)];
    while kinds.len() < KINDS {
        let sample = chance.one(&given.samples);
        if kinds.iter().all(|known| known.plural != sample.plural) {
            kinds.push(sample);
        }
    }
    let mut writer = Writer { chance, namespace };
    let mut all = Vec::new();
    for sample in &kinds {
        all.push(writer.create(sample, "a"));
    }
    while all.len() < count {
        let sample = *writer.chance.one(&kinds);
        all.push(writer.request(sample));
    }
    all
}

struct Writer<'a> {
    chance: Chance,
    namespace: &'a str,
}

impl Writer<'_> {
    fn request(&mut self, sample: &Sample) -> Asked {
        let name = *self.chance.one(&["a", "a", "b"]);
        match self.chance.below(100) {
            0..14 => self.create(sample, name),
            14..20 => self.get(sample, name),
            20..30 => self.list(sample),
            30..52 => self.merge(sample, name),
            52..64 => self.json_patch(sample, name),
            64..70 => self.strategic(sample, name),
            70..80 => self.replace(sample, name),
            80..88 => self.status(sample, name),
            _ => self.delete(sample, name),
        }
    }

    fn collection(&self, sample: &Sample) -> String {
        let scope = if sample.namespaced { format!("/namespaces/{}", self.namespace) } else { String::new() };
        format!("{}{scope}/{}", sample.root, sample.plural)
    }

    fn asked(&self, method: &'static str, sample: &Sample, name: &str, tail: &str) -> Asked {
        let slash = if name.is_empty() { String::new() } else { format!("/{name}") };
        Asked {
            method,
            line: format!("{}{slash}{tail}", self.collection(sample)),
            media: JSON,
            body: None,
            about: format!("{}/{name}", sample.plural),
        }
    }

    fn create(&mut self, sample: &Sample, name: &str) -> Asked {
        let mut body = sample.manifest.clone();
        body["metadata"]["name"] = name.into();
        let mut tail = "";
        match self.chance.below(24) {
            0 => body["metadata"]["namespace"] = "elsewhere".into(),
            1 => body["metadata"]["name"] = "Not_a_name".into(),
            2 => drop(body["metadata"].as_object_mut().unwrap().remove("name")),
            3 => body["metadata"]["resourceVersion"] = "5".into(),
            4 => body["metadata"]["uid"] = "{uid}".into(),
            5 if !sample.root.contains('.') => body["kind"] = "Other".into(),
            6 | 7 => body["metadata"]["finalizers"] = json!(["palier.dev/test", "palier.dev/more"]),
            8 => body["metadata"]["finalizers"] = json!(["nobody"]),
            9 => body["metadata"]["ownerReferences"] = json!([owner("1", true), owner("2", true)]),
            10 | 11 => body["metadata"]["ownerReferences"] = json!([owner("1", true), owner("2", false)]),
            12 => tail = "?dryRun=All",
            13 => body["metadata"]["annotations"] = json!({}),
            14 if !sample.status.is_null() => body["status"] = sample.status.clone(),
            _ => {}
        }
        let mut asked = self.asked("POST", sample, "", tail);
        asked.about = format!("{}/{name}", sample.plural);
        Asked { body: Some(body), ..asked }
    }

    fn get(&mut self, sample: &Sample, name: &str) -> Asked {
        if self.chance.percent(10) {
            let mut asked = self.asked("GET", sample, name, "");
            asked.line = asked.line.replace(sample.plural, "strangers");
            return asked;
        }
        self.asked("GET", sample, name, "")
    }

    fn list(&mut self, sample: &Sample) -> Asked {
        let tail = *self.chance.one(&[
            "",
            "?limit=1",
            "?limit=1&continue={token}",
            "?labelSelector=tier%3Dweb",
            "?labelSelector=tier%21%3Dweb%2Capp",
            "?labelSelector=tier+in+%28web%2Cdb%29",
            "?labelSelector=%21tier",
            "?labelSelector=a%3D%3D%3Db",
            "?fieldSelector=metadata.name%3Da",
            "?fieldSelector=spec.nothing%3Da",
            "?resourceVersionMatch=Exact",
            "?resourceVersion={begun}&resourceVersionMatch=Exact",
            "?resourceVersion={version}&resourceVersionMatch=NotOlderThan",
            "?continue=nonsense",
        ]);
        self.asked("GET", sample, "", tail)
    }

    /// Identity and version as they are, as they were, or not said.
    fn precondition(&mut self) -> Value {
        match self.chance.below(8) {
            0 => json!({"resourceVersion": "{old}"}),
            1 => json!({"uid": "00000000-0000-0000-0000-00000000beef"}),
            2 => json!({"uid": "{uid}", "resourceVersion": "{old}"}),
            3..6 => json!({"uid": "{uid}", "resourceVersion": "{version}"}),
            _ => json!({}),
        }
    }

    fn merge(&mut self, sample: &Sample, name: &str) -> Asked {
        let mut body = match self.chance.below(12) {
            0 => json!({"metadata": {"labels": {"tier": null}}}),
            1 => json!({"metadata": {"labels": {"tier": "web", "seen": "1"}}}),
            2 => json!({"metadata": {"labels": {"tier": "db"}, "annotations": {"a": "b"}}}),
            3 => json!({"metadata": {"annotations": null}}),
            4 => json!({"metadata": {"finalizers": ["palier.dev/test"]}}),
            5 => json!({"metadata": {"finalizers": null}}),
            6 => json!({"metadata": {"ownerReferences": [owner("3", true)]}}),
            7 => json!({"metadata": {"name": "other"}}),
            8 if !sample.mistake.is_null() => sample.mistake.clone(),
            9 if !sample.status.is_null() => json!({"status": sample.status}),
            10 => json!({"metadata": {"generation": 77, "creationTimestamp": "2020-01-01T00:00:00Z"}}),
            _ => sample.change.clone(),
        };
        json_patch::merge(&mut body, &json!({"metadata": self.precondition()}));
        Asked { media: MERGE, body: Some(body), ..self.asked("PATCH", sample, name, "") }
    }

    fn json_patch(&mut self, sample: &Sample, name: &str) -> Asked {
        let replace = |path: &str, value: &str| json!({"op": "replace", "path": path, "value": value});
        let mut operations = match self.chance.below(4) {
            0 => vec![replace("/metadata/uid", "{uid}"), replace("/metadata/resourceVersion", "{old}")],
            1 => vec![replace("/metadata/uid", "00000000-0000-0000-0000-00000000beef")],
            2 => vec![replace("/metadata/uid", "{uid}"), replace("/metadata/resourceVersion", "{version}")],
            _ => vec![],
        };
        operations.push(match self.chance.below(7) {
            0 => json!({"op": "test", "path": "/metadata/name", "value": "other"}),
            1 => json!({"op": "test", "path": "/metadata/name", "value": name}),
            2 => json!({"op": "remove", "path": "/metadata/nothing"}),
            3 => json!({"op": "replace", "path": "/metadata/labels/nothing", "value": "1"}),
            4 => json!({"op": "add", "path": "/metadata/nothing/deep", "value": "1"}),
            _ => json!({"op": "add", "path": "/metadata/labels/seen", "value": "2"}),
        });
        let body = if self.chance.percent(6) { json!({"op": "add"}) } else { json!(operations) };
        Asked { media: PATCH, body: Some(body), ..self.asked("PATCH", sample, name, "") }
    }

    fn strategic(&mut self, sample: &Sample, name: &str) -> Asked {
        let metadata = match self.chance.below(5) {
            0 => json!({"ownerReferences": [{"$patch": "delete", "uid": "2"}]}),
            1 => json!({"ownerReferences": [owner("4", false)]}),
            2 => json!({"$deleteFromPrimitiveList/finalizers": ["palier.dev/test"]}),
            3 => json!({"finalizers": ["palier.dev/third"]}),
            _ => json!({"labels": {"$patch": "replace", "app": "shop"}}),
        };
        let mut body = json!({"metadata": metadata});
        json_patch::merge(&mut body, &json!({"metadata": self.precondition()}));
        Asked { media: STRATEGIC, body: Some(body), ..self.asked("PATCH", sample, name, "") }
    }

    fn replace(&mut self, sample: &Sample, name: &str) -> Asked {
        let mut body = sample.manifest.clone();
        body["metadata"]["name"] = name.into();
        json_patch::merge(&mut body, &json!({"metadata": self.precondition()}));
        match self.chance.below(8) {
            0 => body["metadata"]["name"] = "other".into(),
            1 => body["metadata"]["namespace"] = "elsewhere".into(),
            2 | 3 => json_patch::merge(&mut body, &sample.change),
            4 if !sample.status.is_null() => body["status"] = sample.status.clone(),
            5 if sample.plural != "jobs" => {
                drop(body["metadata"].as_object_mut().unwrap().remove("labels"));
            }
            _ => {}
        }
        Asked { body: Some(body), ..self.asked("PUT", sample, name, "") }
    }

    fn status(&mut self, sample: &Sample, name: &str) -> Asked {
        let status = if sample.status.is_null() { json!({"a": "b"}) } else { sample.status.clone() };
        if self.chance.percent(50) {
            let mut body = json!({"metadata": {"labels": {"seen": "3"}, "annotations": {"told": "1"}}, "status": status});
            json_patch::merge(&mut body, &json!({"metadata": self.precondition()}));
            return Asked { media: MERGE, body: Some(body), ..self.asked("PATCH", sample, name, "/status") };
        }
        let operations = json!([
            {"op": "replace", "path": "/metadata/uid", "value": "{uid}"},
            {"op": "replace", "path": "/metadata/resourceVersion", "value": self.chance.one(&["{version}", "{version}", "{old}"])},
            {"op": "add", "path": "/status", "value": status},
        ]);
        Asked { media: PATCH, body: Some(operations), ..self.asked("PATCH", sample, name, "/status") }
    }

    fn delete(&mut self, sample: &Sample, name: &str) -> Asked {
        let mut body = json!({"apiVersion": "v1", "kind": "DeleteOptions"});
        match self.chance.below(8) {
            0 => body["preconditions"] = json!({"uid": "00000000-0000-0000-0000-00000000beef"}),
            1 => body["preconditions"] = json!({"uid": "{uid}", "resourceVersion": "{old}"}),
            2..5 => body["preconditions"] = json!({"uid": "{uid}", "resourceVersion": "{version}"}),
            _ => {}
        }
        match self.chance.below(7) {
            0 | 1 => body["propagationPolicy"] = "Background".into(),
            2 => body["propagationPolicy"] = "Foreground".into(),
            3 => body["propagationPolicy"] = "Orphan".into(),
            4 => body["propagationPolicy"] = "Never".into(),
            _ => {}
        }
        Asked { body: Some(body), ..self.asked("DELETE", sample, name, "") }
    }
}

fn owner(uid: &str, controls: bool) -> Value {
    json!({"apiVersion": "palier.dev/v1alpha1", "kind": "Rollout", "name": "shop", "uid": uid, "controller": controls})
}
