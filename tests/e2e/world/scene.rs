//! The place of one scenario: a namespace, controllers that work on it, and a record of all that happens there.

use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::DeleteParams;

use super::World;
use super::controllers::{Controller, Launch};
use super::given::Given;
use super::history::Record;
use super::install::{self, RELEASE};
use super::shop::Shop;
use crate::lab::audit::{Entries, Mark};
use crate::lab::{Lab, PROMETHEUS_URL};

/// Whose controllers work on the scenario's namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crew {
    /// The pair that works on the whole cluster for all scenarios.
    Shared,
    /// The scenario's own, in namespaced mode, with Roles alone. So many replicas; the scenario may start them later.
    Own(usize),
}

/// See the module.
pub struct Scene {
    world: Arc<World>,
    /// Name of the scenario, as the test's.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// What became of the objects in it.
    pub record: Record,
    /// The controllers that work on it.
    pub controllers: Vec<Controller>,
    /// The controllers as the audit log names them.
    pub user: String,
    begun: Mark,
}

impl Scene {
    /// Makes the namespace and sees to it that controllers work on it.
    pub async fn set(world: &Arc<World>, name: &str, crew: Crew) -> Result<Arc<Self>> {
        let namespace: String = name.replace('_', "-").chars().take(50).collect();
        let namespace = namespace.trim_end_matches('-').to_owned();
        let begun = world.lab.audit().mark();
        world
            .lab
            .apply(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}"))
            .await?;
        let (controllers, home) = match crew {
            Crew::Shared => (world.shared().await?, install::HOME.to_owned()),
            Crew::Own(replicas) => (own(world, &namespace, replicas).await?, namespace.clone()),
        };
        let record = Record::of(&world.lab, &namespace).await?;
        Ok(Arc::new(Self {
            world: world.clone(),
            name: name.to_owned(),
            namespace,
            record,
            controllers,
            user: format!("system:serviceaccount:{home}:{RELEASE}"),
            begun,
        }))
    }

    /// The lab.
    pub fn lab(&self) -> &Lab {
        &self.world.lab
    }

    /// The chart for the whole cluster: see [`World::install_cluster_wide`].
    pub async fn install_cluster_wide(&self) -> Result<()> {
        self.world.install_cluster_wide().await
    }

    /// Opens a shop in this namespace: see [`Shop::open`].
    pub async fn given(self: &Arc<Self>, given: Given) -> Result<Shop> {
        Shop::open(self, given).await
    }

    /// Notes what was measured, beside what was wanted.
    pub fn measured(&self, what: &str, measured: &str, wanted: &str) {
        self.world.figures.note(&self.name, what, measured, wanted);
    }

    /// A MetricSource named after the namespace, whose mood the scenario sets with `lab().moods().set(&namespace, …)`.
    pub async fn moody_source(&self) -> Result<()> {
        let url = self.lab().moods().routable_url(&self.namespace);
        self.lab()
            .apply(&format!(
                "apiVersion: palier.dev/v1alpha1
kind: MetricSource
metadata: {{name: {0}}}
spec:
  prometheus: {{url: '{url}', timeout: 2s}}
  namespaces: [{0}]
",
                self.namespace
            ))
            .await?;
        Ok(())
    }

    /// What was asked of the API server in this namespace since the scenario began.
    pub fn requests(&self) -> Result<Entries> {
        Ok(self.lab().audit().since(&self.begun)?.only(|entry| entry.namespace == self.namespace))
    }

    /// What the controllers asked of the API server in this namespace.
    pub fn requests_of_palier(&self) -> Result<Entries> {
        Ok(self.requests()?.by(&self.user))
    }

    /// What has to be true at the end of every scenario; then the namespace may go.
    pub async fn close(&self) -> Result<()> {
        let all = self.lab().audit().since(&self.begun)?.by(&self.user).forbidden();
        let forbidden = all.only(|entry| self.has_its_own_crew() || entry.namespace == self.namespace);
        ensure!(
            forbidden.0.is_empty(),
            "the chart's roles do not allow what was asked: {:?}",
            forbidden.counts()
        );
        for controller in &self.controllers {
            let has_panicked = controller.has_said(self.lab(), "panicked");
            ensure!(!has_panicked, "{}", controller.log_about(self.lab(), "panicked"));
        }
        let namespaces: Api<Namespace> = Api::all(self.lab().client());
        namespaces.delete(&self.namespace, &DeleteParams::default()).await?;
        Ok(())
    }

    fn has_its_own_crew(&self) -> bool {
        self.user.contains(&self.namespace)
    }

    /// The state of things, for the message of a failure: last status, events, the controllers' words.
    pub fn account(&self) -> String {
        let mut text = String::new();
        for rollout in self.record.rollouts.present() {
            let status = serde_json::to_string_pretty(&rollout.status).unwrap_or_default();
            let _ = writeln!(text, "--- last status of the Rollout\n{status}");
        }
        let columns = "custom-columns=AT:.eventTime,REASON:.reason,NOTE:.note";
        let query = ["-n", &self.namespace, "get", "events.v1.events.k8s.io", "-o", columns];
        if let Ok(events) = self.lab().kubectl(&query) {
            let ours: Vec<&str> = events.lines().filter(|line| !line.starts_with("<none>")).collect();
            let _ = writeln!(text, "--- events\n{}", ours.join("\n"));
        }
        let objects = ["-n", &self.namespace, "get", "deploy,rs,svc,httproute,pods", "-o", "wide"];
        let _ = writeln!(text, "--- objects\n{}", self.lab().kubectl(&objects).unwrap_or_default());
        for controller in &self.controllers {
            let word = if self.has_its_own_crew() { "" } else { &self.namespace };
            text += &controller.log_about(self.lab(), word);
        }
        text
    }
}

/// Installs the chart for one namespace and starts controllers there. Their default metric source has a mood of its own, named
/// after the namespace.
async fn own(world: &World, namespace: &str, replicas: usize) -> Result<Vec<Controller>> {
    install::one_namespace(&world.lab, namespace, &[]).await?;
    let launch = own_launch(world, namespace).await?;
    let mut controllers = Vec::new();
    for number in 0..replicas {
        let name = format!("{namespace}-{}", ["a", "b", "c"].get(number).unwrap_or(&"z"));
        controllers.push(Controller::start(&world.lab, &name, launch.clone()).await?);
    }
    Ok(controllers)
}

/// How a controller of one namespace alone is started, with its ServiceAccount's rights and short terms of the Lease.
pub async fn own_launch(world: &World, namespace: &str) -> Result<Launch> {
    launch_as(&world.lab, namespace, RELEASE).await
}

/// The same with the rights of any ServiceAccount of the namespace.
pub async fn launch_as(lab: &Lab, namespace: &str, account: &str) -> Result<Launch> {
    let terms = ["--lease-duration", "4s", "--renew-deadline", "3s", "--retry-period", "500ms"];
    let metrics = ["--prometheus-url".to_owned(), lab.moods().url(namespace)];
    Ok(Launch {
        kubeconfig: lab.token_for(namespace, account).await?,
        home: namespace.to_owned(),
        only: Some(namespace.to_owned()),
        extra: terms.map(str::to_owned).into_iter().chain(metrics).collect(),
    })
}

/// How a controller of the whole cluster is started.
pub async fn shared_launch(world: &World) -> Result<Launch> {
    Ok(Launch {
        kubeconfig: world.lab.token_for(install::HOME, RELEASE).await?,
        home: install::HOME.to_owned(),
        only: None,
        extra: vec!["--prometheus-url".to_owned(), PROMETHEUS_URL.to_owned(), "--hooks".to_owned()],
    })
}
