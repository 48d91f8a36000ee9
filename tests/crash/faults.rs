//! What goes wrong, and when.

use std::time::Duration;

use palier::apiserver::{Act, Deed, Fate, Kind, Refusal, Sighted, Stream};

/// What the first process did so far.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Its writes, without those of Leases and Events.
    pub writes: Vec<String>,
    /// Its watches, by the plural of the kind, and how many there were.
    pub watches: Vec<String>,
    /// How often a fault was done.
    pub injected: u32,
}

/// The faults of a performance.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// At most one in each performance of the sieve; more in random ones.
    pub list: Vec<Fault>,
}

/// One fault: the n-th thing of its sort that the first process does goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A write, from 1.
    Write(usize, Deed),
    /// A write that takes this long to arrive, and its answer as long: longer than the controller waits.
    Slow(usize, Duration),
    /// The watch of a kind, from its beginning on.
    Watch(Kind, Stream),
}

impl Faults {
    /// One fault.
    pub fn one(fault: Fault) -> Self {
        Self { list: vec![fault] }
    }

    /// What becomes of a request.
    pub fn fate(&mut self, process: u32, sighted: &Sighted, seen: &mut Seen) -> Fate {
        if process != 1 {
            return Fate::default();
        }
        if sighted.act == Act::Watch {
            seen.watches.push(sighted.key.kind.facts().plural.to_owned());
            let found = self
                .list
                .iter()
                .position(|it| matches!(it, Fault::Watch(kind, _) if *kind == sighted.key.kind));
            return match found.map(|index| self.list.remove(index)) {
                Some(Fault::Watch(_, stream)) => {
                    seen.injected += 1;
                    Fate::from(stream)
                }
                _ => Fate::default(),
            };
        }
        if !sighted.act.is_write() || matches!(sighted.key.kind, Kind::Lease | Kind::Event) {
            return Fate::default();
        }
        seen.writes.push(format!("{} {}", sighted.act.as_str(), sighted.key));
        let number = seen.writes.len();
        for fault in &self.list {
            match fault {
                Fault::Write(at, deed) if *at == number => {
                    seen.injected += 1;
                    return Fate::from(deed.clone());
                }
                Fault::Slow(at, by) if *at == number => {
                    seen.injected += 1;
                    return Fate { request_delay: *by, answer_delay: *by, ..Fate::default() };
                }
                _ => {}
            }
        }
        Fate::default()
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
