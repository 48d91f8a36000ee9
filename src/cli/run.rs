//! `palier run`: the controller with its health and metrics server.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::SocketAddr;

use kube::Client;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::adapters::clock::Clock;
use crate::adapters::prometheus::Connect;
use crate::api::{Interception, Span};
use crate::controller::{self, PrometheusFlag, RunOptions};
use crate::server::{self, Health, Metrics};

use super::logging::{self, LogFormat};
use super::signals::EndSignals;
use super::{CliError, ExitStatus, Target, cluster};

/// Where a pod finds its own namespace.
/// <https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/#directly-accessing-the-rest-api>
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
/// Where the chart installs Palier.
const NAMESPACE_DEFAULT: &str = "palier-system";

/// Arguments of `palier run`. With the global `--namespace` it works in that namespace only, without cluster rights.
#[derive(Debug, clap::Args)]
#[command(after_help = "With --namespace it works in that namespace only and needs no rights in others.")]
pub struct RunArgs {
    /// Address of /healthz, /readyz and /metrics
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Namespace of the Lease and of the Secrets that a MetricSource names [default: the pod's own, or palier-system]
    #[arg(long, value_name = "NAMESPACE", env = "POD_NAMESPACE", hide_env_values = true)]
    pub lease_namespace: Option<String>,
    /// Name of the Lease by which the replicas agree on a leader
    #[arg(long, value_name = "NAME", default_value = "palier")]
    pub lease_name: String,
    /// Name of this replica, of no other one [default: the host name and random letters]
    #[arg(long, value_name = "NAME")]
    pub identity: Option<String>,
    /// How long a claim on the Lease is good for
    #[arg(long, value_name = "DURATION", default_value = "15s")]
    pub lease_duration: Span,
    /// A leader that could not renew its claim for this long stops to act
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    pub renew_deadline: Span,
    /// Time between two attempts on the Lease
    #[arg(long, value_name = "DURATION", default_value = "2s")]
    pub retry_period: Span,
    /// Address of a Prometheus: makes the MetricSource "default"
    #[arg(long, value_name = "URL")]
    pub prometheus_url: Option<String>,
    /// Whether --prometheus-url may be on the loopback interface
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, requires = "prometheus_url")]
    pub prometheus_allow_loopback: bool,
    /// What Rollouts with interception: Auto get: admission, at-rest, or auto (by what the cluster serves)
    #[arg(long, value_name = "WAY", default_value = "auto", hide_possible_values = true)]
    pub interception: InterceptionFlag,
    /// Run the hooks of Rollouts: needs rights on Jobs and CronJobs
    #[arg(long)]
    pub hooks: bool,
    /// Rollouts that are worked on at the same time
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub concurrency: u16,
    /// Form of the log: text or json
    #[arg(long, value_name = "FORMAT", default_value = "text", hide_possible_values = true)]
    pub log_format: LogFormat,
    /// Level of the log: error, warn, info, debug, trace, or a filter such as info,palier::controller=debug
    #[arg(long, value_name = "LEVEL", default_value = "info", env = "PALIER_LOG", hide_env_values = true)]
    pub log_level: String,
}

/// What `--interception` can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum InterceptionFlag {
    /// The admission policy where it is served and installed, else at rest
    Auto,
    /// The admission policy pauses a changed Deployment
    Admission,
    /// Deployments stay paused between runs too
    AtRest,
}

/// An `http` or `https` address without user, query or fragment. The message never repeats it: it may hold a password.
/// (A parser given to clap would: clap shows every value that it refuses.)
fn prometheus_url(text: &str) -> Result<Url, CliError> {
    let wrong = |why: &str| {
        let cure = "write it like https://prometheus.monitoring:9090, without user, query or fragment";
        Err(CliError::Usage(format!("--prometheus-url: {why}; {cure}")))
    };
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(error) => return wrong(&error.to_string()),
    };
    let is_plain = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none()
        && url.has_host()
        && matches!(url.scheme(), "http" | "https");
    if is_plain { Ok(url) } else { wrong("not such an address") }
}

pub(super) async fn run(target: &Target, args: RunArgs) -> Result<ExitStatus, CliError> {
    logging::start(args.log_format, &args.log_level)?;
    let listen = args.listen;
    let options = options(target, args).await?;
    let (health, metrics, shutdown) =
        (options.health.clone(), options.metrics.clone(), options.shutdown.clone());
    let listener = server::listen(listen).await?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), %listen, identity = %options.identity, "palier starts");
    // The probes stay answered while the controller finishes.
    let pages_end = CancellationToken::new();
    let pages = tokio::spawn(serve_pages(listener, health.clone(), metrics, pages_end.clone()));
    let mut ends = EndSignals::catch()?;
    let outcome = tokio::select! {
        outcome = controller::run(options) => outcome.map(|()| ExitStatus::Success),
        () = second_signal(&mut ends, &health, &shutdown) => Ok(ExitStatus::Interrupted),
    };
    health.stop();
    pages_end.cancel();
    if let Err(error) = pages.await {
        tracing::error!(%error, "the health and metrics server failed");
    }
    tracing::info!("palier has ended");
    Ok(outcome?)
}

async fn serve_pages(
    listener: tokio::net::TcpListener,
    health: Health,
    metrics: Metrics,
    shutdown: CancellationToken,
) {
    let _running = health.core_task("health and metrics server");
    server::serve(listener, health.clone(), metrics, shutdown).await;
}

/// The first signal asks for an orderly end; this returns with the second one, which asks for an end at once.
async fn second_signal(ends: &mut EndSignals, health: &Health, shutdown: &CancellationToken) {
    ends.next().await;
    tracing::info!("asked to end: finishing writes under way, releasing the lease");
    health.stop();
    shutdown.cancel();
    ends.next().await;
    tracing::warn!("asked to end a second time: ending at once");
}

async fn options(target: &Target, args: RunArgs) -> Result<RunOptions, CliError> {
    let (duration, deadline, period) = (args.lease_duration, args.renew_deadline, args.retry_period);
    if period.is_zero() || period >= deadline || deadline >= duration {
        return Err(CliError::Usage(format!(
            "the times of the Lease must rise: --retry-period ({period}), --renew-deadline ({deadline}), \
             --lease-duration ({duration})"
        )));
    }
    let prometheus = args.prometheus_url.as_deref().map(prometheus_url).transpose()?;
    let config = cluster::configure(target).await?;
    let client = Client::try_from(config).map_err(|error| CliError::Client(error.to_string()))?;
    Ok(RunOptions {
        clock: Clock::system(),
        connect: Connect::http(),
        client,
        namespace: target.namespace.clone(),
        lease_namespace: args.lease_namespace.unwrap_or_else(own_namespace),
        lease_name: args.lease_name,
        identity: args.identity.unwrap_or_else(identity),
        lease_duration: duration.as_std(),
        renew_deadline: deadline.as_std(),
        retry_period: period.as_std(),
        prometheus: prometheus
            .map(|url| PrometheusFlag { url, allow_loopback: args.prometheus_allow_loopback }),
        interception: match args.interception {
            InterceptionFlag::Auto => Interception::Auto,
            InterceptionFlag::Admission => Interception::Admission,
            InterceptionFlag::AtRest => Interception::AtRest,
        },
        hooks: args.hooks,
        concurrency: usize::from(args.concurrency),
        metrics: Metrics::new(),
        health: Health::new(),
        shutdown: CancellationToken::new(),
    })
}

fn own_namespace() -> String {
    let found = std::fs::read_to_string(NAMESPACE_FILE).map(|text| text.trim().to_owned());
    found.ok().filter(|name| !name.is_empty()).unwrap_or_else(|| NAMESPACE_DEFAULT.to_owned())
}

/// The host name and eight random letters: a restarted process is another candidate.
fn identity() -> String {
    let host = hostname::get().map(|name| name.to_string_lossy().into_owned());
    let host = host.ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "palier".to_owned());
    // The keys of the standard library's hash maps come from the system's source of randomness.
    let random = RandomState::new().build_hasher().finish() & 0xffff_ffff;
    format!("{host}-{random:08x}")
}
