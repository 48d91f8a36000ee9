//! The pods there are, by address, as the API server tells it; and how each behaves, as its image's tag tells it.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch_objects};
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::watch;

use super::tally::Tally;

/// How much longer the answers of a tail take.
pub const TAIL: Duration = Duration::from_millis(300);

/// What an image's tag asks for: `v1`, `v2-err20`, `v3-slow400`, `v4-err5-slow100`, `v5-tail3`, `v6-native`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Behaviour {
    /// Percentage of answers that are 500.
    pub errors: u8,
    /// Time to answer, ± 20 %.
    pub delay: Duration,
    /// Percentage of answers that take [`TAIL`] longer.
    pub tail: u8,
    /// It tells its durations in native histograms, too.
    pub native: bool,
    /// The pod runs and never becomes ready.
    pub never_ready: bool,
    /// The pod stops being ready, and answering, after a while.
    pub crashes: bool,
}

impl Behaviour {
    /// Reads an image's tag; words that mean nothing are names.
    pub fn of(image: &str) -> Self {
        let mut behaviour = Self::default();
        for word in tag(image).split('-') {
            let digits = word.trim_start_matches(|letter: char| letter.is_ascii_alphabetic());
            let number: u64 = digits.parse().unwrap_or_default();
            match word.trim_end_matches(|letter: char| letter.is_ascii_digit()) {
                "err" => behaviour.errors = u8::try_from(number.min(100)).unwrap_or(100),
                "slow" => behaviour.delay = Duration::from_millis(number),
                "tail" => behaviour.tail = u8::try_from(number.min(100)).unwrap_or(100),
                "native" => behaviour.native = true,
                "neverready" => behaviour.never_ready = true,
                "crash" => behaviour.crashes = true,
                _ => {}
            }
        }
        behaviour
    }
}

/// The tag of an image, its version.
pub fn tag(image: &str) -> &str {
    image.rsplit_once(':').map_or(image, |(_, tag)| tag)
}

/// Where a pod is in its life.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Life {
    Serving,
    /// Its process is gone; the pod is not.
    Crashed,
    /// Deleted: it answers until then.
    Leaving(Instant),
}

/// A pod that is played.
pub struct Pod {
    pub namespace: String,
    pub name: String,
    pub image: String,
    pub behaviour: Behaviour,
    pub tally: Tally,
    pub life: watch::Sender<Life>,
    dice: AtomicU64,
}

impl Pod {
    fn new(pod: &v1::Pod) -> Self {
        let container = pod.spec.as_ref().and_then(|spec| spec.containers.first());
        let image = container.and_then(|container| container.image.clone()).unwrap_or_default();
        let seed = pod.name_any().bytes().fold(7, |hash: u64, byte| hash.wrapping_mul(31) + u64::from(byte));
        Self {
            namespace: pod.namespace().unwrap_or_default(),
            name: pod.name_any(),
            behaviour: Behaviour::of(&image),
            image,
            tally: Tally::default(),
            life: watch::Sender::new(Life::Serving),
            dice: AtomicU64::new(seed),
        }
    }

    /// A number in 0..1: random to look at, and the same for the same pod name on every run.
    pub fn dice(&self) -> f64 {
        // splitmix64
        let mut z = self.dice.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Whether a connection that comes now is taken.
    pub fn answers(&self) -> bool {
        match *self.life.borrow() {
            Life::Serving => true,
            Life::Crashed => false,
            Life::Leaving(until) => Instant::now() < until,
        }
    }

    /// Comes back when the pod stops answering.
    pub async fn end(&self) {
        let mut life = self.life.subscribe();
        loop {
            let now = *life.borrow_and_update();
            match now {
                Life::Serving => {}
                Life::Crashed => return,
                Life::Leaving(until) => return tokio::time::sleep_until(until.into()).await,
            }
            if life.changed().await.is_err() {
                return;
            }
        }
    }
}

/// All pods with an address.
#[derive(Default)]
pub struct Pods {
    by_ip: Mutex<HashMap<Ipv4Addr, Arc<Pod>>>,
}

impl Pods {
    /// The pod at an address, dead or alive.
    pub fn find(&self, ip: Ipv4Addr) -> Option<Arc<Pod>> {
        self.lock().get(&ip).cloned()
    }

    /// Every pod that ever was.
    pub fn all(&self) -> Vec<Arc<Pod>> {
        self.lock().values().cloned().collect()
    }

    /// Follows the API server for ever.
    pub async fn follow(&self, client: Client, grace: Duration) {
        let events = watch_objects(Api::<v1::Pod>::all(client), watcher::Config::default()).default_backoff();
        let mut events = events.into_stream().boxed();
        let mut listed = HashSet::new();
        loop {
            match events.try_next().await {
                Ok(Some(Event::Init)) => listed.clear(),
                Ok(Some(Event::InitApply(pod))) => listed.extend(self.changed(&pod, grace)),
                Ok(Some(Event::InitDone)) => self.keep_only(&listed, grace),
                Ok(Some(Event::Apply(pod))) => drop(self.changed(&pod, grace)),
                Ok(Some(Event::Delete(pod))) => self.deleted(&pod, grace),
                // The watcher tries again by itself, after a pause.
                Err(_) => {}
                Ok(None) => return,
            }
        }
    }

    fn changed(&self, pod: &v1::Pod, grace: Duration) -> Option<Ipv4Addr> {
        let ip = address(pod)?;
        let known = self.lock().entry(ip).or_insert_with(|| Arc::new(Pod::new(pod))).clone();
        if pod.metadata.deletion_timestamp.is_some() {
            self.deleted(pod, grace);
        } else if known.behaviour.crashes {
            known.life.send_replace(if is_ready(pod) { Life::Serving } else { Life::Crashed });
        }
        Some(ip)
    }

    fn deleted(&self, pod: &v1::Pod, grace: Duration) {
        if let Some(pod) = address(pod).and_then(|ip| self.find(ip)) {
            leave(&pod, grace);
        }
    }

    fn keep_only(&self, listed: &HashSet<Ipv4Addr>, grace: Duration) {
        let pods = self.lock();
        pods.iter().filter(|(ip, _)| !listed.contains(ip)).for_each(|(_, pod)| leave(pod, grace));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Ipv4Addr, Arc<Pod>>> {
        self.by_ip.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The grace counts from the first time that the pod is seen to go.
fn leave(pod: &Pod, grace: Duration) {
    pod.life.send_if_modified(|life| {
        let leaving = !matches!(life, Life::Leaving(_));
        if leaving {
            *life = Life::Leaving(Instant::now() + grace);
        }
        leaving
    });
}

fn address(pod: &v1::Pod) -> Option<Ipv4Addr> {
    pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()
}

fn is_ready(pod: &v1::Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
}
