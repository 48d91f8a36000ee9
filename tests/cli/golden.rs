//! Pages as they look, kept in `golden/`. `UPDATE_GOLDEN=1` rewrites them; then look at the difference.

use palier::api::{Rollout, RolloutStatus};
use palier::cli::view::{
    Detail, Style, painted_width, render_history, render_run, render_status, status_line,
};

use crate::fixtures::{ROLLOUTS, now, path, rollout, runs};

const NEED: Detail = Detail::Attention;

pub fn check(name: &str, page: &str) {
    let file = path("golden", &format!("{name}.txt"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, page).unwrap();
    }
    let golden = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(golden == page, "{} differs (UPDATE_GOLDEN=1 rewrites it); now:\n{page}", file.display());
}

#[test]
fn every_state_looks_as_kept() {
    for name in ROLLOUTS {
        check(&format!("{name}-80"), &render_status(&rollout(name), now(), 80, Style::PLAIN, NEED));
    }
    for name in ["baking", "two-components"] {
        check(&format!("{name}-100"), &render_status(&rollout(name), now(), 100, Style::PLAIN, NEED));
    }
}

#[test]
fn no_line_is_wider_than_the_page_painted_or_not() {
    for name in ROLLOUTS {
        for width in [60, 80, 100] {
            for style in [Style::PLAIN, Style::PAINTED] {
                let page = render_status(&rollout(name), now(), width, style, NEED);
                for line in page.lines() {
                    assert!(painted_width(line) <= width, "{name} at {width}: {line}");
                }
            }
        }
    }
    assert!(
        render_status(&rollout("two-components"), now(), 400, Style::PLAIN, NEED)
            .lines()
            .all(|l| painted_width(l) <= 100)
    );
}

#[test]
fn colours_change_nothing_but_colours() {
    for name in ROLLOUTS {
        let painted = render_status(&rollout(name), now(), 80, Style::PAINTED, NEED);
        assert!(painted.contains("\u{1b}["), "{name} is not painted");
        let plain = render_status(&rollout(name), now(), 80, Style::PLAIN, NEED);
        assert!(!plain.contains('\u{1b}'));
        for (a, b) in painted.lines().zip(plain.lines()) {
            assert_eq!(painted_width(a), painted_width(b), "{name}: {b}");
        }
    }
}

#[test]
fn a_rollout_that_nobody_looked_at_says_so() {
    let fresh = Rollout { status: None, ..rollout("idle") };
    check("fresh-80", &render_status(&fresh, now(), 80, Style::PLAIN, NEED));
}

#[test]
fn twenty_phases_take_several_lines() {
    let mut many = rollout("baking");
    let phase = many.spec.phases[0].clone();
    many.spec.phases = (1..=20)
        .map(|i| palier::api::Phase { name: format!("phase-{i}"), traffic: i * 5, ..phase.clone() })
        .collect();
    many.status.as_mut().unwrap().components[0].phase_index = Some(13);
    let page = render_status(&many, now(), 80, Style::PLAIN, NEED);
    let steps: Vec<&str> = page.lines().skip_while(|line| !line.contains('✓')).take(3).collect();
    assert!(steps[0].starts_with("  ✓ 5 % ─ ✓ 10 %") && steps[1].contains("● 70 %"), "{page}");
    assert!(steps[2].contains("○ 100 %"), "{page}");
}

#[test]
fn text_of_the_cluster_cannot_move_the_cursor() {
    let mut evil = rollout("held");
    let status: &mut RolloutStatus = evil.status.as_mut().unwrap();
    let text = "\u{1b}[2J\u{1b}]0;title\u{7}\u{202e}\r\n";
    status.message = text.to_owned();
    status.components[0].message = text.to_owned();
    status.components[0].name = text.to_owned();
    status.components[0].gates[0].message = text.to_owned();
    status.components[0].gates[0].value = text.to_owned();
    status.next_action.as_mut().unwrap().what = text.to_owned();
    let run = status.run.as_mut().unwrap();
    run.reason = text.to_owned();
    run.timeline[0].message = text.to_owned();
    run.timeline[0].reason = text.to_owned();
    let page = render_status(&evil, now(), 80, Style::PLAIN, NEED) + &status_line(&evil);
    let bad = page.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
    assert_eq!(bad, None, "{page:?}");
}

#[test]
fn histories_look_as_kept() {
    check("history-80", &render_history(&runs(), now(), 80, Style::PLAIN));
    check("run-6-80", &render_run(&runs()[2], now(), 80, Style::PLAIN, NEED));
    check("run-8-80", &render_run(&runs()[0], now(), 80, Style::PLAIN, NEED));
}

#[test]
fn one_line_says_all_that_matters() {
    assert_eq!(
        status_line(&rollout("baking")),
        "Baking, run 7, phase 2/3 half, traffic 50%, gates 3/3: Every gate passes at 50 %."
    );
    assert_eq!(status_line(&rollout("idle")), "Idle: Nothing to release.");
    assert_eq!(status_line(&Rollout { status: None, ..rollout("idle") }), "Not seen yet");
}
