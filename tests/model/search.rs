//! Breadth first through the small world by the number of troubles: first the run that nothing happens to, then every place of it
//! at which one thing happens, then every place after that at which another one does, and so on. Every state once.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use jiff::Timestamp;
use palier::engine::{Answer, Measurement};
use palier::sim::{Drive, Reply, Stop};

use crate::play::Play;
use crate::world::{RARE, STEPS, State, Step};

/// Of so many states one is played to its end.
const ENDS_EVERY: u64 = 64;
/// States from which so many others can be reached that it is no use to keep more than one of so many for the next round.
const REACHED_FROM_ONE: usize = 10;

/// What a search came to.
#[derive(Debug, Default)]
pub struct Explored {
    /// States that differ.
    pub states: usize,
    /// Steps that were taken.
    pub steps: usize,
    /// So many troubles, at any place of a run, were looked at in every combination.
    pub troubles: usize,
    /// States from which an abort was played.
    pub aborts: usize,
    /// States from which the run was played to its end.
    pub ends: usize,
    /// Writes of a former leader that arrived after the claim of the next.
    pub late_writes: usize,
    /// Whether no state is left.
    pub is_whole: bool,
}

/// A state with the steps that lead to it.
#[derive(Clone)]
struct Reached {
    state: State,
    path: Vec<Step>,
    key: u64,
}

fn passes(_: &Measurement, now: Timestamp) -> Reply {
    Reply::Now(Answer::Sample { value: 0.0, sampled_at: now })
}

/// A play from here on, with a controller that has just started.
fn play_of(state: &State) -> Play<fn(&Measurement, Timestamp) -> Reply> {
    let mut drive = Drive::new(state.cluster.clone(), passes as fn(&Measurement, Timestamp) -> Reply);
    drive.epoch = state.epoch();
    Play::new(drive, state.monitors.clone())
}

/// Looks at a new state: what must be possible from here is tried.
fn look_ahead(state: &State, key: u64, explored: &mut Explored) {
    if state.has_traffic() {
        explored.aborts += 1;
        play_of(state).check_abort();
    }
    if key.is_multiple_of(ENDS_EVERY) {
        explored.ends += 1;
        let mut play = play_of(state);
        let stop = play.run(4_000);
        assert_eq!(stop, Stop::AtRest, "no end from here: {:#?}", play.drive.working);
        play.check_end();
    }
}

/// What is known of one step: the state after it, if it is new.
fn take(from: &Reached, step: Step, known: &Known, explored: &mut Explored) -> Option<Reached> {
    let path: Vec<Step> = from.path.iter().copied().chain([step]).collect();
    PATH.with_borrow_mut(|present| present.clone_from(&path));
    let state = from.state.after(step)?;
    explored.steps += 1;
    let key = state.key();
    {
        let mut keys = known.keys.lock().unwrap();
        if keys.len() >= known.max || !keys.insert(key) {
            return None;
        }
    }
    explored.late_writes += usize::from(state.late_writes > from.state.late_writes);
    look_ahead(&state, key, explored);
    Some(Reached { state, path, key })
}

/// States that were seen, and how many may be.
struct Known {
    keys: Mutex<HashSet<u64>>,
    max: usize,
}

impl Known {
    fn count(&self) -> usize {
        self.keys.lock().unwrap().len()
    }
}

/// Goes on from one state until nothing new comes; gives every state to which a trouble leads on the way.
fn follow(from: Reached, known: &Known, explored: &mut Explored, mut reached: impl FnMut(Reached)) {
    let mut at = Some(from);
    while let Some(present) = at {
        for step in STEPS.into_iter().chain(RARE).filter(|step| *step != Step::Go) {
            take(&present, step, known, explored).into_iter().for_each(&mut reached);
        }
        at = take(&present, Step::Go, known, explored);
    }
}

thread_local! {
    /// The path that this thread looks at, for the words of a failure.
    pub static PATH: std::cell::RefCell<Vec<Step>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// Looks at up to `max` states, on `threads` threads. A broken promise panics; the thread's [`PATH`] leads to it.
pub fn explore(max: usize, threads: usize) -> Explored {
    let first = State::first();
    let key = first.key();
    let known = Known { keys: Mutex::new(HashSet::from([key])), max };
    let mut frontier = vec![Reached { state: first, path: Vec::new(), key }];
    let (mut all, mut rounds, mut was_cut) = (Explored::default(), 0, false);
    while !frontier.is_empty() && known.count() < max {
        let room = (max - known.count()) / REACHED_FROM_ONE + 100;
        // Those that are left out, where not all can be looked at, are of no special kind.
        frontier.sort_unstable_by_key(|reached| reached.key);
        let (todo, next) = (Mutex::new(std::mem::take(&mut frontier)), Mutex::new(Vec::new()));
        let (parts, is_cut) = (Mutex::new(Vec::new()), AtomicBool::new(was_cut));
        let work = || {
            let mut explored = Explored::default();
            loop {
                let Some(from) = todo.lock().unwrap().pop() else { break };
                follow(from, &known, &mut explored, |reached| {
                    let mut next = next.lock().unwrap();
                    if next.len() < room {
                        next.push(reached);
                    } else {
                        is_cut.store(true, Ordering::Relaxed);
                    }
                });
            }
            parts.lock().unwrap().push(explored);
        };
        if threads < 2 {
            work();
        } else {
            thread::scope(|scope| (0..threads).map(|_| scope.spawn(work)).for_each(drop));
        }
        for part in parts.into_inner().unwrap() {
            all.steps += part.steps;
            all.aborts += part.aborts;
            all.ends += part.ends;
            all.late_writes += part.late_writes;
        }
        frontier = next.into_inner().unwrap();
        // The first round only puts one trouble at every place; what follows from it is seen in the second.
        if known.count() < max && !was_cut {
            all.troubles = rounds;
        }
        (rounds, was_cut) = (rounds + 1, is_cut.into_inner());
    }
    all.states = known.count();
    all.is_whole = frontier.is_empty() && all.states < max;
    all
}
