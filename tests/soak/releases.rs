//! Who pushes what: each Rollout is released again as soon as its turn comes, and its turn comes when the run before has ended.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use palier::api::{Outcome, RolloutStatus, Stage};

use crate::Soak;
use crate::dice::Dice;
use crate::fleet::{Fleet, run_of};
use crate::judge::outcomes::Story;

/// A run takes some 17 s on a quiet day. A fault holds it up for some seconds, a new leader's start for ten; nothing holds it for
/// longer than this.
pub const RUN_WITHIN: Duration = Duration::from_secs(300);
/// How long somebody who pushes tries again, when the control plane does not answer.
const PUSH_WITHIN: Duration = Duration::from_secs(60);
const BETWEEN_TRIES: Duration = Duration::from_millis(500);
/// A value that no gate lets pass, and one that every gate does.
pub const BAD: f64 = 1.0;
const GOOD: f64 = 0.0;
/// Of a hundred images so many are of each kind; the rest are good.
const SHARES: [(Story, u64); 4] =
    [(Story::Bad, 15), (Story::BadAtHalf, 10), (Story::Superseded, 10), (Story::Aborted, 10)];

/// What somebody has done with a Rollout.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The version that was pushed last.
    pub pushed: u32,
    /// The version that serves.
    pub serves: u32,
    /// How the last run ended; empty before the first.
    pub outcome: String,
}

/// The releases, and what came of them.
#[derive(Default)]
pub struct Releases {
    pages: RefCell<BTreeMap<String, Page>>,
    turn: RefCell<VecDeque<String>>,
    ends: RefCell<BTreeMap<(Story, String), usize>>,
    took: RefCell<Vec<f64>>,
    wrong: RefCell<Vec<String>>,
    under_way: Cell<usize>,
}

impl Releases {
    /// What was done with each Rollout.
    pub fn pages(&self) -> BTreeMap<String, Page> {
        self.pages.borrow().clone()
    }

    /// How often each story came to which end.
    pub fn ends(&self) -> BTreeMap<(Story, String), usize> {
        self.ends.borrow().clone()
    }

    /// Stories that ended so.
    pub fn ended(&self, outcome: &str) -> usize {
        self.ends.borrow().iter().filter(|((_, end), _)| end == outcome).map(|(_, count)| count).sum()
    }

    /// Seconds that the stories took, sorted.
    pub fn took(&self) -> Vec<f64> {
        let mut took = self.took.borrow().clone();
        took.sort_by(f64::total_cmp);
        took
    }

    /// Releases that are on their way.
    pub fn under_way(&self) -> usize {
        self.under_way.get()
    }

    /// What did not end, or not as it had to.
    pub fn wrong(&self) -> Vec<String> {
        self.wrong.borrow().clone()
    }

    /// Goes on until `end`; comes back when the last run has ended, or did not in its time.
    pub async fn go_on(&self, soak: &Soak, fleets: &[Fleet<'_>], end: Instant) -> Result<()> {
        // In turns, so that both crews have work at any time.
        let most = fleets.iter().map(|fleet| fleet.names().len()).max().unwrap_or(0);
        for index in 0..most {
            self.turn
                .borrow_mut()
                .extend(fleets.iter().filter_map(|fleet| fleet.names().get(index)).cloned());
        }
        let dice = RefCell::new(Dice::new(soak.settings.seed.wrapping_add(1)));
        let workers = (0..soak.settings.at_once).map(|number| {
            let dice = &dice;
            async move {
                // Not all at once.
                tokio::time::sleep(Duration::from_millis(300 * number as u64)).await;
                while Instant::now() < end {
                    let Some(name) = self.turn.borrow_mut().pop_front() else { break };
                    let story = draw(&mut dice.borrow_mut());
                    let fleet = fleets.iter().find(|fleet| fleet.names().contains(&name));
                    self.play(soak, fleet.context("a name of nobody")?, &name, story).await?;
                }
                anyhow::Ok(())
            }
        });
        futures::future::try_join_all(workers).await.map(drop)
    }

    async fn play(&self, soak: &Soak, fleet: &Fleet<'_>, name: &str, story: Story) -> Result<()> {
        let (begun, from) = (Instant::now(), Timestamp::now());
        self.under_way.set(self.under_way.get() + 1);
        let ended = self.tell(soak, fleet, name, story).await;
        self.under_way.set(self.under_way.get() - 1);
        let outcome = match ended {
            Ok(outcome) => outcome,
            Err(error) => {
                // It has no turn any more: what became of it is looked at in the end.
                self.wrong.borrow_mut().push(format!("{name}: {}: {error:#}", story.name()));
                return Ok(());
            }
        };
        let was_told_bad = soak.stub.answers_since(name, from).iter().any(|(_, value)| *value == BAD);
        if let Some(wrong) = story.wrong(&outcome, was_told_bad) {
            self.wrong.borrow_mut().push(format!("{name}, since {from}: {wrong}"));
        }
        self.took.borrow_mut().push(begun.elapsed().as_secs_f64());
        *self.ends.borrow_mut().entry((story, outcome)).or_default() += 1;
        self.turn.borrow_mut().push_back(name.to_owned());
        Ok(())
    }

    /// Does what the story says; gives how its last run ended.
    async fn tell(&self, soak: &Soak, fleet: &Fleet<'_>, name: &str, story: Story) -> Result<String> {
        let before = run_of(&soak.sights, name);
        soak.stub.set(name, if story == Story::Bad { BAD } else { GOOD });
        self.push(fleet, name).await?;
        let mut after = before;
        match story {
            Story::Good | Story::Bad => {}
            Story::BadAtHalf => {
                until_baking(soak, name, before, 50).await?;
                soak.stub.set(name, BAD);
            }
            Story::Superseded => {
                until_baking(soak, name, before, 10).await?;
                after = run_of(&soak.sights, name);
                self.push(fleet, name).await?;
            }
            Story::Aborted => {
                until_baking(soak, name, before, 10).await?;
                patiently(async || fleet.abort(name).await.map(drop)).await?;
            }
        }
        let outcome = until_ended(soak, name, after).await?;
        let mut pages = self.pages.borrow_mut();
        let page = pages.entry(name.to_owned()).or_default();
        if outcome == "Completed" {
            page.serves = page.pushed;
        }
        page.outcome.clone_from(&outcome);
        Ok(outcome)
    }

    async fn push(&self, fleet: &Fleet<'_>, name: &str) -> Result<()> {
        let version = {
            let mut pages = self.pages.borrow_mut();
            let page = pages.entry(name.to_owned()).or_default();
            page.pushed += 1;
            page.pushed
        };
        patiently(async || fleet.push_to(name, version).await).await
    }
}

fn draw(dice: &mut Dice) -> Story {
    let mut number = dice.upto(99);
    for (story, share) in SHARES {
        if number < share {
            return story;
        }
        number -= share;
    }
    Story::Good
}

/// What a person does again when the control plane does not answer.
async fn patiently(mut act: impl AsyncFnMut() -> Result<()>) -> Result<()> {
    let deadline = Instant::now() + PUSH_WITHIN;
    loop {
        match act().await {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => tokio::time::sleep(BETWEEN_TRIES).await,
        }
    }
}

/// Waits until a run later than `before` bakes at this share or a greater one, or has ended.
async fn until_baking(soak: &Soak, name: &str, before: i64, share: i32) -> Result<()> {
    let is_there = |_: &str, status: &RolloutStatus| {
        let Some(run) = status.run.as_ref().filter(|run| run.number > before) else { return false };
        let mut parts = status.components.iter();
        run.ended_at.is_some() || parts.any(|one| one.stage == Stage::Baking && one.weight >= share)
    };
    let what = format!("baking at {share} % after run {before}");
    soak.sights.until_all(&what, &[name.to_owned()], RUN_WITHIN, is_there).await.map(drop)
}

/// Waits until a run later than `after` has ended and is on record; gives its outcome.
async fn until_ended(soak: &Soak, name: &str, after: i64) -> Result<String> {
    let outcome = |status: &RolloutStatus| -> Option<Outcome> {
        let run = status.run.as_ref().filter(|run| run.number > after && run.ended_at.is_some())?;
        run.outcome
    };
    let has_ended = |_: &str, status: &RolloutStatus| outcome(status).is_some();
    let what = format!("the end of a run after {after}");
    soak.sights.until_all(&what, &[name.to_owned()], RUN_WITHIN, has_ended).await?;
    let seen = soak.sights.of(name).and_then(|(_, status)| outcome(&status));
    Ok(seen.map_or_else(String::new, |outcome| format!("{outcome:?}")))
}
