//! Degraded modes: which switches are set, since when, and when that ends. Places are named, values never.

use jiff::{SignedDuration, Timestamp};

use crate::api::{
    DegradedMode, DegradedState, DegradedStatus, DegradedThen, Span, SwitchState, SwitchStatus,
};

use super::ink::{Ink, Line, Page};
use super::{text, time, words};

/// Column at which the values of the rows start.
const VALUES: usize = 12;
/// Switches that are listed.
const SWITCHES_MAX: usize = 16;

/// The modes that were entered. Those that were left without a trace are shown with `is_all` only.
pub(super) fn draw(
    page: &mut Page,
    now: Timestamp,
    modes: &[DegradedStatus],
    policies: &[DegradedMode],
    is_all: bool,
) {
    let is_clean = |it: &SwitchStatus| it.state == SwitchState::Restored;
    let is_shown =
        |it: &&DegradedStatus| is_all || it.state != DegradedState::Left || !it.switches.iter().all(is_clean);
    for mode in modes.iter().filter(is_shown) {
        page.gap();
        title(page, now, mode);
        let line = row(page, "asked by").put(Ink::Plain, &text::clean(&mode.component));
        page.push(line);
        let policy = policies.iter().find(|policy| policy.name == mode.mode);
        if let Some(policy) = policy.filter(|_| mode.state == DegradedState::On) {
            limits(page, now, mode, policy);
        }
        switches(page, &mode.switches);
    }
}

fn title(page: &mut Page, now: Timestamp, mode: &DegradedStatus) {
    let (word, ink) = words::degraded(mode.state);
    let line = page
        .line()
        .put(Ink::Strong, &format!("degraded mode {}", text::clean(&mode.mode)))
        .put(Ink::Plain, "  ")
        .put(ink, "● ")
        .put(ink, word);
    let line = match mode.entered_at {
        Some(at) => line.put_right(page.width, Ink::Dim, &format!("entered {}", time::ago(now, at))),
        None => line,
    };
    page.push(line);
}

/// When the switches go back, and when the run gives up.
fn limits(page: &mut Page, now: Timestamp, mode: &DegradedStatus, policy: &DegradedMode) {
    let line = row(page, "gates");
    let line = match mode.passing_since {
        Some(since) => line
            .put(Ink::Good, &format!("pass again since {}", time::span(time::seconds_between(since, now))))
            .put(Ink::Plain, "; the switches go back ")
            .put(Ink::Strong, &time::until(now, after(since, policy.recover_after))),
        None => line.put(Ink::Bad, "fail").put(
            Ink::Plain,
            &format!("; the switches go back when they have passed for {}", policy.recover_after),
        ),
    };
    page.push(line);
    if let Some(entered) = mode.entered_at {
        let then = match policy.then {
            DegradedThen::PartialRollback => "partial rollback",
            DegradedThen::FullRollback => "full rollback",
        };
        let line = row(page, "gives up")
            .put(Ink::Strong, &time::until(now, after(entered, policy.deadline)))
            .put(Ink::Plain, &format!(": {then}"));
        page.push(line);
    }
}

fn switches(page: &mut Page, switches: &[SwitchStatus]) {
    for (at, switch) in switches.iter().take(SWITCHES_MAX).enumerate() {
        let pointer = switch.pointer.as_ref().map(|pointer| format!("#{pointer}")).unwrap_or_default();
        let place = text::clean(&format!("{}/{}{pointer}", switch.config_map, switch.key));
        let (word, ink) = words::switch(switch.state);
        let room = page.width.saturating_sub(VALUES + 2 + text::width(word));
        let line = row(page, if at == 0 { "switches" } else { "" })
            .put(Ink::Plain, &text::cut(&place, room))
            .put(Ink::Plain, "  ")
            .put(ink, word);
        page.push(line);
    }
}

fn row(page: &Page, label: &str) -> Line {
    page.line().to(2).put(Ink::Dim, label).to(VALUES)
}

fn after(at: Timestamp, span: Span) -> Timestamp {
    at.checked_add(SignedDuration::from_millis(span.as_millis())).unwrap_or(Timestamp::MAX)
}
