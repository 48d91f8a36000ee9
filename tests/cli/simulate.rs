//! `palier plan` and `palier simulate`: what they foretell, and that a recorded release is judged as it was.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Output};

use jiff::{SignedDuration, Timestamp};
use palier::api::{Outcome, Preset, RolloutSpec, Span};
use palier::engine::{Answer, Ask, Measurement};
use palier::sim::random::Random;
use palier::sim::recording::{Cast, FORM, Playback, Recorded, RecordedLine, Recording, Revisions};
use palier::sim::traffic::{Split, pod_name};
use palier::sim::{Load, Metrics, Model, Rehearsal, Reply, Told, rehearse};

use crate::fixtures::path;

const PALIER: &str = env!("CARGO_BIN_EXE_palier");

fn palier(args: &[&str]) -> Output {
    Command::new(PALIER).args(args).env_remove("KUBECONFIG").env("HOME", "/nonexistent").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn shop() -> String {
    path("rollouts", "to-simulate.yaml").display().to_string()
}

fn spec() -> RolloutSpec {
    let text = std::fs::read_to_string(path("rollouts", "to-simulate.yaml")).unwrap();
    let rollout: palier::api::Rollout = serde_saphyr::from_str(&text).unwrap();
    rollout.spec
}

fn rehearsal() -> Rehearsal {
    Rehearsal {
        spec: spec(),
        replicas: BTreeMap::new(),
        usual_replicas: 4,
        pod_lag: Span::seconds(10),
        gateway_lag: Span::seconds(1),
        limit: Span::seconds(7_200),
    }
}

fn start() -> Timestamp {
    Timestamp::from_second(1_767_225_600).unwrap()
}

fn load(regression: f64) -> Load {
    Load { regression, onset: Span::seconds(60), seed: Some(5), ..Load::default() }
}

/// A metric server that keeps what it says.
struct Tape<'t> {
    model: Model,
    recording: &'t mut Recording,
}

impl Metrics for Tape<'_> {
    fn begin(&mut self, now: Timestamp) {
        self.recording.began = Some(now);
        self.model.begin(now);
    }

    fn advance(&mut self, now: Timestamp, splits: BTreeMap<String, Split>) {
        for (name, split) in splits.iter().filter(|(_, split)| !split.sets.0.is_empty()) {
            let revisions = Revisions { stable: split.sets.1.clone(), canary: split.sets.0.clone() };
            self.recording.components.entry(name.clone()).or_insert(revisions);
        }
        self.model.advance(now, splits);
    }

    fn answer(&mut self, asked: &Measurement, now: Timestamp) -> Reply {
        let reply = self.model.answer(asked, now);
        let Reply::Now(Answer::Series(answers)) = &reply else { return reply };
        for (index, lines) in answers.iter().enumerate() {
            let is_it =
                |it: &Recorded| it.component == asked.component && it.gate == asked.gate && it.index == index;
            if !self.recording.series.iter().any(is_it) {
                let (component, gate) = (asked.component.clone(), asked.gate.clone());
                let fresh = Recorded { component, gate, index, ..Recorded::default() };
                self.recording.series.push(fresh);
            }
            let kept = self.recording.series.iter_mut().find(|it| is_it(it)).unwrap();
            for line in lines.iter().map(RecordedLine::of) {
                match kept.lines.iter_mut().find(|it| it.pod == line.pod && it.le == line.le) {
                    Some(known) => known.points.extend(line.points),
                    None => kept.lines.push(line),
                }
            }
        }
        reply
    }

    fn served(&self, component: &str) -> (f64, f64) {
        self.model.served(component)
    }
}

fn gist(told: &Told) -> Vec<(Span, String, String)> {
    told.happened.iter().map(|(at, it)| (*at, it.reason.clone(), it.message.clone())).collect()
}

#[test]
fn a_recorded_release_is_judged_as_it_was() {
    for (regression, outcome) in [(1.0, Outcome::Completed), (5.0, Outcome::RolledBack)] {
        let mut recording = Recording { form: FORM.into(), step_millis: 30_000, ..Recording::default() };
        let model = Model::new(&spec(), load(regression), start());
        let live = rehearse(&rehearsal(), Tape { model, recording: &mut recording }, false);
        assert_eq!(live.outcome, Some(outcome), "{:#?}", gist(&live));
        for line in recording.series.iter_mut().flat_map(|it| &mut it.lines) {
            line.points.sort_by_key(|(at, _)| *at);
            line.points.dedup_by_key(|(at, _)| *at);
        }
        recording.to = start() + SignedDuration::from_hours(3);
        // As it is kept in a file, and under a clock that is hours later.
        let stored = serde_json::to_string(&recording).unwrap();
        let read: Recording = serde_json::from_str(&stored).unwrap();
        let again = Playback::new(&read, Cast::AsRecorded, read.began.unwrap());
        let again = rehearse(&rehearsal(), again, false);
        assert_eq!(gist(&again), gist(&live));
        assert_eq!(again.outcome, live.outcome);
    }
}

#[test]
fn the_same_seed_tells_the_same_story_and_another_one_another() {
    let told = |seed| {
        let load = Load { seed: Some(seed), ..load(2.0) };
        let told = rehearse(&rehearsal(), Model::new(&spec(), load, start()), false);
        (gist(&told), told.served)
    };
    assert_eq!(told(1), told(1));
    assert_ne!(told(1).1, told(2).1);
}

#[test]
fn a_regression_is_taken_back_and_the_page_needs_nothing_else() {
    let page = std::env::temp_dir().join(format!("palier-page-{}.html", std::process::id()));
    let output = palier(&[
        "simulate",
        "-f",
        &shop(),
        "--regression",
        "5",
        "--onset",
        "1m",
        "--html",
        &page.display().to_string(),
    ]);
    let html = std::fs::read_to_string(&page).unwrap();
    std::fs::remove_file(&page).unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    assert!(said.contains("Rolled back") && said.contains("gate errors failed: harm is shown"), "{said}");
    assert_eq!(html.matches("<svg").count(), 2, "traffic and evidence");
    for words in [">pilot</text>", ">harm is shown</text>", ">+1m</text>", "prefers-color-scheme:dark"] {
        assert!(html.contains(words), "{words}: {html}");
    }
    assert!(!html.contains("http") && !html.contains("<script") && html.ends_with("</html>\n"));
    let json = palier(&["simulate", "-f", &shop(), "-o", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["outcome"], "Completed");
    assert!(json["samples"].as_array().unwrap().iter().any(|it| it["weight"] == 50));
}

#[test]
fn many_runs_are_counted_with_their_doubt() {
    let output = palier(&["simulate", "-f", &shop(), "--runs", "5", "--regression", "10", "-o", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["runs"], &json["rolledBack"]), (&5.into(), &5.into()), "{json}");
    let low = json["share"][1].as_f64().unwrap();
    assert!(low > 0.4 && low < 0.5, "Clopper and Pearson: 0.478 of 5 of 5, not {low}");
    assert!(json["decisionSecondsMedian"].as_f64().unwrap() < 300.0, "{json}");
}

#[test]
fn a_metric_server_that_is_away_holds_and_slow_pods_wait() {
    let output = palier(&["simulate", "-f", &shop(), "--outage", "2m..4m", "--slow-pods", "60s"]);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("EvidenceMissing") && said.contains("Completed"), "{said}");
    assert!(said.lines().any(|line| line.contains("+1m2s") && line.contains("PhaseReached")), "{said}");
}

/// Seven hours of four healthy pods, and one that fails twenty times as often if `is_odd`.
fn pods(is_odd: bool) -> PathBuf {
    let mut random = Random::new(&[3]);
    let (mut bad, mut total) = (Vec::new(), Vec::new());
    for pod in 0..4 {
        let share = if is_odd && pod == 2 { 0.2 } else { 0.01 };
        let (mut counted, mut points) = ((0.0, 0.0), (Vec::new(), Vec::new()));
        for step in 0..7 * 240 {
            let at = (start() + SignedDuration::from_secs(step * 15)).as_millisecond();
            let failed = random.poisson(150.0 * share);
            counted = (counted.0 + failed, counted.1 + failed + random.poisson(150.0 * (1.0 - share)));
            points.0.push((at, counted.0));
            points.1.push((at, counted.1));
        }
        let line =
            |points| RecordedLine { pod: pod_name("shop-api-5d", pod), points, ..RecordedLine::default() };
        bad.push(line(points.0));
        total.push(line(points.1));
    }
    let series = [bad, total].into_iter().enumerate().map(|(index, lines)| Recorded {
        preset: None,
        component: "api".into(),
        gate: "errors".into(),
        index,
        query: String::new(),
        lines,
    });
    let recording = Recording {
        form: FORM.into(),
        rollout: "shop".into(),
        from: start(),
        to: start() + SignedDuration::from_hours(7),
        step_millis: 15_000,
        components: BTreeMap::from([(
            "api".into(),
            Revisions { stable: "shop-api-5d".into(), canary: String::new() },
        )]),
        series: series.collect(),
        ..Recording::default()
    };
    let file = std::env::temp_dir().join(format!("palier-pods-{is_odd}-{}.json", std::process::id()));
    std::fs::write(&file, serde_json::to_string(&recording).unwrap()).unwrap();
    file
}

#[test]
fn each_stable_pod_plays_the_canary_and_only_an_odd_one_is_taken_back() {
    for is_odd in [false, true] {
        let file = pods(is_odd);
        let output = palier(&[
            "simulate",
            "-f",
            &shop(),
            "--replay",
            &file.display().to_string(),
            "--aa",
            "-o",
            "json",
        ]);
        std::fs::remove_file(&file).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        assert!(json["runs"].as_u64().unwrap_or(0) >= 8, "{json} {}", text(&output.stderr));
        let alarms: Vec<&str> =
            json["alarms"].as_array().into_iter().flatten().filter_map(|it| it.as_str()).collect();
        let odd = pod_name("shop-api-5d", 2);
        assert!(alarms.iter().all(|it| it.starts_with(&odd)), "{alarms:?}");
        assert_eq!(alarms.is_empty(), !is_odd, "{json}");
    }
}

/// What `Auto` was found to stand for when it was recorded is what it stands for again.
#[test]
fn a_recorded_choice_is_made_again() {
    let line =
        RecordedLine { pod: pod_name("shop-api-5d", 1), points: vec![(0, 1.0)], ..RecordedLine::default() };
    let mut recording = Recording { form: FORM.into(), to: start(), ..Recording::default() };
    recording.series.push(Recorded {
        component: "api".into(),
        gate: "errors".into(),
        preset: Some(Preset::OTel),
        lines: vec![line],
        ..Recorded::default()
    });
    let presets = vec![Preset::Istio, Preset::OTel];
    let ask = Ask::Which { queries: vec!["a".into(), "b".into()], presets, at: start() };
    let [component, gate, key, source] = ["api", "errors", "key", "default"].map(str::to_owned);
    let asked = Measurement { component, gate, key, source, ask };
    let reply = Playback::new(&recording, Cast::AsRecorded, start()).answer(&asked, start());
    let Reply::Now(Answer::Series(found)) = reply else { panic!("{reply:?}") };
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn a_plan_names_phases_gates_and_what_the_traffic_can_show() {
    let output = palier(&["plan", "-f", &shop(), "--rps", "50", "--error-rate", "0.01", "-o", "json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let phases: Vec<(&str, i64)> = json["components"][0]["phases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["name"].as_str().unwrap(), it["canaryPods"].as_i64().unwrap()))
        .collect();
    assert_eq!(phases, [("pilot", 1), ("half", 2), ("everyone", 4)]);
    assert_eq!((&json["extraPods"], &json["outcome"]), (&4.into(), &"Completed".into()));
    let gate = &json["components"][0]["gates"][0];
    assert_eq!((&gate["isTest"], &gate["falseAlarm"]), (&true.into(), &0.01.into()));
    let ratio = |phase: usize| gate["finds"][phase]["smallestRatio"].as_f64().unwrap();
    assert!(ratio(0) > ratio(1) && ratio(1) > 1.25, "{gate}");
    let page = text(&palier(&["plan", "-f", &shop()]).stdout);
    for words in ["It serves everyone after", "at the earliest", "gate errors", "if it goes back"] {
        assert!(page.contains(words), "{words}: {page}");
    }
}

#[test]
fn too_little_traffic_is_foretold() {
    let output = palier(&["plan", "-f", &shop(), "--rps", "0.1", "--error-rate", "0.001"]);
    assert_eq!(output.status.code(), Some(1));
    let page = text(&output.stdout);
    assert!(page.contains("It would not end by itself"), "{page}");
}

#[test]
fn files_that_hold_no_rollout_are_named() {
    for (file, said) in [
        ("/nonexistent.yaml", "cannot use the file"),
        (&path("golden", "fresh-80.txt").display().to_string(), "cannot use"),
    ] {
        let output = palier(&["plan", "-f", file]);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains(said), "{}", text(&output.stderr));
    }
}
