//! Watches: the changes of a kind, as lines of JSON, until the time is up.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use super::front::{Front, Sight};
use super::refusal::Refusal;
use super::request::Asked;
use super::selector::Selector;
use super::server::ApiServer;
use super::store::{Revision, Store, Verb};

/// The time between two bookmarks.
const BOOKMARKS: Duration = Duration::from_secs(60);
/// How long a watch lasts if the client does not say.
const LASTS: Duration = Duration::from_secs(1_800);
/// A front end that lags looks again at least this often: its clock may be set.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A watch.
pub struct Watch {
    server: ApiServer,
    front: Front,
    asked: Asked,
    selector: Selector,
    /// The last revision that was looked at.
    at: u64,
    ready: VecDeque<Bytes>,
    changes: watch::Receiver<u64>,
    sights: watch::Receiver<Sight>,
    ends: Instant,
    bookmark: Option<Instant>,
    is_over: bool,
}

impl Watch {
    /// Begins to watch; if `is_expired`, the version that is asked for is too old, whatever it is.
    ///
    /// # Errors
    /// A selector or the version cannot be read (400).
    pub fn begin(
        server: &ApiServer,
        front: &Front,
        asked: &Asked,
        is_expired: bool,
    ) -> Result<Self, Refusal> {
        let selector = Selector::of(asked.kind, asked.word("labelSelector"), asked.word("fieldSelector"))?;
        let (version, how) = (asked.word("resourceVersion"), asked.word("resourceVersionMatch"));
        let at: u64 =
            if version.is_empty() { 0 } else { version.parse().map_err(|_| bad_version(version))? };
        let sends_initial = asked.word("sendInitialEvents") == "true";
        if sends_initial && how != "NotOlderThan" {
            let why = "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            return Err(Refusal::invalid(why));
        }
        let lasts = asked.word("timeoutSeconds").parse().map_or(LASTS, Duration::from_secs);
        let has_bookmarks = asked.word("allowWatchBookmarks") == "true";
        let now = Instant::now();
        let mut watch = Self {
            changes: server.changes(asked.kind),
            sights: front.changes(),
            server: server.clone(),
            front: front.clone(),
            asked: asked.clone(),
            selector,
            at,
            ready: VecDeque::new(),
            ends: now + lasts,
            bookmark: has_bookmarks.then(|| now + BOOKMARKS),
            is_over: false,
        };
        if is_expired {
            server.read(|store| watch.expire(store));
        } else if at == 0 || sends_initial {
            watch.begin_with_everything(sends_initial && has_bookmarks);
        }
        Ok(watch)
    }

    /// Whether a line is there already.
    #[must_use]
    pub fn has_more(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The next line; `None` at the end.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some(line);
            }
            if self.is_over {
                return None;
            }
            self.changes.mark_unchanged();
            self.sights.mark_unchanged();
            let more_in = self.look();
            if self.ready.is_empty() {
                self.wait(more_in).await;
            }
        }
    }

    async fn wait(&mut self, more_in: Option<Duration>) {
        let bookmark = self.bookmark.unwrap_or(self.ends).min(self.ends);
        let more = async {
            match more_in {
                Some(time) => tokio::time::sleep(time.clamp(Duration::from_millis(1), LOOK_AGAIN)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Ok(()) = self.changes.changed() => {}
            Ok(()) = self.sights.changed() => {}
            () = more => {}
            () = tokio::time::sleep_until(bookmark) => {
                if self.bookmark.is_some() {
                    self.ready.push_back(self.bookmark_line(false));
                }
                self.bookmark = self.bookmark.map(|at| at + BOOKMARKS);
                self.is_over = bookmark == self.ends;
            }
        }
    }

    /// Makes lines of what is new; the time until there is more, if that is known.
    fn look(&mut self) -> Option<Duration> {
        let (server, now) = (self.server.clone(), self.server.now());
        server.read(|store| {
            let until = self.front.sees(store, now);
            if until > self.at {
                match store.since(self.at) {
                    Some(changes) => {
                        for change in changes.iter().take_while(|change| change.number <= until) {
                            self.ready.extend(self.line(change));
                        }
                        self.at = until;
                    }
                    None => self.expire(store),
                }
            }
            self.front.sees_more_in(store, self.at, now)
        })
    }

    fn expire(&mut self, store: &Store) {
        let why = format!("too old resource version: {} ({})", self.at, store.compacted());
        let refusal = Refusal::expired(why);
        self.ready.push_back(line_of("ERROR", &refusal.status().to_string()));
        self.is_over = true;
    }

    /// The line about a change, if the watch is about it. An object that is not selected any more is gone for the client.
    fn line(&self, change: &Revision) -> Option<Bytes> {
        let key = &change.key;
        let is_here =
            key.kind == self.asked.kind && self.asked.within().is_none_or(|within| key.namespace == within);
        if !is_here {
            return None;
        }
        let is_selected = |object: &Arc<Value>| self.selector.selects(object);
        let before = change.before.as_ref().is_some_and(is_selected);
        let after = change.verb != Verb::Delete && is_selected(&change.after);
        match (before, after) {
            (false, false) => None,
            (false, true) => Some(line_with("ADDED", &self.server.text(change))),
            (true, true) => Some(line_with("MODIFIED", &self.server.text(change))),
            (true, false) if change.verb == Verb::Delete => {
                Some(line_with("DELETED", &self.server.text(change)))
            }
            // The last state that was selected, with the version of the change.
            (true, false) => {
                let mut last = change.before.as_ref().map(|before| Value::clone(before))?;
                last["metadata"]["resourceVersion"] = change.number.to_string().into();
                Some(line_of("DELETED", &last.to_string()))
            }
        }
    }

    fn begin_with_everything(&mut self, tells_the_end: bool) {
        let (server, now) = (self.server.clone(), self.server.now());
        server.read(|store| {
            self.at = self.front.sees(store, now);
            let Some(objects) = store.list_at(self.asked.kind, self.asked.within(), self.at) else {
                self.expire(store);
                return;
            };
            let selected = objects.values().filter(|object| self.selector.selects(object));
            self.ready.extend(selected.map(|object| line_of("ADDED", &object.to_string())));
            if tells_the_end {
                self.ready.push_back(self.bookmark_line(true));
            }
        });
    }

    fn bookmark_line(&self, ends_initial: bool) -> Bytes {
        let mut mark = json!({
            "kind": self.asked.kind.facts().name,
            "apiVersion": self.asked.kind.api_version(),
            "metadata": {"resourceVersion": self.at.to_string(), "creationTimestamp": null},
        });
        if ends_initial {
            mark["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        line_of("BOOKMARK", &mark.to_string())
    }
}

fn bad_version(version: &str) -> Refusal {
    Refusal::bad_request(format!("invalid resource version \"{version}\": it is no number"))
}

fn line_of(kind: &str, object: &str) -> Bytes {
    line_with(kind, &Bytes::copy_from_slice(object.as_bytes()))
}

fn line_with(kind: &str, object: &Bytes) -> Bytes {
    let mut line = Vec::with_capacity(object.len() + 40);
    line.extend_from_slice(b"{\"type\":\"");
    line.extend_from_slice(kind.as_bytes());
    line.extend_from_slice(b"\",\"object\":");
    line.extend_from_slice(object);
    line.extend_from_slice(b"}\n");
    Bytes::from(line)
}
