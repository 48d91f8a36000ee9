//! The gates of a component as a table.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::api::{Gate, GateStatistics, GateStatus, Verdict};

use super::explain::evidence;
use super::explained::draw_evidence;
use super::ink::{Ink, Page};
use super::{text, time, words};

/// A gate name gets at least this much room.
const NAME_MIN: usize = 12;
/// Widest value that is shown whole.
const VALUE_MAX: usize = 14;
/// Widest limits that are shown whole.
const LIMITS_MAX: usize = 20;
/// Column at which the names start; the marks stand at 2.
const NAMES: usize = 4;
/// Lines that the message of a gate may take.
const MESSAGE_LINES: usize = 3;

/// Columns of the titles `value`, `limits`, `passes`, `asked`, and of the last column, which has none.
const TITLES: [usize; 5] = [5, 6, 6, 5, 0];

/// One gate as words.
struct Row<'a> {
    gate: &'a GateStatus,
    name: String,
    value: String,
    limits: String,
    passes: String,
    failing: String,
    asked: String,
}

/// The gates with what those have shown that count.
pub(super) fn draw(
    page: &mut Page,
    now: Timestamp,
    (gates, statistics): (&[GateStatus], &[GateStatistics]),
    limits: &BTreeMap<&str, &Gate>,
) {
    let mut rows: Vec<Row<'_>> =
        gates.iter().map(|gate| Row::new(gate, limits.get(gate.name.as_str()).copied(), now)).collect();
    let columns = |row: &Row<'_>| {
        [&row.value, &row.limits, &row.passes, &row.asked, &row.failing].map(|column| text::width(column))
    };
    let widths =
        rows.iter().map(columns).fold(TITLES, |widest, row| std::array::from_fn(|i| widest[i].max(row[i])));
    let others: usize = widths.iter().filter(|width| **width > 0).map(|width| width + 2).sum();
    let name_max = page.width.saturating_sub(NAMES + others).max(NAME_MIN);
    for row in &mut rows {
        row.name = text::cut(&row.name, name_max);
    }
    let name_end = NAMES + rows.iter().map(|row| text::width(&row.name)).max().unwrap_or(0).max(4);
    let value_end = name_end + 2 + widths[0];
    let passes_end = value_end + 2 + widths[1] + 2 + widths[2];
    let asked_end = passes_end + 2 + widths[3];
    let titles = page
        .line()
        .to(NAMES)
        .put(Ink::Dim, "gate")
        .put_right(value_end, Ink::Dim, "value")
        .to(value_end + 2)
        .put(Ink::Dim, "limits")
        .put_right(passes_end, Ink::Dim, "passes")
        .put_right(asked_end, Ink::Dim, "asked");
    page.push(titles);
    for row in &rows {
        let (mark, ink) = words::verdict(row.gate.verdict);
        let line = page
            .line()
            .to(2)
            .put(ink, mark)
            .to(NAMES)
            .put(Ink::Plain, &row.name)
            .put_right(value_end, value_ink(row.gate.verdict), &row.value)
            .to(value_end + 2)
            .put(Ink::Dim, &row.limits)
            .put_right(passes_end, Ink::Plain, &row.passes)
            .put_right(asked_end, Ink::Dim, &row.asked);
        let line =
            if row.failing.is_empty() { line } else { line.to(asked_end + 2).put(Ink::Bad, &row.failing) };
        page.push(line);
        let counted = statistics.iter().find(|it| it.name == row.gate.name && it.limit > 0.0);
        if let Some(counted) = counted {
            draw_evidence(page, NAMES + 2, &evidence(counted, None));
        }
        if let Some(message) = row.message(now) {
            page.paragraph(NAMES + 2, ink, &message, MESSAGE_LINES);
        }
    }
}

const fn value_ink(verdict: Verdict) -> Ink {
    match verdict {
        Verdict::Fail => Ink::Bad,
        _ => Ink::Strong,
    }
}

impl<'a> Row<'a> {
    fn new(gate: &'a GateStatus, policy: Option<&Gate>, now: Timestamp) -> Self {
        let value = if gate.value.is_empty() { "–".to_owned() } else { text::clean(&gate.value) };
        let limits = policy.map(words::limits).unwrap_or_default();
        let failing = match (gate.tripped, gate.consecutive_failures, policy) {
            (true, _, _) => "tripped".to_owned(),
            (false, 0, _) => String::new(),
            (false, count, Some(policy)) => format!("fails {count}/{}", policy.failure_threshold),
            (false, count, None) => format!("fails {count}"),
        };
        Self {
            gate,
            name: text::clean(&gate.name),
            value: text::cut(&value, VALUE_MAX),
            limits: text::cut(&limits, LIMITS_MAX),
            passes: gate.passes.to_string(),
            failing,
            asked: gate.evaluated_at.map_or_else(|| "never".to_owned(), |at| time::ago(now, at)),
        }
    }

    /// What a person has to know besides the numbers: nothing about a pass.
    fn message(&self, now: Timestamp) -> Option<String> {
        if self.gate.verdict == Verdict::Pass {
            return None;
        }
        let said = if self.gate.message.is_empty() {
            words::verdict_words(self.gate.verdict)
        } else {
            &self.gate.message
        };
        match self.gate.no_data_since {
            Some(since) if matches!(self.gate.verdict, Verdict::NoData | Verdict::Error) => {
                Some(format!("no evidence for {}: {said}", time::span(time::seconds_between(since, now))))
            }
            _ => Some(said.to_owned()),
        }
    }
}
