//! The kinds as the API server sees them: stored definitions are fresh, small and bounded, their rules hold what they
//! promise, and whatever they let through can be read.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bounds;
mod manifests;
mod rules;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use palier::api::crds;
use serde_json::Value;

/// All definitions together cost the API server and etcd at each start of a watch; peers' grew to 573 kB.
const BYTES_MAX: usize = 100_000;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The schema of a kind, as JSON.
fn schema_of(kind: &str) -> Value {
    let crd = crds::all().into_iter().find(|crd| crd.spec.names.kind == kind).expect("a kind of ours");
    let version = serde_json::to_value(&crd.spec.versions[0]).unwrap();
    version.pointer("/schema/openAPIV3Schema").unwrap().clone()
}

fn rendered() -> BTreeMap<String, String> {
    let file = |crd: &CustomResourceDefinition| {
        let name = format!("{}_{}.yaml", crd.spec.group, crd.spec.names.plural);
        (name, crds::yaml(crd).unwrap())
    };
    crds::all().iter().map(file).collect()
}

fn stored(dir: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    let read = |path: &PathBuf| {
        (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read_to_string(path).unwrap())
    };
    paths.iter().map(read).collect()
}

#[test]
fn stored_definitions_are_those_of_the_types() {
    for dir in ["crds", "charts/palier/crds"].map(|dir| root().join(dir)) {
        if std::env::var_os("UPDATE_CRDS").is_some() {
            fs::create_dir_all(&dir).unwrap();
            for (name, text) in rendered() {
                fs::write(dir.join(name), text).unwrap();
            }
        }
        assert!(stored(&dir) == rendered(), "{} is stale: run `make crds`", dir.display());
    }
}

#[test]
fn stored_definitions_mean_what_the_types_say() {
    for crd in crds::all() {
        let name = format!("{}_{}.yaml", crd.spec.group, crd.spec.names.plural);
        let read: Value = serde_saphyr::from_str(&rendered()[&name]).unwrap();
        assert_eq!(read, serde_json::to_value(&crd).unwrap(), "{name}");
    }
}

#[test]
fn definitions_are_small() {
    let bytes: usize = rendered().values().map(String::len).sum();
    assert!(bytes < BYTES_MAX, "{bytes} bytes");
}
