//! Reading one object and reading many.

use std::sync::Arc;

use axum::body::Bytes;
use serde_json::{Value, json};

use super::answer::Answer;
use super::kinds::Kind;
use super::refusal::Refusal;
use super::request::Asked;
use super::selector::Selector;
use super::store::{Key, Store};

/// Where the next page of a list begins: after a place, in the state of a revision.
#[derive(Debug)]
struct Token {
    revision: u64,
    after: String,
}

impl Token {
    fn of(text: &str) -> Result<Self, Refusal> {
        let parts = text.split_once(':').and_then(|(revision, after)| Some((revision.parse().ok()?, after)));
        let (revision, after) =
            parts.ok_or_else(|| Refusal::bad_request(format!("continue key is not valid: {text}")))?;
        Ok(Self { revision, after: after.to_owned() })
    }

    fn text(&self) -> String {
        format!("{}:{}", self.revision, self.after)
    }
}

/// Which state of the store a list is to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// As it is.
    Latest,
    /// As the front end has it.
    Any,
    /// As it was at this revision.
    Exactly(u64),
    /// This revision or a later one.
    NotBefore(u64),
}

impl Age {
    /// What the query of a list asks for.
    /// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>
    ///
    /// # Errors
    /// The version is no number, or the words of the query do not go together.
    pub fn of(asked: &Asked) -> Result<Self, Refusal> {
        let (version, how) = (asked.word("resourceVersion"), asked.word("resourceVersionMatch"));
        if !asked.word("continue").is_empty() {
            return Ok(Self::Exactly(Token::of(asked.word("continue"))?.revision));
        }
        if version.is_empty() {
            return match how {
                "" => Ok(Self::Latest),
                _ => Err(forbidden_match(
                    "resourceVersionMatch is forbidden unless resourceVersion is provided",
                )),
            };
        }
        let number: u64 = version.parse().map_err(|_| {
            Refusal::invalid(format!("resourceVersion: Invalid value: \"{version}\": strconv.ParseUint: parsing \"{version}\": invalid syntax"))
        })?;
        match (how, number, asked.word("limit")) {
            ("Exact", 0, _) => {
                Err(forbidden_match("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""))
            }
            ("Exact", ..) => Ok(Self::Exactly(number)),
            ("" | "NotOlderThan", 0, _) => Ok(Self::Any),
            ("NotOlderThan", ..) | ("", _, "" | "0") => Ok(Self::NotBefore(number)),
            ("", ..) => Ok(Self::Exactly(number)),
            _ => Err(forbidden_match(&format!(
                "resourceVersionMatch: Unsupported value: \"{how}\": supported values: \"Exact\", \"NotOlderThan\", \"\""
            ))),
        }
    }
}

fn forbidden_match(why: &str) -> Refusal {
    let text = format!("Forbidden: {why}");
    let refusal =
        Refusal::invalid(format!("ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: {text}"));
    let cause = json!({"reason": "FieldValueForbidden", "message": text, "field": "resourceVersionMatch"});
    let details = json!({"group": "meta.k8s.io", "kind": "ListOptions", "causes": [cause]});
    Refusal { details, ..refusal }
}

/// Reads one object as it was at `revision`.
///
/// # Errors
/// It is not there (404).
pub fn get(store: &Store, asked: &Asked, revision: u64) -> Result<Arc<Value>, Refusal> {
    let key = asked.key();
    let missing = || Refusal::not_found(&key.to_string()).about(&key);
    if revision >= store.revision() {
        return store.get(asked.kind, &key.namespace, &key.name).cloned().ok_or_else(missing);
    }
    let then = store.list_at(asked.kind, asked.within(), revision).ok_or_else(missing)?;
    then.get(&key).cloned().ok_or_else(missing)
}

/// Reads many, as they were at `revision`, which is that of the token if there is one.
///
/// # Errors
/// A selector or the token cannot be read (400), or that state is not known any more (410).
pub fn list(store: &Store, asked: &Asked, revision: u64) -> Result<Answer, Refusal> {
    let selector = Selector::of(asked.kind, asked.word("labelSelector"), asked.word("fieldSelector"))?;
    let token = asked.word("continue");
    let after = if token.is_empty() { None } else { Some(Token::of(token)?.after) };
    let is_from_cache = asked.word("resourceVersion") == "0" && token.is_empty();
    let limit: usize = if is_from_cache { 0 } else { asked.word("limit").parse().unwrap_or(0) };
    let limit = if limit == 0 { usize::MAX } else { limit };
    let mut page = Page { kind: asked.kind, items: Vec::new(), count: 0, last: None, remaining: 0 };
    let mut see = |key: &Key, object: &Value| {
        let is_before = after.as_ref().is_some_and(|after| place_of(key, asked) <= *after);
        if is_before || !selector.selects(object) {
            return;
        }
        if page.count >= limit {
            page.remaining += 1;
        } else {
            page.add(object);
            page.last = Some(place_of(key, asked));
        }
    };
    if revision >= store.revision() {
        store.list(asked.kind, asked.within()).for_each(|(key, object)| see(key, object));
    } else {
        let then = store.list_at(asked.kind, asked.within(), revision).ok_or_else(|| expired(token))?;
        then.iter().for_each(|(key, object)| see(key, object));
    }
    Ok(page.answer(revision.min(store.revision()), selector.is_everything()))
}

fn expired(token: &str) -> Refusal {
    Refusal::expired(if token.is_empty() {
        "The resourceVersion for the provided list is too old."
    } else {
        "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter."
    })
}

fn place_of(key: &Key, asked: &Asked) -> String {
    if asked.namespace.is_empty() && asked.kind.facts().namespaced {
        format!("{}/{}", key.namespace, key.name)
    } else {
        key.name.clone()
    }
}

struct Page {
    kind: Kind,
    items: Vec<u8>,
    count: usize,
    last: Option<String>,
    remaining: usize,
}

impl Page {
    fn add(&mut self, object: &Value) {
        if self.count > 0 {
            self.items.push(b',');
        }
        self.count += 1;
        let Value::Object(fields) = object else { return };
        // Items of built-in kinds do not say what they are: the list does.
        let is_said = |name: &String| self.kind.is_custom() || (name != "apiVersion" && name != "kind");
        self.items.push(b'{');
        for (place, (name, value)) in fields.iter().filter(|(name, _)| is_said(name)).enumerate() {
            if place > 0 {
                self.items.push(b',');
            }
            // Writing JSON into memory does not fail.
            drop(serde_json::to_writer(&mut self.items, name));
            self.items.push(b':');
            drop(serde_json::to_writer(&mut self.items, value));
        }
        self.items.push(b'}');
    }

    fn answer(self, revision: u64, counts_remaining: bool) -> Answer {
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        if let (Some(after), 1..) = (self.last, self.remaining) {
            metadata["continue"] = Token { revision, after }.text().into();
            if counts_remaining {
                metadata["remainingItemCount"] = self.remaining.into();
            }
        }
        let (kind, version) = (self.kind.facts().name, self.kind.api_version());
        let head = format!(
            "{{\"kind\":\"{kind}List\",\"apiVersion\":\"{version}\",\"metadata\":{metadata},\"items\":["
        );
        let mut body = head.into_bytes();
        body.extend(self.items);
        body.extend(b"]}");
        Answer::text(200, Bytes::from(body))
    }
}
