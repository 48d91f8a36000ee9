//! Scripts by number: a seed gives the same script on every machine. What fails is made smaller and kept as a file, which
//! is played for ever, whatever scripts the seeds give later.

use std::cell::RefCell;
use std::fmt::{self, Debug};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use proptest::prelude::{BoxedStrategy, ProptestConfig, Strategy};
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    examples_counting, properties, properties_config, properties_degraded, properties_hooks, properties_parts,
};

/// A random script that can be played under the eyes of the monitors.
pub trait Script: Clone + Debug + Serialize + DeserializeOwned + 'static {
    /// Any of them.
    fn any() -> BoxedStrategy<Self>;
    /// Plays it; a promise that is broken panics.
    fn play(&self);
}

/// What is thrown at the engine, by kind.
#[derive(Clone, Copy)]
pub struct Shape {
    /// Its name in files and tables.
    pub name: &'static str,
    play: fn(u64),
    script: fn(u64) -> Value,
    shrink: fn(u64) -> (Value, Broken),
    replay: fn(&Value) -> Result<(), String>,
}

/// A promise that was broken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Broken {
    /// The file and line that saw it.
    pub file: String,
    pub line: u32,
    /// What it says, up to 4000 characters.
    pub message: String,
}

impl Broken {
    /// In one line, for lists.
    #[must_use]
    pub fn in_short(&self, max: usize) -> String {
        self.message.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(max).collect()
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.message)
    }
}

/// A script in a file of `tests/seeds`.
#[derive(Serialize, Deserialize)]
pub struct Kept {
    pub shape: String,
    /// Where it came from, 0 for one that was written by hand.
    pub seed: u64,
    /// What was broken when it was found.
    pub found: String,
    pub script: Value,
}

/// Steps by which a failing script is made smaller, at most.
const SHRINKS_MAX: usize = 200;

thread_local! {
    static BROKEN: RefCell<Option<Broken>> = const { RefCell::new(None) };
}

fn tree<S: Script>(seed: u64) -> impl ValueTree<Value = S> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(ProptestConfig::default(), rng);
    S::any().new_tree(&mut runner).expect("every seed gives a script")
}

/// Makes a failing script smaller for as long as it fails.
fn shrink<S: Script>(seed: u64) -> (Value, Broken) {
    let mut tree = tree::<S>(seed);
    let mut best = tree.current();
    let mut broken = heard(|| best.play()).err().unwrap_or_default();
    let mut is_smaller = tree.simplify();
    for _ in 0..SHRINKS_MAX {
        if !is_smaller {
            break;
        }
        let script = tree.current();
        is_smaller = match heard(|| script.play()) {
            // Another promise is another story.
            Err(other) if (&other.file, other.line) == (&broken.file, broken.line) => {
                (best, broken) = (script, other);
                tree.simplify()
            }
            _ => tree.complicate(),
        };
    }
    (serde_json::to_value(&best).expect("a script has a JSON form"), broken)
}

const fn of<S: Script>(name: &'static str) -> Shape {
    Shape {
        name,
        play: |seed| tree::<S>(seed).current().play(),
        script: |seed| serde_json::to_value(tree::<S>(seed).current()).expect("a script has a JSON form"),
        shrink: shrink::<S>,
        replay: |value| {
            let script: S = serde_json::from_value(value.clone()).map_err(|error| error.to_string())?;
            heard(|| script.play()).map_err(|broken| broken.to_string())
        },
    }
}

/// All shapes.
pub const SHAPES: [Shape; 6] = [
    of::<properties::Script>("one"),
    of::<properties_parts::Script>("parts"),
    of::<properties_hooks::Script>("hooks"),
    of::<properties_degraded::Script>("degraded"),
    of::<properties_config::Script>("config"),
    of::<examples_counting::Script>("counting"),
];

/// Of twelve seeds, how many are of each shape.
const TURNS: [usize; 12] = [0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 2];

/// The shape of a seed.
#[must_use]
pub fn shape_of(seed: u64) -> Shape {
    SHAPES[TURNS[(seed % 12) as usize]]
}

/// The shape of this name.
#[must_use]
pub fn named(name: &str) -> Option<Shape> {
    SHAPES.into_iter().find(|shape| shape.name == name)
}

impl Shape {
    /// Plays the script of a seed.
    pub fn play(&self, seed: u64) -> Result<(), Broken> {
        heard(|| (self.play)(seed))
    }

    /// The script of a seed.
    pub fn script(&self, seed: u64) -> Value {
        (self.script)(seed)
    }

    /// The smallest script found that fails like the one of a failing seed.
    pub fn shrink(&self, seed: u64) -> Kept {
        let (script, broken) = (self.shrink)(seed);
        Kept {
            shape: self.name.to_owned(),
            seed,
            found: format!("{}:{}: {}", broken.file, broken.line, broken.in_short(300)),
            script,
        }
    }
}

impl Kept {
    /// Plays it.
    ///
    /// # Errors
    /// When it cannot be read, or breaks a promise.
    pub fn play(&self) -> Result<(), String> {
        let shape = named(&self.shape).ok_or_else(|| format!("there is no shape {}", self.shape))?;
        (shape.replay)(&self.script)
    }
}

/// Runs something that may panic, and says where it did.
pub fn heard(play: impl FnOnce()) -> Result<(), Broken> {
    listen();
    BROKEN.with_borrow_mut(|broken| *broken = Some(Broken::default()));
    let heard = panic::catch_unwind(AssertUnwindSafe(play));
    let broken = BROKEN.with_borrow_mut(Option::take).unwrap_or_default();
    heard.map_err(|_| broken)
}

/// From now on a panic on a thread that listens is kept in place of being printed.
fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let is_heard = BROKEN.with_borrow_mut(|broken| {
                let Some(broken) = broken else { return false };
                let payload = info.payload();
                let text = payload.downcast_ref::<String>().map(String::as_str);
                let text = text.or(payload.downcast_ref::<&str>().copied()).unwrap_or_default();
                let place = info.location();
                *broken = Broken {
                    file: place.map(|at| at.file().to_owned()).unwrap_or_default(),
                    line: place.map_or(0, panic::Location::line),
                    message: text.chars().take(4_000).collect(),
                };
                true
            });
            if !is_heard {
                usual(info);
            }
        }));
    });
}
