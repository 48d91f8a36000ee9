//! The scheduler and the kubelets: what becomes of a pod.
//! <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/>

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::fields::{
    condition, controller, image, is_active, is_deleting, is_over, list, name, number, text, uid, written,
};
use super::hand::{Hand, Outcome};
use super::settings::{Fate, Image, Settings};
use crate::api::Span;
use crate::apiserver::{Key, Kind, Part, Refusal};

/// How long a container that crashed waits for its next start: doubled each time, up to five minutes.
/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy>
const BACK_OFF_SECONDS: i64 = 10;
const BACK_OFF_SECONDS_MAX: i64 = 300;

/// What happens to a pod next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Its containers start.
    Start,
    /// It becomes ready.
    Ready,
    /// Its container crashes.
    Crash,
    /// Its container starts again.
    Restart,
    /// It ends by itself.
    End { well: bool },
    /// Nothing.
    Nothing,
}

/// Where a pod is in its life.
#[derive(Clone, Debug)]
struct Life {
    next: Next,
    at: Timestamp,
    /// When it is gone, once it is being deleted.
    gone_at: Option<Timestamp>,
}

/// The pods' lives by uid, and those that wait for a node.
#[derive(Clone, Debug, Default)]
pub(super) struct Lives {
    lives: BTreeMap<String, Life>,
    /// Pods that no node had room for.
    pub waiting: BTreeSet<Key>,
}

impl Lives {
    /// Everything that is to happen happens that much later, or earlier.
    pub(super) fn shift(&mut self, by: jiff::SignedDuration) {
        for life in self.lives.values_mut() {
            life.at = life.at.checked_add(by).unwrap_or(life.at);
            life.gone_at = life.gone_at.map(|at| at.checked_add(by).unwrap_or(at));
        }
    }

    /// A pod is gone.
    pub(super) fn forget(&mut self, pod: &Value, key: &Key) {
        self.lives.remove(uid(pod));
        self.waiting.remove(key);
    }

    /// The container of a pod dies now.
    pub(super) fn crash(&mut self, pod: &Value, at: Timestamp) {
        if let Some(life) = self.lives.get_mut(uid(pod)) {
            (life.next, life.at) = (Next::Crash, at);
        }
    }
}

/// Does for one pod what is to do.
pub(super) fn sync(hand: &mut Hand<'_>, key: &Key, lives: &mut Lives, settings: &Settings) -> Outcome {
    let Some(pod) = hand.get(key) else { return Ok(None) };
    if is_deleting(&pod) {
        return end(hand, key, &pod, lives, settings);
    }
    if is_over(&pod) {
        return Ok(None);
    }
    let node = text(&pod, "/spec/nodeName");
    if node.is_empty() {
        return schedule(hand, key, &pod, lives, settings);
    }
    if settings.lost_nodes.contains(node) {
        return lose(hand, key, &pod);
    }
    live(hand, key, &pod, lives, settings)
}

fn later(at: Timestamp, span: Span) -> Timestamp {
    at.checked_add(span.as_signed()).unwrap_or(at)
}

fn end(hand: &mut Hand<'_>, key: &Key, pod: &Value, lives: &mut Lives, settings: &Settings) -> Outcome {
    let at = hand.at();
    let runs = !text(pod, "/spec/nodeName").is_empty() && !is_over(pod);
    let life =
        lives.lives.entry(uid(pod).to_owned()).or_insert(Life { next: Next::Nothing, at, gone_at: None });
    let is_lost = settings.lost_nodes.contains(text(pod, "/spec/nodeName"));
    let most = Span::seconds(number(pod, "/metadata/deletionGracePeriodSeconds").unwrap_or(0));
    let takes = settings.pod_end.min(most);
    let takes = if runs && !is_lost { takes } else { Span::ZERO };
    let gone_at = *life.gone_at.get_or_insert(later(at, takes));
    if gone_at > at {
        return Ok(Some(gone_at));
    }
    if list(pod, "/metadata/finalizers").is_empty() {
        hand.delete(key, uid(pod), Some(0))?;
    }
    Ok(None)
}

/// Gives a pod to the node with the fewest pods.
fn schedule(hand: &mut Hand<'_>, key: &Key, pod: &Value, lives: &mut Lives, settings: &Settings) -> Outcome {
    let mut crowd: BTreeMap<&str, usize> = settings
        .nodes
        .iter()
        .filter(|it| !settings.lost_nodes.contains(*it))
        .map(|it| (it.as_str(), 0))
        .collect();
    let all: Vec<Arc<Value>> = hand.store.list(Kind::Pod, None).map(|(_, pod)| pod.clone()).collect();
    for other in all.iter().filter(|other| !is_over(other)) {
        if let Some(count) = crowd.get_mut(text(other, "/spec/nodeName")) {
            *count += 1;
        }
    }
    let emptiest = crowd.iter().min_by_key(|(node, count)| (**count, **node));
    let Some(node) = emptiest.filter(|(_, count)| **count < settings.pods_per_node).map(|(node, _)| *node)
    else {
        lives.waiting.insert(key.clone());
        let message = format!("0/{} nodes are available: {} Too many pods.", crowd.len(), crowd.len());
        return write(hand, key, |status, at| {
            status["phase"] = json!("Pending");
            let words = ["PodScheduled", "False", "Unschedulable", &message];
            set(status, at, words);
        })
        .map(|()| None);
    };
    lives.waiting.remove(key);
    let _ = pod;
    hand.edit(key, Part::Main, |pod| pod["spec"]["nodeName"] = json!(node))?;
    Ok(Some(hand.at()))
}

/// The node of a pod is gone: nobody hears of the pod any more.
fn lose(hand: &mut Hand<'_>, key: &Key, pod: &Value) -> Outcome {
    if condition(&pod["status"], "Ready").is_some_and(|ready| ready["status"] == "True") {
        write(hand, key, |status, at| ready(status, at, false))?;
    }
    Ok(None)
}

fn live(hand: &mut Hand<'_>, key: &Key, pod: &Value, lives: &mut Lives, settings: &Settings) -> Outcome {
    let asked = settings.image(image(pod));
    let at = hand.at();
    let start = Life { next: Next::Start, at: later(at, settings.pod_start), gone_at: None };
    let life = lives.lives.entry(uid(pod).to_owned()).or_insert(start);
    // Several things may be due, one after the other.
    for _ in 0..4 {
        if life.next == Next::Nothing || life.at > at {
            break;
        }
        let due = life.next;
        (life.next, life.at) = happen(hand, key, due, &asked, settings)?;
    }
    Ok(Some(life.at).filter(|_| life.next != Next::Nothing))
}

/// Lets one thing happen to a pod; what happens next, and when.
fn happen(
    hand: &mut Hand<'_>,
    key: &Key,
    due: Next,
    asked: &Image,
    settings: &Settings,
) -> Result<(Next, Timestamp), Refusal> {
    let (at, address) = (hand.at(), address_of(hand.store.revision()));
    let Some(pod) = hand.get(key) else { return Ok((Next::Nothing, at)) };
    let waits = asked.never_ready || !asked.late.is_zero();
    let next_crash = match asked.crashes_after {
        Some(after) => (Next::Crash, later(at, after)),
        None => (Next::Nothing, at),
    };
    match due {
        Next::Start if asked.no_pull => {
            write(hand, key, |status, at| cannot_pull(status, &pod, at))?;
            Ok((Next::Nothing, at))
        }
        Next::Start => {
            write(hand, key, |status, at| run(status, &pod, at, &address, !waits))?;
            if let Some((well, takes)) = fate(&pod, asked, settings) {
                return Ok((Next::End { well }, later(at, takes)));
            }
            let is_job = controller(&pod).is_some_and(|owner| owner["kind"] == "Job");
            match (asked.never_ready || is_job, asked.late.is_zero()) {
                (true, _) => Ok((Next::Nothing, at)),
                (false, false) => Ok((Next::Ready, later(at, asked.late))),
                (false, true) => Ok(next_crash),
            }
        }
        Next::Ready => {
            write(hand, key, |status, at| ready(status, at, true))?;
            Ok(next_crash)
        }
        Next::Crash => {
            let restarts = number(&pod, "/status/containerStatuses/0/restartCount").unwrap_or(0);
            write(hand, key, |status, at| crash(status, at, asked))?;
            let doubled = BACK_OFF_SECONDS << restarts.clamp(0, 5);
            Ok((Next::Restart, later(at, Span::seconds(doubled.min(BACK_OFF_SECONDS_MAX)))))
        }
        Next::Restart => {
            write(hand, key, |status, at| restart(status, at, !asked.never_ready))?;
            Ok(next_crash)
        }
        Next::End { well } => {
            write(hand, key, |status, at| finish(status, at, well))?;
            Ok((Next::Nothing, at))
        }
        Next::Nothing => Ok((Next::Nothing, at)),
    }
}

/// How and when the pod of a Job ends.
fn fate(pod: &Value, asked: &Image, settings: &Settings) -> Option<(bool, Span)> {
    let job = controller(pod).filter(|owner| owner["kind"] == "Job")?;
    match settings.jobs.get(text(job, "/name")).unwrap_or(&asked.fate) {
        Fate::Succeeds(after) => Some((true, *after)),
        Fate::Fails(after) => Some((false, *after)),
        Fate::Hangs => None,
    }
}

/// No address is used twice, so that nobody is taken for somebody else.
fn address_of(revision: u64) -> String {
    format!("10.{}.{}.{}", revision / 65_536 % 256, revision / 256 % 256, revision % 256)
}

fn write(hand: &mut Hand<'_>, key: &Key, edit: impl FnOnce(&mut Value, Timestamp)) -> Result<(), Refusal> {
    let at = hand.at();
    hand.edit(key, Part::Status, |pod| edit(&mut pod["status"], at)).map(drop)
}

/// Sets a condition of a pod: type, status, reason, message.
fn set(status: &mut Value, at: Timestamp, [kind, is, reason, message]: [&str; 4]) {
    let before = condition(status, kind).filter(|before| before["status"] == is);
    let since = before.map_or_else(|| json!(written(at)), |before| before["lastTransitionTime"].clone());
    let mut new = json!({"type": kind, "status": is, "lastTransitionTime": since});
    for (field, text) in [("reason", reason), ("message", message)].into_iter().filter(|it| !it.1.is_empty())
    {
        new[field] = json!(text);
    }
    let mut conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    match conditions.iter_mut().find(|it| it["type"] == kind) {
        Some(condition) => *condition = new,
        None => conditions.push(new),
    }
    status["conditions"] = Value::Array(conditions);
}

fn ready(status: &mut Value, at: Timestamp, is_ready: bool) {
    let (is, reason) = if is_ready { ("True", "") } else { ("False", "ContainersNotReady") };
    for kind in ["Ready", "ContainersReady"] {
        set(status, at, [kind, is, reason, ""]);
    }
    for container in status["containerStatuses"].as_array_mut().into_iter().flatten() {
        container["ready"] = json!(is_ready);
    }
}

fn run(status: &mut Value, pod: &Value, at: Timestamp, address: &str, is_ready: bool) {
    let state = json!({"running": {"startedAt": written(at)}});
    status["phase"] = json!("Running");
    status["startTime"] = json!(written(at));
    status["podIP"] = json!(address);
    status["podIPs"] = json!([{"ip": address}]);
    status["containerStatuses"] = containers(pod, &state);
    for kind in ["PodScheduled", "Initialized"] {
        set(status, at, [kind, "True", "", ""]);
    }
    ready(status, at, is_ready);
}

fn containers(pod: &Value, state: &Value) -> Value {
    let all = list(pod, "/spec/containers").iter().map(|container| {
        json!({
            "name": container["name"], "image": container["image"], "ready": false, "restartCount": 0,
            "started": state.get("running").is_some(), "state": state,
        })
    });
    all.collect()
}

fn cannot_pull(status: &mut Value, pod: &Value, at: Timestamp) {
    let message = format!("Back-off pulling image \"{}\"", image(pod));
    status["phase"] = json!("Pending");
    status["containerStatuses"] =
        containers(pod, &json!({"waiting": {"reason": "ImagePullBackOff", "message": message}}));
    set(status, at, ["PodScheduled", "True", "", ""]);
    ready(status, at, false);
}

fn crash(status: &mut Value, at: Timestamp, asked: &Image) {
    let (code, reason) = if asked.out_of_memory { (137, "OOMKilled") } else { (1, "Error") };
    ready(status, at, false);
    for container in status["containerStatuses"].as_array_mut().into_iter().flatten() {
        let count = number(container, "/restartCount").unwrap_or(0);
        container["restartCount"] = json!(count + 1);
        container["started"] = json!(false);
        container["lastState"] =
            json!({"terminated": {"exitCode": code, "reason": reason, "finishedAt": written(at)}});
        container["state"] = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    }
}

fn restart(status: &mut Value, at: Timestamp, is_ready: bool) {
    for container in status["containerStatuses"].as_array_mut().into_iter().flatten() {
        container["started"] = json!(true);
        container["state"] = json!({"running": {"startedAt": written(at)}});
    }
    ready(status, at, is_ready);
}

fn finish(status: &mut Value, at: Timestamp, well: bool) {
    let (code, reason, phase) = if well { (0, "Completed", "Succeeded") } else { (1, "Error", "Failed") };
    status["phase"] = json!(phase);
    ready(status, at, false);
    for container in status["containerStatuses"].as_array_mut().into_iter().flatten() {
        container["state"] =
            json!({"terminated": {"exitCode": code, "reason": reason, "finishedAt": written(at)}});
    }
}

/// The pods that are on a node, or on any node if none is named.
pub(super) fn on_node(hand: &Hand<'_>, node: &str) -> Vec<(Key, Arc<Value>)> {
    let is_there = |pod: &Arc<Value>| text(pod, "/spec/nodeName") == node && is_active(pod);
    let all = hand.store.list(Kind::Pod, None).filter(|(_, pod)| is_there(pod));
    all.map(|(key, pod)| (key.clone(), pod.clone())).collect()
}

/// The place of a pod.
pub(super) fn key_of(pod: &Value) -> Key {
    Key::new(Kind::Pod, text(pod, "/metadata/namespace"), name(pod))
}
