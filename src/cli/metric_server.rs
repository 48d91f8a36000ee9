//! The metric server that a command asks, and who it says it is: as the flags say, or as a MetricSource of the cluster does.
//!
//! Credentials come from files, from the environment or from the cluster, never from an argument: arguments are seen by every
//! process of the machine. Nothing of them is ever printed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Secret as KubeSecret;
use kube::Api;

use crate::adapters::prometheus::{Auth, PrometheusClient, Secret, SourceConfig, configured, secrets_of};
use crate::api::{MetricSource, Span};

use super::{Asked, CliError, Cluster, Target, manifest};

/// Which metric server, and how to say who asks.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct MetricServerArgs {
    /// Address of the Prometheus
    #[arg(long, value_name = "URL")]
    pub prometheus_url: Option<String>,
    /// A MetricSource of the cluster, with the Secrets that it names: read as you, by your kubeconfig. --prometheus-url gives
    /// another address for it, such as that of a port-forward
    #[arg(long, value_name = "NAME")]
    pub metric_source: Option<String>,
    /// Where Palier runs, and the Secrets of its MetricSources are
    #[arg(long, value_name = "NAMESPACE", default_value = "palier-system")]
    pub palier_namespace: String,
    /// A file with a bearer token
    #[arg(long, value_name = "FILE", conflicts_with_all = ["bearer_token_env", "username", "metric_source"])]
    pub bearer_token_file: Option<PathBuf>,
    /// A variable of the environment with a bearer token
    #[arg(long, value_name = "VARIABLE", conflicts_with_all = ["username", "metric_source"])]
    pub bearer_token_env: Option<String>,
    /// A user, with --password-file or --password-env
    #[arg(long, value_name = "USER", conflicts_with = "metric_source")]
    pub username: Option<String>,
    /// A file with the user's password
    #[arg(long, value_name = "FILE", requires = "username", conflicts_with = "password_env")]
    pub password_file: Option<PathBuf>,
    /// A variable of the environment with the user's password
    #[arg(long, value_name = "VARIABLE", requires = "username")]
    pub password_env: Option<String>,
    /// A file with the certificate authorities to trust (PEM) instead of the system's
    #[arg(long, value_name = "FILE", conflicts_with = "metric_source")]
    pub ca_file: Option<PathBuf>,
}

/// The longest answer and the longest wait for it.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest time for one answer.
    pub timeout: Span,
    /// The largest answer in bytes.
    pub max_bytes: usize,
}

impl MetricServerArgs {
    /// Whether a server is named.
    #[must_use]
    pub const fn is_given(&self) -> bool {
        self.prometheus_url.is_some() || self.metric_source.is_some()
    }

    /// The client of the server; `None` if none is named.
    ///
    /// # Errors
    /// A file, a variable or an object that cannot be read, an address or a certificate that cannot be used.
    pub async fn client(
        &self,
        target: &Target,
        limits: Limits,
    ) -> Result<Option<PrometheusClient>, CliError> {
        let config = match (&self.metric_source, &self.prometheus_url) {
            (Some(name), url) => self.of_cluster(target, name, url.as_deref()).await?,
            (None, Some(url)) => self.of_flags(url)?,
            (None, None) => return Ok(None),
        };
        let config = SourceConfig {
            timeout: limits.timeout,
            max_bytes: limits.max_bytes,
            allow_loopback: true,
            ..config
        };
        let named = if self.prometheus_url.is_some() { "--prometheus-url" } else { "--metric-source" };
        let client = PrometheusClient::new(config);
        client.map(Some).map_err(|error| CliError::Usage(format!("{named}: {error}")))
    }

    fn of_flags(&self, url: &str) -> Result<SourceConfig, CliError> {
        let auth = match (self.token()?, &self.username) {
            (Some(token), _) => Some(Auth::Bearer(token)),
            (None, Some(username)) => {
                let password = secret_of((self.password_file.as_deref(), self.password_env.as_deref()))?;
                let Some(password) = password else {
                    let says = "--username needs --password-file or --password-env";
                    return Err(CliError::Usage(says.to_owned()));
                };
                Some(Auth::Basic { username: username.clone(), password })
            }
            (None, None) => None,
        };
        let ca_bundle = self.ca_file.as_deref().map(manifest::read).transpose()?.map(String::into_bytes);
        Ok(SourceConfig {
            url: url.to_owned(),
            timeout: Span::ZERO,
            max_bytes: 0,
            ca_bundle,
            auth,
            allow_loopback: true,
        })
    }

    fn token(&self) -> Result<Option<Secret>, CliError> {
        secret_of((self.bearer_token_file.as_deref(), self.bearer_token_env.as_deref()))
    }

    /// The MetricSource of this name with what its Secrets hold.
    async fn of_cluster(
        &self,
        target: &Target,
        name: &str,
        url: Option<&str>,
    ) -> Result<SourceConfig, CliError> {
        let cluster = Cluster::connect(target).await?;
        let sources: Api<MetricSource> = Api::all(cluster.client.clone());
        let asked = asked(&cluster, ("metricsources", "MetricSource"), name, "");
        let server = cluster.ask(asked, sources.get(name)).await?.spec.prometheus;
        let namespace = self.palier_namespace.as_str();
        let secrets: Api<KubeSecret> = Api::namespaced(cluster.client.clone(), namespace);
        let mut values = BTreeMap::new();
        for (secret, key) in secrets_of(&server) {
            let asked = self::asked(&cluster, ("secrets", "Secret"), &secret, namespace);
            let data = cluster.ask(asked, secrets.get(&secret)).await?.data;
            if let Some(value) = data.and_then(|mut data| data.remove(&key)) {
                values.insert((secret, key), value.0);
            }
        }
        let config = configured(&server, &values);
        let mut config = config.map_err(|why| CliError::Usage(format!("MetricSource {name}: {why}")))?;
        if let Some(url) = url {
            url.clone_into(&mut config.url);
        }
        Ok(config)
    }
}

fn asked<'a>(
    cluster: &'a Cluster,
    (resource, kind): (&'static str, &'static str),
    name: &'a str,
    namespace: &'a str,
) -> Asked<'a> {
    Asked { verb: "get", resource, kind, name, namespace, server: &cluster.server }
}

/// What a file or a variable of the environment holds.
fn secret_of((file, variable): (Option<&Path>, Option<&str>)) -> Result<Option<Secret>, CliError> {
    match (file, variable) {
        (Some(file), _) => Ok(Some(Secret::new(&manifest::read(file)?))),
        (None, Some(variable)) => match std::env::var(variable) {
            Ok(text) => Ok(Some(Secret::new(&text))),
            // The text itself is not repeated, whatever it is.
            Err(_) => Err(CliError::Usage(format!("there is no text in the variable {variable}"))),
        },
        (None, None) => Ok(None),
    }
}
