//! Counters of the searches, put into the page between its marks.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::read;

/// The page with everything between `<!-- counted: NAME -->` and `<!-- end -->` as it was counted last, and what could not be
/// counted, with the reason: there the page stays as it was.
pub fn filled(page: &str) -> Result<(String, Vec<String>), String> {
    let (mut filled, mut missing) = (page.to_owned(), Vec::new());
    for (name, counted) in [
        ("searches", searches()),
        ("faults", faults()),
        ("engine bugs", json("flaws.json").map(|rows| bugs(&rows))),
        ("edge bugs", edges().map(|rows| bugs(&rows))),
        ("soak", soak()),
    ] {
        match counted {
            Ok(text) => filled = replaced(&filled, name, &text)?,
            Err(why) => missing.push(format!("{name}: {why}")),
        }
    }
    Ok((filled, missing))
}

fn replaced(page: &str, name: &str, text: &str) -> Result<String, String> {
    let mark = format!("<!-- counted: {name} -->");
    let (before, rest) = page.split_once(&mark).ok_or_else(|| format!("the mark {mark} is missing"))?;
    let (_, after) = rest.split_once("<!-- end -->").ok_or_else(|| format!("{mark} has no end"))?;
    Ok(format!("{before}{mark}\n{text}<!-- end -->{after}"))
}

/// What a search wrote for this page.
fn json(name: &str) -> Result<Value, String> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let text = read(&path).map_err(|why| format!("{why}: make reliability plays the searches first"))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// The bugs of the edges have a file each, written by the suite that saw it.
fn edges() -> Result<Value, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("edges");
    let entries = fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut rows: Vec<(u64, Value)> = Vec::new();
    for entry in entries.flatten() {
        let text = read(&entry.path())?;
        let row: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        rows.push((row["place"].as_u64().unwrap_or(u64::MAX), row));
    }
    rows.sort_by_key(|(place, _)| *place);
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}

fn number(value: &Value) -> String {
    let digits = value.as_u64().unwrap_or(0).to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}

fn searches() -> Result<String, String> {
    let (seeds, model, crash) = (json("seeds.json")?, json("model.json")?, json("crash.json")?);
    let mut text = String::from("| search | command | what was played |\n|---|---|---|\n");
    let last = seeds["first"].as_u64().unwrap_or(0) + seeds["seeds"].as_u64().unwrap_or(1) - 1;
    let _ = writeln!(
        text,
        "| random scripts through the engine | `make seeds` | seeds {} to {last}: {} scripts, {} decisions; {} scripts played twice, equal to the last byte |",
        seeds["first"],
        number(&seeds["seeds"]),
        number(&seeds["decisions"]),
        number(&seeds["twice"])
    );
    let _ = writeln!(
        text,
        "| every order of events in a small world | `make model` | {} states, {} steps; combinations of up to {} troubles at any place of a run; {} aborts and {} \
         ends played from them; late writes of a former leader: {} |",
        number(&model["states"]),
        number(&model["steps"]),
        model["troubles"],
        number(&model["aborts"]),
        number(&model["ends"]),
        number(&model["late_writes"])
    );
    let _ = writeln!(
        text,
        "| the sieve | `make crash` | {} performances of {} stories: drawn single faults, pairs, time travels, deletions |",
        number(&crash["performances"]),
        number(&crash["stories"])
    );
    let _ = writeln!(
        text,
        "| random stories | `make crash` | {} stories, some of them with others at work |",
        number(&crash["random"])
    );
    Ok(text)
}

/// Every kind of fault, with how often it was injected.
fn faults() -> Result<String, String> {
    let mut text = String::from("| fault | in the engine's scripts | in the simulator |\n|---|---|---|\n");
    let mut kinds: BTreeMap<String, [u64; 2]> = BTreeMap::new();
    for (column, name) in ["seeds.json", "crash.json"].into_iter().enumerate() {
        let counters = json(name)?;
        for (kind, count) in counters["faults"].as_object().into_iter().flatten() {
            kinds.entry(kind.clone()).or_default()[column] = count.as_u64().unwrap_or(0);
        }
    }
    let in_words = |count: u64| if count == 0 { "–".to_owned() } else { number(&count.into()) };
    for (kind, [engine, simulator]) in &kinds {
        let _ = writeln!(text, "| {kind} | {} | {} |", in_words(*engine), in_words(*simulator));
    }
    let _ = writeln!(text, "\n{} kinds.", kinds.len());
    Ok(text)
}

/// The last soak, where there was one.
fn soak() -> Result<String, String> {
    let soak = json("soak.json")?;
    let mut text = String::from("| the soak | |\n|---|---|\n");
    let faults: u64 =
        soak["faults"].as_object().into_iter().flatten().filter_map(|(_, times)| times.as_u64()).sum();
    let one_place = |value: &Value| format!("{:.1}", value.as_f64().unwrap_or(0.0));
    let trend = |name: &str| {
        let trend = &soak["trends"][name];
        format!(
            "{} → {} ({} %)",
            one_place(&trend["first"]),
            one_place(&trend["last"]),
            one_place(&trend["growth"])
        )
    };
    for (what, value) in [
        ("minutes", format!("{:.0}", soak["minutes"].as_f64().unwrap_or(0.0))),
        ("Rollouts", number(&soak["rollouts"])),
        (
            "runs; releases that completed, that went back",
            format!(
                "{}; {}, {}",
                number(&soak["runs"]),
                number(&soak["completed"]),
                number(&soak["rolled_back"])
            ),
        ),
        (
            "faults; controllers that were started again",
            format!("{}; {}", number(&faults.into()), number(&soak["restarts"])),
        ),
        ("requests and watches that were hit", {
            let hit =
                soak["requests"].as_object().into_iter().flatten().filter_map(|(_, times)| times.as_u64());
            number(&hit.sum::<u64>().into())
        }),
        ("writes that gave a canary its share, each earned", number(&soak["raises"])),
        ("Rollouts that did not come to rest", number(&soak["stuck"])),
        ("requests for each run, Events included", one_place(&soak["requests_per_run"])),
        ("writes when everything was at rest", number(&soak["at_rest"])),
        ("resident memory in MiB, first third → last third", trend("resident memory, MiB")),
        ("open descriptors, first third → last third", trend("open descriptors")),
        ("what the judges found wrong", number(&soak["wrong"])),
    ] {
        let _ = writeln!(text, "| {what} | {value} |");
    }
    Ok(text)
}

fn bugs(rows: &Value) -> String {
    let mut text = String::from(
        "| bug | made before in | kind of incident | scenarios | promise | shown by | seen by |\n|---|---|---|---|---|---|---|\n",
    );
    let of = |row: &Value, field: &str| row[field].as_str().unwrap_or_default().to_owned();
    for row in rows.as_array().into_iter().flatten() {
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {} | {} | `{}` |",
            of(row, "flaw"),
            of(row, "from"),
            of(row, "class"),
            of(row, "scenarios"),
            of(row, "promise"),
            of(row, "shown"),
            of(row, "by")
        );
    }
    text
}
