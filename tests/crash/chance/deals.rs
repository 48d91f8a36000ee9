//! What may happen in a random story, and how it is done.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use palier::apiserver::{Front, Key, Kind, Sight};
use palier::rig::given::{SHOP, image};
use palier::rig::prometheus::query;
use palier::rig::{Mood, Replica, Rig, RigTime};
use serde_json::json;

use super::STORM;
use super::storm::Storm;
use super::surroundings::Surroundings;
use crate::counters;
use crate::dice::Dice;

/// Something that somebody or something does.
#[derive(Clone, Debug, PartialEq)]
pub enum Deal {
    Push(&'static str, &'static str),
    Scale(&'static str, u32),
    Act(&'static str),
    Crash(&'static str),
    LoseNode,
    ReturnNode,
    Mood(Mood),
    Refuse(bool),
    Gateway(bool),
    Kill(usize),
    End(usize),
    See(usize, Sight),
    Storm(bool),
    /// The autoscaler works.
    Hpa(bool),
    /// What is in Git is put back every second.
    Gitops(bool),
    /// No pod more than there are now.
    Quota(bool),
    /// Admission refuses the controller's writes of a kind.
    Deny(Option<Kind>),
    /// The clock of a replica is ahead by so many seconds.
    Clock(usize, i64),
    /// The gate asks something else.
    Question(u32),
    /// The bake lasts so many seconds.
    Bake(u32),
    /// The Rollout is deleted.
    Delete,
}

const TAGS: [&str; 5] = ["v1", "v2", "v3", "v4-bad", "v5-neverready"];

/// What is to happen, by the seed.
pub fn plan(dice: &mut Dice, parts: &[&'static str]) -> Vec<(u64, Deal)> {
    let mut plan = vec![(0, Deal::Push(parts[0], "v2"))];
    for _ in 0..dice.upto(9) {
        let at = dice.upto(STORM);
        let part = parts[dice.index(parts.len())];
        let deal = match dice.upto(15) {
            0..=2 => Deal::Push(part, TAGS[dice.index(TAGS.len())]),
            3 => Deal::Scale(part, 1 + u32::try_from(dice.upto(9)).expect("small")),
            4 => Deal::Act(["Abort", "Promote", "Pause", "Resume", "Retry"][dice.index(5)]),
            5 => Deal::Crash(part),
            6 => {
                plan.push((at + dice.upto(60), Deal::ReturnNode));
                Deal::LoseNode
            }
            7 | 8 => {
                plan.push((at + dice.upto(90), Deal::Mood(Mood::Well)));
                Deal::Mood(Mood::BAD[dice.index(Mood::BAD.len())])
            }
            9 => {
                plan.push((at + dice.upto(60), Deal::Refuse(false)));
                Deal::Refuse(true)
            }
            10 => {
                plan.push((at + dice.upto(60), Deal::Gateway(true)));
                Deal::Gateway(false)
            }
            11 | 12 => Deal::Kill(dice.index(2)),
            13 => Deal::End(dice.index(2)),
            14 => {
                plan.push((at + dice.upto(60), Deal::See(0, Sight::Live)));
                Deal::See(0, Sight::Late(Duration::from_secs(1 + dice.upto(20))))
            }
            _ => {
                plan.push((at + dice.upto(60), Deal::Storm(false)));
                Deal::Storm(true)
            }
        };
        plan.push((at, deal));
    }
    plan.sort_by_key(|(at, _)| *at);
    plan
}

/// What others in the cluster do besides, by the seed.
pub fn plan_of_others(dice: &mut Dice, parts: &[&'static str]) -> Vec<(u64, Deal)> {
    let mut plan = Vec::new();
    for _ in 0..=dice.upto(4) {
        let at = dice.upto(STORM);
        let later = at + 20 + dice.upto(90);
        let deal = match dice.upto(13) {
            0 | 1 => {
                plan.push((later, Deal::Hpa(false)));
                Deal::Hpa(true)
            }
            2 | 3 => {
                plan.push((later, Deal::Gitops(false)));
                Deal::Gitops(true)
            }
            4 | 5 => {
                plan.push((later, Deal::Quota(false)));
                Deal::Quota(true)
            }
            6 | 7 => {
                let kinds = [
                    Kind::Deployment,
                    Kind::ReplicaSet,
                    Kind::Service,
                    Kind::HttpRoute,
                    Kind::RolloutRun,
                    Kind::Rollout,
                ];
                plan.push((later, Deal::Deny(None)));
                Deal::Deny(Some(kinds[dice.index(kinds.len())]))
            }
            8 | 9 => {
                let number = dice.index(2);
                plan.push((later, Deal::Clock(number, 0)));
                Deal::Clock(number, [-3_600, -60, -5, 5, 60, 3_600][dice.index(6)])
            }
            10 => Deal::Question(1 + u32::try_from(dice.upto(8)).expect("small")),
            11 => Deal::Bake(10 + u32::try_from(dice.upto(30)).expect("small")),
            12 => Deal::Push(parts[dice.index(parts.len())], "v4-bad"),
            _ => Deal::Delete,
        };
        plan.push((at, deal));
    }
    plan.sort_by_key(|(at, _)| *at);
    plan
}

/// Everything that deals are about.
pub struct Stage {
    pub rig: Rig,
    pub crew: Vec<Replica>,
    pub fronts: [Front; 2],
    pub clocks: [RigTime; 2],
    pub storm: Arc<Mutex<Storm>>,
    pub others: Surroundings,
}

impl Stage {
    /// Does it; the time of a loss of pods.
    pub fn carry_out(&self, deal: &Deal) -> Option<Timestamp> {
        let (rig, now) = (&self.rig, self.rig.time.now());
        counters::deal(deal);
        let is_gone = || rig.server.read(|store| store.get(Kind::Rollout, SHOP, "shop").is_none());
        match deal {
            // Without a Rollout what is pushed rolls by itself, or not at all: that is nobody's promise.
            Deal::Push(..) if is_gone() => {}
            Deal::Push(part, tag) => {
                self.others.merged(part, tag);
                rig.push(SHOP, part, &image(part, tag)).expect("a Deployment takes another image");
            }
            Deal::Scale(part, size) => {
                rig.scale(SHOP, part, *size).expect("a Deployment takes another size");
                return Some(now);
            }
            // Without a run there is nothing to act on: that is refused or comes to nothing.
            Deal::Act(action) => drop(rig.act(SHOP, "shop", action)),
            Deal::Crash(part) => {
                let of = rig.server.read(|store| {
                    let found = store.get(Kind::Deployment, SHOP, part);
                    found.and_then(|it| {
                        it["spec"]["template"]["spec"]["containers"][0]["image"].as_str().map(str::to_owned)
                    })
                });
                rig.disturb(|nature, store| nature.crash(store, now, &of.unwrap_or_default()));
                return Some(now);
            }
            Deal::LoseNode => {
                rig.disturb(|nature, store| drop(nature.lose_node(store, now, "node-1", true)));
                return Some(now);
            }
            Deal::ReturnNode => rig.nature(|nature| nature.return_node("node-1")),
            Deal::Mood(mood) => rig.prometheus.set_mood(*mood),
            Deal::Refuse(refuses) => rig.nature(|nature| {
                nature.settings.gateway.refuses =
                    refuses.then(|| "no such backend, says the gateway".to_owned());
            }),
            Deal::Gateway(answers) => rig.nature(|nature| nature.settings.gateway.answers = *answers),
            Deal::Kill(number) => self.crew.get(*number).map_or((), Replica::kill),
            Deal::End(number) => self.crew.get(*number).map_or((), Replica::ask_to_end),
            Deal::See(number, sight) => self.fronts[*number].set(*sight),
            Deal::Storm(blows) => self.weather(|storm| storm.blows = *blows),
            other => return self.carry_out_for_others(other, now),
        }
        None
    }

    fn carry_out_for_others(&self, deal: &Deal, now: Timestamp) -> Option<Timestamp> {
        let rig = &self.rig;
        match deal {
            Deal::Hpa(works) => self.others.scales(*works),
            Deal::Gitops(works) => self.others.applies(*works),
            Deal::Quota(holds) => {
                let there = rig.server.read(|store| store.list(Kind::Pod, Some(SHOP)).count());
                rig.nature(|nature| nature.settings.quota = holds.then_some(there));
                return Some(now);
            }
            Deal::Deny(kind) => self.weather(|storm| storm.denied = *kind),
            Deal::Clock(number, seconds) => self.clocks[*number].set_skew(seconds * 1_000),
            Deal::Question(number) => self.edit(|spec| {
                let asked = query("errors").replace('}', &format!(",v=\"{number}\"}}"));
                spec["gates"][0]["prometheus"]["query"] = json!(asked);
            }),
            Deal::Bake(seconds) => self.edit(|spec| {
                for phase in spec["phases"].as_array_mut().into_iter().flatten() {
                    phase["bakeTime"] = json!(format!("{seconds}s"));
                }
            }),
            // It may be gone already.
            Deal::Delete => drop(rig.delete("operator", &Key::new(Kind::Rollout, SHOP, "shop"))),
            _ => {}
        }
        None
    }

    fn weather(&self, change: impl FnOnce(&mut Storm)) {
        change(&mut self.storm.lock().expect("nobody panics with it"));
    }

    /// Somebody edits the Rollout, if it is still there.
    fn edit(&self, change: impl FnOnce(&mut serde_json::Value)) {
        drop(
            self.rig
                .change("developer", &Key::new(Kind::Rollout, SHOP, "shop"), |it| change(&mut it["spec"])),
        );
    }

    /// From now on everything is well.
    pub fn heal(&self) {
        let rig = &self.rig;
        self.weather(|storm| (storm.blows, storm.denied) = (false, None));
        self.fronts.iter().for_each(|front| front.set(Sight::Live));
        self.clocks.iter().for_each(|clock| clock.set_skew(0));
        self.others.scales(false);
        self.others.applies(false);
        rig.prometheus.set_mood(Mood::Well);
        rig.nature(|nature| {
            nature.return_node("node-1");
            nature.settings.quota = None;
            nature.settings.gateway.refuses = None;
            nature.settings.gateway.answers = true;
        });
        drop(rig.act(SHOP, "shop", "Resume"));
    }
}
