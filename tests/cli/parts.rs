//! Pages of a release of several parts, kept in `golden/`.

use jiff::{SignedDuration, Timestamp};
use palier::api::{Rollout, RolloutRun, Stage};
use palier::cli::view::{
    Detail, Style, painted_width, render_history, render_run, render_status, status_line,
};
use serde_json::json;

use crate::fixtures::{rollout, run};
use crate::golden::check;

/// Somebody looks three seconds after the status was stored.
fn looked_at(rollout: &Rollout) -> Timestamp {
    let stored = rollout.status.as_ref().and_then(|status| status.checkpointed_at).unwrap();
    stored.checked_add(SignedDuration::from_secs(3)).unwrap()
}

fn page(rollout: &Rollout, width: usize) -> String {
    render_status(rollout, looked_at(rollout), width, Style::PLAIN, Detail::Attention)
}

const CHAINS: [&str; 4] = ["chain", "chain-going-back", "chain-taken-back", "chain-partial"];

/// Production fails its gate at half, and search is off so that it can be mended.
fn degraded() -> Rollout {
    let mut rollout = rollout("chain-going-back");
    let spec = json!([{
        "name": "no-forecast", "recoverAfter": "5m", "deadline": "1h", "then": "PartialRollback",
        "switches": [
            {"configMap": "shop-flags", "key": "flags.json", "pointer": "/flags/forecast/state", "json": "\"DISABLED\""},
            {"configMap": "shop-production", "key": "FORECAST", "value": "off"},
        ],
    }]);
    rollout.spec.degraded_modes = serde_json::from_value(spec).unwrap();
    let status = rollout.status.as_mut().unwrap();
    status.state = palier::api::RolloutState::DegradedMode;
    status.message = "degraded mode no-forecast is on (shop-flags/flags.json#/flags/forecast/state, \
                      shop-production/FORECAST) until the gates of production have passed for 5m"
        .to_owned();
    let next = json!({"what": "set the switches back and go on when the gates pass again, or give up", "at": "2026-03-01T14:12:03Z"});
    status.next_action = serde_json::from_value(next).unwrap();
    for part in status.components.iter_mut().filter(|part| !part.failure.is_empty()) {
        part.failure.clear();
        if part.name == "production" {
            (part.stage, part.weight, part.target_weight, part.drain_until) = (Stage::Baking, 50, 50, None);
            part.message = "a degraded mode is on".to_owned();
        } else {
            part.stage = Stage::Waiting;
            let for_whom = if part.name == "clients" { "production" } else { "clients" };
            part.message = format!("waits for {for_whom}");
        }
    }
    let run = status.run.as_mut().unwrap();
    run.timeline.pop();
    let entered = json!({
        "at": "2026-03-01T13:12:03Z", "component": "production", "reason": "DegradedModeEntered",
        "message": "degraded mode no-forecast (shop-flags/flags.json#/flags/forecast/state, shop-production/FORECAST): \
                    gate errors failed, 2 times in a row: 0.084 is above the most allowed, 0.01",
    });
    run.timeline.push(serde_json::from_value(entered).unwrap());
    let mode = json!([{
        "mode": "no-forecast", "component": "production", "state": "On", "since": "2026-03-01T13:12:04Z",
        "enteredAt": "2026-03-01T13:12:03Z",
        "switches": [
            {"configMap": "shop-flags", "uid": "a1", "key": "flags.json", "pointer": "/flags/forecast/state",
             "set": "\"DISABLED\"", "found": "\"ENABLED\"", "state": "Set"},
            {"configMap": "shop-production", "uid": "b2", "key": "FORECAST", "set": "off", "found": "on", "state": "Foreign"},
        ],
    }]);
    run.degraded = serde_json::from_value(mode).unwrap();
    rollout
}

fn hooks() -> serde_json::Value {
    json!([
        {"point": "BeforeRun", "name": "backup", "state": "Succeeded", "attempt": 1, "job": "shop-1-backup-9dk2",
         "since": "2026-03-01T12:02:11Z"},
        {"point": "AfterPhase", "name": "reconcile-books", "component": "suppliers", "phase": "everyone", "state": "Failed",
         "attempt": 3, "job": "shop-1-reconcile-books-s7fq-3", "since": "2026-03-01T12:34:40Z",
         "message": "the Job failed: BackoffLimitExceeded: Job has reached the specified backoff limit"},
        {"point": "BeforePhase", "name": "migrate", "component": "stock", "phase": "half", "state": "Running",
         "attempt": 2, "job": "shop-1-migrate-x2bt-2", "since": "2026-03-01T12:43:20Z",
         "message": "the Job took longer than 2m"},
    ])
}

/// Stock waits for a hook before half of the traffic; another failed for good, and the run went on without it.
fn hooked() -> Rollout {
    let mut rollout = rollout("chain");
    let status = rollout.status.as_mut().unwrap();
    let stock = status.components.iter_mut().find(|part| part.name == "stock").unwrap();
    (stock.stage, stock.weight, stock.target_weight) = (Stage::Preparing, 10, 10);
    stock.message = "the hook migrate for stock at half (Job shop-1-migrate-x2bt-2) runs".to_owned();
    status.run.as_mut().unwrap().hooks = serde_json::from_value(hooks()).unwrap();
    rollout
}

/// The record of the run that took production back, with a mode that was left and hooks.
fn recorded() -> RolloutRun {
    let mut record = run("chain-run");
    let status = record.status.as_mut().unwrap();
    status.hooks = serde_json::from_value(hooks()).unwrap();
    for hook in &mut status.hooks {
        if hook.name == "migrate" {
            hook.state = palier::api::HookState::Succeeded;
            hook.message.clear();
        }
    }
    status.degraded = degraded().status.unwrap().run.unwrap().degraded;
    for mode in &mut status.degraded {
        mode.state = palier::api::DegradedState::Left;
        mode.switches[0].state = palier::api::SwitchState::Restored;
    }
    record
}

#[test]
fn a_release_of_parts_looks_as_kept() {
    for name in CHAINS {
        check(&format!("{name}-80"), &page(&rollout(name), 80));
    }
    for name in ["chain", "chain-going-back"] {
        check(&format!("{name}-100"), &page(&rollout(name), 100));
    }
    check("chain-degraded-80", &page(&degraded(), 80));
    check("chain-hooks-80", &page(&hooked(), 80));
}

#[test]
fn the_record_of_a_run_of_parts_looks_as_kept() {
    let now = crate::fixtures::now();
    let record = recorded();
    check("run-chain-80", &render_run(&record, now, 80, Style::PLAIN, Detail::Attention));
    check("run-chain-100", &render_run(&record, now, 100, Style::PLAIN, Detail::Attention));
    check("history-chain-80", &render_history(&[record], now, 80, Style::PLAIN));
}

#[test]
fn only_what_needs_a_look_is_shown_unless_all_is_asked_for() {
    let chain = rollout("chain");
    let all = render_status(&chain, looked_at(&chain), 80, Style::PLAIN, Detail::All);
    let titles =
        |page: &str| page.lines().filter(|line| line.contains(" → ") && !line.starts_with(' ')).count();
    assert_eq!((titles(&page(&chain, 80)), titles(&all)), (0, 6), "{all}");
    let back = page(&rollout("chain-going-back"), 80);
    assert_eq!(titles(&back), 1, "production alone: {back}");
    let run_of = |detail| render_run(&recorded(), crate::fixtures::now(), 80, Style::PLAIN, detail);
    let blocks = |page: &str| page.lines().filter(|line| line.contains("  Deployment ")).count();
    assert_eq!((blocks(&run_of(Detail::Attention)), blocks(&run_of(Detail::All))), (1, 6));
}

#[test]
fn no_line_of_the_tree_is_wider_than_the_page() {
    let mut deep = rollout("chain");
    for at in 0..deep.spec.components.len() {
        let name = format!("{at}-with-a-name-of-forty-columns-in-all-yes");
        let old = std::mem::replace(&mut deep.spec.components[at].name, name.clone());
        for component in &mut deep.spec.components {
            component.depends_on.iter_mut().filter(|on| **on == old).for_each(|on| on.clone_from(&name));
        }
        let status = deep.status.as_mut().unwrap();
        status.components.iter_mut().filter(|c| c.name == old).for_each(|c| c.name.clone_from(&name));
    }
    let mut pages = vec![deep, degraded(), hooked()];
    pages.extend(CHAINS.map(rollout));
    for rollout in &pages {
        for width in [60, 80, 100] {
            for detail in [Detail::Attention, Detail::All] {
                let draw = |style| render_status(rollout, looked_at(rollout), width, style, detail);
                let (plain, painted) = (draw(Style::PLAIN), draw(Style::PAINTED));
                assert!(painted.contains("\u{1b}[") && !plain.contains('\u{1b}'));
                for (line, bare) in painted.lines().zip(plain.lines()) {
                    assert!(painted_width(line) <= width, "at {width}: {bare}");
                    assert_eq!(painted_width(line), painted_width(bare), "{bare}");
                }
            }
        }
    }
}

#[test]
fn one_line_names_every_part_of_a_release() {
    assert_eq!(
        status_line(&rollout("chain")),
        "Baking, run 1, phase 2/3 half, traffic 50%, gates 6/6 (suppliers baked, stock baking 50%, production waiting, \
         clients waiting, reports waiting, news baking 50%): the phase proves itself"
    );
    assert!(
        status_line(&rollout("chain-partial"))
            .starts_with("Partially completed, run 1 (suppliers idle, stock")
    );
}

#[test]
fn text_of_the_cluster_stays_harmless_in_every_block() {
    let (mut one, mut other) = (degraded(), hooked());
    let evil = "\u{1b}[2J\u{202e}\r\nx";
    let run = one.status.as_mut().unwrap().run.as_mut().unwrap();
    run.degraded[0].mode = evil.to_owned();
    run.degraded[0].component = evil.to_owned();
    run.degraded[0].switches[0].key = evil.to_owned();
    let run = other.status.as_mut().unwrap().run.as_mut().unwrap();
    for hook in &mut run.hooks {
        (hook.name, hook.job, hook.message) = (evil.to_owned(), evil.to_owned(), evil.to_owned());
        (hook.component, hook.phase) = (evil.to_owned(), evil.to_owned());
    }
    for component in &mut other.status.as_mut().unwrap().components {
        (component.message, component.failure) = (evil.to_owned(), evil.to_owned());
    }
    let shown = page(&one, 80) + &page(&other, 80) + &status_line(&other);
    let bad = shown.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
    assert_eq!(bad, None, "{shown:?}");
}
