//! What happened in a run.

use jiff::Timestamp;

use crate::api::TimelineEntry;

use super::ink::{Ink, Line, Page};
use super::{text, time, words};

/// Widest reason that keeps the messages in one column.
const REASON_MAX: usize = 24;
/// Widest name of a component that is shown whole in its column.
const PART_MAX: usize = 16;

/// The `count` latest entries with their age, newest first.
pub(super) fn draw_latest(page: &mut Page, now: Timestamp, timeline: &[TimelineEntry], count: usize) {
    let title = page.line().put(Ink::Strong, "timeline");
    page.push(title);
    let latest: Vec<&TimelineEntry> = timeline.iter().rev().take(count).collect();
    let form = Form { has_parts: false, lines_good: 2, lines_bad: 2 };
    draw(page, &latest, form, |entry| time::ago(now, entry.at));
}

/// Every entry with its time since the start of the run, oldest first. `has_parts` gives the components a column of their
/// own: what happened to one can be followed down the page. What went well is told in brief then, unless `is_all`.
pub(super) fn draw_all(
    page: &mut Page,
    started: Timestamp,
    timeline: &[TimelineEntry],
    has_parts: bool,
    is_all: bool,
) {
    let title = page.line().put(Ink::Strong, "timeline").put(Ink::Dim, "  (time since the start)");
    page.push(title);
    let all: Vec<&TimelineEntry> = timeline.iter().collect();
    let form = Form { has_parts, lines_good: if has_parts && !is_all { 2 } else { 12 }, lines_bad: 12 };
    draw(page, &all, form, |entry| format!("+{}", time::span(time::seconds_between(started, entry.at))));
}

/// How entries are drawn.
#[derive(Clone, Copy)]
struct Form {
    /// Whether components have a column of their own.
    has_parts: bool,
    /// Lines that an entry may take.
    lines_good: usize,
    /// Lines that an entry may take that somebody should look at.
    lines_bad: usize,
}

fn draw(page: &mut Page, entries: &[&TimelineEntry], form: Form, when: impl Fn(&TimelineEntry) -> String) {
    let widest =
        |column: &dyn Fn(&TimelineEntry) -> usize| entries.iter().map(|e| column(e)).max().unwrap_or(0);
    let when_end = 2 + widest(&|entry| text::width(&when(entry)));
    let parts = widest(&|entry| text::width(&part(entry)));
    let has_parts = form.has_parts && parts > 0;
    let reasons = when_end + if has_parts { 4 + parts } else { 2 };
    // What happened to the whole run has no component: its reason starts in that column.
    let starts_at =
        |entry: &TimelineEntry| if has_parts && entry.component.is_empty() { when_end + 2 } else { reasons };
    let messages = 2 + widest(&|entry| starts_at(entry) + text::width(&reason(entry)));
    for entry in entries {
        let message = match text::clean(&entry.component) {
            component if component.is_empty() || has_parts => text::clean(&entry.message),
            component => format!("{component}: {}", text::clean(&entry.message)),
        };
        let ink = words::reason_ink(&entry.reason);
        let lines_max = if matches!(ink, Ink::Bad | Ink::Warn) { form.lines_bad } else { form.lines_good };
        let mut lines =
            text::wrap_at_most(&message, page.width.saturating_sub(messages), lines_max).into_iter();
        let line = page.line().put_right(when_end, Ink::Dim, &when(entry)).to(when_end + 2);
        let line = if has_parts { line.put(Ink::Plain, &part(entry)) } else { line };
        let first = pad(line, starts_at(entry))
            .put(ink, &reason(entry))
            .to(messages)
            .put(Ink::Plain, &lines.next().unwrap_or_default());
        page.push(first);
        for part in lines {
            let line = page.line().to(messages).put(Ink::Plain, &part);
            page.push(line);
        }
    }
}

/// Up to a column; a line that is there already stays as it is.
fn pad(line: Line, column: usize) -> Line {
    if line.width() < column { line.to(column) } else { line }
}

/// The component, as its column has room for it.
fn part(entry: &TimelineEntry) -> String {
    text::cut(&text::clean(&entry.component), PART_MAX)
}

fn reason(entry: &TimelineEntry) -> String {
    text::cut(&text::clean(&entry.reason), REASON_MAX)
}
