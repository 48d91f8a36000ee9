//! The audit log as a judge: who asked the API server for what, and what came of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, ErrorKind, Seek as _, SeekFrom};
use std::path::PathBuf;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// One request to an API server.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When it was received.
    pub at: Timestamp,
    /// When its answer was complete (of a watch: when it had begun).
    pub done: Timestamp,
    /// Who asked, and in whose name when that is another.
    pub user: String,
    /// What the client calls itself.
    pub agent: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// API group, empty for the core.
    pub group: String,
    /// Resource, with its subresource: `deployments`, `rollouts/status`.
    pub resource: String,
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object; empty where the server chose it or there are many.
    pub name: String,
    /// HTTP status of the answer.
    pub code: u16,
    /// What the server said to a refusal.
    pub why: String,
    /// What was sent, where the audit policy keeps it (see audit.yaml); else `null`.
    pub body: Value,
}

impl Entry {
    /// Whether it was to change something.
    pub fn is_mutation(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
    }

    /// Whether it took effect, or may have. When a client dies before its answer, the server notes 504 whatever became of the
    /// write; one that was lost is written again, and then stands here twice.
    pub fn may_be_done(&self) -> bool {
        self.code < 300 || self.code >= 500
    }

    /// Whether it is of leader election.
    pub fn is_lease(&self) -> bool {
        self.resource == "leases"
    }
}

/// Requests in the order in which they were received.
#[derive(Clone, Debug, Default)]
pub struct Entries(pub Vec<Entry>);

impl Entries {
    /// Those received from `from` until before `to`.
    pub fn between(&self, from: Timestamp, to: Timestamp) -> Self {
        self.only(|entry| from <= entry.at && entry.at < to)
    }

    /// Those of a user. ServiceAccounts are called `system:serviceaccount:<namespace>:<name>`.
    pub fn by(&self, user: &str) -> Self {
        self.only(|entry| entry.user == user)
    }

    /// Those that were to change something.
    pub fn mutations(&self) -> Self {
        self.only(Entry::is_mutation)
    }

    /// Those that were refused for want of rights; what is refused because its namespace is being deleted is not.
    pub fn forbidden(&self) -> Self {
        self.only(|entry| entry.code == 403 && !entry.why.contains("because it is being terminated"))
    }

    /// Those that satisfy a condition.
    pub fn only(&self, keep: impl Fn(&Entry) -> bool) -> Self {
        Self(self.0.iter().filter(|entry| keep(entry)).cloned().collect())
    }

    /// How many, by user, verb and resource.
    pub fn counts(&self) -> BTreeMap<(String, String, String), usize> {
        let mut counts = BTreeMap::new();
        for entry in &self.0 {
            let key = (entry.user.clone(), entry.verb.clone(), entry.resource.clone());
            *counts.entry(key).or_default() += 1;
        }
        counts
    }
}

/// A place in the audit logs.
#[derive(Clone, Debug)]
pub struct Mark(Vec<u64>);

/// The audit logs of a lab.
#[derive(Clone, Debug)]
pub struct Audit(Vec<PathBuf>);

impl Audit {
    /// Reads these files.
    pub fn new(logs: Vec<PathBuf>) -> Self {
        Self(logs)
    }

    /// A place in the logs: what is written from now on.
    pub fn mark(&self) -> Mark {
        Mark(self.0.iter().map(|log| log.metadata().map_or(0, |data| data.len())).collect())
    }

    /// Everything that is written down so far.
    pub fn read(&self) -> Result<Entries> {
        self.since(&Mark(vec![0; self.0.len()]))
    }

    /// What was written down after a mark was set. A long log need not be read again for every question.
    pub fn since(&self, mark: &Mark) -> Result<Entries> {
        let mut entries = Vec::new();
        for (log, offset) in self.0.iter().zip(&mark.0) {
            let mut file = match File::open(log) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error).with_context(|| format!("cannot read {}", log.display())),
            };
            file.seek(SeekFrom::Start(*offset))?;
            for line in BufReader::new(file).lines() {
                // The last line may be half written.
                entries.extend(entry_of(line?.as_bytes()));
            }
        }
        entries.sort_by_key(|entry: &Entry| entry.at);
        Ok(Entries(entries))
    }

    /// What was written down since a mark, each log in the order in which its answers were complete; the mark moves behind it.
    /// Whoever reads on so reads each request once.
    pub fn read_on(&self, mark: &mut Mark) -> Result<Entries> {
        let mut entries = Vec::new();
        for (log, offset) in self.0.iter().zip(&mut mark.0) {
            let mut file = match File::open(log) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error).with_context(|| format!("cannot read {}", log.display())),
            };
            file.seek(SeekFrom::Start(*offset))?;
            let (mut reader, mut line) = (BufReader::new(file), Vec::new());
            while reader.read_until(b'\n', &mut line)? > 0 && line.ends_with(b"\n") {
                *offset += line.len() as u64;
                entries.extend(entry_of(&line));
                line.clear();
            }
        }
        Ok(Entries(entries))
    }
}

/// The request that a line of the log tells of, if it counts.
fn entry_of(line: &[u8]) -> Option<Entry> {
    serde_json::from_slice::<Event>(line).ok()?.entry()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    stage: String,
    verb: String,
    user: Named,
    impersonated_user: Option<Named>,
    #[serde(default)]
    user_agent: String,
    object_ref: Option<ObjectRef>,
    response_status: Option<Status>,
    #[serde(default)]
    request_object: Value,
    request_received_timestamp: Timestamp,
    stage_timestamp: Timestamp,
}

#[derive(Deserialize)]
struct Named {
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ObjectRef {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    code: u16,
    #[serde(default)]
    message: String,
}

impl Event {
    /// A watch counts when it begins, everything else when it is answered; other stages would count twice.
    fn entry(self) -> Option<Entry> {
        let counted = if self.verb == "watch" { "ResponseStarted" } else { "ResponseComplete" };
        let object = self.object_ref.unwrap_or_default();
        (self.stage == counted || self.stage == "Panic").then(|| Entry {
            at: self.request_received_timestamp,
            done: self.stage_timestamp,
            user: self.impersonated_user.unwrap_or(self.user).username,
            agent: self.user_agent,
            verb: self.verb,
            group: object.api_group,
            resource: match object.subresource.as_str() {
                "" => object.resource,
                subresource => format!("{}/{subresource}", object.resource),
            },
            namespace: object.namespace,
            name: object.name,
            code: self.response_status.as_ref().map_or(0, |status| status.code),
            why: self.response_status.map(|status| status.message).unwrap_or_default(),
            body: self.request_object,
        })
    }
}
