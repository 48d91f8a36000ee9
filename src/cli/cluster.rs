//! The way to the API server.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};

use crate::api::Rollout;

use super::error::{Asked, CliError, explain};
use super::view::clean;

/// The longest time for one answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// The longest silence of a connection: longer than that of a healthy watch, which the API server ends after 290 s.
const READ_TIMEOUT: Duration = Duration::from_secs(330);
/// The longest time to open a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Which cluster, and where in it.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// A kubeconfig file instead of `KUBECONFIG` and `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
    /// A context of it instead of the current one.
    pub context: Option<String>,
    /// A namespace instead of the context's.
    pub namespace: Option<String>,
}

/// One namespace of one cluster.
#[derive(Clone)]
pub struct Cluster {
    /// The API server.
    pub client: Client,
    /// The namespace.
    pub namespace: String,
    /// The API server's address, for messages.
    pub server: String,
}

/// The configuration of the client: the flags, else `KUBECONFIG`, else `~/.kube/config`, else the pod's own account.
///
/// # Errors
/// When none of them can be read, or the context is not in it.
pub async fn configure(target: &Target) -> Result<Config, CliError> {
    let options = KubeConfigOptions { context: target.context.clone(), ..KubeConfigOptions::default() };
    let said = |error: &dyn std::error::Error| CliError::Kubeconfig(clean(&error.to_string()));
    let mut config = match (&target.kubeconfig, &target.context) {
        (Some(path), _) => {
            let file = Kubeconfig::read_from(path).map_err(|error| said(&error))?;
            Config::from_custom_kubeconfig(file, &options).await.map_err(|error| said(&error))?
        }
        (None, Some(_)) => Config::from_kubeconfig(&options).await.map_err(|error| said(&error))?,
        (None, None) => match Config::from_kubeconfig(&options).await {
            Ok(config) => config,
            Err(error) => Config::incluster().map_err(|_| said(&error))?,
        },
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(READ_TIMEOUT);
    // Repeats are decided where the request is made: a repeated create could create twice.
    config.default_retry = false;
    Ok(config)
}

impl Cluster {
    /// The cluster that the flags name.
    ///
    /// # Errors
    /// When the kubeconfig cannot be used. Nothing is asked of the API server yet.
    pub async fn connect(target: &Target) -> Result<Self, CliError> {
        let config = configure(target).await?;
        let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let namespace = target.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(|error| CliError::Client(clean(&error.to_string())))?;
        Ok(Self { client, namespace, server })
    }

    /// Waits for one answer, 15 s at most, and says what a refusal means.
    ///
    /// # Errors
    /// See [`explain`].
    pub async fn ask<T>(
        &self,
        asked: Asked<'_>,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, CliError> {
        match tokio::time::timeout(CALL_TIMEOUT, call).await {
            Ok(answer) => answer.map_err(|error| explain(error, asked)),
            Err(_) => Err(CliError::NoAnswer { server: self.server.clone(), after: CALL_TIMEOUT }),
        }
    }

    /// What [`Cluster::ask`] needs to explain a refusal about Rollouts.
    #[must_use]
    pub fn asked_rollout<'a>(&'a self, verb: &'static str, name: &'a str) -> Asked<'a> {
        Asked {
            verb,
            resource: "rollouts",
            kind: "Rollout",
            name,
            namespace: &self.namespace,
            server: &self.server,
        }
    }

    /// The Rollouts of the namespace.
    #[must_use]
    pub fn rollouts(&self) -> Api<Rollout> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Reads a Rollout.
    ///
    /// # Errors
    /// When it is not there or may not be read.
    pub async fn rollout(&self, name: &str) -> Result<Rollout, CliError> {
        self.ask(self.asked_rollout("get", name), self.rollouts().get(name)).await
    }
}
