//! What goes wrong, and when.

use std::time::Duration;

use palier::apiserver::{Act, Deed, Fate, Kind, Refusal, Sighted, Stream};

use crate::counters;

/// What the controllers did so far.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Their writes, without those of Leases and Events.
    pub writes: Vec<String>,
}

/// The faults of a performance.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// One in each performance of the sieve, two in those of pairs.
    pub list: Vec<Fault>,
}

/// One fault: the n-th thing of its sort goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A write, from 1.
    Write(usize, Deed),
    /// A write that takes this long to arrive, and its answer as long: longer than the controller waits.
    Slow(usize, Duration),
    /// The first watch of a kind, from its beginning on.
    Watch(Kind, Stream),
    /// The front end sees nothing from the write `at` on; the process dies after the write `until`, and the next one sees the world as it
    /// was then, for a minute.
    TimeTravel { at: usize, until: usize },
    /// Somebody deletes the Rollout at this write, and the story ends there.
    Deletion(usize),
}

/// What a fault asks for besides the fate of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing.
    None,
    /// The front end is to remember what there is now.
    Remember,
    /// The front end is to show what it remembers.
    GoBack,
    /// The Rollout is to be deleted.
    Delete,
}

impl Faults {
    /// One fault.
    pub fn one(fault: Fault) -> Self {
        Self { list: vec![fault] }
    }

    /// What becomes of a request, and what else happens at it.
    pub fn fate(&mut self, sighted: &Sighted, seen: &mut Seen) -> (Fate, Turn) {
        let (fate, turn) = self.draw(sighted, seen);
        counters::network(&fate);
        counters::turn(turn);
        (fate, turn)
    }

    fn draw(&mut self, sighted: &Sighted, seen: &mut Seen) -> (Fate, Turn) {
        let nothing = (Fate::default(), Turn::None);
        if sighted.act == Act::Watch {
            let is_meant = |it: &Fault| matches!(it, Fault::Watch(kind, _) if *kind == sighted.key.kind);
            let found = self.list.iter().position(is_meant);
            return match found.map(|index| self.list.remove(index)) {
                Some(Fault::Watch(_, stream)) => (Fate::from(stream), Turn::None),
                _ => nothing,
            };
        }
        if !sighted.act.is_write() || matches!(sighted.key.kind, Kind::Lease | Kind::Event) {
            return nothing;
        }
        seen.writes.push(format!("{} {}", sighted.act.as_str(), sighted.key));
        let number = seen.writes.len();
        let mut turn = Turn::None;
        for fault in &self.list {
            match fault {
                Fault::Write(at, deed) if *at == number => return (Fate::from(deed.clone()), turn),
                Fault::Slow(at, by) if *at == number => {
                    return (Fate { request_delay: *by, answer_delay: *by, ..Fate::default() }, turn);
                }
                Fault::TimeTravel { at, .. } if *at == number => turn = Turn::Remember,
                Fault::TimeTravel { until, .. } if *until == number => {
                    return (Fate::from(Deed::KillAfter), Turn::GoBack);
                }
                Fault::Deletion(at) if *at == number => turn = Turn::Delete,
                _ => {}
            }
        }
        (Fate::default(), turn)
    }
}

/// What can happen to one write.
pub fn deeds() -> Vec<(&'static str, Deed)> {
    let refuse = |code, reason| Deed::Refuse(Refusal::new(code, reason, "the weather is bad"));
    vec![
        ("dropped before", Deed::Drop),
        ("answer lost", Deed::LoseAnswer),
        ("never answered", Deed::Silence),
        ("done twice", Deed::Twice),
        ("killed before", Deed::KillBefore),
        ("killed after", Deed::KillAfter),
        ("409", refuse(409, "Conflict")),
        ("429", refuse(429, "TooManyRequests")),
        ("500", refuse(500, "InternalError")),
        ("403", refuse(403, "Forbidden")),
    ]
}
