//! Rollouts in files.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use serde_json::Value;

use crate::api::Rollout;

use super::CliError;
use super::templates;
use super::view::clean;

/// The largest file that is read.
const BYTES_MAX: u64 = 16 << 20;

/// The one Rollout in a YAML or JSON file, with the gates of the templates in it; `-` is the standard input. Other kinds are left
/// alone.
///
/// # Errors
/// A file that cannot be read, is no YAML, holds no Rollout or more than one, or a template that gives no gates.
pub(super) fn rollout_of(path: &Path) -> Result<Rollout, CliError> {
    let wrong = |why: String| CliError::File { path: path.display().to_string(), why };
    let text = read(path)?;
    let (mut found, mut objects): (Vec<Value>, Vec<Value>) = (Vec::new(), Vec::new());
    for document in documents(&text) {
        let value: Value =
            serde_saphyr::from_str(&document).map_err(|error| wrong(clean(&error.to_string())))?;
        let all = match value.get("items").and_then(Value::as_array) {
            Some(items) => items.clone(),
            None => vec![value],
        };
        let (rollouts, others): (Vec<Value>, Vec<Value>) =
            all.into_iter().partition(|it| it["kind"] == "Rollout");
        found.extend(rollouts);
        objects.extend(others);
    }
    match found.len() {
        1 => {}
        0 => return Err(wrong("there is no Rollout in it".to_owned())),
        many => return Err(wrong(format!("there are {many} Rollouts in it: give one"))),
    }
    let value = found.swap_remove(0);
    let rollout: Rollout =
        serde_json::from_value(value).map_err(|error| wrong(format!("the Rollout does not fit: {error}")))?;
    let templates = templates::among(&objects, &rollout);
    templates::expanded(rollout, &templates)
        .map_err(|why| wrong(format!("{why} (templates are looked for in the same file)")))
}

/// The sizes of the Deployments, as far as the status tells.
pub(super) fn replicas(rollout: &Rollout) -> BTreeMap<String, i32> {
    let components = rollout.status.iter().flat_map(|status| &status.components);
    let known = components.filter(|it| it.desired_replicas > 0);
    known.map(|it| (it.name.clone(), it.desired_replicas)).collect()
}

/// A whole file as text; `-` is the standard input.
///
/// # Errors
/// A file that cannot be read, is too large or no text.
pub(super) fn read(path: &Path) -> Result<String, CliError> {
    let wrong = |why: String| CliError::File { path: path.display().to_string(), why };
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(BYTES_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(BYTES_MAX).read_to_string(&mut text))
    };
    match read {
        Ok(size) if u64::try_from(size).is_ok_and(|size| size >= BYTES_MAX) => {
            Err(wrong("it is larger than 16 MiB".to_owned()))
        }
        Ok(_) => Ok(text),
        Err(error) => Err(wrong(error.to_string())),
    }
}

/// The YAML documents of a text, without empty ones.
fn documents(text: &str) -> Vec<String> {
    let mut documents = vec![String::new()];
    for line in text.lines() {
        if line.trim_end() == "---" || line.starts_with("--- ") {
            documents.push(String::new());
        } else if let Some(last) = documents.last_mut() {
            last.push_str(line);
            last.push('\n');
        }
    }
    let says = |document: &String| {
        document.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
    };
    documents.retain(says);
    documents
}
