//! Who else works in the cluster while a story is told: an autoscaler that follows the load, and a tool that puts back what is in Git.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use palier::apiserver::{Key, Kind};
use palier::rig::Rig;
use palier::rig::given::{SHOP, image};
use serde_json::{Value, json};

use crate::dice::Dice;

/// How often an autoscaler looks: the default of Kubernetes.
/// <https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/>
const SCALES_EVERY: Duration = Duration::from_secs(15);
/// How often the tool compares. Real ones take minutes; one that heals at once is the hardest.
const APPLIES_EVERY: Duration = Duration::from_secs(1);
/// The most pods that the load needs.
const LOAD_MAX: u64 = 10;

#[derive(Debug)]
struct State {
    dice: Dice,
    scales: bool,
    applies: bool,
    /// The tag that Git has of each workload.
    git: BTreeMap<&'static str, String>,
    /// The rules that Git has of the route of each workload.
    routes: BTreeMap<&'static str, Value>,
    /// The pods that the load of each workload needs.
    load: BTreeMap<&'static str, u64>,
}

/// All of them. Clones are the same.
#[derive(Clone, Debug)]
pub struct Surroundings(Arc<Mutex<State>>);

impl Surroundings {
    /// They are there and do nothing yet; what the cluster has now is what Git has.
    pub fn begin(rig: &Rig, seed: u64, names: &[&'static str]) -> Self {
        let rules = |name: &&'static str| {
            let route = rig.server.read(|store| store.get(Kind::HttpRoute, SHOP, name).cloned());
            (*name, route.map(|route| route["spec"]["rules"].clone()).unwrap_or_default())
        };
        let state = State {
            dice: Dice::new(seed ^ 0x5ca1e),
            scales: false,
            applies: false,
            git: names.iter().map(|name| (*name, "v1".to_owned())).collect(),
            routes: names.iter().map(rules).collect(),
            load: names.iter().map(|name| (*name, 4)).collect(),
        };
        let all = Self(Arc::new(Mutex::new(state)));
        tokio::spawn(all.clone().scale(rig.clone()));
        tokio::spawn(all.clone().apply(rig.clone()));
        all
    }

    /// The autoscaler works, or stops.
    pub fn scales(&self, works: bool) {
        self.held().scales = works;
    }

    /// The tool works, or stops.
    pub fn applies(&self, works: bool) {
        self.held().applies = works;
    }

    /// Somebody merged another version.
    pub fn merged(&self, name: &'static str, tag: &str) {
        self.held().git.insert(name, tag.to_owned());
    }

    fn held(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It multiplies the usage over all matching pods by their number: what the whole load needs, however it is split.
    async fn scale(self, rig: Rig) {
        loop {
            tokio::time::sleep(SCALES_EVERY).await;
            let wanted = self.held().next_load();
            for (name, size) in wanted {
                let size = u32::try_from(size).unwrap_or(1);
                let key = Key::new(Kind::Deployment, SHOP, name);
                let now = rig.time.now();
                rig.disturb(|nature, store| nature.resize(store, now, &key, size)).unwrap_or_default();
            }
        }
    }

    async fn apply(self, rig: Rig) {
        loop {
            tokio::time::sleep(APPLIES_EVERY).await;
            let git = self.held().in_git();
            for (name, tag, rules) in git {
                let deployment = Key::new(Kind::Deployment, SHOP, name);
                let route = Key::new(Kind::HttpRoute, SHOP, name);
                let applied = [
                    rig.change("gitops", &deployment, |it| {
                        it["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image(name, &tag));
                    }),
                    rig.change("gitops", &route, |it| it["spec"]["rules"] = rules),
                ];
                // Another look follows in a second.
                applied.into_iter().for_each(|done| done.unwrap_or_default());
            }
        }
    }
}

impl State {
    /// What is to be applied now: workload, tag, rules of the route.
    fn in_git(&self) -> Vec<(&'static str, String, Value)> {
        let all = self.git.iter().filter(|_| self.applies);
        all.map(|(name, tag)| (*name, tag.clone(), self.routes.get(name).cloned().unwrap_or_default()))
            .collect()
    }

    /// The load of each workload a moment later, if anybody follows it.
    fn next_load(&mut self) -> BTreeMap<&'static str, u64> {
        if !self.scales {
            return BTreeMap::new();
        }
        for load in self.load.values_mut() {
            *load = (*load + self.dice.upto(4)).saturating_sub(2).clamp(1, LOAD_MAX);
        }
        self.load.clone()
    }
}
