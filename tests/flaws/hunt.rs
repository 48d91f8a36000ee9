//! Looks for a script that shows a bug to whom it should be shown.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use palier::engine::flaw::put_back;

use crate::search::explore;
use crate::shapes::{Broken, Kept, SHAPES, Shape, heard, named};
use crate::table::{Known, Shown};

/// Seeds of the likely shape that are played before the bug counts as missed.
const LIKELY_SEEDS: u64 = 600;
/// Seeds of each other shape.
const OTHER_SEEDS: u64 = 60;
/// States of the small world with two leaders that are looked at for a bug of theirs.
const STATES: usize = 20_000;

/// How a bug was seen.
pub struct Seen {
    /// What showed it.
    pub shown: String,
    /// Scripts that were played until then.
    pub played: u64,
    /// Who saw it.
    pub by: String,
    /// In its words.
    pub words: String,
}

/// What came of a hunt.
pub struct Hunt {
    pub seen: Option<Seen>,
    /// Who saw something who should not have been the one, and how often.
    pub others: BTreeMap<String, u64>,
    /// What breaks without the bug too.
    pub unsound: Option<String>,
}

/// Something that can be played with the bug and without it.
enum Stage {
    Script(Kept),
    Seed(Shape, u64),
    World,
}

impl Stage {
    fn play(&self) -> Result<(), Broken> {
        match self {
            Self::Script(kept) => kept.play().map_err(|why| said(&why)),
            Self::Seed(shape, seed) => shape.play(*seed),
            Self::World => heard(|| drop(explore(STATES, 1))),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Script(kept) => format!("script of shape {}", kept.shape),
            Self::Seed(shape, seed) => format!("{} {seed}", shape.name),
            Self::World => "small world".to_owned(),
        }
    }
}

/// What a script on record says when it breaks a promise: file, line, words.
fn said(why: &str) -> Broken {
    let mut parts = why.splitn(3, ':').map(str::trim);
    let mut next = || parts.next().unwrap_or_default();
    let (file, line) = (next().to_owned(), next().parse().unwrap_or_default());
    Broken { file, line, message: next().to_owned() }
}

fn script(name: &str) -> Kept {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/flaws/scripts/{name}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What is on record for a bug, and what may show it besides.
fn stages(shown: Shown) -> Box<dyn Iterator<Item = Stage>> {
    match shown {
        Shown::Script(name) => Box::new(std::iter::once(Stage::Script(script(name)))),
        Shown::SmallWorld => Box::new(std::iter::once(Stage::World)),
        Shown::Edge => Box::new(std::iter::empty()),
        Shown::Seed(name, seed) => {
            let likely = named(name).unwrap_or_else(|| panic!("there is no shape {name}"));
            let others = SHAPES.into_iter().filter(move |shape| shape.name != name);
            let more = (0..LIKELY_SEEDS).map(move |seed| Stage::Seed(likely, seed));
            let rest = others.flat_map(|shape| (0..OTHER_SEEDS).map(move |seed| Stage::Seed(shape, seed)));
            Box::new(std::iter::once(Stage::Seed(likely, seed)).chain(more).chain(rest))
        }
    }
}

/// Puts a bug back and plays until it is shown to whom it should be shown.
pub fn hunt(known: &Known) -> Hunt {
    let (mut played, mut others) = (0, BTreeMap::new());
    for stage in stages(known.shown) {
        played += 1;
        put_back(Some(known.flaw));
        let with = stage.play();
        put_back(None);
        let Err(broken) = with else { continue };
        let by = name_of(&broken);
        if !known.by.is_empty() && !known.by.contains(&by.as_str()) {
            *others.entry(by).or_default() += 1;
            continue;
        }
        let seen = Seen { shown: stage.name(), played, by, words: broken.in_short(100) };
        // The small world is looked at without bugs by `make model`.
        let without = if matches!(stage, Stage::World) { Ok(()) } else { stage.play() };
        let unsound =
            without.err().map(|why| format!("{} breaks without {:?}: {why}", seen.shown, known.flaw));
        return Hunt { seen: Some(seen), others, unsound };
    }
    Hunt { seen: None, others, unsound: None }
}

/// The function that saw it, from the file and the line of its assertion.
fn name_of(broken: &Broken) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(&broken.file);
    let text = fs::read_to_string(file).unwrap_or_default();
    let before = text.lines().take(broken.line as usize).collect::<Vec<_>>();
    let name = before.iter().rev().find_map(|line| {
        let after = line.trim_start().trim_start_matches("pub ").strip_prefix("fn ")?;
        after.split(['(', '<']).next()
    });
    let path = Path::new(&broken.file);
    let in_words = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let folder = in_words(path.parent().and_then(Path::file_name));
    format!("{folder}/{}::{}", in_words(path.file_stem()), name.unwrap_or("?"))
}
