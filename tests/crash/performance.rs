//! One performance of a story: the weather it had, how it ended, what the judge says.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use palier::api::Span;
use palier::apiserver::natives::Settings;
use palier::apiserver::{Kind, Revision, Store, Verb};
use palier::rig::given::SHOP;
use palier::rig::visitors::Crowd;
use palier::rig::{CONTROLLER, Replica, Rig, Setup, play};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::faults::{Faults, Seen};
use crate::hands::Hands;
use crate::judge::{Broken, Case, judge};
use crate::rest::{all_wrong, left_behind};
use crate::stories::{Story, rest};

/// After the end of a story, until everything that it set off is done.
const SETTLES: u64 = 60;
/// After that, a time in which nothing is written.
const QUIET: u64 = 120;
/// Writes of the controller that a story may take at most, whatever happens.
const WRITES_MAX: usize = 600;

/// How it went.
#[derive(Clone, Debug)]
pub struct Performance {
    /// Promises that were broken.
    pub broken: Vec<Broken>,
    /// What there is at the end, without what differs from one time to the next.
    pub end: BTreeMap<String, Value>,
    /// What is not as it should be at rest.
    pub wrong: Vec<String>,
    /// What the controllers wrote, in order: verb, object.
    pub writes: Vec<String>,
    /// Writes that count for faults.
    pub counted: Seen,
    /// Every committed revision.
    pub log: Vec<Revision>,
}

/// Performs a story. Everything that happens by chance follows from `seed`.
pub fn perform(story: Story, seed: u64, faults: &Faults) -> Performance {
    let settings = Settings {
        seed,
        pod_start: Span::seconds(2),
        pod_end: Span::seconds(1),
        shuffles: seed != 0,
        ..Settings::default()
    };
    play(seed, settings, async |rig: Rig| {
        let hands = Hands::new(&rig, faults);
        let setup = Setup { weather: hands.weather(), front: hands.front.clone(), ..Setup::plain(&rig, "a") };
        let _replica = Replica::start(&rig, setup);
        let opened = tokio::spawn(opening(rig.clone()));
        let told = tokio::select! {
            biased;
            gone = hands.deletion() => gone,
            told = (story.tell)(&rig) => told,
        };
        rest(SETTLES).await;
        let settled = rig.server.read(Store::revision);
        rest(QUIET).await;
        let log = rig.server.read(|store| store.log().to_vec());
        told_in_full(&log);
        let mut broken = judge(&Case { log: &log, given: &rig.prometheus.given(), ..Case::default() });
        let left = rig.server.read(left_behind);
        broken.extend(left.into_iter().map(|what| seen_at_the_end("P25", &log, what)));
        let lost = opened.await.map_or(0, |crowd| crowd.visits().lost);
        if lost > 0 {
            broken.push(seen_at_the_end("P2", &log, format!("{lost} requests of visitors were lost")));
        }
        if let Err(late) = told {
            broken.push(seen_at_the_end("P21", &log, late.to_string()));
        }
        let ours: Vec<&Revision> = log.iter().filter(|it| is_work(it)).collect();
        let restless: Vec<String> = ours.iter().filter(|it| it.number > settled).map(|it| line(it)).collect();
        if !restless.is_empty() {
            broken.push(seen_at_the_end("P22", &log, format!("still writing: {}", restless.join("; "))));
        }
        if ours.len() > WRITES_MAX {
            broken.push(seen_at_the_end("P23", &log, format!("{} writes", ours.len())));
        }
        let writes = ours.iter().map(|it| line(it)).collect();
        Performance {
            broken,
            wrong: rig.server.read(all_wrong),
            end: rig.server.read(end_of),
            writes,
            counted: hands.seen(),
            log,
        }
    })
    .expect("a runtime can be had")
}

/// Visitors come when every workload serves for the first time.
pub async fn opening(rig: Rig) -> Crowd {
    let serves = |store: &Store| {
        let mut all = store.list(Kind::Deployment, Some(SHOP)).map(|(_, it)| it).peekable();
        all.peek().is_some() && all.all(|it| it["status"]["readyReplicas"] == it["spec"]["replicas"])
    };
    // If that never comes about the story says so.
    drop(rig.until("the workloads serve", Duration::from_secs(3_600), serves).await);
    rest(2).await;
    Crowd::come(&rig, SHOP)
}

/// A write of the controllers that is not about who leads or what is told.
pub fn is_work(change: &Revision) -> bool {
    change.by == CONTROLLER && !matches!(change.key.kind, Kind::Lease | Kind::Event)
}

pub fn line(change: &Revision) -> String {
    let verb = match change.verb {
        Verb::Create => "create",
        Verb::Update => "update",
        Verb::Delete => "delete",
    };
    format!("{verb} {}", change.key)
}

pub fn seen_at_the_end(property: &'static str, log: &[Revision], what: String) -> Broken {
    let (revision, at) = log.last().map_or((0, Timestamp::UNIX_EPOCH), |last| (last.number, last.at));
    Broken { property, revision, at, what }
}

/// A digest of every committed revision.
pub fn digest(log: &[Revision]) -> String {
    let mut hash = Sha256::new();
    for change in log {
        hash.update(format!(
            "{} {} {} {:?} {}\n{}",
            change.number, change.at, change.by, change.verb, change.key, change.after
        ));
    }
    hash.finalize().iter().take(8).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Every revision but those of Leases, for whoever looks for the cause of a failure: `TELL=1`.
pub fn told_in_full(log: &[Revision]) {
    if std::env::var_os("TELL").is_none() {
        return;
    }
    for change in log.iter().filter(|it| it.key.kind != Kind::Lease) {
        let after = if matches!(change.key.kind, Kind::Pod | Kind::Event) {
            String::new()
        } else {
            change.after.to_string()
        };
        println!("{} {} {} {} {after}", change.at, change.number, change.pod, line(change));
    }
}

/// What there is, without times, versions and uids.
fn end_of(store: &Store) -> BTreeMap<String, Value> {
    let mut end = BTreeMap::new();
    let kinds = [
        Kind::Deployment,
        Kind::ReplicaSet,
        Kind::Service,
        Kind::HttpRoute,
        Kind::ConfigMap,
        Kind::RolloutRun,
        Kind::Rollout,
    ];
    for kind in kinds {
        for (key, object) in store.list(kind, Some(SHOP)) {
            end.insert(key.to_string(), masked(kind, object));
        }
    }
    end
}

fn masked(kind: Kind, object: &Value) -> Value {
    let owners: Vec<&Value> = object["metadata"]["ownerReferences"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|owner| &owner["kind"])
        .collect();
    let status = &object["status"];
    let mut spec = object["spec"].clone();
    if kind == Kind::Service {
        spec = spec["selector"].take();
    }
    let said = match kind {
        Kind::Deployment | Kind::ReplicaSet => json!([status["replicas"], status["readyReplicas"]]),
        Kind::RolloutRun => {
            spec = Value::Null;
            json!([status["outcome"]])
        }
        Kind::ConfigMap => object["data"].clone(),
        Kind::Rollout => {
            spec = Value::Null;
            json!([status["state"], status["run"]["outcome"], status["run"]["number"]])
        }
        _ => Value::Null,
    };
    json!({"labels": object["metadata"]["labels"], "owners": owners, "spec": spec, "said": said})
}
