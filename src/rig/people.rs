//! What people and their tools do to a cluster.

use serde_json::{Value, json};

use crate::apiserver::{Caller, Key, Kind, Part, Refusal};

use super::Rig;

impl Rig {
    /// Creates an object, as `user`.
    ///
    /// # Errors
    /// The API server's.
    pub fn create(&self, user: &str, object: Value) -> Result<(), Refusal> {
        let text = |field: &str| object[field].as_str().unwrap_or_default().to_owned();
        let Some(kind) = Kind::of_manifest(&text("apiVersion"), &text("kind")) else {
            return Err(Refusal::not_found(&text("kind")));
        };
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or("default").to_owned();
        let caller = Caller::new(user, self.time.now());
        self.server.write(|store| store.create(&caller, kind, &namespace, object).map(drop))
    }

    /// Changes an object, as `user`: `change` gets it as it is.
    ///
    /// # Errors
    /// The API server's.
    pub fn change(&self, user: &str, key: &Key, change: impl FnOnce(&mut Value)) -> Result<(), Refusal> {
        let caller = Caller::new(user, self.time.now());
        let changed = self.server.write(|store| {
            store.update(&caller, key, Part::Main, |mut object| {
                change(&mut object);
                Ok(object)
            })
        });
        changed.map(drop)
    }

    /// Deletes an object, as `user`.
    ///
    /// # Errors
    /// The API server's.
    pub fn delete(&self, user: &str, key: &Key) -> Result<(), Refusal> {
        let caller = Caller::new(user, self.time.now());
        self.server.write(|store| store.delete(&caller, key, &Default::default(), None, None).map(drop))
    }

    /// Puts another image into a Deployment.
    ///
    /// # Errors
    /// The API server's.
    pub fn push(&self, namespace: &str, workload: &str, image: &str) -> Result<(), Refusal> {
        self.change("developer", &Key::new(Kind::Deployment, namespace, workload), |deployment| {
            deployment["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
        })
    }

    /// Gives a Deployment another size.
    ///
    /// # Errors
    /// The API server's.
    pub fn scale(&self, namespace: &str, workload: &str, replicas: u32) -> Result<(), Refusal> {
        self.change("scaler", &Key::new(Kind::Deployment, namespace, workload), |deployment| {
            deployment["spec"]["replicas"] = json!(replicas);
        })
    }

    /// Asks for something about the run that is on, in a person's name.
    ///
    /// # Errors
    /// The API server's; there is no run.
    pub fn act(&self, namespace: &str, rollout: &str, action: &str) -> Result<(), Refusal> {
        let found = self.server.read(|store| store.get(Kind::Rollout, namespace, rollout).cloned());
        let Some(found) = found else { return Err(Refusal::not_found(rollout)) };
        let run = found["status"]["run"]["number"].as_i64().unwrap_or(1);
        let name = format!("{}-{}", action.to_lowercase(), self.server.read(|store| store.revision()));
        self.create(
            "operator",
            json!({
                "apiVersion": "palier.dev/v1alpha1", "kind": "RolloutAction",
                "metadata": {"name": name, "namespace": namespace},
                "spec": {"rollout": rollout, "run": run, "action": action, "reason": "asked for by the story"},
            }),
        )
    }
}
