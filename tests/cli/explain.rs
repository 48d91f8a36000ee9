//! `palier explain`: sentences about a Rollout, and the small charts beside its gates.

use palier::api::{ActionKind, Preset, RolloutState};
use palier::cli::view::{
    Detail, Explanation, Style, explanation, painted_width, render_explanation, render_status,
};

use crate::fixtures::{ROLLOUTS, now, rollout};
use crate::golden::check;

fn explained(name: &str) -> Explanation {
    explanation(&rollout(name), now())
}

fn page(name: &str, width: usize, style: Style) -> String {
    render_explanation(&explained(name), now(), width, style)
}

#[test]
fn explanations_look_as_kept() {
    for name in ["counting", "held", "rolled-back"] {
        check(&format!("explain-{name}-80"), &page(name, 80, Style::PLAIN));
    }
    let counting = rollout("counting");
    check("counting-80", &render_status(&counting, now(), 80, Style::PLAIN, Detail::Attention));
}

#[test]
fn every_state_is_explained_within_the_page() {
    for name in ROLLOUTS.into_iter().chain(["counting", "chain", "chain-going-back", "chain-partial"]) {
        for (width, style) in [(60, Style::PLAIN), (80, Style::PAINTED), (100, Style::PLAIN)] {
            let page = page(name, width, style);
            assert!(page.lines().count() >= 2, "{name}: {page}");
            for line in page.lines() {
                assert!(painted_width(line) <= width, "{name} at {width}: {line}");
            }
        }
    }
}

#[test]
fn what_is_said_of_evidence_is_what_was_stored_and_what_will_come() {
    let known = explained("counting");
    let gate = known.components[0].gates.iter().find(|it| it.name == "errors").unwrap();
    let evidence = gate.evidence.as_ref().unwrap();
    assert_eq!((evidence.canary, evidence.stable), ([11.0, 2000.0], [90.0, 18000.0]));
    // 20 000 requests in five minutes.
    assert!(evidence.per_second.is_some_and(|rate| (rate - 66.7).abs() < 0.1), "{evidence:?}");
    assert!(evidence.doubling_in_seconds.is_some_and(|seconds| seconds > 30.0), "{evidence:?}");
    let json = serde_json::to_value(&known).unwrap();
    assert_eq!(json["components"][0]["gates"][0]["evidence"]["limit"], 4.6052);
    assert_eq!(json["state"], "Baking");
}

#[test]
fn a_preset_that_was_chosen_is_named() {
    let mut chosen = rollout("counting");
    let counted = &mut chosen.status.as_mut().unwrap().components[0].statistics;
    counted.iter_mut().for_each(|it| it.preset = Some(Preset::Traefik));
    let known = explanation(&chosen, now());
    let says: Vec<&String> = known.components[0].gates.iter().flat_map(|it| &it.says).collect();
    assert!(
        says.iter().any(|it| it.contains("the metrics of Traefik, chosen when the run began")),
        "{says:?}"
    );
}

#[test]
fn only_actions_that_would_be_obeyed_are_named() {
    for name in ROLLOUTS {
        let known = explained(name);
        let verbs: Vec<&str> = known.actions.iter().filter_map(|it| it.command.split(' ').nth(1)).collect();
        let wanted: &[ActionKind] = match known.state {
            RolloutState::Baking | RolloutState::Held | RolloutState::Progressing => {
                &[ActionKind::Promote, ActionKind::Pause, ActionKind::Abort]
            }
            RolloutState::Paused => &[ActionKind::Promote, ActionKind::Resume, ActionKind::Abort],
            RolloutState::RolledBack => &[ActionKind::Retry],
            _ => &[],
        };
        let wanted: Vec<String> = wanted.iter().map(|it| format!("{it:?}").to_lowercase()).collect();
        assert_eq!(verbs, wanted, "{name}");
    }
}

#[test]
fn the_health_of_pods_is_told_among_the_gates_once_there_is_something_to_say() {
    let mut it = rollout("held");
    let names = |it: &palier::api::Rollout| -> Vec<String> {
        explanation(it, now()).components[0].gates.iter().map(|gate| gate.name.clone()).collect()
    };
    assert!(!names(&it).contains(&"health".to_owned()));
    let words = "1 of 2 canary pods: container app restarted 3 times, last OOMKilled (exit 137)";
    it.status.as_mut().unwrap().components[0].health = Some(palier::api::HealthStatus {
        verdict: palier::api::Verdict::Fail,
        message: words.to_owned(),
        ..palier::api::HealthStatus::default()
    });
    assert_eq!(names(&it).last().map(String::as_str), Some("health"));
    let page = render_explanation(&explanation(&it, now()), now(), 100, Style::PLAIN);
    for part in ["health", "≤ 2 restarts", "OOMKilled (exit 137)"] {
        assert!(page.contains(part), "{part} is missing in\n{page}");
    }
    let status = render_status(&it, now(), 100, Style::PLAIN, Detail::Attention);
    assert!(status.contains("container app restarted 3 times"), "{status}");
}
