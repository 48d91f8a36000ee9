//! `make demo`: a good release and a bad one on a real control plane, with live requests and the live view.

#![allow(clippy::disallowed_methods, reason = "what is measured here is real time")]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the demo speaks to the person at the terminal"
)]

#[path = "../lab/mod.rs"]
mod lab;
#[path = "../e2e/world/mod.rs"]
#[allow(unused_imports, reason = "the demo uses a part of the words")]
mod world;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use palier::api::Outcome;
use tokio::process::Command;

use lab::{Lab, Options, Report};
use world::controllers::PALIER;
use world::phases::stretch;
use world::{Crew, Gate, Given, Scene, Shop, World};

/// Requests per second to the demo's shop.
const RATE: u32 = 150;
/// How long each phase bakes.
const BAKE: &str = "12s";
/// No release of the demo takes longer.
const LIMIT: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    match lab::enter(None).and_then(|place| Lab::start(&place, Options::default())).and_then(play) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn play(lab: Lab) -> Result<()> {
    let world = World::new(lab);
    world.lab.block_on(async {
        say("Palier is being installed as its chart says, with two controllers; one leads, one stands by");
        let scene = Scene::set(&world, "demo", Crew::Shared).await?;
        let given = Given::shop("v1").baking(BAKE).judged_by(Gate::errors()).judged_by(Gate::p95());
        let shop = scene.given(given).await?;
        say(&format!("the shop serves v1; {RATE} visitors a second come through the gateway"));
        let good = release(
            &scene,
            &shop,
            1,
            "v2",
            "a good version, v2, is pushed: `kubectl set image deployment/shop app=app:v2`",
        )
        .await?;
        let bad = release(
            &scene,
            &shop,
            2,
            "v3-err20",
            "a bad version is pushed: one in five of its answers is an error",
        )
        .await?;
        println!("\n{}", summary(&scene, &shop, &good, &bad)?);
        world.leave_cluster_wide().await
    })
}

fn say(what: &str) {
    println!("\n\u{25b8} {what}");
}

/// Pushes a version under load and shows the live view until the run has ended.
async fn release(scene: &Arc<Scene>, shop: &Shop, run: i64, tag: &str, what: &str) -> Result<Report> {
    let visitors = shop.visitors(RATE)?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    say(what);
    shop.push(tag).await?;
    let mut view = Command::new(PALIER);
    view.args([
        "status",
        &shop.name,
        "--watch",
        "--next",
        "--timeout",
        "120s",
        "--namespace",
        &scene.namespace,
    ]);
    view.arg("--kubeconfig").arg(scene.lab().kubeconfig_admin()).kill_on_drop(true);
    tokio::time::timeout(LIMIT + Duration::from_secs(5), view.status())
        .await
        .context("the view did not end")??;
    let wanted = if run == 1 { Outcome::Completed } else { Outcome::RolledBack };
    shop.until_ended(run, wanted).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    Ok(visitors.stop().await)
}

/// What the visitors got, as the load measured it and not as Palier says.
fn summary(scene: &Scene, shop: &Shop, good: &Report, bad: &Report) -> Result<String> {
    let mut lines = vec!["What the visitors got".to_owned(), String::new()];
    for traffic in [10, 50, 100] {
        let (from, to) = stretch(scene, shop, 1, traffic)?;
        let asked = good.between(from, to);
        let (share, total) = (asked.share_of("v2"), asked.total());
        lines.push(format!("  v2 at {traffic:>3} %     {share:>5.1} % of {total} requests"));
    }
    lines.push(format!("  good release    {} requests, {} failed", good.total(), good.failures().len()));
    let (served, all) = (bad.share_of("v3-err20"), bad.total());
    lines.push(format!(
        "  bad release     {all} requests, {} lost, {} errors of the bad version, which served {served:.1} % before it went back",
        bad.lost().len(),
        bad.failures().len() - bad.lost().len(),
    ));
    lines.push(String::new());
    lines.push("  The Deployment is paused on the rejected template and v2 serves. Everything started here has ended.".to_owned());
    Ok(lines.join("\n"))
}
