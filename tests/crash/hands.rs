//! Who does the faults of a performance, at the moment at which each is due.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use palier::apiserver::{Front, Key, Kind, Sight, Sighted, Store, Weather};
use palier::rig::given::SHOP;
use palier::rig::{Late, Rig};
use tokio::sync::Notify;

use crate::faults::{Faults, Seen, Turn};

/// How long a front end shows the past.
const FROZEN: Duration = Duration::from_secs(60);
/// How long a deleted Rollout may take to go, whatever happens.
const LEAVES: Duration = Duration::from_secs(1_800);

/// The hands that do them.
pub struct Hands {
    rig: Rig,
    /// The front end of the controllers.
    pub front: Front,
    shared: Arc<Mutex<(Faults, Seen, u64)>>,
    due: Arc<Notify>,
}

impl Hands {
    /// Nothing was done yet.
    pub fn new(rig: &Rig, faults: &Faults) -> Self {
        Self {
            rig: rig.clone(),
            front: Front::default(),
            shared: Arc::new(Mutex::new((faults.clone(), Seen::default(), 0))),
            due: Arc::new(Notify::new()),
        }
    }

    /// What was seen and done so far.
    pub fn seen(&self) -> Seen {
        self.shared.lock().expect("nobody panics with it").1.clone()
    }

    /// The weather of each process: writes are numbered over all of them.
    pub fn weather(&self) -> Box<dyn FnMut(u32) -> Option<Weather> + Send> {
        let (rig, front, shared, due) =
            (self.rig.clone(), self.front.clone(), self.shared.clone(), self.due.clone());
        Box::new(move |_| {
            let (rig, front, shared, due) = (rig.clone(), front.clone(), shared.clone(), due.clone());
            Some(Box::new(move |sighted: &Sighted| {
                let mut held = shared.lock().expect("nobody panics with it");
                let (faults, seen, past) = &mut *held;
                let (fate, turn) = faults.fate(sighted, seen);
                match turn {
                    Turn::None => {}
                    Turn::Remember => *past = rig.server.read(Store::revision),
                    Turn::GoBack => {
                        front.set(Sight::Frozen(*past));
                        let front = front.clone();
                        tokio::spawn(async move {
                            tokio::time::sleep(FROZEN).await;
                            front.set(Sight::Live);
                        });
                    }
                    Turn::Delete => due.notify_one(),
                }
                fate
            }))
        })
    }

    /// Deletes the Rollout when that is due, and waits until it is gone. Never ends if it is not due.
    pub async fn deletion(&self) -> Result<(), Late> {
        self.due.notified().await;
        let rollout = Key::new(Kind::Rollout, SHOP, "shop");
        self.rig.delete("operator", &rollout).expect("a Rollout can be deleted");
        let is_gone = |store: &Store| store.get(Kind::Rollout, SHOP, "shop").is_none();
        self.rig.until("the Rollout is gone", LEAVES, is_gone).await
    }
}
