//! The judge: looks at every committed revision of the API server and at the ledger of the metric server, never at what the controller
//! says of itself, and names each broken promise.

mod back;
mod borders;
mod capacity;
mod fence;
mod floor;
mod hooks;
mod once;
mod partial;
mod pause;
mod raise;
pub mod scene;
mod secrets;
mod shares;
mod truth;

use jiff::Timestamp;
use palier::apiserver::Revision;
use palier::rig::{CONTROLLER, Given};

use scene::Scene;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The property's number in docs/reliability.md.
    pub property: &'static str,
    /// The revision at which it broke.
    pub revision: u64,
    /// When.
    pub at: Timestamp,
    /// What was seen.
    pub what: String,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} at {} (revision {}): {}", self.property, self.at, self.revision, self.what)
    }
}

/// One look at one revision.
pub struct Look<'l> {
    pub scene: &'l Scene,
    pub change: &'l Revision,
    /// Whether the controller did it.
    pub is_ours: bool,
}

/// A property, watched over the whole history.
pub trait Monitor {
    /// Looks at a revision, with the scene as it is after it.
    fn look(&mut self, look: &Look<'_>, broken: &mut Vec<Broken>);
}

/// What the judge has to know besides the log.
#[derive(Default)]
pub struct Case<'c> {
    /// Every revision, oldest first.
    pub log: &'c [Revision],
    /// Every answer of the metric server.
    pub given: &'c [Given],
    /// Times at which somebody took pods or capacity away: what follows within a minute is no fault of the controller.
    pub losses: &'c [Timestamp],
    /// Whether clocks were set: times prove nothing then.
    pub has_jumped: bool,
}

/// Judges a whole history.
pub fn judge(case: &Case<'_>) -> Vec<Broken> {
    let mut monitors: Vec<Box<dyn Monitor + '_>> = vec![
        Box::new(raise::Raises::new(case.given, case.has_jumped)),
        Box::new(back::WayBack::new(case.given)),
        Box::new(borders::Borders),
        Box::new(borders::Sums),
        Box::new(capacity::Callers::new(case.losses)),
        Box::new(fence::Fence::default()),
        Box::new(floor::Floor::new(case.losses)),
        Box::new(hooks::Order),
        Box::new(once::Once::new(case.given)),
        Box::new(partial::Reach::new(case)),
        Box::new(pause::Pause::default()),
        Box::new(secrets::Secrets),
        Box::new(shares::Shares::new(case.given)),
        Box::new(truth::Truth::default()),
    ];
    let (mut scene, mut broken) = (Scene::default(), Vec::new());
    for change in case.log {
        scene.take(change);
        let look = Look { scene: &scene, change, is_ours: change.by == CONTROLLER };
        for monitor in &mut monitors {
            monitor.look(&look, &mut broken);
        }
    }
    broken
}

/// Tells of a broken promise.
fn broke(look: &Look<'_>, property: &'static str, what: String) -> Broken {
    Broken { property, revision: look.change.number, at: look.change.at, what }
}
