//! Hooks: which run, which failed and why.

use jiff::Timestamp;

use crate::api::{HookPoint, HookState, HookStatus};

use super::ink::{Ink, Page};
use super::{text, time, words};

/// Column at which the names start; the marks stand at 2.
const NAMES: usize = 4;
/// Widest name that is shown whole.
const NAME_MAX: usize = 24;
/// Lines that a message may take.
const MESSAGE_LINES: usize = 3;

/// The hooks of a run, as they were started. Those that succeeded are counted only, unless `is_all`.
pub(super) fn draw(page: &mut Page, now: Timestamp, hooks: &[HookStatus], is_all: bool) {
    if hooks.is_empty() {
        return;
    }
    let is_shown = |it: &&HookStatus| is_all || it.state != HookState::Succeeded;
    let shown: Vec<&HookStatus> = hooks.iter().filter(is_shown).collect();
    page.gap();
    let line = page.line().put(Ink::Strong, "hooks");
    let line = match hooks.len() - shown.len() {
        0 => line,
        more => line.put(Ink::Dim, &format!("  {more} succeeded")),
    };
    page.push(line);
    let name = |it: &HookStatus| text::cut(&text::clean(&it.name), NAME_MAX);
    let names = shown.iter().map(|it| text::width(&name(it))).max().unwrap_or(0);
    let states = shown.iter().map(|it| text::width(&state(it, now))).max().unwrap_or(0);
    let before = NAMES + names + 2;
    let room = page.width.saturating_sub(before + 2 + states);
    let points = shown.iter().map(|it| text::width(&point(it))).max().unwrap_or(0).min(room);
    for hook in shown {
        let (mark, _, ink) = words::hook(hook.state);
        let line = page
            .line()
            .to(2)
            .put(ink, mark)
            .to(NAMES)
            .put(Ink::Plain, &name(hook))
            .to(before)
            .put(Ink::Dim, &text::cut(&point(hook), points))
            .to(before + points + 2)
            .put(ink, &state(hook, now));
        page.push(line);
        let ink = if hook.state == HookState::Failed { Ink::Bad } else { Ink::Dim };
        page.paragraph(NAMES + 2, ink, &job(hook), MESSAGE_LINES);
    }
}

/// `running for 2m, attempt 2`
fn state(hook: &HookStatus, now: Timestamp) -> String {
    let (_, word, _) = words::hook(hook.state);
    let when = match (hook.since, hook.state) {
        (None, _) => String::new(),
        (Some(at), HookState::Running) => format!(" for {}", time::span(time::seconds_between(at, now))),
        (Some(at), _) => format!(" {}", time::ago(now, at)),
    };
    let again = if hook.state == HookState::Retrying { ", tried again" } else { "" };
    let tries = if hook.attempt > 1 { format!(", attempt {}", hook.attempt) } else { String::new() };
    format!("{word}{when}{tries}{again}")
}

/// Its Job, and what was said of it; an attempt that runs has only the words of the one before.
fn job(hook: &HookStatus) -> String {
    let words = match hook.state {
        HookState::Running if !hook.message.is_empty() => format!("last time: {}", hook.message),
        HookState::Succeeded => String::new(),
        _ => hook.message.clone(),
    };
    match (hook.job.is_empty(), words.is_empty()) {
        (true, _) => words,
        (false, true) => format!("Job {}", hook.job),
        (false, false) => format!("Job {}, {words}", hook.job),
    }
}

/// Where in the run: `stock, before half`.
fn point(hook: &HookStatus) -> String {
    let (component, phase) = (text::clean(&hook.component), text::clean(&hook.phase));
    match hook.point {
        HookPoint::BeforeRun => "before the run".to_owned(),
        HookPoint::BeforePhase => format!("{component}, before {phase}"),
        HookPoint::AfterPhase => format!("{component}, after {phase}"),
        HookPoint::OnPartialRollback => format!("{component}, taken back"),
        HookPoint::OnFullRollback => "after the rollback".to_owned(),
        HookPoint::AfterRun => "after the run".to_owned(),
    }
}
