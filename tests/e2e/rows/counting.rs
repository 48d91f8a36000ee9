//! Gates that count requests, with a real Prometheus and real traffic: what they let pass, what they find, and what a restart of
//! the metric server costs them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use palier::api::{GateStatistics, Outcome, Preset, RolloutStatus};
use serde_json::json;

use crate::lab::{Mood, PROMETHEUS_URL};
use crate::world::phases::{IN_A_MOMENT, between, nobody_was_lost};
use crate::world::{Gate, Given, Scene, Shop};

/// Requests of visitors a second.
const RATE: u32 = 50;
/// Shops side by side that release the same again, and how often each does.
const SHOPS: usize = 10;
const AGAIN: i64 = 2;
const RATE_OF_MANY: u32 = 10;

/// A gate that compares bad requests with stable's.
fn errors() -> Gate {
    let query = |code: &str| {
        format!("sum by (pod) (http_requests_total{{namespace=\"$namespace\",pod=~\"$pods\"{code}}})")
    };
    Gate(json!({
        "name": "errors", "interval": "2s", "window": "10s",
        "prometheus": {"bad": query(",code=~\"5..\""), "total": query("")},
        "onInconclusive": "Promote",
    }))
}

/// A gate that compares slow requests with stable's.
fn latency() -> Gate {
    let query =
        "sum by (pod, le) (http_request_duration_seconds_bucket{namespace=\"$namespace\",pod=~\"$pods\"})";
    Gate(json!({
        "name": "latency", "interval": "2s", "window": "10s",
        "prometheus": {"buckets": query}, "sequentialLatency": {"bounds": [0.25]},
        "onInconclusive": "Promote",
    }))
}

fn phases(bake: &str) -> [(&str, u32, &str); 2] {
    [("half", 50, bake), ("everyone", 100, "4s")]
}

/// What a gate counts, as the status says.
fn counted<'s>(status: &'s RolloutStatus, gate: &str) -> Option<&'s GateStatistics> {
    status.components.first()?.statistics.iter().find(|it| it.name == gate)
}

/// What a gate had counted at most in the run, of all statuses that were seen.
fn last_counted(scene: &Scene, shop: &Shop, gate: &str) -> Result<GateStatistics> {
    let seen = scene.record.rollouts.of(&shop.name);
    let all = seen.iter().filter_map(|sight| counted(sight.object.status.as_ref()?, gate).cloned());
    all.max_by_key(|it| it.counted_until).with_context(|| format!("the gate {gate} never counted"))
}

pub async fn counting1_the_same_again_twenty_times(scene: Arc<Scene>) -> Result<()> {
    // Given ten shops of which 4 % of the requests go badly, and visitors
    let gate = errors().with("interval", json!("15s")).with("window", json!("30s"));
    let names: Vec<String> = (0..SHOPS).map(|shop| format!("same-{shop}")).collect();
    let given = |name: &String| {
        let given =
            Given::shop("v1-err4").called(name).phases(&[("half", 50, "45s"), ("everyone", 100, "15s")]);
        scene.given(given.judged_by(gate.clone()).replicas(2))
    };
    let shops = try_join_all(names.iter().map(given)).await?;
    let visitors = shops.iter().map(|shop| shop.visitors(RATE_OF_MANY)).collect::<Result<Vec<_>>>()?;

    // When each releases a version that is no worse, twice
    let release = async |shop: &Shop| -> Result<()> {
        for run in 1..=AGAIN {
            shop.push(&format!("v{}-err4", run + 1)).await?;
            shop.until_ended_within(run, Outcome::Completed, Duration::from_secs(240)).await?;
        }
        Ok(())
    };
    try_join_all(shops.iter().map(release)).await?;

    // Then none was rolled back, and no request was lost
    scene.measured("releases of the same, rolled back", &format!("0 of {}", SHOPS as i64 * AGAIN), "0");
    for load in visitors {
        nobody_was_lost(&scene, &load.stop().await)?;
    }
    Ok(())
}

pub async fn counting2_three_times_the_errors_are_found(scene: Arc<Scene>) -> Result<()> {
    let given = Given::shop("v1-err3").phases(&phases("60s")).judged_by(errors());
    let (shop, begun) = goes_back(&scene, given, "v2-err9", "errors").await?;
    replay_says_the_same(&scene, &shop, &begun).await
}

/// What Prometheus still knows of the run, recorded and judged again by `palier simulate`, is rolled back by the same gate.
async fn replay_says_the_same(scene: &Scene, shop: &Shop, begun: &RolloutStatus) -> Result<()> {
    let mut rollout = (*scene.record.rollouts.latest(&shop.name).context("no Rollout")?).clone();
    rollout.status = Some(begun.clone());
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(&scene.namespace);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder)?;
    let (file, recorded) = (folder.join("rollout.json"), folder.join("recorded.json"));
    std::fs::write(&file, serde_json::to_vec(&rollout)?)?;
    let palier = async |args: &[&str]| -> Result<String> {
        let mut palier = tokio::process::Command::new(env!("CARGO_BIN_EXE_palier"));
        let ended = palier.args(args).arg("--file").arg(&file).kill_on_drop(true).output();
        let output = tokio::time::timeout(IN_A_MOMENT, ended).await.context("palier did not end")??;
        let (said, why) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        Ok(format!("{said}{why}"))
    };
    let recorded_to = recorded.to_string_lossy().into_owned();
    let said = palier(&[
        "record",
        "--prometheus-url",
        PROMETHEUS_URL,
        "--from",
        "5m",
        "--step",
        "1s",
        "--out",
        &recorded_to,
    ])
    .await?;
    ensure!(recorded.exists(), "nothing was recorded: {said}");
    let told = palier(&["simulate", "--replay", &recorded_to]).await?;
    ensure!(told.contains("gate errors failed: harm is shown"), "the replay says something else:\n{told}");
    scene.measured("the same series judged again", "rolled back by the same gate", "as the controller did");
    Ok(())
}

pub async fn counting3_a_slow_tail_is_found(scene: Arc<Scene>) -> Result<()> {
    // 3 % of the answers take 0.3 s longer: the 95th percentile is that of stable.
    let given = Given::shop("v1").phases(&phases("60s")).judged_by(latency());
    goes_back(&scene, given, "v2-tail3", "latency").await.map(drop)
}

/// A gate that compares slow requests with stable's by a histogram that is one sample, not a series for each bound.
fn native(metric: &str) -> Gate {
    let query = format!("sum by (pod) ({metric}{{namespace=\"$namespace\",pod=~\"$pods\"}})");
    latency().with("prometheus", json!({"buckets": query}))
}

pub async fn counting8_a_slow_tail_is_found_in_exponential_buckets(scene: Arc<Scene>) -> Result<()> {
    let gate = native("http_request_duration_native_seconds");
    let given = Given::shop("v1-native").phases(&phases("60s")).judged_by(gate);
    goes_back(&scene, given, "v2-native-tail3", "latency").await.map(drop)
}

pub async fn counting9_a_slow_tail_is_found_in_custom_buckets(scene: Arc<Scene>) -> Result<()> {
    let gate = native("http_request_duration_converted_seconds");
    let given = Given::shop("v1-native").phases(&phases("60s")).judged_by(gate);
    goes_back(&scene, given, "v2-native-tail3", "latency").await.map(drop)
}

pub async fn counting6_a_preset_counts_at_the_gateway(scene: Arc<Scene>) -> Result<()> {
    let gate = errors().with("prometheus", json!({"preset": "Traefik"}));
    let given = Given::shop("v1-err3").phases(&phases("60s")).judged_by(gate);
    let found = goes_back(&scene, given, "v2-err12", "errors").await;
    if found.is_err() {
        let series = scene.lab().prometheus("sum by (service) (traefik_service_requests_total)").await?;
        return found.map(drop).with_context(|| format!("Traefik's series: {series:?}"));
    }
    found.map(drop)
}

pub async fn counting7_a_preset_is_chosen_by_what_the_server_has(scene: Arc<Scene>) -> Result<()> {
    let gate = errors().with("prometheus", json!({"preset": "Auto"}));
    let given = Given::shop("v1-err3").phases(&phases("60s")).judged_by(gate);
    let (shop, _) = goes_back(&scene, given, "v2-err12", "errors").await?;
    let live = last_counted(&scene, &shop, "errors")?.preset;
    ensure!(live == Some(Preset::Traefik), "chosen was {live:?}");
    let record = shop.record_of(1).await?.status.context("no record")?;
    let mut kept = record.components.iter().flat_map(|it| &it.statistics);
    ensure!(kept.any(|it| it.preset == Some(Preset::Traefik)), "the record does not say what was chosen");
    Ok(())
}

/// A version that is worse than stable is found by `gate`, and goes back.
async fn goes_back(scene: &Arc<Scene>, given: Given, tag: &str, gate: &str) -> Result<(Shop, RolloutStatus)> {
    let shop = scene.given(given).await?;
    let visitors = shop.visitors(RATE)?;
    shop.push(tag).await?;
    let begun = shop.until_baking(1, 50).await?;
    let started_at = begun.components[0].bake.as_ref().context("no bake")?.started_at;
    let ended = shop.until_ended_within(1, Outcome::RolledBack, Duration::from_secs(120)).await?;
    let run = ended.run.context("no run")?;
    ensure!(
        run.reason.contains(&format!("gate {gate} failed: harm is shown")),
        "another reason: {}",
        run.reason
    );
    let shown = last_counted(scene, &shop, gate)?;
    let took = between(started_at, run.ended_at.context("no end")?);
    scene.measured(
        &format!("{tag}: found by {gate}"),
        &format!(
            "after {:.0} s and {:.0} bad of {:.0} requests (stable {:.0} of {:.0})",
            took.as_secs_f64(),
            shown.canary_bad,
            shown.canary_total,
            shown.stable_bad,
            shown.stable_total
        ),
        "within the phase",
    );
    nobody_was_lost(scene, &visitors.stop().await)?;
    Ok((shop, begun))
}

pub async fn counting4_what_an_outage_hid_is_counted_later(scene: Arc<Scene>) -> Result<()> {
    // Given two gates with the same queries, one of which asks a metric server that is away for a while
    scene.moody_source().await?;
    let other = errors().of_source(&scene.namespace).with("name", json!("moody"));
    let given = Given::shop("v1-err4").phases(&phases("24s")).judged_by(errors()).judged_by(other);
    let shop = scene.given(given).await?;
    let visitors = shop.visitors(RATE)?;
    shop.push("v2-err4").await?;
    let both = |status: &RolloutStatus| ["errors", "moody"].map(|gate| counted(status, gate).cloned());
    shop.until("both count", IN_A_MOMENT, |status| {
        both(status).iter().all(|it| it.as_ref().is_some_and(|it| !it.learned.is_empty()))
    })
    .await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    scene.lab().moods().set(&scene.namespace, Mood::Closed);
    tokio::time::sleep(Duration::from_secs(9)).await;
    scene.lab().moods().set(&scene.namespace, Mood::Truthful);
    shop.until_ended_within(1, Outcome::Completed, Duration::from_secs(120)).await?;

    // Then both have counted the same requests, to one block
    let [plain, moody] = ["errors", "moody"].map(|gate| last_counted(&scene, &shop, gate));
    same_counts(&scene, &plain?, &moody?)?;
    nobody_was_lost(&scene, &visitors.stop().await)
}

/// Two gates that asked the same have counted the same, but for one block of two seconds.
fn same_counts(scene: &Scene, a: &GateStatistics, b: &GateStatistics) -> Result<()> {
    let block = f64::from(RATE) * 2.0 + 20.0;
    let (ends, apart) = (
        [a, b].map(|it| it.counted_until.map(|at| at.to_string()).unwrap_or_default()),
        (a.canary_total + a.stable_total - b.canary_total - b.stable_total).abs(),
    );
    scene.measured(
        "requests counted with and without an outage",
        &format!("{:.0} and {:.0}", b.canary_total + b.stable_total, a.canary_total + a.stable_total),
        "one block apart at most",
    );
    ensure!(apart <= block, "{apart} requests apart, until {ends:?}:\n{a:?}\n{b:?}");
    Ok(())
}

pub async fn counting5_prometheus_is_restarted(scene: Arc<Scene>) -> Result<()> {
    // Given a version that is no worse, half of whose bake is over
    let shop = scene.given(Given::shop("v1-err4").phases(&phases("20s")).judged_by(errors())).await?;
    let visitors = shop.visitors(RATE)?;
    shop.push("v2-err4").await?;
    let begun = shop.until_baking(1, 50).await?.components[0].bake.clone().context("no bake")?.started_at;
    tokio::time::sleep(Duration::from_secs(8)).await;

    // When Prometheus is killed and started again with its data
    scene.lab().stop("prometheus")?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    scene.lab().restart_prometheus()?;

    // Then the release goes on, and as many requests are counted as visitors sent
    shop.until_ended_within(1, Outcome::Completed, Duration::from_secs(120)).await?;
    let known = last_counted(&scene, &shop, "errors")?;
    let until = known.counted_until.context("nothing counted")?;
    let report = visitors.stop().await;
    let sent = report.between(begun, until).total() as f64;
    let all = known.canary_total + known.stable_total;
    scene.measured(
        "requests counted over a restart of Prometheus",
        &format!("{all:.0} of {sent:.0}"),
        "one block",
    );
    // Between the phases nothing is counted, and Prometheus looks once a second.
    let between_phases = f64::from(RATE) * 6.0;
    ensure!(
        all <= sent + f64::from(RATE) * 2.0 && all >= sent - f64::from(RATE) * 2.0 - between_phases,
        "{all} of {sent} requests were counted"
    );
    nobody_was_lost(&scene, &report)
}
