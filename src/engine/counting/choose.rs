//! Which preset a gate with `preset: Auto` stands for: asked once, when the run begins, and frozen for it.
//!
//! The component says what may be meant: what counts by Service needs one. The metric server says which of these have series
//! of the component's pods, or of its Service. One is an answer; none and several are none.

use jiff::Timestamp;

use crate::api::{Gate, Preset, Rule};
use crate::engine::lint::promql::metrics;
use crate::engine::plan::Ask;
use crate::engine::query::{QueryError, Variables, parsed, substitute};
use crate::engine::world::Line;

/// The question of a gate that does not say whose metrics it reads.
///
/// # Errors
/// A query whose variables cannot be replaced.
pub fn which(gate: &Gate, variables: &Variables, at: Timestamp) -> Result<Ask, QueryError> {
    let (mut presets, mut queries) = (Vec::new(), Vec::new());
    for preset in Preset::candidates(variables.service.is_some()) {
        let Some(query) = counted(gate, *preset) else { continue };
        presets.push(*preset);
        queries.push(format!("count by (pod) ({})", substitute(query, variables)?));
    }
    // Metric servers know milliseconds.
    let at = Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at);
    Ok(Ask::Which { presets, queries, at })
}

/// The query by which the requests that a preset knows of are counted.
fn counted(gate: &Gate, preset: Preset) -> Option<&'static str> {
    match gate.rule()? {
        Rule::Counters { .. } => preset.total(),
        Rule::Buckets { .. } => preset.buckets(),
        Rule::Number { .. } => None,
    }
}

/// The only preset with series of the component's pods, which `is_its_own` knows by their names.
///
/// # Errors
/// In words for people: what was looked for, and how to name one.
pub fn chosen(
    gate: &Gate,
    has_service: bool,
    is_its_own: impl Fn(&str) -> bool,
    series: &[Vec<Line>],
) -> Result<Preset, String> {
    let asked: Vec<(Preset, &str)> = Preset::candidates(has_service)
        .iter()
        .filter_map(|preset| Some((*preset, counted(gate, *preset)?)))
        .collect();
    let has_series = |lines: &[Line]| lines.iter().any(|line| is_its_own(&line.pod));
    let found: Vec<Preset> = asked
        .iter()
        .zip(series)
        .filter(|(_, lines)| has_series(lines))
        .map(|((preset, _), _)| *preset)
        .collect();
    match found[..] {
        [only] => Ok(only),
        [] => {
            let looked_for: Vec<String> =
                asked.iter().map(|(preset, query)| format!("{} ({preset:?})", metric(query))).collect();
            let looked_for = looked_for.join(", ");
            Err(format!("no series of these pods for Auto: {looked_for}; set prometheus.preset"))
        }
        _ => {
            let names: Vec<String> = found.iter().map(|preset| format!("{preset:?}")).collect();
            Err(format!(
                "{} all have series of these pods, and Auto chooses only where there is one: set prometheus.preset",
                names.join(" and ")
            ))
        }
    }
}

/// The metric that a query reads, as its documentation names it.
fn metric(query: &str) -> String {
    let name = parsed(query).ok().and_then(|expr| metrics(&expr).into_iter().next()).unwrap_or_default();
    name.trim_end_matches("_bucket").to_owned()
}
