//! What happens to everybody, one thing after the other, drawn by a seed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::Soak;
use crate::crews::{BEYOND_THE_LEASE, Crew, SHAKEN};
use crate::dice::Dice;
use crate::lab::Mood;
use crate::lab::proxy::{Fault as OfRequests, Watches, Where};

/// The shortest and the longest of what lasts, in seconds.
const LASTS: (u64, u64) = (3, 8);
/// How long etcd stands still.
const ETCD_PAUSED: Duration = Duration::from_secs(3);

/// One kind of trouble.
#[derive(Clone, Debug)]
enum Fault {
    KillLeader,
    KillStandby,
    FreezeLeader,
    CutLeaderOff,
    Writes(OfRequests),
    WatchesCut,
    WatchesAre(Watches),
    Metrics(Mood),
    GatewayAsleep,
    EtcdPaused,
}

/// All kinds; dealt like cards. What is here twice happens twice as often.
fn deck() -> Vec<Fault> {
    let late = |milliseconds| Fault::Writes(OfRequests::Late(Duration::from_millis(milliseconds)));
    vec![
        Fault::KillLeader,
        Fault::KillLeader,
        Fault::KillLeader,
        Fault::KillStandby,
        Fault::FreezeLeader,
        Fault::FreezeLeader,
        Fault::CutLeaderOff,
        Fault::Writes(OfRequests::Dropped),
        Fault::Writes(OfRequests::Dropped),
        Fault::Writes(OfRequests::Lost),
        Fault::Writes(OfRequests::Lost),
        Fault::Writes(OfRequests::Twice),
        Fault::Writes(OfRequests::Refused(409)),
        Fault::Writes(OfRequests::Refused(429)),
        Fault::Writes(OfRequests::Refused(500)),
        late(700),
        // later than the controller waits
        late(1300),
        Fault::WatchesCut,
        Fault::WatchesCut,
        Fault::WatchesAre(Watches::Silent),
        Fault::WatchesAre(Watches::Silent),
        Fault::WatchesAre(Watches::Slow),
        Fault::Metrics(Mood::Closed),
        Fault::Metrics(Mood::Hang),
        Fault::Metrics(Mood::Late(Duration::from_secs(2))),
        Fault::Metrics(Mood::Sample("NaN".into())),
        Fault::Metrics(Mood::Empty),
        Fault::Metrics(Mood::Status(500)),
        Fault::GatewayAsleep,
        Fault::GatewayAsleep,
        Fault::EtcdPaused,
    ]
}

impl Fault {
    /// In words, for counts and progress.
    fn name(&self) -> String {
        match self {
            Self::KillLeader => "the leader is killed".into(),
            Self::KillStandby => "the standby is killed".into(),
            Self::FreezeLeader => "the leader is frozen beyond its Lease".into(),
            Self::CutLeaderOff => "the leader is cut off from the API server".into(),
            Self::Writes(fault) => format!("writes: {}", fault.name()),
            Self::WatchesCut => "watches are cut".into(),
            Self::WatchesAre(Watches::Silent) => "watches are silent".into(),
            Self::WatchesAre(_) => "watches come in pieces".into(),
            Self::Metrics(Mood::Closed) => "the metric server is away".into(),
            Self::Metrics(Mood::Hang) => "the metric server hangs".into(),
            Self::Metrics(Mood::Late(_)) => "the metric server answers late".into(),
            Self::Metrics(Mood::Sample(_)) => "metric answers are NaN".into(),
            Self::Metrics(Mood::Empty) => "metric answers are without series".into(),
            Self::Metrics(_) => "the metric server fails".into(),
            Self::GatewayAsleep => "the gateway sleeps".into(),
            Self::EtcdPaused => "etcd stands still".into(),
        }
    }
}

/// What has happened so far.
#[derive(Default)]
pub struct Faults {
    counts: RefCell<BTreeMap<String, usize>>,
    now: RefCell<Option<String>>,
}

impl Faults {
    /// How often each kind happened.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        self.counts.borrow().clone()
    }

    /// How many there were.
    pub fn total(&self) -> usize {
        self.counts.borrow().values().sum()
    }

    /// What happens now.
    pub fn now(&self) -> String {
        self.now.borrow().clone().unwrap_or_else(|| "nothing".into())
    }

    /// One after the other until `end`.
    pub async fn happen(&self, soak: &Soak, end: Instant) -> Result<()> {
        let (mut dice, mut rest) = (Dice::new(soak.settings.seed), Vec::new());
        let mut next = Instant::now() + soak.settings.between_faults;
        while next < end {
            tokio::time::sleep_until(next.into()).await;
            // Every kind comes before any comes again.
            if rest.is_empty() {
                rest = deck();
            }
            let fault = rest.swap_remove(dice.index(rest.len()));
            let lasts = Duration::from_secs(LASTS.0 + dice.upto(LASTS.1 - LASTS.0));
            *self.counts.borrow_mut().entry(fault.name()).or_default() += 1;
            *self.now.borrow_mut() = Some(fault.name());
            inflict(soak, &fault, lasts).await?;
            *self.now.borrow_mut() = None;
            // One that took longer than the time between two is followed by the next at once.
            next = (next + soak.settings.between_faults).max(Instant::now());
        }
        Ok(())
    }
}

/// Does it, and takes it away again.
async fn inflict(soak: &Soak, fault: &Fault, lasts: Duration) -> Result<()> {
    let wait = || tokio::time::sleep(lasts);
    let proxies = || soak.crews.iter().flat_map(|crew| &crew.replicas).map(|one| &one.proxy);
    match fault {
        Fault::KillLeader | Fault::KillStandby | Fault::FreezeLeader | Fault::CutLeaderOff => {
            for crew in soak.crews.iter().filter(|crew| crew.namespace == SHAKEN) {
                shake(soak, crew, fault).await;
            }
        }
        Fault::Writes(what) => {
            proxies().for_each(|proxy| proxy.set(Where::EachWrite, what.clone()));
            wait().await;
            proxies().for_each(|proxy| proxy.heal());
        }
        Fault::WatchesCut => proxies().for_each(|proxy| proxy.cut_watches()),
        Fault::WatchesAre(mood) => {
            proxies().for_each(|proxy| proxy.set_watches(*mood));
            wait().await;
            proxies().for_each(|proxy| proxy.set_watches(Watches::Flowing));
        }
        Fault::Metrics(mood) => {
            soak.moods.set("", mood.clone());
            wait().await;
            soak.moods.set("", Mood::Truthful);
        }
        Fault::GatewayAsleep => {
            soak.gateway.set_asleep(true);
            wait().await;
            soak.gateway.set_asleep(false);
        }
        Fault::EtcdPaused => {
            soak.lab.children().pause("etcd")?;
            tokio::time::sleep(ETCD_PAUSED).await;
            soak.lab.children().resume("etcd")?;
        }
    }
    Ok(())
}

/// What happens to one process. One that has just ended by itself is hit already.
async fn shake(soak: &Soak, crew: &Crew, fault: &Fault) {
    let (leader, others) = crew.leader(&soak.lab).await;
    match fault {
        Fault::KillStandby => {
            others.first().map(|standby| standby.controller.kill(&soak.lab));
        }
        Fault::FreezeLeader => {
            if leader.controller.pause(&soak.lab).is_ok() {
                tokio::time::sleep(BEYOND_THE_LEASE).await;
                let _ = leader.controller.resume(&soak.lab);
            }
        }
        Fault::CutLeaderOff => {
            leader.proxy.set(Where::Everything, OfRequests::Dropped);
            leader.proxy.cut_watches();
            tokio::time::sleep(BEYOND_THE_LEASE).await;
            leader.proxy.heal();
        }
        _ => {
            let _ = leader.controller.kill(&soak.lab);
        }
    }
}
