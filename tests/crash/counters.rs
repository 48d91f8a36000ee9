//! How often what was done to Palier in the simulator, for docs/reliability.md.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use palier::apiserver::{Deed, Fate, Stream};
use serde_json::json;

use crate::chance::Deal;
use crate::faults::Turn;

/// All that was counted in this process.
#[derive(Debug, Default)]
struct Counters {
    faults: BTreeMap<&'static str, u64>,
    stories: u64,
    performances: u64,
    random: u64,
    first_seed: Option<u64>,
}

static COUNTERS: Mutex<Counters> = Mutex::new(Counters {
    faults: BTreeMap::new(),
    stories: 0,
    performances: 0,
    random: 0,
    first_seed: None,
});

fn with(count: impl FnOnce(&mut Counters)) {
    count(&mut COUNTERS.lock().unwrap_or_else(PoisonError::into_inner));
}

/// Counts what the network does to one request, if it does anything.
pub fn network(fate: &Fate) {
    with(|counters| {
        for kind in deed_in_words(&fate.deed).into_iter().chain(stream_in_words(&fate.stream)) {
            *counters.faults.entry(kind).or_default() += 1;
        }
        if !fate.request_delay.is_zero() {
            *counters.faults.entry(LATE).or_default() += 1;
        }
    });
}

/// Counts what somebody or something did.
pub fn deal(deal: &Deal) {
    with(|counters| {
        if let Some(kind) = deal_in_words(deal) {
            *counters.faults.entry(kind).or_default() += 1;
        }
    });
}

/// Counts what happens to the whole of a performance.
pub fn turn(turn: Turn) {
    let word = match turn {
        Turn::None | Turn::Remember => return,
        Turn::GoBack => "a process starts at a front end that shows the past",
        Turn::Delete => "the Rollout is deleted",
    };
    with(|counters| *counters.faults.entry(word).or_default() += 1);
}

/// A story was performed so often, each time with a fault.
pub fn sifted(performances: usize) {
    with(|counters| {
        counters.stories += 1;
        counters.performances += performances as u64;
    });
    keep();
}

/// So many performances were given with other faults.
pub fn performed(performances: usize) {
    with(|counters| counters.performances += performances as u64);
    keep();
}

/// So many random stories were told, from this seed on.
pub fn told(first_seed: u64, stories: u64) {
    with(|counters| {
        counters.random += stories;
        counters.first_seed = Some(counters.first_seed.map_or(first_seed, |known| known.min(first_seed)));
    });
    keep();
}

/// Writes down what was counted so far: each test adds what it did.
fn keep() {
    with(|counters| {
        let text = json!({
            "faults": counters.faults, "stories": counters.stories, "performances": counters.performances,
            "random": counters.random, "first_seed": counters.first_seed,
        });
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("crash.json");
        std::fs::write(path, format!("{text}\n")).expect("counters can be written");
    });
}

const LATE: &str = "a request is late";

fn deed_in_words(deed: &Deed) -> Option<&'static str> {
    Some(match deed {
        Deed::Pass => return None,
        Deed::Drop => "a request is dropped before it arrives",
        Deed::LoseAnswer => "an answer is lost",
        Deed::Silence => "an answer never comes and the connection stays open",
        Deed::Twice => "a request is done twice",
        Deed::KillBefore => "the controller is killed before a write",
        Deed::KillAfter => "the controller is killed after a write",
        Deed::Refuse(refusal) => match refusal.code {
            403 => "a request is refused with 403",
            409 => "a request is refused with 409",
            429 => "a request is refused with 429",
            _ => "a request is refused with 500 or 503",
        },
    })
}

fn stream_in_words(stream: &Stream) -> Option<&'static str> {
    Some(match stream {
        Stream::Pass => return None,
        Stream::Cut { .. } => "a watch is cut, in the middle of a frame too",
        Stream::Silent { .. } => "a watch falls silent and stays open",
        Stream::Late(_) => "the events of a watch are late",
        Stream::Twice { .. } => "an event comes twice",
        Stream::Lose { .. } => "an event is lost, and the next watch is refused with 410",
    })
}

fn deal_in_words(deal: &Deal) -> Option<&'static str> {
    Some(match deal {
        Deal::Push(..) => "another template comes",
        Deal::Scale(..) => "an autoscaler or a person resizes the Deployment",
        Deal::Act("Abort") => "a person aborts",
        Deal::Act("Promote") => "a person promotes",
        Deal::Act("Pause") => "a person pauses",
        Deal::Act("Resume") => "a person resumes",
        Deal::Act(_) => "a person retries",
        Deal::Crash(_) => "every pod of a version dies",
        Deal::LoseNode => "a node is lost",
        Deal::Mood(mood) => return mood_in_words(*mood),
        Deal::Refuse(true) => "the gateway refuses a route, or takes it again",
        Deal::Gateway(false) => "the gateway falls silent, or answers again",
        Deal::Kill(_) => "the controller is killed",
        Deal::End(_) => "the controller is asked to end",
        Deal::See(..) => "the front end of the API server lags behind",
        Deal::Hpa(true) => "an autoscaler follows a load that moves",
        Deal::Gitops(true) => "a tool puts back what is in Git every second",
        Deal::Quota(true) => "a quota refuses every pod more",
        Deal::Deny(Some(_)) => "admission refuses the controller's writes of a kind",
        Deal::Clock(_, 1..) => "a clock is put forward, up to an hour",
        Deal::Clock(_, ..=-1) => "a clock is put back, up to an hour",
        Deal::Question(_) => "a gate is edited",
        Deal::Bake(_) => "the bake is edited",
        Deal::Delete => "the Rollout is deleted",
        Deal::ReturnNode
        | Deal::Refuse(false)
        | Deal::Gateway(true)
        | Deal::Storm(_)
        | Deal::Hpa(false)
        | Deal::Gitops(false)
        | Deal::Quota(false)
        | Deal::Deny(None)
        | Deal::Clock(_, 0) => return None,
    })
}

fn mood_in_words(mood: palier::rig::Mood) -> Option<&'static str> {
    use palier::rig::Mood;
    Some(match mood {
        Mood::Well => return None,
        Mood::Late(_) => "the metric server answers late",
        Mood::Down => "the metric server fails",
        Mood::Hangs => "the metric server hangs",
        Mood::Empty => "a metric answer without series",
        Mood::NotANumber => "a metric answer that is NaN",
        Mood::Infinite => "a metric answer that is infinite",
        Mood::Many => "a metric answer of two series",
        Mood::Matrix => "a metric answer of another type",
        Mood::Warns => "a metric answer with warnings",
        Mood::Old(_) => "a metric answer out of a cache",
    })
}
