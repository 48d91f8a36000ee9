//! The sentences about a Rollout as a page, with small charts.

use jiff::Timestamp;

use crate::api::Verdict;

use super::component::bar;
use super::explain::{ComponentExplained, Evidence, Explanation, GateExplained};
use super::ink::{Ink, Page, Style};
use super::{WIDTH_MAX, WIDTH_MIN, text, time, words};

/// Columns of a bar of evidence.
const BAR: usize = 20;
/// Lines that one sentence may take.
const LINES: usize = 4;

/// The page in lines of at most `width` columns (brought into 60 to 100).
#[must_use]
pub fn render_explanation(known: &Explanation, now: Timestamp, width: usize, style: Style) -> String {
    let mut page = Page::new(width.clamp(WIDTH_MIN, WIDTH_MAX), style);
    let (word, ink) = words::state(known.state);
    let since = known
        .since
        .map(|at| format!("for {}", time::span(time::seconds_between(at, now))))
        .unwrap_or_default();
    let title = page
        .line()
        .put(Ink::Strong, &text::clean(&known.rollout))
        .put(Ink::Plain, "  ")
        .put(ink, "● ")
        .put(ink, word);
    let title = if since.is_empty() { title } else { title.put_right(page.width, Ink::Dim, &since) };
    page.push(title);
    for sentence in &known.why {
        page.paragraph(0, Ink::Plain, sentence, LINES);
    }
    if let Some(next) = &known.next {
        let when = next.at.map(|at| format!(" {}", time::until(now, at))).unwrap_or_default();
        page.paragraph(0, Ink::Strong, &format!("Next: {}{when}", next.what), LINES);
    }
    for component in &known.components {
        page.gap();
        draw_component(&mut page, component);
    }
    if !known.actions.is_empty() {
        page.gap();
        let title = page.line().put(Ink::Strong, "what you can do");
        page.push(title);
        let widest = known.actions.iter().map(|it| text::width(&it.command)).max().unwrap_or(0);
        for action in &known.actions {
            let line = page
                .line()
                .to(2)
                .put(Ink::Busy, &text::clean(&action.command))
                .to(widest + 4)
                .put(Ink::Dim, &action.effect);
            page.push(line);
        }
    }
    page.finish()
}

fn draw_component(page: &mut Page, component: &ComponentExplained) {
    let title = page.line().put(Ink::Strong, &text::clean(&component.name));
    page.push(title);
    for sentence in &component.says {
        page.paragraph(2, Ink::Plain, sentence, LINES);
    }
    for gate in &component.gates {
        page.gap();
        draw_gate(page, gate);
    }
}

fn draw_gate(page: &mut Page, gate: &GateExplained) {
    let (mark, ink) = words::verdict(gate.verdict);
    let line = page.line().to(2).put(ink, mark).to(4).put(Ink::Strong, &text::clean(&gate.name));
    let line = match text::clean(&gate.value) {
        value if value.is_empty() => line,
        value => line.put(Ink::Plain, &format!("  {value}")),
    };
    let line = if gate.limits.is_empty() { line } else { line.put(Ink::Dim, &format!("  {}", gate.limits)) };
    page.push(line);
    match &gate.evidence {
        Some(evidence) => draw_evidence(page, 6, evidence),
        None if !gate.recent.is_empty() => draw_checks(page, &gate.recent),
        None => {}
    }
    let ink = if gate.verdict == Verdict::Fail { Ink::Bad } else { Ink::Plain };
    for (index, sentence) in gate.says.iter().enumerate() {
        page.paragraph(6, if index == 0 { ink } else { Ink::Plain }, sentence, LINES);
    }
}

/// The evidence of harm as a bar up to its limit, with the requests that it rests on.
pub(super) fn draw_evidence(page: &mut Page, indent: usize, it: &Evidence) {
    let share = if it.limit > 0.0 { (it.evidence / it.limit * 100.0).clamp(0.0, 100.0) as i64 } else { 0 };
    let ink = match share {
        100 => Ink::Bad,
        50.. => Ink::Warn,
        _ => Ink::Good,
    };
    let line = bar(page.line().to(indent).put(Ink::Dim, "harm "), ink, share, BAR)
        .put(Ink::Plain, &format!(" {:.2} of {:.2}", it.evidence, it.limit))
        .put(Ink::Dim, &format!("  requests {} and {}", count(it.canary[1]), count(it.stable[1])));
    let line = if it.safe { line.put(Ink::Good, "  safe") } else { line };
    page.push(line);
}

/// The last checks, one mark each.
fn draw_checks(page: &mut Page, recent: &str) {
    let mut line = page.line().to(6).put(Ink::Dim, "checks ");
    for check in recent.chars() {
        line = if check == 'F' { line.put(Ink::Bad, "█") } else { line.put(Ink::Good, "▁") };
    }
    page.push(line);
}

/// A count with its thousands apart: `12 345`.
pub(super) fn count(number: f64) -> String {
    let digits = format!("{:.0}", number.max(0.0));
    let mut apart = String::with_capacity(digits.len() + 4);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            apart.push(' ');
        }
        apart.push(digit);
    }
    apart
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_counts_are_readable() {
        for (number, said) in [(0.0, "0"), (999.0, "999"), (1_000.4, "1 000"), (12_345_678.0, "12 345 678")] {
            assert_eq!(count(number), said);
        }
    }
}
