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
    let names = shown.iter().map(|it| text::width(&text::clean(&it.name))).max().unwrap_or(0).min(NAME_MAX);
    let points = shown.iter().map(|it| text::width(&point(it))).max().unwrap_or(0).min(page.width / 3);
    for hook in shown {
        let (mark, word, ink) = words::hook(hook.state);
        let state = match (hook.since, hook.attempt) {
            (Some(at), attempt) => {
                let when = match hook.state {
                    HookState::Running => format!("for {}", time::span(time::seconds_between(at, now))),
                    _ => time::ago(now, at),
                };
                let tries = if attempt > 1 { format!(", attempt {attempt}") } else { String::new() };
                format!("{word} {when}{tries}")
            }
            (None, _) => word.to_owned(),
        };
        let line = page
            .line()
            .to(2)
            .put(ink, mark)
            .to(NAMES)
            .put(Ink::Plain, &text::cut(&text::clean(&hook.name), NAME_MAX))
            .to(NAMES + names + 2)
            .put(Ink::Dim, &text::cut(&point(hook), points))
            .to(NAMES + names + 2 + points + 2)
            .put(ink, &state);
        page.push(line);
        if hook.state != HookState::Succeeded || is_all {
            let job = text::clean(&hook.job);
            let message = match hook.message.as_str() {
                _ if job.is_empty() => hook.message.clone(),
                "" => format!("Job {job}"),
                message => format!("Job {job}: {message}"),
            };
            let ink = if hook.state == HookState::Failed { Ink::Bad } else { Ink::Dim };
            page.paragraph(NAMES + 2, ink, &message, MESSAGE_LINES);
        }
    }
}

/// Where in the run: `before half of stock`.
fn point(hook: &HookStatus) -> String {
    let (component, phase) = (text::clean(&hook.component), text::clean(&hook.phase));
    match hook.point {
        HookPoint::BeforeRun => "before the run".to_owned(),
        HookPoint::BeforePhase => format!("before {phase} of {component}"),
        HookPoint::AfterPhase => format!("after {phase} of {component}"),
        HookPoint::OnPartialRollback => format!("{component} was taken back"),
        HookPoint::OnFullRollback => "everything was taken back".to_owned(),
        HookPoint::AfterRun => "after the run".to_owned(),
    }
}
