//! A simulated release as one page for a browser: plots in SVG, nothing from anywhere else.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::api::{RolloutSpec, Span, TimelineEntry};
use crate::sim::Told;

use super::ink::Ink;
use super::plan::after;
use super::{text, time, words};

/// Size of a plot's inside, in pixels.
const WIDE: f64 = 840.0;
const HIGH: f64 = 150.0;
/// Room at the left for the scale.
const LEFT: f64 = 52.0;
/// Room above, for the names of phases.
const TOP: f64 = 18.0;
/// Points of one curve that are drawn.
const POINTS_MAX: usize = 1_500;
/// Distances of the marks of time that people reckon in, in seconds.
const STEPS: [i64; 18] = [
    1, 5, 10, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 21_600, 43_200, 86_400, 172_800, 604_800,
    2_419_200,
];
/// The most marks of time.
const MARKS_MAX: i64 = 8;
/// Room that a name of a phase needs, in pixels for each letter.
const LETTER: f64 = 6.5;

const STYLE: &str = ":root{color-scheme:light dark;--ink:#1c2430;--paper:#fff;--dim:#5a6473;--rule:#dde2e9;--axis:#b4bdc9;\
--good:#14804a;--bad:#c02b2b;--warn:#a15c00;--share:#2f7fd3;--curve:#6a3fb5}\
@media(prefers-color-scheme:dark){:root{--ink:#dbe2ea;--paper:#12161c;--dim:#9aa7b6;--rule:#2a323d;--axis:#465160;\
--good:#4cc38a;--bad:#ff7b72;--warn:#e3b341;--share:#6cb0f5;--curve:#c3a5f5}}\
body{font:15px/1.5 system-ui,sans-serif;max-width:960px;margin:2em auto;padding:0 1em;color:var(--ink);background:var(--paper)}\
h1{font-size:1.5em}h2{font-size:1.1em;margin:1.6em 0 .2em}svg{max-width:100%;height:auto;display:block}\
table{border-collapse:collapse;width:100%}td{padding:.25em .9em .25em 0;vertical-align:top;border-top:1px solid var(--rule)}\
td:first-child{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}p{margin:.4em 0}.says{margin:0 0 .4em}\
.dim{color:var(--dim)}.good{color:var(--good)}.bad{color:var(--bad)}.warn{color:var(--warn)}\
.axis{stroke:var(--axis);fill:none}.share{fill:var(--share);fill-opacity:.2;stroke:var(--share);stroke-width:1.5}\
.curve{fill:none;stroke:var(--curve);stroke-width:1.8}.limit{stroke:var(--bad);stroke-dasharray:6 4;fill:none}\
.zero{stroke:var(--axis);stroke-dasharray:1 4;fill:none}.mark{stroke-width:1.2;stroke-dasharray:2 3;stroke:currentColor}\
text{font:11px system-ui,sans-serif;fill:var(--dim)}text.bad{fill:var(--bad)}text.phase{fill:var(--ink)}";

/// The page.
#[must_use]
pub fn html_page(name: &str, spec: &RolloutSpec, told: &Told) -> String {
    let (word, ink) = match told.outcome {
        None => words::state(told.status.state),
        ended => words::outcome(ended),
    };
    let mut page = String::new();
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{0}, simulated</title><style>{STYLE}</style></head><body>\n<h1>{0} <span class=\"{1}\">{word}</span></h1>\n<p>{2}</p>\n\
         <p class=\"dim\">Simulated: {3} from the push to the end; the canary served {4:.0} requests, {5:.0} of them badly.</p>\n",
        escaped(name),
        class(ink),
        escaped(&told.status.message),
        time::span(told.until.as_millis() / 1_000),
        told.served.1,
        told.served.0,
    );
    let end = (told.until.as_millis() as f64).max(1.0);
    for component in spec.components.iter().map(|it| &it.name) {
        let _ = writeln!(page, "<h2>{}: share of traffic</h2>", escaped(component));
        share_plot(&mut page, spec, told, component, end);
        let gates: BTreeSet<&String> = told
            .samples
            .iter()
            .filter_map(|(_, points)| points.get(component))
            .flat_map(|point| point.gates.iter().map(|gate| &gate.0))
            .collect();
        for gate in gates {
            let _ = writeln!(
                page,
                "<h2>{}: evidence of harm by the gate {}</h2>\n<p class=\"dim says\">ln E: below 0 what was counted speaks for the \
                 canary, at the dashed line harm is shown.</p>",
                escaped(component),
                escaped(gate)
            );
            evidence_plot(&mut page, told, (component, gate), end);
        }
    }
    page.push_str("<h2>Decisions</h2>\n<table>\n");
    for (at, it) in &told.happened {
        let reason = it.reason.as_str();
        let component =
            if it.component.is_empty() { String::new() } else { format!("{}: ", escaped(&it.component)) };
        let _ = writeln!(
            page,
            "<tr><td class=\"dim\">{}</td><td class=\"{}\">{reason}</td><td>{component}{}</td></tr>",
            after(*at),
            class(words::reason_ink(reason)),
            escaped(&it.message)
        );
    }
    page.push_str("</table>\n</body></html>\n");
    page
}

const fn class(ink: Ink) -> &'static str {
    match ink {
        Ink::Good => "good",
        Ink::Bad => "bad",
        Ink::Warn => "warn",
        _ => "dim",
    }
}

/// Text that is text in HTML.
fn escaped(words: &str) -> String {
    text::clean(words).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn x_of(at: Span, end: f64) -> f64 {
    LEFT + WIDE * at.as_millis() as f64 / end
}

/// The frame of a plot: time from left to right, a line for each thing that happened, the names of phases above.
fn open(page: &mut String, told: &Told, component: &str, end: f64) {
    let (wide, high, base) = (LEFT + WIDE + 12.0, TOP + HIGH + 24.0, TOP + HIGH);
    let _ = write!(page, "<svg viewBox=\"0 0 {wide} {high}\" width=\"{wide}\" role=\"img\">");
    let is_its = |(_, it): &&(Span, TimelineEntry)| it.component.is_empty() || it.component == component;
    for (at, it) in told.happened.iter().filter(is_its) {
        let (x, reason) = (x_of(*at, end), it.reason.as_str());
        let _ = write!(
            page,
            "<g class=\"{}\"><line class=\"mark\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{base:.1}\"><title>{} \
             {reason}</title></line></g>",
            class(words::reason_ink(reason)),
            after(*at),
        );
    }
    let _ = write!(page, "<path class=\"axis\" d=\"M{LEFT} {TOP}V{base}H{}\"/>", LEFT + WIDE);
    let seconds = (end / 1_000.0).ceil() as i64;
    let fits = |step: &&i64| seconds / **step < MARKS_MAX;
    let step = STEPS.iter().find(fits).copied().unwrap_or(seconds.max(1));
    for at in (0..=seconds / step).map(|mark| Span::seconds(mark * step)) {
        let x = x_of(at, end);
        let _ = write!(
            page,
            "<path class=\"axis\" d=\"M{x:.1} {base}v4\"/><text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            base + 17.0,
            after(at)
        );
    }
}

/// The names of phases above their bakes, where there is room for them.
fn phases(page: &mut String, spec: &RolloutSpec, told: &Told, component: &str, end: f64) {
    for bake in told.bakes.iter().filter(|it| it.component == component) {
        let Some(phase) = spec.phases.get(bake.phase) else { continue };
        let (from, to) = (x_of(bake.from, end), x_of(bake.to.unwrap_or(told.until), end));
        if to - from >= LETTER * phase.name.chars().count() as f64 {
            let _ = write!(
                page,
                "<text class=\"phase\" x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                f64::midpoint(from, to),
                TOP - 6.0,
                escaped(&phase.name)
            );
        }
    }
}

fn label(page: &mut String, y: f64, words: &str) {
    let _ =
        write!(page, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{words}</text>", LEFT - 6.0, y + 4.0);
}

fn share_plot(page: &mut String, spec: &RolloutSpec, told: &Told, component: &str, end: f64) {
    open(page, told, component, end);
    phases(page, spec, told, component, end);
    let base = TOP + HIGH;
    let y_of = |weight: i32| base - HIGH * f64::from(weight.clamp(0, 100)) / 100.0;
    let mut path = format!("M{LEFT} {base}");
    let mut last = 0;
    for (at, points) in &told.samples {
        let weight = points.get(component).map_or(0, |point| point.weight);
        if weight != last {
            let _ = write!(path, "H{:.1}V{:.1}", x_of(*at, end), y_of(weight));
            last = weight;
        }
    }
    let _ = write!(page, "<path class=\"share\" d=\"{path}H{:.1}V{base}Z\"/>", LEFT + WIDE);
    for weight in [0, 50, 100] {
        label(page, y_of(weight), &format!("{weight} %"));
    }
    page.push_str("</svg>\n");
}

fn evidence_plot(page: &mut String, told: &Told, (component, gate): (&str, &str), end: f64) {
    let shown: Vec<(Span, f64, f64)> = told
        .samples
        .iter()
        .filter_map(|(at, points)| {
            let it = points.get(component)?.gates.iter().find(|it| it.0 == gate)?;
            Some((*at, it.1, it.2))
        })
        .collect();
    let limit = shown.last().map_or(0.0, |it| it.2);
    let top = shown.iter().map(|it| it.1).fold(limit, f64::max).min(limit * 3.0) * 1.1;
    let bottom = shown.iter().map(|it| it.1).fold(0.0, f64::min).max(-limit) * 1.1;
    let y_of =
        |value: f64| TOP + HIGH - HIGH * (value.clamp(bottom, top) - bottom) / (top - bottom).max(1e-9);
    open(page, told, component, end);
    let step = shown.len().div_ceil(POINTS_MAX).max(1);
    let mut path = String::new();
    for (index, (at, value, _)) in
        shown.iter().enumerate().filter(|(index, _)| index % step == 0 || index + 1 == shown.len())
    {
        // What was shown holds until something else is.
        let (x, y) = (x_of(*at, end), y_of(*value));
        let _ = if index == 0 { write!(path, "M{x:.1} {y:.1}") } else { write!(path, "H{x:.1}V{y:.1}") };
    }
    let _ = write!(page, "<path class=\"curve\" d=\"{path}\"/>");
    let (of_limit, of_zero) = (y_of(limit), y_of(0.0));
    let right = LEFT + WIDE;
    let _ = write!(
        page,
        "<path class=\"zero\" d=\"M{LEFT} {of_zero:.1}H{right}\"/><path class=\"limit\" d=\"M{LEFT} {of_limit:.1}H{right}\"/>\
         <text class=\"bad\" x=\"{:.1}\" y=\"{:.1}\">harm is shown</text>",
        LEFT + 6.0,
        of_limit - 4.0
    );
    label(page, of_limit, &format!("{limit:.2}"));
    label(page, of_zero, "0");
    if let Some((_, value, _)) = shown.last().filter(|it| it.1 < bottom / 2.0 || it.1 > limit * 1.5) {
        // Its own height, where neither of the two says it.
        label(page, y_of(*value), &format!("{value:.1}"));
    }
    page.push_str("</svg>\n");
}
