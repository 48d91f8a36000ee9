//! A control plane on which Palier's kinds and policies are installed, with three people:
//!
//! | who | may |
//! |---|---|
//! | ana | create any action, `abort` the Rollout `shop` in `shop`, and nothing else with Rollouts |
//! | ben | write Rollouts, their status and records; patch what is called `own` or `own-1` … `own-7`, and the ConfigMap `own` |
//! | mallory | create Rollouts, actions and records in `bad`; patch the Deployment and the Service `own` |

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::lab::{Lab, eventually};

const WITHIN: Duration = Duration::from_secs(30);
const PEOPLE: &str = include_str!("people.yaml");

/// The place of all tests.
pub struct Place {
    pub lab: Lab,
    files: AtomicU32,
}

impl Place {
    /// Installs the plain manifests, and waits until the API server enforces them.
    pub fn prepare(lab: Lab) -> Result<Self> {
        let place = Self { lab, files: AtomicU32::new(0) };
        let base = root().join("deploy/base");
        place
            .kubectl("admin", &["apply", "--server-side", "-f", &base.join("crds.yaml").to_string_lossy()])?;
        place.kubectl("admin", &["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"])?;
        place.kubectl("admin", &["apply", "--server-side", "-k", &base.to_string_lossy()])?;
        place.apply("admin", PEOPLE)?;
        place.lab.block_on(place.enforced())?;
        Ok(place)
    }

    /// The API server learns of policies some moments after they are stored.
    async fn enforced(&self) -> Result<()> {
        eventually("the policies are enforced", WITHIN, async || {
            let stamped = self.dry_run("ana", &action("shop", "Abort"));
            let forged = self.dry_run("ben", RUN_RECORD);
            let foreign = self.dry_run("ben", &rollout("shop", "foreign"));
            let stamped = stamped.map_err(|error| format!("{error:#}"))?;
            if !stamped.contains("ana") || forged.is_ok() || foreign.is_ok() {
                return Err(format!("not yet: {stamped}").into());
            }
            Ok(())
        })
        .await
    }

    /// Runs kubectl as somebody.
    pub fn kubectl(&self, user: &str, arguments: &[&str]) -> Result<String> {
        self.lab.kubectl_with(&self.lab.kubeconfig(user, 0), arguments)
    }

    /// Server-side apply as somebody.
    pub fn apply(&self, user: &str, yaml: &str) -> Result<String> {
        let file = self.file(yaml)?;
        self.kubectl(user, &["apply", "--server-side", "--force-conflicts", "-f", &file])
    }

    /// What would be stored, as somebody.
    pub fn dry_run(&self, user: &str, yaml: &str) -> Result<String> {
        let file = self.file(yaml)?;
        self.kubectl(user, &["create", "--dry-run=server", "-o", "yaml", "-f", &file])
    }

    /// A file with this text.
    pub fn file(&self, text: &str) -> Result<String> {
        let path =
            self.lab.dir().join(format!("manifest-{}.yaml", self.files.fetch_add(1, Ordering::Relaxed)));
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path.to_string_lossy().into_owned())
    }
}

/// The checkout.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// An action in the namespace `shop` that says it is asked by somebody else.
pub fn action(rollout: &str, action: &str) -> String {
    format!(
        "apiVersion: palier.dev/v1alpha1\nkind: RolloutAction\nmetadata: {{generateName: {rollout}-, namespace: shop}}\n\
         spec: {{rollout: {rollout}, run: 1, action: {action}, requestedBy: {{user: root, groups: [a, 'system:masters']}}}}\n"
    )
}

/// A Rollout of one Deployment in the namespace `shop`.
pub fn rollout(name: &str, deployment: &str) -> String {
    format!(
        "apiVersion: palier.dev/v1alpha1\nkind: Rollout\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec: {{components: [{{name: api, workloadRef: {{name: {deployment}}}}}]}}\n"
    )
}

/// The record of a run in the namespace `shop`.
pub const RUN_RECORD: &str = "apiVersion: palier.dev/v1alpha1\nkind: RolloutRun\nmetadata: {name: shop-1, namespace: shop}\n\
     spec: {rollout: shop, number: 1, components: [], phases: [], startedAt: '2026-01-01T00:00:00Z'}\n";

/// Passes when something was refused with these words.
pub fn refused<T: std::fmt::Debug>(result: Result<T>, words: &str) -> Result<()> {
    match result {
        Ok(done) => bail!("it was not refused: {done:?}"),
        Err(error) => {
            let said = format!("{error:#}");
            ensure!(said.contains(words), "refused, but not with the words {words:?}: {said}");
            Ok(())
        }
    }
}

/// The documents of a YAML text.
pub fn documents(yaml: &str) -> Result<Vec<Value>> {
    let all: Vec<Value> = serde_saphyr::from_multiple(yaml).context("this is not YAML")?;
    Ok(all.into_iter().filter(|document| !document.is_null()).collect())
}
