//! What the writing requests do with the store.

use serde_json::{Value, json};

use super::answer::Answer;
use super::deletion::{self, Propagation};
use super::kinds::Kind;
use super::patch;
use super::refusal::Refusal;
use super::request::{Act, Asked};
use super::schema::{self, Cause};
use super::store::{Caller, Part, Precondition, Store};
use super::version::other_uid;

/// The letters of generated names.
/// <https://github.com/kubernetes/kubernetes/blob/master/staging/src/k8s.io/apimachinery/pkg/util/rand/rand.go>
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Does one write.
///
/// # Errors
/// As the API server refuses it.
pub fn perform(
    store: &mut Store,
    caller: &Caller,
    asked: &Asked,
    content_type: &str,
    body: &[u8],
) -> Result<Answer, Refusal> {
    match asked.act {
        Act::Create => create(store, caller, asked, body),
        Act::Update => replace(store, caller, asked, body),
        Act::Patch => {
            let key = asked.key();
            patch::accept(asked.kind, content_type)?;
            let after = store.patch(caller, &key, asked.part, |mut object| {
                patch::apply(asked.kind, &mut object, content_type, body)?;
                check_name(asked, &object)?;
                Ok(object)
            })?;
            Ok(Answer::json(200, &after))
        }
        Act::Delete => delete(store, caller, asked, body),
        Act::Get | Act::List | Act::Watch => Err(Refusal::bad_request("it is no write")),
    }
}

fn create(store: &mut Store, caller: &Caller, asked: &Asked, body: &[u8]) -> Result<Answer, Refusal> {
    let mut object = manifest(asked, body)?;
    let metadata = &mut object["metadata"];
    if !text(metadata, "resourceVersion").is_empty() {
        let why = "resourceVersion should not be set on objects to be created";
        return Err(Refusal::new(500, "", why));
    }
    let prefix = text(metadata, "generateName").to_owned();
    if text(metadata, "name").is_empty() && !prefix.is_empty() {
        let name = generated(&prefix, store.revision());
        metadata["name"] = json!(name);
    }
    let made = store.create(caller, asked.kind, &asked.namespace, object)?;
    Ok(Answer::json(201, &made))
}

fn replace(store: &mut Store, caller: &Caller, asked: &Asked, body: &[u8]) -> Result<Answer, Refusal> {
    let object = manifest(asked, body)?;
    check_name(asked, &object)?;
    let metadata = &object["metadata"];
    let key = asked.key();
    let is_there = store.get(asked.kind, &key.namespace, &key.name).is_some();
    let is_conditional = !text(metadata, "resourceVersion").is_empty();
    let is_same = store.get(asked.kind, &key.namespace, &key.name).is_none_or(|there| {
        let uid = text(metadata, "uid");
        uid.is_empty() || there["metadata"]["uid"] == uid
    });
    if is_there && is_same && !is_conditional && !asked.kind.takes_unconditional_updates() {
        let why = "must be specified for an update";
        let missing = Cause::invalid("metadata.resourceVersion", &json!(0), why);
        let mut refusal = schema::refusal(&key, &[missing]);
        refusal.details["kind"] = asked.kind.facts().plural.into();
        return Err(refusal);
    }
    if !is_there && asked.part == Part::Main && asked.kind.is_created_by_updates() {
        return create_by_update(store, caller, asked, object);
    }
    let after = store.update(caller, &key, asked.part, |_| Ok(object))?;
    Ok(Answer::json(200, &after))
}

/// Some kinds are created by an update of what is not there, unless it says which one it means.
fn create_by_update(
    store: &mut Store,
    caller: &Caller,
    asked: &Asked,
    mut object: Value,
) -> Result<Answer, Refusal> {
    let key = asked.key();
    let uid = text(&object["metadata"], "uid").to_owned();
    if !uid.is_empty() {
        let why = other_uid(&key, &uid, "");
        return Err(Refusal::conflict(&key.to_string(), &why).about(&key));
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("resourceVersion");
    }
    let made = store.create(caller, asked.kind, &asked.namespace, object)?;
    Ok(Answer::json(201, &made))
}

fn delete(store: &mut Store, caller: &Caller, asked: &Asked, body: &[u8]) -> Result<Answer, Refusal> {
    let options: Value = if body.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(body).map_err(|error| Refusal::bad_request(error.to_string()))?
    };
    let said = |name: &str| {
        let word = asked.word(name);
        if word.is_empty() { text(&options, name).to_owned() } else { word.to_owned() }
    };
    let propagation = match said("propagationPolicy").as_str() {
        "Foreground" => Some(Propagation::Foreground),
        "Orphan" => Some(Propagation::Orphan),
        "Background" => Some(Propagation::Background),
        "" => None,
        other => {
            let text = format!(
                "Unsupported value: \"{other}\": supported values: \"Background\", \"Foreground\", \"Orphan\""
            );
            let why = format!("DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: {text}");
            let cause =
                json!({"reason": "FieldValueNotSupported", "message": text, "field": "propagationPolicy"});
            let details = json!({"group": "meta.k8s.io", "kind": "DeleteOptions", "causes": [cause]});
            return Err(Refusal { details, ..Refusal::invalid(why) });
        }
    };
    let grace_seconds =
        options["gracePeriodSeconds"].as_i64().or_else(|| asked.word("gracePeriodSeconds").parse().ok());
    let given = |field: &str| options["preconditions"][field].as_str().map(str::to_owned);
    let precondition = Precondition { uid: given("uid"), version: given("resourceVersion") };
    let key = asked.key();
    let options = deletion::Options { precondition, propagation, grace_seconds };
    let (object, is_gone) = store.delete_as_asked(caller, &key, &options)?;
    if !is_gone {
        return Ok(Answer::json(200, &object));
    }
    if matches!(asked.kind, Kind::Pod | Kind::Service) {
        return Ok(Answer::json(200, &object));
    }
    let mut details = Refusal::not_found("").about(&key).details;
    details["uid"] = object["metadata"]["uid"].clone();
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
    });
    Ok(Answer::json(200, &status))
}

/// An object keeps its name.
fn check_name(asked: &Asked, object: &Value) -> Result<(), Refusal> {
    let (name, path) = (text(&object["metadata"], "name"), &asked.name);
    if name == path {
        return Ok(());
    }
    let why = format!("the name of the object ({name}) does not match the name on the URL ({path})");
    Err(Refusal::bad_request(why))
}

/// The object in the body of a request, which must be of the kind and in the namespace of its path.
fn manifest(asked: &Asked, body: &[u8]) -> Result<Value, Refusal> {
    let mut object: Value =
        serde_json::from_slice(body).map_err(|error| Refusal::bad_request(error.to_string()))?;
    let (api_version, facts) = (asked.kind.api_version(), asked.kind.facts());
    for (field, wanted) in [("apiVersion", api_version.as_str()), ("kind", facts.name)] {
        let found = text(&object, field);
        if !found.is_empty() && found != wanted {
            let why = format!("the {field} in the data ({found}) does not match the expected one ({wanted})");
            return Err(Refusal::bad_request(why));
        }
    }
    let namespace = text(&object["metadata"], "namespace");
    if facts.namespaced && !namespace.is_empty() && namespace != asked.namespace {
        let why = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Refusal::bad_request(why));
    }
    if !object.is_object() {
        return Err(Refusal::bad_request("the body is no object"));
    }
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    Ok(object)
}

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// A name with five letters more; other ones for each revision.
fn generated(prefix: &str, revision: u64) -> String {
    // The finalizer of SplitMix64, so that names in a row do not look alike.
    let mut mixed = revision.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    let mut name: String = prefix.chars().take(58).collect();
    for _ in 0..5 {
        let index = usize::try_from(mixed % LETTERS.len() as u64).unwrap_or_default();
        name.push(char::from(LETTERS[index]));
        mixed /= LETTERS.len() as u64;
    }
    name
}
