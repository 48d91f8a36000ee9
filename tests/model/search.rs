//! Breadth first through the small world: every state once, every step from it.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use jiff::Timestamp;
use palier::engine::{Answer, Measurement};
use palier::sim::{Drive, Reply, Stop};

use crate::play::Play;
use crate::world::{RARE, STEPS, State, Step};

/// Of so many states one is played to its end.
const ENDS_EVERY: u64 = 64;
/// States whose followers are kept for each state that may still be looked at: most states have several new followers.
const KEPT_PER_STATE: usize = 2;

/// What a search came to.
#[derive(Debug, Default)]
pub struct Explored {
    /// States that differ.
    pub states: usize,
    /// Steps that were taken.
    pub steps: usize,
    /// Steps of the longest path of which every shorter one was looked at.
    pub depth: usize,
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
    if key % ENDS_EVERY == 0 {
        explored.ends += 1;
        let mut play = play_of(state);
        let stop = play.run(4_000);
        assert_eq!(stop, Stop::AtRest, "no end from here: {:#?}", play.drive.working);
        play.check_end();
    }
}

/// Every step from one state; the new states.
fn expand(from: &Reached, known: &Mutex<HashSet<u64>>, max: usize, explored: &mut Explored) -> Vec<Reached> {
    let mut new = Vec::new();
    for step in STEPS.into_iter().chain(RARE) {
        PATH.with_borrow_mut(|path| {
            path.clone_from(&from.path);
            path.push(step);
        });
        let Some(state) = from.state.after(step) else { continue };
        explored.steps += 1;
        let key = state.key();
        {
            let mut known = known.lock().unwrap();
            if known.len() >= max || !known.insert(key) {
                continue;
            }
        }
        explored.late_writes += usize::from(state.late_writes > from.state.late_writes);
        look_ahead(&state, key, explored);
        new.push(Reached { state, path: from.path.iter().copied().chain([step]).collect() });
    }
    new
}

thread_local! {
    /// The path that this thread looks at, for the words of a failure.
    pub static PATH: std::cell::RefCell<Vec<Step>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// Looks at up to `max` states, on `threads` threads. A broken promise panics; the thread's [`PATH`] leads to it.
pub fn explore(max: usize, threads: usize) -> Explored {
    let first = State::first();
    let known = Mutex::new(HashSet::from([first.key()]));
    let mut frontier = vec![Reached { state: first, path: Vec::new() }];
    let mut all = Explored::default();
    loop {
        let before = known.lock().unwrap().len();
        if frontier.is_empty() || before >= max {
            break;
        }
        let room = (max - before) / KEPT_PER_STATE + 1;
        let (next, cursor) = (Mutex::new(Vec::new()), AtomicUsize::new(0));
        let parts = Mutex::new(Vec::new());
        let work = || {
            let mut explored = Explored::default();
            while let Some(from) = frontier.get(cursor.fetch_add(1, Ordering::Relaxed)) {
                let new = expand(from, &known, max, &mut explored);
                let mut next = next.lock().unwrap();
                let free = room.saturating_sub(next.len());
                next.extend(new.into_iter().take(free));
            }
            parts.lock().unwrap().push(explored);
        };
        if threads < 2 {
            work();
        } else {
            thread::scope(|scope| (0..threads).map(|_| scope.spawn(&work)).for_each(drop));
        }
        for part in parts.into_inner().unwrap() {
            all.steps += part.steps;
            all.aborts += part.aborts;
            all.ends += part.ends;
            all.late_writes += part.late_writes;
        }
        frontier = next.into_inner().unwrap();
        if known.lock().unwrap().len() < max {
            all.depth += 1;
        }
    }
    all.states = known.into_inner().unwrap().len();
    all.is_whole = frontier.is_empty() && all.states < max;
    all
}
