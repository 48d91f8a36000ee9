//! Selectors of lists and watches.

use serde_json::Value;

use super::kinds::Kind;
use super::refusal::Refusal;

/// Which objects a list or a watch is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<(String, bool, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    label: String,
    needs: Needs,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Needs {
    Is(Vec<String>),
    IsNot(Vec<String>),
    Exists,
    Absent,
}

impl Selector {
    /// Reads a `labelSelector` and a `fieldSelector`.
    /// <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors>
    ///
    /// # Errors
    /// One of them cannot be read, or speaks of a field that is no index of the kind (400).
    pub fn of(kind: Kind, labels: &str, fields: &str) -> Result<Self, Refusal> {
        let labels = requirements(labels).map_err(|part| {
            Refusal::bad_request(format!(
                "unable to parse requirement: {part}: a valid label selector is needed"
            ))
        })?;
        let fields = split(fields).into_iter().map(|part| field(kind, &part)).collect::<Result<_, _>>()?;
        Ok(Self { labels, fields })
    }

    /// Whether it selects everything.
    #[must_use]
    pub const fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether it selects an object.
    #[must_use]
    pub fn selects(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        let has_labels = self.labels.iter().all(|requirement| {
            let found = labels.get(&requirement.label).and_then(Value::as_str);
            match &requirement.needs {
                Needs::Is(values) => found.is_some_and(|found| values.iter().any(|it| it == found)),
                Needs::IsNot(values) => !found.is_some_and(|found| values.iter().any(|it| it == found)),
                Needs::Exists => found.is_some(),
                Needs::Absent => found.is_none(),
            }
        });
        has_labels
            && self.fields.iter().all(|(path, equal, value)| {
                let pointer = format!("/{}", path.replace('.', "/"));
                let found = object.pointer(&pointer).and_then(Value::as_str).unwrap_or_default();
                (found == value) == *equal
            })
    }
}

/// Splits at commas outside of brackets.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0_u32;
    for letter in text.chars() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if letter == ',' && depth == 0 {
            parts.push(String::new());
        } else if let Some(last) = parts.last_mut() {
            last.push(letter);
        }
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}

fn requirements(text: &str) -> Result<Vec<Requirement>, String> {
    split(text).into_iter().map(|part| requirement(part.trim()).ok_or(part)).collect()
}

fn requirement(part: &str) -> Option<Requirement> {
    let is_plain =
        |text: &str| text.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_./".contains(letter));
    let made = |label: &str, needs: Needs| {
        let label = label.trim().to_owned();
        let values =
            if let Needs::Is(values) | Needs::IsNot(values) = &needs { values.as_slice() } else { &[] };
        let is_right = !label.is_empty() && is_plain(&label) && values.iter().all(|it| is_plain(it));
        is_right.then_some(Requirement { label, needs })
    };
    let one = |value: &str| vec![value.trim().to_owned()];
    if let Some((label, value)) = part.split_once("!=") {
        return made(label, Needs::IsNot(one(value)));
    }
    if let Some((label, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return made(label, Needs::Is(one(value)));
    }
    let among = |rest: &str| {
        let inner = rest.trim().strip_prefix('(')?.strip_suffix(')')?;
        Some(inner.split(',').map(|value| value.trim().to_owned()).collect::<Vec<_>>())
    };
    if let Some((label, rest)) = part.split_once(" notin ").or_else(|| part.split_once(" notin(")) {
        return made(label, Needs::IsNot(among(rest).or_else(|| among(&format!("({rest}")))?));
    }
    if let Some((label, rest)) = part.split_once(" in ").or_else(|| part.split_once(" in(")) {
        return made(label, Needs::Is(among(rest).or_else(|| among(&format!("({rest}")))?));
    }
    match part.strip_prefix('!') {
        Some(label) => made(label, Needs::Absent),
        None => made(part, Needs::Exists),
    }
}

fn field(kind: Kind, part: &str) -> Result<(String, bool, String), Refusal> {
    let (path, equal, value) = part
        .split_once("!=")
        .map(|(path, value)| (path, false, value))
        .or_else(|| part.split_once("==").map(|(path, value)| (path, true, value)))
        .or_else(|| part.split_once('=').map(|(path, value)| (path, true, value)))
        .ok_or_else(|| {
            Refusal::bad_request(format!("invalid selector: '{part}'; can't understand '{part}'"))
        })?;
    let is_known = matches!(path, "metadata.name" | "metadata.namespace")
        || matches!(
            (kind, path),
            (Kind::Pod, "spec.nodeName" | "status.phase" | "spec.restartPolicy" | "status.podIP")
                | (Kind::Secret, "type")
                | (Kind::ReplicaSet | Kind::Job, "status.replicas" | "status.successful")
                | (Kind::Namespace, "status.phase")
                | (Kind::Service, "spec.clusterIP" | "spec.type")
                | (
                    Kind::Event,
                    "type" | "reason" | "reportingController" | "regarding.kind" | "regarding.name"
                )
        );
    if !is_known {
        let why = format!("field label not supported: {path}");
        return Err(Refusal::bad_request(why));
    }
    Ok((path.to_owned(), equal, value.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn selects(labels: &str) -> bool {
        let object = json!({"metadata": {"name": "a", "labels": {"app": "shop", "tier": "web", "x/y": ""}}});
        Selector::of(Kind::Deployment, labels, "").unwrap().selects(&object)
    }

    #[test]
    fn labels_are_selected() {
        for yes in [
            "",
            "app",
            "app=shop",
            "app==shop,tier=web",
            "app!=other",
            "nobody!=x",
            "!nobody",
            "app in (a, shop)",
            "tier notin (db,cache)",
            "x/y",
            "x/y=",
        ] {
            assert!(selects(yes), "{yes}");
        }
        for no in
            ["nobody", "app=other", "app!=shop", "!app", "app in (a,b)", "tier notin (web)", "app=shop,z"]
        {
            assert!(!selects(no), "{no}");
        }
        assert!(Selector::of(Kind::Pod, "a b c", "").is_err());
    }

    #[test]
    fn fields_are_selected_where_there_is_an_index() {
        let object = json!({"metadata": {"name": "a"}, "status": {"phase": "Running"}});
        assert!(Selector::of(Kind::Pod, "", "metadata.name=a").unwrap().selects(&object));
        assert!(!Selector::of(Kind::Pod, "", "metadata.name!=a").unwrap().selects(&object));
        assert!(Selector::of(Kind::Pod, "", "status.phase=Running").unwrap().selects(&object));
        assert_eq!(Selector::of(Kind::Rollout, "", "spec.paused=true").unwrap_err().code, 400);
    }
}
