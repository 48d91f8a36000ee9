//! What a request asks for, read from its method, path and query.

use std::collections::BTreeMap;

use http::Method;

use super::kinds::Kind;
use super::store::{Key, Part};

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What is to be done.
    pub act: Act,
    /// With which kind.
    pub kind: Kind,
    /// In which namespace; empty for all of them and for kinds of the cluster.
    pub namespace: String,
    /// With which object; empty for the whole collection.
    pub name: String,
    /// With which part of it.
    pub part: Part,
    /// The query.
    pub query: BTreeMap<String, String>,
}

/// What can be done, in the words of RBAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Act {
    /// Read one object.
    Get,
    /// Read many.
    List,
    /// Hear of changes.
    Watch,
    /// Create one.
    Create,
    /// Replace one.
    Update,
    /// Change parts of one.
    Patch,
    /// Delete one.
    Delete,
}

impl Act {
    /// Whether it may change something.
    #[must_use]
    pub const fn is_write(self) -> bool {
        matches!(self, Self::Create | Self::Update | Self::Patch | Self::Delete)
    }

    /// The verb of RBAC.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }
}

/// Why a request asks for nothing that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unserved {
    /// No such group, or no such kind in a group of custom resources: 404 without a Status.
    Path,
    /// The group has no such kind, or the kind no such part: 404.
    Resource,
    /// A kind that is served from a definition has no such part: 404 for the object.
    Part(Key),
    /// The path does not take this method: 405.
    Method,
}

impl Asked {
    /// Reads it.
    ///
    /// # Errors
    /// Nothing of the kind is served.
    pub fn of(method: &Method, path: &str, query: &str) -> Result<Self, Unserved> {
        let at = Place::of(path)?;
        let query: BTreeMap<String, String> =
            url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let is_watch = query.get("watch").is_some_and(|word| word == "true" || word == "1");
        let act = match (method, at.name.is_empty()) {
            (&Method::GET, false) => Act::Get,
            (&Method::GET, true) if is_watch => Act::Watch,
            (&Method::GET, true) => Act::List,
            (&Method::POST, true) => Act::Create,
            (&Method::PUT, false) => Act::Update,
            (&Method::PATCH, false) => Act::Patch,
            (&Method::DELETE, false) if at.part == Part::Main => Act::Delete,
            _ => return Err(Unserved::Method),
        };
        if act == Act::Create && at.kind.facts().namespaced && at.namespace.is_empty() {
            return Err(Unserved::Method);
        }
        let Place { kind, namespace, name, part } = at;
        Ok(Self { act, kind, namespace, name, part, query })
    }

    /// The object that it is about.
    #[must_use]
    pub fn key(&self) -> Key {
        Key::new(self.kind, &self.namespace, &self.name)
    }

    /// A word of the query; empty if it is not said.
    #[must_use]
    pub fn word(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    /// Where objects are looked for: `None` for all namespaces.
    #[must_use]
    pub fn within(&self) -> Option<&str> {
        Some(self.namespace.as_str()).filter(|name| !name.is_empty())
    }
}

struct Place {
    kind: Kind,
    namespace: String,
    name: String,
    part: Part,
}

impl Place {
    fn of(path: &str) -> Result<Self, Unserved> {
        let steps: Vec<&str> = path.split('/').filter(|step| !step.is_empty()).collect();
        let (group, version, rest) = match steps.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return Err(Unserved::Path),
        };
        let (namespace, rest) = match rest {
            ["namespaces", _] | ["namespaces", _, "status"] => ("", rest),
            ["namespaces", namespace, rest @ ..] => (*namespace, rest),
            rest => ("", rest),
        };
        let (plural, name, part) = match rest {
            [plural] => (*plural, "", Part::Main),
            [plural, name] => (*plural, *name, Part::Main),
            [plural, name, "status"] => (*plural, *name, Part::Status),
            _ => return Err(Unserved::Resource),
        };
        let Some(kind) = Kind::of_path(group, version, plural) else {
            // Groups of custom resources know nothing but these.
            let is_group = |kind: &Kind| {
                !kind.is_custom() && kind.facts().group == group && kind.facts().version == version
            };
            return Err(if Kind::ALL.iter().any(is_group) { Unserved::Resource } else { Unserved::Path });
        };
        let facts = kind.facts();
        let has_place = facts.namespaced != namespace.is_empty() || (facts.namespaced && name.is_empty());
        let has_part = part == Part::Main || facts.status;
        match (has_place, has_part) {
            (true, true) => Ok(Self { kind, namespace: namespace.to_owned(), name: name.to_owned(), part }),
            (true, false) if kind.is_custom() => Err(Unserved::Part(Key::new(kind, namespace, name))),
            _ => Err(Unserved::Resource),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &Method, line: &str) -> Result<Asked, Unserved> {
        let (path, query) = line.split_once('?').unwrap_or((line, ""));
        Asked::of(method, path, query)
    }

    #[test]
    fn paths_are_read() {
        let one = asked(&Method::GET, "/apis/apps/v1/namespaces/shop/deployments/api").unwrap();
        assert_eq!((one.act, one.key()), (Act::Get, Key::new(Kind::Deployment, "shop", "api")));
        let status =
            asked(&Method::PATCH, "/apis/palier.dev/v1alpha1/namespaces/shop/rollouts/a/status").unwrap();
        assert_eq!((status.act, status.part), (Act::Patch, Part::Status));
        let all = asked(&Method::GET, "/api/v1/pods?labelSelector=a%3Db&watch=true").unwrap();
        assert_eq!((all.act, all.within(), all.word("labelSelector")), (Act::Watch, None, "a=b"));
        let namespace = asked(&Method::GET, "/api/v1/namespaces/shop").unwrap();
        assert_eq!(namespace.key(), Key::new(Kind::Namespace, "", "shop"));
        let list = asked(&Method::GET, "/api/v1/namespaces/shop/services").unwrap();
        assert_eq!((list.act, list.within()), (Act::List, Some("shop")));
    }

    #[test]
    fn what_is_not_served_is_told() {
        let unserved = [
            (Method::GET, "/apis/nobody.dev/v1/things", Unserved::Path),
            (Method::GET, "/api/v1/namespaces/shop/configmaps/a/status", Unserved::Resource),
            (Method::GET, "/api/v1/pods/a", Unserved::Resource),
            (Method::GET, "/apis/palier.dev/v1alpha1/namespaces/shop/metricsources", Unserved::Resource),
            (Method::POST, "/api/v1/pods", Unserved::Method),
            (Method::PUT, "/api/v1/namespaces/shop/pods", Unserved::Method),
        ];
        for (method, line, why) in unserved {
            assert_eq!(asked(&method, line), Err(why), "{method} {line}");
        }
    }
}
