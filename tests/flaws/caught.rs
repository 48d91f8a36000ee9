//! Whether a bug of the edges is seen: what a test looks at holds without it, and not with it.

#[path = "table.rs"]
#[allow(dead_code, reason = "the bugs of the engine are hunted by another target")]
mod table;

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Once;
use std::{env, fs};

use palier::engine::flaw::{Flaw, put_back};
use table::EDGES;

thread_local! {
    /// While this thread listens, the words of its last panic.
    static HEARD: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Looks without the bug and with it. `looks` says what is wrong, by panicking or in words; with the bug these must hold `expected`,
/// so that it is seen for what it does. Notes for the published table what `shown` it and that `by` saw it.
#[allow(clippy::print_stdout, reason = "what saw it is for people to read")]
pub fn caught(flaw: Flaw, (shown, by): (&str, &str), expected: &str, looks: impl Fn() -> Option<String>) {
    put_back(None);
    let without = heard(&looks);
    assert_eq!(without, None, "{by} sees something without {flaw:?}");
    put_back(Some(flaw));
    let with = heard(&looks);
    put_back(None);
    let Some(words) = with else { panic!("{by} does not see {flaw:?}") };
    assert!(words.contains(expected), "{by} sees {flaw:?} for something else than {expected:?}: {words}");
    let place = EDGES.iter().position(|known| known.flaw == flaw).expect("the table has every bug");
    let short: String = words.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(160).collect();
    println!("{flaw:?}: {by}: {short}");
    let mut row = EDGES[place].row(shown, by, &short);
    row["place"] = place.into();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("edges");
    fs::create_dir_all(&folder).expect("the folder for counters can be made");
    fs::write(folder.join(format!("{flaw:?}.json")), format!("{row}\n")).expect("counters can be written");
}

/// The same for a test that says what is wrong by panicking.
#[allow(dead_code, reason = "not every suite has such a test")]
pub fn caught_by(flaw: Flaw, by: &str, expected: &str, test: fn()) {
    caught(flaw, ("a test", by), expected, || {
        test();
        None
    });
}

fn heard(looks: impl Fn() -> Option<String>) -> Option<String> {
    listen();
    HEARD.with_borrow_mut(|heard| *heard = Some(String::new()));
    let looked = panic::catch_unwind(AssertUnwindSafe(looks));
    let words = HEARD.with_borrow_mut(Option::take);
    looked.unwrap_or(words)
}

/// From now on a panic of a thread that listens is kept in place of being printed.
fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let is_heard = HEARD.with_borrow_mut(|heard| {
                let Some(heard) = heard else { return false };
                let payload = info.payload();
                let text = payload.downcast_ref::<String>().map(String::as_str);
                text.or(payload.downcast_ref::<&str>().copied()).unwrap_or_default().clone_into(heard);
                true
            });
            if !is_heard {
                usual(info);
            }
        }));
    });
}
