//! The controllers of the soak: two crews, each with a fleet, a namespace and a Lease of its own.
//!
//! *Steady* is one replica that is never killed or frozen: it lives from the first release to the last, and only in such a process
//! does a leak show. *Shaken* is a pair: its leader is killed, frozen beyond its Lease and cut off from the API server. Both meet
//! every other fault. Each replica reaches the API server by a proxy of its own. Whoever has ended is started again at once, as a
//! kubelet does it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use crate::controllers::{Controller, Launch, leader, until_led};
use crate::install::{HOME, RELEASE};
use crate::lab::{Lab, Moods, Proxy};

/// The namespace of the replica that stays.
pub const STEADY: &str = "soak-steady";
/// The namespace of the pair whose leader does not.
pub const SHAKEN: &str = "soak-shaken";
/// The pair's Lease is short, so that a leader's end is no long pause; the time after which a frozen leader has lost it follows.
const SHORT: [&str; 6] = ["--lease-duration", "6s", "--renew-deadline", "4s", "--retry-period", "1s"];
/// Longer than the pair's Lease.
pub const BEYOND_THE_LEASE: Duration = Duration::from_secs(8);
/// How soon somebody sees that a process has ended.
const LOOK: Duration = Duration::from_millis(100);
/// One that is cut off may end again as soon as it starts; for longer than this nobody is cut off.
const UP_WITHIN: Duration = Duration::from_secs(60);

/// One process, and its way to the API server.
pub struct Replica {
    /// The process.
    pub controller: Controller,
    /// Its proxy.
    pub proxy: Proxy,
}

/// See the module.
pub struct Crew {
    /// The namespace that it works in.
    pub namespace: &'static str,
    /// Its processes.
    pub replicas: Vec<Replica>,
}

impl Crew {
    /// Starts it, and waits until one of it leads.
    pub async fn start(lab: &Lab, moods: &Moods, namespace: &'static str) -> Result<Self> {
        may_hold_a_lease(lab, namespace).await?;
        let (letters, terms): (&[&str], &[&str]) =
            if namespace == STEADY { (&["a"], &[]) } else { (&["a", "b"], &SHORT) };
        let kubeconfig = lab.token_for(HOME, RELEASE).await?;
        let metrics = ["--prometheus-url".to_owned(), moods.url("")];
        let interception = ["--interception", "admission"];
        let extra: Vec<String> =
            terms.iter().chain(&interception).map(|it| (*it).to_owned()).chain(metrics).collect();
        let mut replicas = Vec::new();
        for letter in letters {
            let proxy = lab.proxy(0).await?;
            let launch = Launch {
                kubeconfig: proxy.kubeconfig(&kubeconfig)?,
                home: namespace.to_owned(),
                only: Some(namespace.to_owned()),
                extra: extra.clone(),
            };
            let controller = Controller::start(lab, &format!("{namespace}-{letter}"), launch).await?;
            replicas.push(Replica { controller, proxy });
        }
        let candidates: Vec<Controller> = replicas.iter().map(|one| one.controller.clone()).collect();
        until_led(lab, namespace, &candidates).await?;
        Ok(Self { namespace, replicas })
    }

    /// The replica that holds the Lease, and those that do not. Of a Lease that nobody holds, or of a control plane that does not
    /// answer, the first counts as the leader.
    pub async fn leader(&self, lab: &Lab) -> (&Replica, Vec<&Replica>) {
        let holder = leader(lab, self.namespace).await.map(|(holder, ..)| holder).unwrap_or_default();
        let index = self.replicas.iter().position(|one| one.controller.name == holder).unwrap_or(0);
        let others = self.replicas.iter().enumerate().filter(|(place, _)| *place != index);
        (&self.replicas[index], others.map(|(_, one)| one).collect())
    }
}

/// The chart's ServiceAccount works in these namespaces too, and has a Lease there.
async fn may_hold_a_lease(lab: &Lab, namespace: &str) -> Result<()> {
    let meta = json!({"name": "palier-lease", "namespace": namespace});
    for object in [
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": meta,
            "rules": [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create", "get", "update"]}],
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": meta,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "palier-lease"},
            "subjects": [{"kind": "ServiceAccount", "name": RELEASE, "namespace": HOME}],
        }),
    ] {
        lab.apply(&object.to_string()).await?;
    }
    Ok(())
}

/// Starts again whoever has ended, and remembers who.
#[derive(Default)]
pub struct Watchman {
    restarts: Cell<usize>,
    ended_by_itself: RefCell<Vec<String>>,
    down_since: RefCell<BTreeMap<String, Instant>>,
}

impl Watchman {
    /// How often a process was started again.
    pub fn restarts(&self) -> usize {
        self.restarts.get()
    }

    /// The ends of processes that nobody may end, with the last words of their logs.
    pub fn wrong(&self) -> Vec<String> {
        self.ended_by_itself.borrow().clone()
    }

    /// Does so until dropped.
    pub async fn watch(&self, lab: &Lab, crews: &[Crew]) -> Result<()> {
        loop {
            tokio::time::sleep(LOOK).await;
            for crew in crews {
                for replica in crew.replicas.iter().filter(|one| !one.controller.is_running(lab)) {
                    if crew.namespace == STEADY {
                        let tail = lab.children().tail(&replica.controller.name);
                        self.ended_by_itself.borrow_mut().push(format!("it ended by itself: {tail}"));
                    }
                    self.start_again(lab, &replica.controller).await?;
                }
            }
        }
    }

    async fn start_again(&self, lab: &Lab, controller: &Controller) -> Result<()> {
        self.restarts.set(self.restarts.get() + 1);
        let name = &controller.name;
        let since = *self.down_since.borrow_mut().entry(name.clone()).or_insert_with(Instant::now);
        match controller.start_again(lab).await {
            Ok(()) => drop(self.down_since.borrow_mut().remove(name)),
            Err(_) if since.elapsed() < UP_WITHIN => {}
            Err(error) => return Err(error.context(format!("{name} was not up again within {UP_WITHIN:?}"))),
        }
        Ok(())
    }
}
