//! Do the rules do here what they did in the prototype, which was written in another language with other random numbers?
//!
//! `prototype.csv` holds its figures: how often each rule rolled back, and the bad requests served. A difference is measured in
//! standard errors of both runs together. The limits of the tuned rules are themselves estimated from a few thousand rollouts in
//! either run, so those are only told.

use super::experiment::Row;

const PROTOTYPE: &str = include_str!("prototype.csv");
/// Among about two thousand differences by chance alone, one this large comes once in twenty runs.
pub const ERRORS_MAX: f64 = 4.3;

/// How far apart the two are.
#[derive(Clone, Debug, Default)]
pub struct Agreement {
    pub compared: usize,
    /// The largest difference of how often a rule rolled back, in standard errors, and where.
    pub rate: (f64, String),
    /// The same for the bad requests served.
    pub served: (f64, String),
    /// Differences of more than two standard errors; chance alone makes 4.6 %.
    pub above_two: f64,
}

struct Reference {
    key: (String, u64, u64, u64, String),
    tried: f64,
    rate: f64,
    served: f64,
}

fn references() -> Vec<Reference> {
    let reference = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        let number = |at: usize| fields[at].parse::<f64>().unwrap();
        Reference {
            key: (
                fields[0].to_owned(),
                number(1).to_bits(),
                number(2).to_bits(),
                number(3).to_bits(),
                fields[4].replace(';', ","),
            ),
            tried: number(5),
            rate: number(6),
            served: number(7),
        }
    };
    PROTOTYPE.lines().skip(1).map(reference).collect()
}

/// Compares the rules that have no tuned limits, or those that have.
pub fn agreement(rows: &[Row], is_tuned: bool) -> Agreement {
    let mut agreement = Agreement::default();
    let mut above_two = 0;
    let mut keep = |largest: &mut (f64, String), errors: f64, row: &Row| {
        above_two += usize::from(errors > 2.0);
        if errors > largest.0 {
            *largest = (errors, format!("{}, ×{}, {}", row.cell.label(), row.cell.ratio, row.rule));
        }
    };
    for reference in references().iter().filter(|reference| reference.key.4.starts_with("tuned") == is_tuned)
    {
        let is_same = |row: &&Row| {
            let Row { cell, rule, .. } = row;
            reference.key
                == (
                    cell.scenario.name().to_owned(),
                    cell.rps.to_bits(),
                    cell.bad.to_bits(),
                    cell.ratio.to_bits(),
                    rule.clone(),
                )
        };
        let Some(row) = rows.iter().find(is_same) else { continue };
        let tried = row.tried as f64;
        let both = 1.0 / tried + 1.0 / reference.tried;
        // One more of each: no rollback at all in either run is no certainty.
        let pooled =
            (row.rate() * tried + reference.rate * reference.tried + 1.0) / (tried + reference.tried + 2.0);
        let error = (pooled * (1.0 - pooled) * both).sqrt();
        keep(&mut agreement.rate, (row.rate() - reference.rate).abs() / error, row);
        let error = row.deviation.max(0.1) * both.sqrt();
        keep(&mut agreement.served, (row.bad - reference.served).abs() / error, row);
        agreement.compared += 2;
    }
    agreement.above_two = above_two as f64 / agreement.compared.max(1) as f64;
    agreement
}
