//! The control plane's processes and their flags.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use kube::Client;
use tokio::net::TcpStream;

use super::Options;
use super::access::Access;
use super::children::Children;
use super::enter::Place;
use super::wait::eventually;

const READY_WITHIN: Duration = Duration::from_secs(60);
/// Where etcd listens.
pub const ETCD: &str = "127.0.0.1:2379";
const AUDIT_POLICY: &str = include_str!("audit.yaml");
const STAGES: &str = include_str!("stages.yaml");
/// What the controller manager runs: node life cycle is left out, as slow heartbeats on a busy machine would evict pods.
const CONTROLLERS: &str = "deployment-controller,replicaset-controller,statefulset-controller,daemonset-controller,\
     job-controller,cronjob-controller,endpointslice-controller,horizontal-pod-autoscaler-controller,disruption-controller,\
     garbage-collector-controller,namespace-controller,serviceaccount-controller,pod-garbage-collector-controller,\
     clusterrole-aggregation-controller,resourcequota-controller,validatingadmissionpolicy-status-controller";

/// Where an API server writes its audit log.
pub fn audit_log(place: &Place, server: usize) -> PathBuf {
    place.dir.join(format!("audit-{server}.log"))
}

/// What the start of a control plane needs.
pub struct Setup<'a> {
    pub place: &'a Place,
    pub options: &'a Options,
    pub children: &'a Children,
    pub access: &'a Access,
}

impl Setup<'_> {
    /// Starts the control plane; comes back with an administrator's client when the API servers are ready.
    pub async fn start(&self) -> Result<Client> {
        self.write("audit.yaml", AUDIT_POLICY)?;
        self.write("stages.yaml", STAGES)?;
        self.etcd()?;
        self.listening("etcd", ETCD).await?;
        for server in 0..self.options.api_servers {
            // Left over from an earlier lab in the same folder it would be judged again.
            let _ = fs::remove_file(audit_log(self.place, server));
            // A stale one could be for another address.
            let _ = fs::remove_dir_all(self.access.certificates(server));
            self.spawn_api_server(server, ETCD)?;
        }
        for server in 0..self.options.api_servers {
            self.api_server_ready(server).await?;
        }
        self.controller_manager()?;
        self.scheduler()?;
        self.kwok()?;
        self.access.client(0).await
    }

    fn etcd(&self) -> Result<()> {
        let url = format!("http://{ETCD}");
        let mut etcd = self.command("etcd")?;
        etcd.arg(format!("--data-dir={}", self.memory("etcd")?.display()));
        etcd.args([format!("--listen-client-urls={url}"), format!("--advertise-client-urls={url}")]);
        etcd.args(["--unsafe-no-fsync", "--log-level=warn", "--quota-backend-bytes=8589934592"]);
        // The peer port is not used, but every etcd listens on one.
        etcd.args(["--listen-peer-urls=http://127.0.0.1:2380", "--snapshot-count=100000"]);
        self.children.spawn("etcd", etcd).map(drop)
    }

    /// Starts one API server on the etcd at an address. Started again it has the certificate that everybody knows.
    pub fn spawn_api_server(&self, server: usize, etcd: &str) -> Result<()> {
        let dir = self.place.dir.display();
        let certificates = self.access.certificates(server);
        let mut api = self.command("kube-apiserver")?;
        api.arg(format!("--etcd-servers=http://{etcd}"));
        api.arg(format!("--advertise-address=198.18.255.{}", server + 1));
        api.arg(format!("--secure-port={}", Access::port(server)));
        api.arg(format!("--cert-dir={}", certificates.display()));
        api.args([
            format!("--service-account-key-file={dir}/service-account.pub"),
            format!("--service-account-signing-key-file={dir}/service-account.key"),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--token-auth-file={dir}/tokens.csv"),
            format!("--audit-policy-file={dir}/audit.yaml"),
            format!("--audit-log-path={}", audit_log(self.place, server).display()),
        ]);
        api.args([
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=198.19.0.0/16",
            // Pods need neither tokens nor node taints: nothing runs in them.
            "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition,DefaultTolerationSeconds",
            "--audit-log-maxsize=4000",
            "--max-requests-inflight=2000",
            "--max-mutating-requests-inflight=1000",
            "--endpoint-reconciler-type=none",
            "--watch-cache=true",
            "--profiling=false",
        ]);
        self.children.spawn(&api_server(server), api).map(drop)
    }

    /// Waits for one API server, then writes the kubeconfigs for it.
    pub async fn api_server_ready(&self, server: usize) -> Result<()> {
        let http = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).build()?;
        let url = format!("{}/readyz", Access::server(server));
        let name = api_server(server);
        let ready = eventually(format!("{name} answers {url}"), READY_WITHIN, async || {
            let answer = http.get(&url).timeout(Duration::from_secs(2)).send().await?;
            let ok = answer.status().is_success();
            if ok { Ok(()) } else { Err(answer.text().await?.into()) }
        });
        self.children.unless_dead(&name, ready).await?;
        self.access.open(server)
    }

    fn controller_manager(&self) -> Result<()> {
        let mut manager = self.command("kube-controller-manager")?;
        manager.arg(format!("--kubeconfig={}", self.kubeconfig("kube-controller-manager")));
        manager.arg(format!("--controllers={CONTROLLERS}"));
        let key = self.place.dir.join("service-account.key");
        manager.arg(format!("--service-account-private-key-file={}", key.display()));
        manager.args([
            "--leader-elect=false",
            "--kube-api-qps=2000",
            "--kube-api-burst=4000",
            "--concurrent-deployment-syncs=20",
            "--concurrent-replicaset-syncs=20",
            "--concurrent-service-endpoint-syncs=20",
            "--concurrent-gc-syncs=20",
            "--concurrent-namespace-syncs=20",
            "--horizontal-pod-autoscaler-sync-period=2s",
            "--profiling=false",
        ]);
        self.children.spawn("kube-controller-manager", manager).map(drop)
    }

    fn scheduler(&self) -> Result<()> {
        let mut scheduler = self.command("kube-scheduler")?;
        scheduler.arg(format!("--kubeconfig={}", self.kubeconfig("kube-scheduler")));
        scheduler.args(["--leader-elect=false", "--kube-api-qps=2000", "--kube-api-burst=4000"]);
        self.children.spawn("kube-scheduler", scheduler).map(drop)
    }

    fn kwok(&self) -> Result<()> {
        let mut kwok = self.command("kwok")?;
        kwok.arg(format!("--kubeconfig={}", self.kubeconfig("kwok")));
        kwok.arg(format!("--config={}/stages.yaml", self.place.dir.display()));
        self.children.spawn("kwok", kwok).map(drop)
    }

    /// Waits until a part listens.
    pub async fn listening(&self, name: &str, address: &str) -> Result<()> {
        let wait = eventually(format!("{name} listens on {address}"), READY_WITHIN, async || {
            TcpStream::connect(address).await?;
            Ok(())
        });
        self.children.unless_dead(name, wait).await
    }

    fn command(&self, name: &str) -> Result<Command> {
        let mut command = self.place.tools.command(name)?;
        command.current_dir(&self.place.dir);
        Ok(command)
    }

    fn kubeconfig(&self, user: &str) -> String {
        self.access.kubeconfig(user, 0).display().to_string()
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.place.dir.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// A folder in memory, seen only inside the lab, a new one for every start.
    fn memory(&self, name: &str) -> Result<PathBuf> {
        static STARTS: AtomicU32 = AtomicU32::new(0);
        let dir = self.place.dir.join(format!("{name}-{}", STARTS.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir_all(&dir)?;
        mount_tmpfs(&dir)?;
        Ok(dir)
    }
}

fn api_server(index: usize) -> String {
    format!("kube-apiserver-{index}")
}

fn mount_tmpfs(dir: &Path) -> Result<()> {
    let output = Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(dir).output()?;
    if !output.status.success() {
        bail!("cannot mount tmpfs on {}: {}", dir.display(), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
