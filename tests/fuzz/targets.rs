//! What is fuzzed: one function for each thing that comes from outside. Each takes any bytes, must come back, and panics when a
//! promise is broken. `cargo fuzz` and the tests call the same functions.

use std::cell::RefCell;

use jiff::Timestamp;
use kube::core::WatchEvent;
use kube::runtime::watcher::Event;
use palier::adapters::kube::row::{Arrival, View};
use palier::adapters::kube::store::Store;
use palier::adapters::kube::views::{
    ActionView, ConfigMapView, CronJobView, DeploymentView, GrpcRouteView, HttpRouteView, JobView,
    MetricSourceView, ReplicaSetView, RolloutView, RunView, ServiceView, SliceView,
};
use palier::adapters::prometheus::{answer, series};
use palier::api::{Rollout, RolloutSpec, RolloutStatus, Span};
use palier::cli::lint::yaml;
use palier::engine::lint::{Given, lint};
use palier::engine::query::{Variables, check, check_series, pods_pattern, substitute};
use palier::engine::statistics::histogram::{Bucket, Side, above, added, from_cumulative, total};
use palier::engine::{Answer, Measurement, Reading, decide};
use palier::sim::{Cluster, Drive};
use promql_parser::parser::{Expr, parse};
use serde::Deserialize;
use serde_json::Value;

/// A target: its name is the folder of its corpus.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 8] = [
    ("manifests", manifests),
    ("answers", answers),
    ("ranges", ranges),
    ("histograms", histograms),
    ("queries", queries),
    ("statuses", statuses),
    ("frames", frames),
    ("durations", durations),
];

/// Larger inputs are cut: what is looked for is no matter of size, and sizes are bounded elsewhere.
const BYTES_MAX: usize = 64 << 10;

fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data.get(..BYTES_MAX).unwrap_or(data)).ok()
}

/// Manifests as people write them → what lint says.
pub fn manifests(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let (documents, _) = yaml::read(text);
    let values: Vec<Value> = documents.into_iter().map(|document| document.value).collect();
    let given = Given { per_second: Some(20.0), bad: Some(0.01), ..Given::default() };
    let found = lint(&values, &given);
    assert_eq!(found, lint(&values, &given), "lint says the same twice");
    for finding in found {
        assert!(finding.object < values.len() && !finding.message.is_empty(), "{finding:?}");
    }
    for value in values {
        if let Ok(rollout) = serde_json::from_value::<Rollout>(value) {
            let again = serde_json::to_value(&rollout.spec).map(serde_json::from_value::<RolloutSpec>);
            assert!(
                matches!(again, Ok(Ok(spec)) if spec == rollout.spec),
                "a spec is read as it was written"
            );
        }
    }
}

/// Answers of a metric server to a question for one number.
pub fn answers(data: &[u8]) {
    let whole: Option<Value> = serde_json::from_slice(data).ok();
    if let Answer::Sample { .. } = answer::parse(data) {
        is_good(whole.as_ref());
    }
    if let Some(class) = answer::error_class(data) {
        assert!(class.len() < 32);
    }
}

/// Answers of a metric server to a question for series.
pub fn ranges(data: &[u8]) {
    let Ok(lines) = series::parse(data) else { return };
    let whole: Option<Value> = serde_json::from_slice(data).ok();
    is_good(whole.as_ref());
    for line in lines {
        assert!(line.points.windows(2).all(|pair| pair[0].0 <= pair[1].0), "points come in their order");
        for (_, reading) in line.points {
            if let Reading::Buckets(buckets) = reading {
                are_in_order(&buckets);
            }
        }
    }
}

/// Evidence comes from whole, good answers alone.
fn is_good(whole: Option<&Value>) {
    let Some(whole) = whole else { panic!("evidence from something that is not JSON") };
    assert_eq!(whole["status"], "success");
    assert!(whole["warnings"].as_array().is_none_or(Vec::is_empty), "evidence in spite of warnings");
    assert_ne!(whole["isPartial"], true);
}

fn are_in_order(buckets: &[Bucket]) {
    assert!(buckets.iter().all(|one| one.lower <= one.upper && one.count >= 0.0 && one.count.is_finite()));
    assert!(buckets.windows(2).all(|pair| pair[0].lower <= pair[1].lower), "{buckets:?}");
}

/// Pairs of a bound and a count, sixteen bytes each; half of them are an earlier reading.
pub fn histograms(data: &[u8]) {
    let number = |bytes: &[u8]| bytes.try_into().map(f64::from_le_bytes).unwrap_or_default();
    let pairs: Vec<(f64, f64)> =
        data.chunks_exact(16).take(512).map(|pair| (number(&pair[..8]), number(&pair[8..]))).collect();
    let (before, after) = pairs.split_at(pairs.len() / 2);
    let (before, after) = (from_cumulative(before), from_cumulative(after));
    for buckets in [&before, &after, &added(&before, &after).unwrap_or_default()] {
        let all = total(buckets);
        for (bound, _) in pairs.iter().filter(|(bound, _)| !bound.is_nan()) {
            let (least, most) =
                (above(buckets, *bound, Side::Surely), above(buckets, *bound, Side::Possibly));
            // Sums of floats in another order differ in their last digits.
            let slack = all.abs() * 1e-9;
            assert!(
                least <= most + slack && most <= all + slack,
                "{least} {most} {all} above {bound}: {buckets:?}"
            );
        }
    }
}

/// A query, a line end, and what its variables stand for.
pub fn queries(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let (query, value) = text.split_once('\n').unwrap_or((text, "shop"));
    let query: String = query.chars().take(4096).collect();
    let vars = named(value);
    if check(&query).is_ok() || check_series(&query).is_ok() {
        // What is good with samples is good, or refused in words, with any names.
        let _ = substitute(&query, &vars);
    }
    for template in ["up{a=\"$service\"}", "up{a='$service'}"] {
        let Ok(query) = substitute(template, &vars) else { panic!("{template} was refused") };
        match parse(&query) {
            Ok(Expr::VectorSelector(it)) => {
                let matchers = it.matchers.matchers;
                assert!(matchers.len() == 1 && matchers[0].value == value, "{query}: {matchers:?}");
            }
            other => panic!("{query}: {other:?}"),
        }
    }
}

fn named(value: &str) -> Variables {
    let text = || value.to_owned();
    Variables {
        namespace: text(),
        rollout: text(),
        component: text(),
        phase: text(),
        window: Span::seconds(60),
        canary_pods: pods_pattern(&format!("{value}-a")),
        stable_pods: pods_pattern(&format!("{value}-b")),
        canary_revision: text(),
        stable_revision: text(),
        canary_set: text(),
        stable_set: text(),
        service: Some(text()),
        route: Some(text()),
    }
}

/// A Rollout as it may be stored: everything but its name is read.
#[derive(Deserialize)]
struct Stored {
    spec: RolloutSpec,
    #[serde(default)]
    status: RolloutStatus,
}

/// What the API server holds of a Rollout → decisions. The status is ours, but a person with the right may write any.
pub fn statuses(data: &[u8]) {
    let Ok(stored) = serde_json::from_slice::<Stored>(data) else { return };
    let Ok(now) = "2026-11-22T12:00:00Z".parse::<Timestamp>() else { return };
    let names: Vec<String> =
        stored.spec.components.iter().map(|component| component.workload_ref.name.clone()).take(8).collect();
    let mut cluster = Cluster::new(stored.spec, now);
    cluster.status = stored.status;
    cluster.has_finalizer = true;
    for name in names.iter().filter(|name| !name.is_empty()) {
        cluster.add_workload(name, "app:v1", 4);
        cluster.push_image(name, "app:v2");
    }
    let said = RefCell::new(0_u64);
    let prometheus = |_: &Measurement, now: Timestamp| {
        *said.borrow_mut() += 1;
        Answer::Sample { value: 0.0, sampled_at: now }
    };
    let mut drive = Drive::new(cluster, prometheus);
    for _ in 0..12 {
        let world = drive.world();
        let now = drive.cluster.now;
        assert_eq!(decide(&world, now), decide(&world, now), "equal worlds give equal plans");
        let plan = drive.turn(&mut |_, _| true);
        if let Some(next) = drive.next(&plan) {
            drive.cluster.now = next.max(drive.cluster.now);
        }
    }
}

/// Lines of a watch, as every kind that is watched.
pub fn frames(data: &[u8]) {
    let lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').take(64).collect();
    follow::<RolloutView>(&lines);
    follow::<ActionView>(&lines);
    follow::<RunView>(&lines);
    follow::<MetricSourceView>(&lines);
    follow::<DeploymentView>(&lines);
    follow::<ReplicaSetView>(&lines);
    follow::<ServiceView>(&lines);
    follow::<SliceView>(&lines);
    follow::<HttpRouteView>(&lines);
    follow::<GrpcRouteView>(&lines);
    follow::<JobView>(&lines);
    follow::<CronJobView>(&lines);
    follow::<ConfigMapView>(&lines);
}

fn follow<V: View>(lines: &[&[u8]]) {
    let store = Store::<V>::default();
    for line in lines {
        let event = match serde_json::from_slice::<WatchEvent<Arrival<V>>>(line) {
            Ok(WatchEvent::Added(arrival) | WatchEvent::Modified(arrival)) => Event::Apply(arrival),
            Ok(WatchEvent::Deleted(arrival)) => Event::Delete(arrival),
            Ok(WatchEvent::Bookmark(_) | WatchEvent::Error(_)) | Err(_) => continue,
        };
        let place = match &event {
            Event::Apply(arrival) | Event::Delete(arrival) => arrival.place().key(),
            Event::Init | Event::InitApply(_) | Event::InitDone => continue,
        };
        let is_gone = matches!(event, Event::Delete(_));
        store.feed(event);
        if let Some(view) = store.get(&place.0, &place.1) {
            assert!(!view.at().uid.is_empty() && view.at().name == place.1, "what is kept is what came");
        }
        assert!(store.keys().len() <= lines.len() && (!is_gone || store.keys().len() < lines.len()));
    }
}

/// Durations, and times as metric servers write them.
pub fn durations(data: &[u8]) {
    if let Ok(bytes) = data.try_into()
        && let Some(at) = answer::time_of(f64::from_le_bytes(bytes))
    {
        assert!(at.as_millisecond().abs() <= 100_000_000_000_000);
    }
    let Some(text) = text(data) else { return };
    let Ok(span) = text.parse::<Span>() else { return };
    assert!(span.as_millis() >= 0);
    let written = span.to_string();
    assert_eq!(written.parse(), Ok(span), "{text} was written as {written}");
    assert_eq!(serde_json::from_value::<Span>(Value::String(written)).ok(), Some(span));
}
