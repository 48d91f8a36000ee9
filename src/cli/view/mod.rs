//! What people see: pure functions from objects and a time to text.
//!
//! ```text
//! header      name, state, run, message, next action
//! phases      ✓ pilot 10 % ── ● half 50 % ── ○ everyone 100 %     (one or two components that stand alone)
//! parts       the tree of the components, a line each            (all others)
//! component   stage, traffic, pods, gates                        (a block each, of those that need a look)
//! degraded    switches that are set; hooks that run or failed
//! timeline    the latest entries
//! ```

mod component;
mod degraded;
mod explain;
mod explained;
mod gates;
mod graph;
mod header;
mod history;
mod hooks;
mod html;
mod ink;
mod parts;
mod phases;
mod plan;
mod proof;
mod record;
mod simulate;
mod text;
mod time;
mod timeline;
mod words;

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::api::{Gate, Rollout, RolloutSpec, RolloutState};

pub use explain::{Explanation, explanation};
pub use explained::render_explanation;
pub use history::render_history;
pub use html::html_page;
pub use ink::{Ink, Style};
pub use plan::render_plan;
pub use record::render_run;
pub use simulate::{render_many, render_simulation};
pub use text::{clean, cut, painted_width, wrap};
pub use time::{ago, span, stamp};
pub use words::limits;

use ink::Page;

/// The narrowest page: narrower terminals see cut lines.
pub const WIDTH_MIN: usize = 60;
/// The widest page: longer lines are hard to read.
pub const WIDTH_MAX: usize = 100;
/// Timeline entries of a status; `palier history` shows them all.
const TIMELINE_ENTRIES: usize = 6;

/// What the blocks have in common.
struct Frame<'a> {
    now: Timestamp,
    state: RolloutState,
    spec: &'a RolloutSpec,
}

/// How much of a release of several parts is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// What needs a look.
    #[default]
    Attention,
    /// Everything.
    All,
}

/// The status of a Rollout at `now`, in lines of at most `width` columns (brought into 60 to 100).
#[must_use]
pub fn render_status(
    rollout: &Rollout,
    now: Timestamp,
    width: usize,
    style: Style,
    detail: Detail,
) -> String {
    let mut page = Page::new(width.clamp(WIDTH_MIN, WIDTH_MAX), style);
    let status = rollout.status.clone().unwrap_or_default();
    let frame = Frame { now, state: status.state, spec: &rollout.spec };
    let (is_all, run) = (detail == Detail::All, status.run.as_ref());
    header::draw(&mut page, rollout, &status, now);
    if rollout.status.is_none() {
        return page.finish();
    }
    page.gap();
    let is_graph = graph::is_graph(&rollout.spec);
    if is_graph {
        parts::draw(&mut page, &frame, &status);
    } else {
        phases::draw(&mut page, &status, &rollout.spec);
    }
    for component in &status.components {
        if !is_graph || is_all || proof::needs_attention(&rollout.spec, run, component) {
            page.gap();
            component::draw(&mut page, &frame, component, &gates_of(&rollout.spec, &component.name));
        }
    }
    if let Some(run) = run {
        degraded::draw(&mut page, now, &run.degraded, &rollout.spec.degraded_modes, is_all);
        hooks::draw(&mut page, now, &run.hooks, is_all);
    }
    if let Some(run) = run
        && !run.timeline.is_empty()
    {
        page.gap();
        timeline::draw_latest(&mut page, now, &run.timeline, TIMELINE_ENTRIES);
    }
    page.finish()
}

/// One line for logs and pipes: state, phase, traffic, gates and message, without anything that changes by itself.
#[must_use]
pub fn status_line(rollout: &Rollout) -> String {
    let Some(status) = rollout.status.clone() else { return "Not seen yet".to_owned() };
    let mut parts = vec![words::headline(&status).0.to_owned()];
    if let Some(run) = &status.run {
        parts.push(format!("run {}", run.number));
    }
    if !status.phase.is_empty() {
        parts.push(format!("phase {}", clean(&status.phase)));
    }
    if !status.traffic.is_empty() {
        parts.push(format!("traffic {}", clean(&status.traffic)));
    }
    if !status.gates.is_empty() {
        parts.push(format!("gates {}", clean(&status.gates)));
    }
    let line = match () {
        () if graph::is_graph(&rollout.spec) => {
            format!("{} ({})", parts.join(", "), parts::in_a_line(&status))
        }
        () => parts.join(", "),
    };
    let why = if status.message.is_empty() { status.run.map(|run| run.reason) } else { Some(status.message) };
    match why.as_deref().map(clean) {
        Some(why) if !why.is_empty() => format!("{line}: {why}"),
        _ => line,
    }
}

/// The gates that a component is judged by, by name.
fn gates_of<'a>(spec: &'a RolloutSpec, component: &str) -> BTreeMap<&'a str, &'a Gate> {
    let own = spec.components.iter().filter(|c| c.name == component).flat_map(|c| &c.gates);
    spec.gates.iter().chain(own).map(|gate| (gate.name.as_str(), gate)).collect()
}
