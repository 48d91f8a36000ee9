use std::time::Duration;

use palier::adapters::clock::Clock;
use palier::adapters::prometheus::Connect;
use palier::api::Interception;
use palier::controller::{RunError, RunOptions, run};
use palier::server::{Health, Metrics};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::server::Server;

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/palier-system/leases/palier";
/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

struct Running {
    health: Health,
    metrics: Metrics,
    shutdown: CancellationToken,
    ended: JoinHandle<Result<(), RunError>>,
}

impl Running {
    async fn end(self) -> Result<(), RunError> {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.ended).await.expect("the controller did not end").unwrap()
    }
}

fn options(server: &Server, identity: &str, namespace: Option<&str>) -> RunOptions {
    RunOptions {
        clock: Clock::system(),
        connect: Connect::http(),
        client: server.client(),
        namespace: namespace.map(str::to_owned),
        lease_namespace: "palier-system".to_owned(),
        lease_name: "palier".to_owned(),
        identity: identity.to_owned(),
        lease_duration: Duration::from_secs(3),
        renew_deadline: Duration::from_secs(2),
        retry_period: Duration::from_millis(200),
        prometheus: None,
        interception: Interception::Auto,
        hooks: false,
        concurrency: 4,
        metrics: Metrics::new(),
        health: Health::new(),
        shutdown: CancellationToken::new(),
    }
}

fn start(options: RunOptions) -> Running {
    let (health, metrics) = (options.health.clone(), options.metrics.clone());
    let shutdown = options.shutdown.clone();
    Running { health, metrics, shutdown, ended: tokio::spawn(run(options)) }
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "in vain waited for: {what}");
}

fn holder(server: &Server) -> Option<String> {
    Some(server.get(LEASE)?["spec"]["holderIdentity"].as_str()?.to_owned())
}

fn epoch(server: &Server) -> i64 {
    server.get(LEASE).and_then(|lease| lease["spec"]["leaseTransitions"].as_i64()).unwrap_or_default()
}

fn leads(running: &Running) -> bool {
    running.metrics.encode().unwrap().lines().any(|line| line == "palier_leader 1")
}

#[tokio::test]
async fn the_caches_are_filled_before_it_leads_and_the_lease_is_released_at_the_end() {
    let server = Server::default();
    let running = start(options(&server, "one", None));
    until("leading", || leads(&running)).await;
    assert!(running.health.ready().is_ok());
    let asked = server.asked();
    let first_lease = asked.iter().position(|line| line.contains("/leases")).unwrap();
    for plural in [
        "rollouts",
        "rolloutactions",
        "deployments",
        "replicasets",
        "services",
        "endpointslices",
        "httproutes",
    ] {
        let listed = asked.iter().position(|line| line.ends_with(&format!("/{plural}"))).unwrap();
        assert!(listed < first_lease, "{plural} are listed before the Lease is looked at");
    }
    running.end().await.unwrap();
    assert_eq!(holder(&server).as_deref(), Some(""));
}

#[tokio::test]
async fn a_standby_is_ready_takes_over_within_two_seconds_and_in_a_later_term() {
    let server = Server::default();
    let first = start(options(&server, "one", None));
    until("the first leads", || leads(&first)).await;
    let term = epoch(&server);
    let second = start(options(&server, "two", None));
    until("the second is ready", || second.health.ready().is_ok()).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!leads(&second) && holder(&server).as_deref() == Some("one"));
    first.end().await.unwrap();
    let released = tokio::time::Instant::now();
    until("the second leads", || leads(&second)).await;
    assert!(released.elapsed() < Duration::from_secs(2), "{:?}", released.elapsed());
    assert_eq!((holder(&server).as_deref(), epoch(&server)), (Some("two"), term + 1));
    second.end().await.unwrap();
}

#[tokio::test]
pub async fn who_loses_the_lease_ends_with_an_error() {
    let server = Server::default();
    let running = start(options(&server, "one", None));
    until("leading", || leads(&running)).await;
    let mut lease = server.get(LEASE).unwrap();
    lease["spec"]["holderIdentity"] = json!("another");
    lease["spec"]["leaseTransitions"] = json!(epoch(&server) + 1);
    server.put(LEASE, lease);
    let ended = tokio::time::timeout(PATIENCE, running.ended).await.unwrap().unwrap();
    assert!(matches!(ended, Err(RunError::LeaseLost(_))), "{ended:?}");
    assert_eq!(holder(&server).as_deref(), Some("another"), "nothing of the other's is touched");
}

#[tokio::test]
async fn a_leader_without_an_api_server_gives_up_before_its_claim_ends() {
    let server = Server::default();
    let running = start(options(&server, "one", None));
    until("leading", || leads(&running)).await;
    server.go_down();
    let since = tokio::time::Instant::now();
    let ended = tokio::time::timeout(PATIENCE, running.ended).await.unwrap().unwrap();
    assert!(matches!(ended, Err(RunError::LeaseLost(_))), "{ended:?}");
    assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
}

#[tokio::test]
async fn a_cluster_without_the_gateway_api_is_served_too() {
    let server = Server::default();
    server.without("gateway.networking.k8s.io");
    let running = start(options(&server, "one", None));
    until("leading", || leads(&running)).await;
    running.end().await.unwrap();
}

#[tokio::test]
async fn in_one_namespace_nothing_of_the_cluster_is_asked_but_the_policy() {
    let server = Server::default();
    let running = start(options(&server, "one", Some("shop")));
    until("leading", || leads(&running)).await;
    running.end().await.unwrap();
    let outside = |line: &&String| {
        !line.contains("/namespaces/shop/")
            && !line.contains("/leases")
            && !line.contains("/mutatingadmissionpolic")
    };
    let asked = server.asked();
    assert_eq!(asked.iter().filter(outside).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[tokio::test]
async fn times_that_do_not_fit_are_refused() {
    let server = Server::default();
    let mut options = options(&server, "one", None);
    options.renew_deadline = options.lease_duration;
    assert!(matches!(run(options).await, Err(RunError::Terms)));
}
