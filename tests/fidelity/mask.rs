//! What may differ between two servers is taken out: identities and versions are numbered in the order in which they appear.

use std::collections::BTreeMap;

use serde_json::Value;

/// The length of an identity that a server makes.
const UID: usize = 36;
/// What is left of an answer that only an odd turn of the real server gives: an object whose last finalizer a deletion takes away
/// is found to have another version than the one that was asked for.
pub const ODD: &str = "an odd turn";

/// What one side has called things.
#[derive(Default)]
pub struct Mask {
    uids: BTreeMap<String, usize>,
    versions: BTreeMap<String, usize>,
}

impl Mask {
    /// The same body without what may differ.
    pub fn mask(&mut self, mut body: Value) -> Value {
        let is_list = body["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
        if is_list {
            body["metadata"]["resourceVersion"] = "".into();
        }
        self.mask_value(&mut body);
        if is_list {
            let metadata = &mut body["metadata"];
            match metadata["continue"].as_str() {
                Some("") | None => drop(metadata.as_object_mut().and_then(|it| it.remove("continue"))),
                Some(_) => metadata["continue"] = "token".into(),
            }
        }
        if body["kind"] == "Status" {
            self.mask_status(&mut body);
        }
        body
    }

    fn mask_value(&mut self, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.remove("managedFields");
                for (name, value) in fields.iter_mut() {
                    match (name.as_str(), value.as_str()) {
                        ("uid", Some(uid)) if uid.len() == UID => {
                            *value = numbered(&mut self.uids, "uid", uid).into()
                        }
                        ("resourceVersion", Some(version)) => {
                            *value = numbered(&mut self.versions, "version", version).into();
                        }
                        ("creationTimestamp" | "deletionTimestamp", Some(_)) => *value = "time".into(),
                        _ => self.mask_value(value),
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.mask_value(item)),
            _ => {}
        }
    }

    fn mask_status(&mut self, status: &mut Value) {
        let code = status["code"].as_u64();
        let text = status["message"].as_str().unwrap_or_default().to_owned();
        if let Some((before, after)) = text.split_once("StorageError") {
            let is_odd = after.contains("ResourceVersion in precondition: ,");
            status["message"] =
                format!("{before}{}", if is_odd { ODD } else { "the storage's words" }).into();
            return;
        }
        let is_told_loosely = code == Some(422) || (code == Some(400) && status["details"].is_null());
        if is_told_loosely {
            status["message"] = "some".into();
        } else if !text.is_empty() {
            let mut text = text;
            for (uid, number) in &self.uids {
                text = text.replace(uid.as_str(), &format!("uid-{number}"));
            }
            status["message"] = numbers(&text).into();
        }
        let Some(causes) = status.pointer_mut("/details/causes").and_then(Value::as_array_mut) else {
            return;
        };
        // It says that rules were not looked at because of the other causes.
        causes.retain(|cause| cause["field"] != "<nil>");
        for cause in causes.iter_mut() {
            cause["message"] = "some".into();
        }
        causes.sort_by_key(ToString::to_string);
        causes.dedup();
    }
}

/// Numbers in brackets are versions.
fn numbers(text: &str) -> String {
    let mut masked = String::new();
    for (place, part) in text.split('(').enumerate() {
        if place > 0 {
            masked.push('(');
        }
        match part.split_once(')') {
            Some((inner, rest)) if !inner.is_empty() && inner.bytes().all(|it| it.is_ascii_digit()) => {
                masked.push_str("n)");
                masked.push_str(rest);
            }
            _ => masked.push_str(part),
        }
    }
    masked
}

fn numbered(known: &mut BTreeMap<String, usize>, what: &str, name: &str) -> String {
    if name.is_empty() {
        return String::new();
    }
    let next = known.len();
    format!("{what}-{}", known.entry(name.to_owned()).or_insert(next))
}

/// Where two bodies differ.
pub fn difference(wanted: &Value, found: &Value) -> String {
    let mut lines = Vec::new();
    differ("", wanted, found, &mut lines);
    lines.join("\n")
}

fn differ(path: &str, wanted: &Value, found: &Value, lines: &mut Vec<String>) {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => {
            for name in wanted.keys().chain(found.keys().filter(|name| !wanted.contains_key(*name))) {
                let side = |side: &serde_json::Map<String, Value>| side.get(name).cloned();
                let (wanted, found) = (side(wanted), side(found));
                let path = format!("{path}.{name}");
                match (wanted, found) {
                    (Some(wanted), Some(found)) => differ(&path, &wanted, &found, lines),
                    (wanted, found) => {
                        let text =
                            |side: Option<Value>| side.map_or("nothing".to_owned(), |it| it.to_string());
                        lines.push(format!("  {path}: real {} ours {}", text(wanted), text(found)));
                    }
                }
            }
        }
        (Value::Array(wanted), Value::Array(found)) if wanted.len() == found.len() => {
            for (place, (wanted, found)) in wanted.iter().zip(found).enumerate() {
                differ(&format!("{path}[{place}]"), wanted, found, lines);
            }
        }
        _ if wanted == found => {}
        _ => lines.push(format!("  {path}: real {wanted} ours {found}")),
    }
}
