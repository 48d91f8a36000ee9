//! What was done to a script and what was decided: how often which fault, and every decision byte by byte. Each thread
//! has its own.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::{Debug, Write};

use palier::engine::Plan;

/// How often each kind of fault was injected.
pub type Counts = BTreeMap<String, u64>;

thread_local! {
    static COUNTS: RefCell<Counts> = const { RefCell::new(BTreeMap::new()) };
    static RECORD: RefCell<Option<String>> = const { RefCell::new(None) };
    static DECISIONS: RefCell<u64> = const { RefCell::new(0) };
}

/// Counts an event by the name of its variant; `{:?}` of one begins with it. What goes well is no fault.
pub fn count(event: &impl Debug) {
    let whole = format!("{event:?}");
    let name = whole.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    let words = match name {
        "Act" if whole.contains("Promote") => "a person promotes",
        "Act" if whole.contains("Abort") => "a person aborts",
        "Act" if whole.contains("Pause") => "a person pauses",
        "Act" if whole.contains("Resume") => "a person resumes",
        "Act" if whole.contains("Retry") => "a person retries",
        name => in_words(name),
    };
    if matches!(words, "" | "Succeeds") {
        return;
    }
    let words = words.to_owned();
    COUNTS.with_borrow_mut(|counts| *counts.entry(words).or_default() += 1);
}

fn in_words(name: &str) -> &str {
    match name {
        "Push" => "another template comes",
        "Release" => "another template and configuration come together",
        "Configure" => "another configuration comes",
        "Restart" => "somebody restarts the pods",
        "Scale" => "an autoscaler or a person resizes the Deployment",
        "ActLate" => "an action on a run that is over",
        "Delete" => "the Rollout is deleted",
        "Gone" => "the Deployment is deleted",
        "Reapply" => "a GitOps tool puts a route back",
        "Split" => "somebody else gives the canary a share",
        "Gateway" => "the gateway falls silent, or answers again",
        "Refuse" => "the gateway refuses a route, or takes it again",
        "Policy" => "the admission policy goes, or comes back",
        "Break" => "the canary breaks down and stays broken",
        "LosePods" => "every pod of a version dies",
        "Replace" => "a node takes the pods of stable away",
        "Resume" => "somebody resumes the Deployment by hand",
        "Wait" => "time passes",
        "Jump" => "the clock jumps",
        "Crash" => "the controller dies at a write",
        "Takeover" => "another leader takes over, and the old one's writes come late",
        "Nan" => "a metric answer that is NaN",
        "Infinite" => "a metric answer that is infinite",
        "Empty" => "a metric answer without series",
        "Two" => "a metric answer of two series",
        "Old" => "a metric answer out of a cache",
        "Warnings" => "a metric answer with warnings",
        "WrongType" => "a metric answer of another type",
        "Error" => "the metric server fails",
        "Hang" => "the metric server hangs",
        "Fail" => "a metric answer beyond the limit",
        "Fails" => "a hook's Job fails",
        "Hangs" => "a hook's Job hangs",
        "Vanishes" => "somebody deletes a hook's Job",
        "IsRefused" => "the API server refuses a hook's Job",
        "Outage" => "the metric server takes no samples for a while",
        "Reset" => "counters begin anew",
        "Gate" => "a gate fails, or passes again",
        "Set" | "Drop" | "State" | "Beside" => "a person edits a ConfigMap with switches",
        "Anew" => "a ConfigMap is deleted and created anew",
        "Ail" => "pods of a version are ill",
        "RefuseMap" => "the API server refuses a ConfigMap for a while",
        other => other,
    }
}

/// Notes a decision.
pub fn decision(plan: &Plan) {
    DECISIONS.with_borrow_mut(|count| *count += 1);
    RECORD.with_borrow_mut(|record| {
        if let Some(record) = record {
            let _ = writeln!(record, "{plan:?}");
        }
    });
}

/// From here on every decision is kept.
pub fn keep() {
    RECORD.with_borrow_mut(|record| *record = Some(String::new()));
}

/// What was kept since [`keep`].
pub fn kept() -> String {
    RECORD.with_borrow_mut(Option::take).unwrap_or_default()
}

/// What was counted on this thread so far, with the number of decisions.
pub fn counts() -> (Counts, u64) {
    (COUNTS.with_borrow(Clone::clone), DECISIONS.with_borrow(|count| *count))
}
