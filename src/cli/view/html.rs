//! A simulated release as one page for a browser: plots in SVG, nothing from anywhere else.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::api::{RolloutSpec, Span};
use crate::sim::Told;

use super::ink::Ink;
use super::plan::after;
use super::{text, time, words};

/// Size of a plot's inside, in pixels.
const WIDE: f64 = 840.0;
const HIGH: f64 = 150.0;
/// Room at the left for the scale.
const LEFT: f64 = 52.0;
/// Points of one curve that are drawn.
const POINTS_MAX: usize = 1_500;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:960px;margin:2em auto;padding:0 1em;color:#1c2430;background:#fff}\
h1{font-size:1.5em}h2{font-size:1.1em;margin:1.6em 0 .3em}svg{max-width:100%;height:auto}table{border-collapse:collapse;width:100%}\
td{padding:.2em .8em .2em 0;vertical-align:top;border-top:1px solid #e3e7ed}.dim{color:#66707f}.good{color:#14804a}.bad{color:#c02b2b}\
.warn{color:#a15c00}.axis{stroke:#c3cad4;fill:none}.share{fill:#2f7fd333;stroke:#2f7fd3;stroke-width:1.5}.curve{fill:none;stroke:#6a3fb5;stroke-width:1.6}\
.limit{stroke:#c02b2b;stroke-dasharray:5 4;fill:none}.mark{stroke:#8894a4;stroke-dasharray:2 3}text{font:11px system-ui,sans-serif;fill:#66707f}\
@media(prefers-color-scheme:dark){body{background:#12161c;color:#dbe2ea}td{border-color:#2a323d}.dim,text{color:#93a0b0;fill:#93a0b0}.axis{stroke:#3a4452}}";

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
        share_plot(&mut page, told, component, end);
        let gates: BTreeSet<&String> = told
            .samples
            .iter()
            .filter_map(|(_, points)| points.get(component))
            .flat_map(|point| point.gates.iter().map(|gate| &gate.0))
            .collect();
        for gate in gates {
            let _ = writeln!(
                page,
                "<h2>{}: evidence of harm by the gate {} (ln E)</h2>",
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

fn open(page: &mut String, told: &Told, component: &str, end: f64) {
    let (wide, high) = (LEFT + WIDE + 10.0, HIGH + 34.0);
    let _ = write!(page, "<svg viewBox=\"0 0 {wide} {high}\" width=\"{wide}\" role=\"img\">");
    for (at, it) in
        told.happened.iter().filter(|(_, it)| it.component.is_empty() || it.component == component)
    {
        let x = x_of(*at, end);
        let _ = write!(
            page,
            "<line class=\"mark\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"10\" y2=\"{:.1}\"><title>{} {}</title></line>",
            HIGH + 10.0,
            after(*at),
            it.reason.as_str()
        );
    }
    let base = HIGH + 10.0;
    let _ = write!(page, "<path class=\"axis\" d=\"M{LEFT} 10V{base}H{}\"/>", LEFT + WIDE);
    for quarter in 0..=4 {
        let at = Span::millis((end * f64::from(quarter) / 4.0) as i64);
        let anchor = if quarter == 4 { "end" } else { "middle" };
        let _ = write!(
            page,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>",
            x_of(at, end),
            base + 16.0,
            after(at)
        );
    }
}

fn label(page: &mut String, y: f64, words: &str) {
    let _ =
        write!(page, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{words}</text>", LEFT - 6.0, y + 4.0);
}

fn share_plot(page: &mut String, told: &Told, component: &str, end: f64) {
    open(page, told, component, end);
    let base = HIGH + 10.0;
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
        |value: f64| HIGH + 10.0 - HIGH * (value.clamp(bottom, top) - bottom) / (top - bottom).max(1e-9);
    open(page, told, component, end);
    let step = shown.len().div_ceil(POINTS_MAX).max(1);
    let mut path = String::new();
    for (index, (at, value, _)) in
        shown.iter().enumerate().filter(|(index, _)| index % step == 0 || index + 1 == shown.len())
    {
        let _ =
            write!(path, "{}{:.1} {:.1}", if index == 0 { 'M' } else { 'L' }, x_of(*at, end), y_of(*value));
    }
    let _ = write!(page, "<path class=\"curve\" d=\"{path}\"/>");
    let _ = write!(page, "<path class=\"limit\" d=\"M{LEFT} {0:.1}H{1}\"/>", y_of(limit), LEFT + WIDE);
    label(page, y_of(limit), &format!("{limit:.2}"));
    label(page, y_of(0.0), "0");
    page.push_str("</svg>\n");
}
