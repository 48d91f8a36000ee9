//! Random scripts against what is promised of switches: each is what a person last made of it, or ours with theirs on record;
//! and theirs again when the run is over.

use palier::api::{ActionKind, DegradedState, SwitchState};
use palier::engine::{Answer, Measurement};
use palier::sim::{Cluster, Drive, Stop};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use crate::fixtures::action;
use crate::record;
use crate::seeds;
use crate::switches::{FILE, Values, cluster, play};

const KEYS: [&str; 4] = ["flags.json", "SEARCH", "CHAT", "other"];

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Event {
    /// A gate fails from now on, or passes.
    Gate(String, bool),
    Wait(i64),
    /// A person sets a key.
    Set(String),
    /// A person takes a key away.
    Drop(String),
    /// A person changes the switch in the file.
    State,
    /// A person changes something beside it.
    Beside,
    /// A person deletes the ConfigMap and creates it anew.
    Anew,
    /// The API server refuses reads, or writes, for a while.
    Refuse(bool, i64),
    Act(ActionKind, bool),
    Push(String, String),
    /// One decision; the controller dies after so many writes of it.
    Crash(usize),
    Delete,
}

fn event() -> impl Strategy<Value = Event> {
    let gate = prop_oneof![3 => Just("slow"), 2 => Just("busy"), 1 => Just("errors")];
    let gate = gate.prop_map(str::to_owned);
    let key = || prop_oneof![Just("SEARCH"), Just("CHAT"), Just("other")].prop_map(str::to_owned);
    let kind = prop_oneof![
        Just(ActionKind::Abort),
        Just(ActionKind::Promote),
        Just(ActionKind::Pause),
        Just(ActionKind::Resume),
        Just(ActionKind::Retry),
    ];
    let push =
        prop_oneof![Just(("shop-api", "app:v2")), Just(("shop-api", "app:v3")), Just(("shop-web", "web:v2"))];
    prop_oneof![
        8 => (gate, any::<bool>()).prop_map(|(gate, fails)| Event::Gate(gate, fails)),
        10 => (1..200i64).prop_map(Event::Wait),
        2 => key().prop_map(Event::Set),
        1 => key().prop_map(Event::Drop),
        2 => Just(Event::State),
        2 => Just(Event::Beside),
        1 => Just(Event::Anew),
        1 => (any::<bool>(), 1..300i64).prop_map(|(reads, seconds)| Event::Refuse(reads, seconds)),
        2 => (kind, any::<bool>()).prop_map(|(kind, full)| Event::Act(kind, full)),
        2 => push.prop_map(|(workload, image): (&str, &str)| Event::Push(workload.into(), image.into())),
        8 => (0..4usize).prop_map(Event::Crash),
        1 => Just(Event::Delete),
    ]
}

/// The ConfigMap as people alone would have made it.
type Wanted = Vec<(&'static str, Option<String>)>;

struct World<F> {
    drive: Drive<F>,
    values: Values,
    wanted: Wanted,
    edits: usize,
}

impl<F: FnMut(&Measurement, jiff::Timestamp) -> Answer> World<F> {
    /// A person changes a key, here and in what is wanted.
    fn edit(&mut self, key: &str, change: impl Fn(Option<String>) -> Option<String>) {
        for (_, text) in self.wanted.iter_mut().filter(|(known, _)| *known == key) {
            *text = change(text.take());
        }
        self.drive.cluster.edit_config_map("flags", |data| {
            let text = change(data.remove(key));
            data.extend(text.map(|text| (key.to_owned(), text)));
        });
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Refuse(..) => record::count(&"RefuseMap"),
            event => record::count(event),
        }
        self.edits += 1;
        let theirs = format!("theirs {}", self.edits);
        match event {
            Event::Gate(gate, fails) => {
                self.values.borrow_mut().insert(gate.clone(), if *fails { 1.0 } else { 0.0 });
            }
            Event::Wait(seconds) => self.wait(*seconds),
            Event::Set(key) => self.edit(key, |_| Some(theirs.clone())),
            Event::Drop(key) => self.edit(key, |_| None),
            Event::State => {
                self.edit("flags.json", |text| between(text, "\"search\":   {\"state\": \"", "\"", &theirs))
            }
            Event::Beside => {
                self.edit("flags.json", |text| between(text, "\"chat\": {\"state\": \"", "\"", &theirs))
            }
            Event::Anew => {
                let data = [("flags.json", FILE), ("SEARCH", "anew")];
                self.drive.cluster.add_config_map("flags", &data);
                self.wanted = wanted(&self.drive.cluster);
            }
            Event::Refuse(reads, seconds) => {
                let cluster = &mut self.drive.cluster;
                let refused = if *reads { &mut cluster.refused_reads } else { &mut cluster.refused_writes };
                refused.insert("flags".to_owned(), "refused".to_owned());
                self.wait(*seconds);
                self.drive.cluster.refused_reads.clear();
                self.drive.cluster.refused_writes.clear();
            }
            Event::Act(kind, full) => {
                let run = self.drive.cluster.status.run.as_ref().map_or(1, |run| run.number);
                let mut word = action(*kind, run);
                word.full = *full && *kind == ActionKind::Promote;
                self.drive.cluster.act(word);
            }
            Event::Push(workload, image) => self.drive.cluster.push_image(workload, image),
            Event::Crash(after) => {
                let (mut left, wanted) = (*after, &self.wanted);
                self.drive.turn(&mut |cluster, _| {
                    look(cluster, wanted);
                    left = left.saturating_sub(1);
                    left > 0
                });
                if *after == 0 {
                    self.drive.crash();
                }
            }
            Event::Delete => self.drive.cluster.deleting = true,
        }
        look(&self.drive.cluster, &self.wanted);
    }

    fn wait(&mut self, seconds: i64) {
        let limit = self.drive.cluster.now + jiff::SignedDuration::from_secs(seconds);
        let wanted = &self.wanted;
        let stop = self.drive.run(limit, |cluster, plan| {
            look(cluster, wanted);
            record::decision(plan);
        });
        assert_ne!(stop, Stop::Restless, "{:#?}", self.drive.working);
        self.drive.cluster.now = self.drive.cluster.now.max(limit);
    }
}

/// `text` with something else between two marks, if the marks are there.
fn between(text: Option<String>, from: &str, to: &str, with: &str) -> Option<String> {
    let text = text?;
    let Some((before, rest)) = text.split_once(from) else { return Some(text) };
    let Some((_, after)) = rest.split_once(to) else { return Some(text) };
    Some(format!("{before}{from}{with}{to}{after}"))
}

fn wanted(cluster: &Cluster) -> Wanted {
    KEYS.iter().map(|key| (*key, cluster.config("flags", key).map(str::to_owned))).collect()
}

/// What is there is people's; or ours, and then the record says what was theirs.
fn look(cluster: &Cluster, wanted: &Wanted) {
    let modes = cluster.status.run.iter().flat_map(|run| &run.degraded);
    let on: Vec<_> = modes.filter(|it| it.state != DegradedState::Left).flat_map(|it| &it.switches).collect();
    let is_ours = |key: &str, pointer: Option<&str>, found: Option<&str>| {
        on.iter().any(|it| {
            (it.key.as_str(), it.pointer.as_deref(), it.found.as_deref()) == (key, pointer, found)
                && matches!(it.state, SwitchState::Recorded | SwitchState::Set)
        })
    };
    for (key, theirs) in wanted {
        let now = cluster.config("flags", key);
        if now == theirs.as_deref() {
            continue;
        }
        if *key != "flags.json" {
            assert_eq!(now, Some("off"), "{key} is neither theirs nor ours");
            assert!(
                is_ours(key, None, theirs.as_deref()),
                "{key} is set, {theirs:?} is not on record: {on:#?}"
            );
            continue;
        }
        // Without what is ours it is theirs, byte for byte.
        let mut text = now.expect("nobody takes it away").to_owned();
        if text.contains(NEW) {
            assert!(is_ours(key, Some("/flags/new"), None), "{on:#?}");
            text = text.replace(NEW, "");
        }
        let state = between(theirs.clone(), STATE, "\"", "\u{0}").unwrap_or_default();
        let (before, after) = state.split_once('\u{0}').expect("a state");
        let found = theirs.as_ref().map(|text| &text[before.len() - 1..text.len() - after.len() + 1]);
        if Some(&text) != theirs.as_ref() {
            assert_eq!(text, format!("{before}DISABLED{after}"));
            assert!(is_ours(key, Some("/flags/search/state"), found), "{found:?}: {on:#?}");
        }
    }
}

const STATE: &str = "\"search\":   {\"state\": \"";
const NEW: &str = ",\n    \"new\": {\"on\": false}";

fn run(then: &str, events: &[Event]) {
    let mut cluster = cluster(then);
    let new = serde_json::json!({"configMap": "flags", "key": "flags.json", "pointer": "/flags/new", "json": "{\"on\": false}"});
    cluster.spec.degraded_modes[1].switches.push(serde_json::from_value(new).unwrap());
    cluster.spec.progress_deadline = palier::api::Span::seconds(400);
    let wanted = wanted(&cluster);
    let (drive, values) = play(cluster);
    let mut world = World { drive, values, wanted, edits: 0 };
    world.drive.cluster.push_image("shop-api", "app:v2");
    world.wait(10);
    for event in events {
        world.happen(event);
    }
    world.values.borrow_mut().clear();
    let number = world.drive.cluster.status.run.as_ref().map_or(0, |run| run.number);
    world.drive.cluster.act(action(ActionKind::Resume, number));
    world.wait(6_000);
    let status = &world.drive.working;
    let is_over = status.run.as_ref().is_none_or(|run| run.ended_at.is_some());
    assert!(is_over, "{status:#?}");
    for (key, text) in &world.wanted {
        assert_eq!(world.drive.cluster.config("flags", key), text.as_deref(), "{key}: {status:#?}");
    }
    assert!(!world.drive.cluster.deleting || !world.drive.cluster.has_finalizer);
    let is_stuck = world.drive.happened.iter().any(|(_, it)| it.message.contains("could not set back"));
    assert!(!is_stuck, "no refusal lasts that long");
}

/// Two modes of degraded operation, and the people who edit the same switches.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Script {
    then: String,
    events: Vec<Event>,
}

impl crate::shapes::Script for Script {
    fn any() -> BoxedStrategy<Self> {
        let then = prop_oneof![Just("PartialRollback"), Just("FullRollback")];
        let script = (then, prop::collection::vec(event(), 1..30));
        script.prop_map(|(then, events)| Self { then: then.to_owned(), events }).boxed()
    }

    fn play(&self) {
        run(&self.then, &self.events);
    }
}

fn config() -> ProptestConfig {
    let usual = seeds::config("tests/planner/properties_degraded.proptest-regressions");
    ProptestConfig { cases: 128, ..usual }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_switch_is_theirs_or_ours_with_theirs_on_record(
        then in prop_oneof![Just("PartialRollback"), Just("FullRollback")],
        events in prop::collection::vec(event(), 1..30),
    ) {
        run(then, &events);
    }
}
