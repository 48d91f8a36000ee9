//! A simulated release as a page.

use crate::api::{Outcome, Span, TimelineEntry};
use crate::cli::simulate::Many;
use crate::sim::Told;

use super::explained::count;
use super::ink::{Ink, Page, Style};
use super::plan::after;
use super::{WIDTH_MAX, WIDTH_MIN, text, time, words};

/// The marks of a sparkline, lowest first.
const MARKS: [&str; 8] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];
/// The share of the limit at which evidence is worth a look.
const NEAR: f64 = 0.5;

/// One run in lines of at most `width` columns (brought into 60 to 100).
#[must_use]
pub fn render_simulation(name: &str, told: &Told, has_numbers: bool, width: usize, style: Style) -> String {
    let mut page = Page::new(width.clamp(WIDTH_MIN, WIDTH_MAX), style);
    let (word, ink) = match told.outcome {
        None => words::state(told.status.state),
        ended => words::outcome(ended),
    };
    let line = page
        .line()
        .put(Ink::Strong, &text::clean(name))
        .put(Ink::Plain, "  ")
        .put(ink, "● ")
        .put(ink, word)
        .put_right(
            page.width,
            Ink::Dim,
            &format!("simulated, {}", time::span(told.until.as_millis() / 1_000)),
        );
    page.push(line);
    page.paragraph(0, Ink::Plain, &told.status.message, 4);
    if told.served.1 > 0.0 {
        let said = format!(
            "The canary served {} requests, {} of them badly.",
            count(told.served.1),
            count(told.served.0)
        );
        page.paragraph(0, Ink::Plain, &said, 2);
    }
    if has_numbers {
        let said = "Gates of one number answer half of what they allow: what their queries would say nobody knows. --worse GATE=RATIO makes one worse.";
        page.paragraph(0, Ink::Dim, said, 2);
    }
    page.gap();
    draw_curves(&mut page, told);
    page.gap();
    let line = page.line().put(Ink::Strong, "timeline").put(Ink::Dim, "  (time since the push)");
    page.push(line);
    let widest = told.happened.iter().map(|(at, _)| text::width(&after(*at))).max().unwrap_or(0);
    let reasons = told.happened.iter().map(|(_, it)| text::width(it.reason.as_str())).max().unwrap_or(0);
    for (at, it) in &told.happened {
        draw_entry(&mut page, (*at, it), 2 + widest, reasons);
    }
    page.finish()
}

fn draw_entry(page: &mut Page, (at, it): (Span, &TimelineEntry), when_end: usize, reasons: usize) {
    let message = match it.component.as_str() {
        "" => text::clean(&it.message),
        component => format!("{}: {}", text::clean(component), text::clean(&it.message)),
    };
    let column = when_end + 2 + reasons + 2;
    let mut lines = text::wrap_at_most(&message, page.width.saturating_sub(column), 6).into_iter();
    let reason = text::cut(&text::clean(&it.reason), 24);
    let line = page
        .line()
        .put_right(when_end, Ink::Dim, &after(at))
        .to(when_end + 2)
        .put(words::reason_ink(&reason), &reason)
        .to(column)
        .put(Ink::Plain, &lines.next().unwrap_or_default());
    page.push(line);
    for rest in lines {
        let line = page.line().to(column).put(Ink::Plain, &rest);
        page.push(line);
    }
}

/// Traffic and evidence over time, a line each.
fn draw_curves(page: &mut Page, told: &Told) {
    let columns = page.width.saturating_sub(30).clamp(20, 60);
    let mut names: Vec<&String> = told.samples.iter().flat_map(|(_, points)| points.keys()).collect();
    names.sort();
    names.dedup();
    for name in names {
        let of = |at: i64| told.samples.iter().rev().find(|(time, _)| time.as_millis() <= at)?.1.get(name);
        let moments: Vec<i64> = (0..columns)
            .map(|column| {
                told.until.as_millis() * i64::try_from(column + 1).unwrap_or(0)
                    / i64::try_from(columns).unwrap_or(1)
            })
            .collect();
        let weights = moments.iter().map(|at| of(*at).map_or(0.0, |it| f64::from(it.weight) / 100.0));
        draw_curve(page, name, "traffic", &weights.collect::<Vec<_>>(), "", false);
        let mut gates: Vec<&String> = told
            .samples
            .iter()
            .filter_map(|(_, it)| it.get(name))
            .flat_map(|it| it.gates.iter().map(|gate| &gate.0))
            .collect();
        gates.sort();
        gates.dedup();
        for gate in gates {
            let share = |at: &i64| {
                let shown = of(*at).and_then(|it| it.gates.iter().find(|it| it.0 == *gate));
                shown.map_or(0.0, |it| (it.1 / it.2).clamp(0.0, 1.0))
            };
            let shares: Vec<f64> = moments.iter().map(share).collect();
            let most =
                told.samples.iter().filter_map(|(_, it)| it.get(name)?.gates.iter().find(|it| it.0 == *gate));
            let most = most.map(|it| it.1).fold(f64::NEG_INFINITY, f64::max);
            let limit = told
                .samples
                .iter()
                .rev()
                .find_map(|(_, it)| it.get(name)?.gates.iter().find(|it| it.0 == *gate).map(|it| it.2));
            let said = format!(" at most {most:.2} of {:.2}", limit.unwrap_or(0.0));
            draw_curve(page, name, gate, &shares, &said, true);
        }
    }
}

fn draw_curve(page: &mut Page, component: &str, what: &str, shares: &[f64], said: &str, is_evidence: bool) {
    let label = text::cut(&format!("{} {}", text::clean(component), text::clean(what)), 18);
    let mut line = page.line().to(2).put(Ink::Dim, &label).to(21);
    for share in shares {
        let index = (share * (MARKS.len() - 1) as f64).round() as usize;
        let ink = match is_evidence {
            true if *share >= 1.0 => Ink::Bad,
            true if *share >= NEAR => Ink::Warn,
            _ => Ink::Good,
        };
        line = line.put(ink, MARKS[index.min(MARKS.len() - 1)]);
    }
    page.push(line);
    if !said.is_empty() {
        let line = page.line().to(21).put(Ink::Dim, &format!("evidence of harm (ln E){said}"));
        page.push(line);
    }
}

/// Many runs in lines of at most `width` columns (brought into 60 to 100).
#[must_use]
pub fn render_many(known: &Many, width: usize, style: Style) -> String {
    let mut page = Page::new(width.clamp(WIDTH_MIN, WIDTH_MAX), style);
    let line = page
        .line()
        .put(Ink::Strong, &text::clean(&known.rollout))
        .put(Ink::Plain, &format!("  {} simulated runs", known.runs));
    page.push(line);
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let [share, low, high] = known.share;
    let rows = [
        (
            "rolled back",
            format!(
                "{} of {}, {} ({} to {} with 95 %)",
                known.rolled_back,
                known.runs,
                percent(share),
                percent(low),
                percent(high)
            ),
        ),
        (words::outcome(Some(Outcome::Completed)).0, format!("{} of {}", known.completed, known.runs)),
        ("held", format!("{} of {}: neither harm nor safety was shown", known.held, known.runs)),
        (
            "decision",
            known
                .decision_seconds_median
                .map_or("none".to_owned(), |it| format!("after {} in the median", time::span(it as i64))),
        ),
    ];
    let bad = known.canary_bad_mean.map(|it| format!("{it:.1} served by the canary in a run, on average"));
    for (label, said) in rows.into_iter().chain(bad.map(|said| ("bad requests", said))) {
        let line = page.line().to(2).put(Ink::Dim, &label.to_lowercase()).to(16).put(Ink::Plain, &said);
        page.push(line);
    }
    for alarm in &known.alarms {
        page.paragraph(2, Ink::Warn, alarm, 3);
    }
    page.finish()
}
