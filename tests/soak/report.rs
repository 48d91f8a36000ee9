//! What the soak says: a line each half minute, a table in the end, and counters for docs/reliability.md.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::crews::{SHAKEN, STEADY};
use crate::judge::flat::Trend;
use crate::judge::outcomes::Story;
use crate::judge::requests::Asked;
use crate::judge::steps;
use crate::lab::children::Usage;
use crate::ledger::{Ledger, Requests};
use crate::releases::BAD;
use crate::samples::{Life, Samples};
use crate::{BAKE_SECONDS, Seen, Soak};

/// The shares of the fleets' phases.
const SHARES: [i64; 3] = [10, 50, 100];
const MIB: f64 = 1024.0 * 1024.0;
/// What may grow by how many per cent, and what is no growth in its own unit. A page more or less of the heap is no leak, nor is a
/// connection that is open in the one third and not in the other.
const FLAT: [Figure; 4] = [
    Figure { name: "resident memory, MiB", of: |usage| usage.resident, unit: MIB, percent: 5.0, least: 0.5 },
    Figure { name: "of this its own, MiB", of: |usage| usage.anonymous, unit: MIB, percent: 5.0, least: 0.5 },
    Figure { name: "open descriptors", of: |usage| usage.descriptors, unit: 1.0, percent: 5.0, least: 2.0 },
    Figure { name: "threads", of: |usage| usage.threads, unit: 1.0, percent: 5.0, least: 1.0 },
];

/// What has to stay as it is.
struct Figure {
    name: &'static str,
    of: fn(&Usage) -> u64,
    unit: f64,
    percent: f64,
    least: f64,
}

/// What was found in the end.
pub struct End {
    /// Rollouts that did not come to rest, each with what is wrong.
    pub stuck: Vec<String>,
    /// Writes when everything was at rest.
    pub at_rest: usize,
    /// Runs of all Rollouts.
    pub runs: i64,
    /// From the first release on.
    pub took: Duration,
}

/// See the module.
pub struct Report {
    minutes: f64,
    rollouts: usize,
    seed: u64,
    runs: i64,
    ends: BTreeMap<(Story, String), usize>,
    took: Vec<f64>,
    faults: BTreeMap<String, usize>,
    requests: BTreeMap<String, usize>,
    restarts: usize,
    asked: Asked,
    crews: [(&'static str, Requests); 2],
    raises: usize,
    stuck: usize,
    trends: Vec<(&'static str, Option<Trend>)>,
    at_age: Option<(f64, f64)>,
    cpu_per_run: f64,
    series: Value,
    wrong: Vec<String>,
}

/// How far the soak is.
pub fn progress(soak: &Soak, seen: &Seen, ledger: &Ledger, begun: Instant) -> String {
    let total = soak.settings.lasts.as_secs_f64() / 60.0;
    let minutes = begun.elapsed().as_secs_f64() / 60.0;
    let asked = ledger.of(STEADY).all + ledger.of(SHAKEN).all;
    let took = seen.releases.took();
    let ended = took.len();
    let used = |prefix: &str| {
        let samples = seen.samples.borrow();
        let usage = samples.of(prefix).last().and_then(|life| life.samples.last()).map(|(_, usage)| *usage);
        usage.map_or("–".to_owned(), |usage| {
            format!("{:.1} MiB, {} descriptors", usage.resident as f64 / MIB, usage.descriptors)
        })
    };
    format!(
        "soak: {minutes:.1} of {total:.0} min, {:.1} left · {} on their way, {} complete, {} back; {:.0} s each, the longest {:.0} s · \
         {} faults, {} restarts, now: {} · {:.1} requests a run · steady: {} · {} wrong",
        (total - minutes).max(0.0),
        seen.releases.under_way(),
        seen.releases.ended("Completed"),
        seen.releases.ended("RolledBack"),
        took.get(ended / 2).copied().unwrap_or(0.0),
        took.last().copied().unwrap_or(0.0),
        seen.faults.total(),
        seen.watchman.restarts(),
        seen.faults.now(),
        asked as f64 / ended.max(1) as f64,
        used(STEADY),
        seen.releases.wrong().len() + seen.watchman.wrong().len(),
    )
}

impl Report {
    /// Judges everything that was seen.
    pub fn of(soak: &Soak, seen: &Seen, ledger: &Ledger, end: End) -> Self {
        let crews = [STEADY, SHAKEN].map(|name| (name, ledger.of(name)));
        let samples = seen.samples.borrow();
        let (peak, peak_of) = ledger.peak();
        let asked = Asked {
            requests: crews.iter().map(|(_, one)| one.all).sum(),
            runs: usize::try_from(end.runs).unwrap_or(0),
            peak,
            peak_of,
            at_rest: end.at_rest,
        };
        let steady = samples.of(STEADY);
        let longest = steady.iter().max_by_key(|life| life.samples.len()).copied();
        let trends: Vec<(&str, Option<Trend>)> = FLAT
            .iter()
            .map(|figure| (figure.name, longest.and_then(|life| trend(&samples, life, figure))))
            .collect();
        let mut wrong = seen.releases.wrong();
        wrong.extend(end.stuck.iter().map(|one| format!("not at rest: {one}")));
        wrong.extend(seen.watchman.wrong());
        wrong.extend(panics(soak));
        wrong.extend(unearned(soak, ledger));
        wrong.extend(asked.wrong());
        let grown = FLAT.iter().zip(&trends);
        wrong.extend(
            grown.filter_map(|(figure, (name, trend))| (*trend)?.wrong(name, figure.percent, figure.least)),
        );
        let (mut requests, runs) = (BTreeMap::<String, usize>::new(), asked.runs.max(1) as f64);
        for (what, times) in
            soak.crews.iter().flat_map(|crew| &crew.replicas).flat_map(|one| one.proxy.counts())
        {
            *requests.entry(what.to_owned()).or_default() += times;
        }
        Self {
            minutes: end.took.as_secs_f64() / 60.0,
            rollouts: soak.settings.rollouts,
            seed: soak.settings.seed,
            runs: end.runs,
            ends: seen.releases.ends(),
            took: seen.releases.took(),
            faults: seen.faults.counts(),
            requests,
            restarts: seen.watchman.restarts(),
            asked,
            crews,
            raises: ledger.routes().values().flatten().filter(|write| write.share > 0).count(),
            stuck: end.stuck.len(),
            trends,
            at_age: samples.at_age(SHAKEN, Duration::from_secs(60)),
            cpu_per_run: 1000.0 * samples.cpu().as_secs_f64() / runs,
            series: longest.map_or(Value::Null, series),
            wrong,
        }
    }

    /// What the judges said no to.
    pub fn wrong(&self) -> &[String] {
        &self.wrong
    }

    fn quantile(&self, share: f64) -> f64 {
        let index = (share * self.took.len().saturating_sub(1) as f64).round() as usize;
        self.took.get(index).copied().unwrap_or(0.0)
    }

    /// For whoever reads it.
    pub fn table(&self) -> String {
        let mut text = format!(
            "\n# The soak\n\n{} Rollouts, {:.1} minutes, seed {}: {} runs, {} faults, {} restarts of controllers.\n\n",
            self.rollouts,
            self.minutes,
            self.seed,
            self.runs,
            self.faults.values().sum::<usize>(),
            self.restarts
        );
        let mut section = |title: &str, rows: Vec<(String, String)>| {
            let _ = writeln!(text, "{title}");
            for (what, value) in rows {
                let _ = writeln!(text, "  {what:<52} {value}");
            }
        };
        let count = |(what, times): (&String, &usize)| (what.clone(), times.to_string());
        let ends = self
            .ends
            .iter()
            .map(|((story, end), times)| (format!("{} → {end}", story.name()), times.to_string()));
        section("how releases ended", ends.collect());
        section("faults", self.faults.iter().map(count).collect());
        section("what became of single requests", self.requests.iter().map(count).collect());
        section("what it showed", self.figures());
        for (name, requests) in &self.crews {
            let refused: Vec<String> =
                requests.refused.iter().map(|(code, times)| format!("{code}: {times}")).collect();
            let rows = requests.by_kind.iter().map(count).chain([
                ("watches".to_owned(), requests.watches.to_string()),
                ("writes refused by the API server".to_owned(), refused.join(", ")),
            ]);
            section(&format!("requests of {name}"), rows.collect());
        }
        if self.wrong.is_empty() {
            text.push_str("\nNothing is wrong.\n");
        } else {
            let _ = writeln!(text, "\n{} wrong:\n- {}", self.wrong.len(), self.wrong.join("\n- "));
        }
        text
    }

    fn figures(&self) -> Vec<(String, String)> {
        let row = |what: &str, value: String| (what.to_owned(), value);
        let mut rows = vec![
            row("Rollouts that did not come to rest", self.stuck.to_string()),
            row("writes that gave a canary its share", self.raises.to_string()),
            row(
                "seconds from push to end: median, p99, longest",
                format!("{:.1} / {:.1} / {:.1}", self.quantile(0.5), self.quantile(0.99), self.quantile(1.0)),
            ),
            row("requests for each run, Events included", format!("{:.1}", self.asked.per_run())),
            row(
                "most requests for one Rollout in a minute",
                format!("{} ({})", self.asked.peak, self.asked.peak_of),
            ),
            row("writes when everything was at rest", self.asked.at_rest.to_string()),
            row("processor time of the controllers for each run, ms", format!("{:.1}", self.cpu_per_run)),
        ];
        for (name, trend) in &self.trends {
            rows.push(row(&format!("steady: {name}: first third → last third"), in_words(*trend)));
        }
        let early_late = self
            .at_age
            .map_or("too few".to_owned(), |(early, late)| format!("{:.1} → {:.1}", early / MIB, late / MIB));
        rows.push(row("shaken: own memory a minute old, MiB, early → late", early_late));
        rows
    }

    /// Writes the counters.
    pub fn write(&self) -> Result<()> {
        let trends: BTreeMap<&str, Value> = self
            .trends
            .iter()
            .filter_map(|(name, trend)| {
                let trend = (*trend)?;
                Some((*name, json!({"first": trend.first, "last": trend.last, "growth": trend.growth()})))
            })
            .collect();
        let ends = |outcome: &str| -> usize {
            self.ends.iter().filter(|((_, end), _)| end == outcome).map(|(_, times)| times).sum()
        };
        let text = json!({
            "minutes": self.minutes, "rollouts": self.rollouts, "seed": self.seed, "runs": self.runs,
            "completed": ends("Completed"), "rolled_back": ends("RolledBack"),
            "faults": self.faults, "requests": self.requests, "restarts": self.restarts, "stuck": self.stuck,
            "raises": self.raises, "requests_per_run": self.asked.per_run(), "peak": self.asked.peak,
            "at_rest": self.asked.at_rest, "longest_seconds": self.quantile(1.0), "trends": trends,
            "wrong": self.wrong.len(), "series": self.series,
        });
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("soak.json");
        std::fs::write(&path, text.to_string()).with_context(|| format!("cannot write {}", path.display()))
    }
}

fn trend(samples: &Samples, life: &Life, figure: &Figure) -> Option<Trend> {
    let series = life.series(figure.of).into_iter().map(|(age, value)| (age, value / figure.unit));
    Trend::of(&series.collect::<Vec<_>>(), samples.warm_up(life)?)
}

fn in_words(trend: Option<Trend>) -> String {
    trend.map_or("too short to say".to_owned(), |trend| {
        format!("{:.1} → {:.1} ({:+.1} %)", trend.first, trend.last, trend.growth())
    })
}

/// Of a process: age in seconds, own memory and copies of files in KiB, descriptors, threads, and processor seconds.
fn series(life: &Life) -> Value {
    life.samples
        .iter()
        .map(|(age, usage)| {
            json!([
                age.as_secs(),
                usage.anonymous / 1024,
                usage.file / 1024,
                usage.descriptors,
                usage.threads,
                usage.cpu.as_secs_f64()
            ])
        })
        .collect()
}

/// A panic is caught for each Rollout, and is a bug all the same.
fn panics(soak: &Soak) -> Vec<String> {
    let controllers = soak.crews.iter().flat_map(|crew| &crew.replicas).map(|one| &one.controller);
    let panicked = controllers.filter(|one| one.has_said(&soak.lab, "panicked"));
    panicked.map(|one| one.log_about(&soak.lab, "panicked")).collect()
}

/// Shares that nothing had earned.
fn unearned(soak: &Soak, ledger: &Ledger) -> Vec<String> {
    let bake = SignedDuration::from_secs(BAKE_SECONDS);
    let rule = steps::Rule { shares: &SHARES, bake, limit: BAD / 2.0 };
    let routes = ledger.routes().iter();
    routes
        .flat_map(|(name, writes)| {
            let wrong = steps::wrong(&rule, writes, &soak.stub.answers(name));
            wrong.into_iter().map(move |why| format!("{name}: {why}"))
        })
        .collect()
}
