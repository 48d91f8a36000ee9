//! What happened in a run.

use jiff::Timestamp;

use crate::api::TimelineEntry;

use super::ink::{Ink, Page};
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
    draw(page, &latest, (2, false), |entry| time::ago(now, entry.at));
}

/// Every entry with its time since the start of the run, oldest first. `has_parts` gives the components a column of their
/// own: what happened to one can be followed down the page.
pub(super) fn draw_all(page: &mut Page, started: Timestamp, timeline: &[TimelineEntry], has_parts: bool) {
    let title = page.line().put(Ink::Strong, "timeline").put(Ink::Dim, "  (time since the start)");
    page.push(title);
    let all: Vec<&TimelineEntry> = timeline.iter().collect();
    draw(page, &all, (12, has_parts), |entry| {
        format!("+{}", time::span(time::seconds_between(started, entry.at)))
    });
}

fn draw(
    page: &mut Page,
    entries: &[&TimelineEntry],
    (lines_max, has_parts): (usize, bool),
    when: impl Fn(&TimelineEntry) -> String,
) {
    let widest =
        |column: &dyn Fn(&TimelineEntry) -> usize| entries.iter().map(|e| column(e)).max().unwrap_or(0);
    let when_end = 2 + widest(&|entry| text::width(&when(entry)));
    let reasons = match widest(&|entry| text::width(&part(entry))) {
        parts if has_parts && parts > 0 => when_end + 4 + parts,
        _ => when_end + 2,
    };
    let messages = reasons + 2 + widest(&|entry| text::width(&reason(entry)));
    for entry in entries {
        let message = match text::clean(&entry.component) {
            component if component.is_empty() || has_parts => text::clean(&entry.message),
            component => format!("{component}: {}", text::clean(&entry.message)),
        };
        let mut lines =
            text::wrap_at_most(&message, page.width.saturating_sub(messages), lines_max).into_iter();
        let shown = part(entry);
        let first = page
            .line()
            .put_right(when_end, Ink::Dim, &when(entry))
            .to(when_end + 2)
            .put(Ink::Strong, if has_parts { &shown } else { "" })
            .to(reasons)
            .put(words::reason_ink(&entry.reason), &reason(entry))
            .to(messages)
            .put(Ink::Plain, &lines.next().unwrap_or_default());
        page.push(first);
        for part in lines {
            let line = page.line().to(messages).put(Ink::Plain, &part);
            page.push(line);
        }
    }
}

fn part(entry: &TimelineEntry) -> String {
    text::cut(&text::clean(&entry.component), PART_MAX)
}

fn reason(entry: &TimelineEntry) -> String {
    text::cut(&text::clean(&entry.reason), REASON_MAX)
}
