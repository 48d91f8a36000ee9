//! The page: what the experiments say, and every cell that is lost.

use std::fmt::Write as _;

use palier::engine::statistics::special::share_at_most;

use super::agreement::{Agreement, ERRORS_MAX, agreement};
use super::experiment::{ARGO, BAD, DEFAULT, FLAGGER, KAYENTA, KNOWING, PROTOTYPE, RPS, Row};
use super::rules::{FIVE_MINUTES, ONE_MINUTE};
use super::traffic::{Cell, Scenario};
use super::{latency, pipeline};

/// What must hold for the benchmark to pass.
const FALSE_MAX: f64 = 0.01;
const FALSE_BOUND_MAX: f64 = 0.015;
const FEWER_MIN: f64 = 65.0;
const FEWER_EACH_MIN: f64 = 45.0;
const FEWER_BEST_MIN: f64 = 50.0;

pub struct Report {
    pub rows: Vec<Row>,
    pub pipeline: Vec<pipeline::Row>,
    pub latency: Vec<latency::Row>,
}

/// The headline, in figures.
pub struct Headline {
    pub worst: Row,
    pub bound: f64,
    pub argo: f64,
    pub flagger: f64,
    pub best: f64,
    pub each: f64,
}

impl Headline {
    pub fn holds(&self) -> bool {
        self.worst.rate() <= FALSE_MAX
            && self.bound <= FALSE_BOUND_MAX
            && self.argo.min(self.flagger) >= FEWER_MIN
            && self.each >= FEWER_EACH_MIN
            && self.best >= FEWER_BEST_MIN
    }
}

fn minutes(median: f64) -> String {
    if median.is_finite() { format!("{median:.1}") } else { "–".to_owned() }
}

fn percent(share: f64) -> String {
    format!("{:.1}", 100.0 * share)
}

impl Report {
    fn row(&self, cell: Cell, rule: &str) -> &Row {
        let found = self.rows.iter().find(|row| row.cell == cell && row.rule == rule);
        found.unwrap_or_else(|| panic!("no row of {rule} in {}", cell.label()))
    }

    fn cells(scenario: Scenario, rps: &[f64], ratios: &[f64]) -> Vec<Cell> {
        let mut cells = Vec::new();
        for rps in rps {
            for bad in BAD {
                cells.extend(ratios.iter().map(|ratio| Cell { scenario, rps: *rps, bad, ratio: *ratio }));
            }
        }
        cells
    }

    /// The tuned rule that served the fewest bad requests in a cell, chosen afterwards.
    fn best(&self, cell: Cell) -> f64 {
        let one = ONE_MINUTE.map(|failures| format!("tuned 1m k={failures}"));
        let five = FIVE_MINUTES.map(|failures| format!("tuned 5m k={failures}"));
        let served = one.iter().chain(&five).map(|rule| self.row(cell, rule).bad);
        served.fold(f64::INFINITY, f64::min)
    }

    /// By how many per cent fewer bad requests `rule` served than the other, as a geometric mean over 10 and 100 requests a second,
    /// both error rates, ×2 and ×5.
    fn fewer(&self, rule: &str, scenarios: &[Scenario], other: impl Fn(Cell) -> f64) -> f64 {
        let (mut logs, mut cells) = (0.0, 0.0);
        for scenario in scenarios {
            for cell in Self::cells(*scenario, &RPS[1..], &[2.0, 5.0]) {
                logs += (self.row(cell, rule).bad / other(cell)).ln();
                cells += 1.0;
            }
        }
        100.0 * (1.0 - (logs / cells).exp())
    }

    fn worst(&self, scenario: Scenario, rule: &str) -> &Row {
        let rows = Self::cells(scenario, &RPS, &[1.0]).into_iter().map(|cell| self.row(cell, rule));
        rows.max_by(|a, b| a.rate().total_cmp(&b.rate())).unwrap()
    }

    pub fn headline(&self) -> Headline {
        let served = |rule: &'static str| move |cell: Cell| self.row(cell, rule).bad;
        let worst = Scenario::ALL.map(|scenario| self.worst(scenario, DEFAULT));
        let worst = worst.into_iter().max_by(|a, b| a.rate().total_cmp(&b.rate())).unwrap().clone();
        let each = |scenario: Scenario| {
            let argo = self.fewer(DEFAULT, &[scenario], served(ARGO));
            argo.min(self.fewer(DEFAULT, &[scenario], served(FLAGGER)))
        };
        Headline {
            bound: share_at_most(worst.rolled_back as f64, worst.tried as f64, 0.99),
            argo: self.fewer(DEFAULT, &Scenario::COMPARED, served(ARGO)),
            flagger: self.fewer(DEFAULT, &Scenario::COMPARED, served(FLAGGER)),
            best: self.fewer(DEFAULT, &Scenario::COMPARED, |cell| self.best(cell)),
            each: Scenario::COMPARED.map(each).into_iter().fold(f64::INFINITY, f64::min),
            worst,
        }
    }

    pub fn page(&self) -> String {
        let mut page = include_str!("preface.md").to_owned();
        self.tell_headline(&mut page);
        self.tell_false(&mut page);
        self.tell_found(&mut page);
        self.tell_fewer(&mut page);
        self.tell_lost(&mut page);
        self.tell_pipeline(&mut page);
        self.tell_latency(&mut page);
        self.tell_agreement(&mut page);
        page.truncate(page.trim_end().len());
        page.push('\n');
        page
    }

    fn tell_headline(&self, page: &mut String) {
        let Headline { worst, bound, argo, flagger, best, each } = self.headline();
        let verdict = if self.headline().holds() { "It holds." } else { "**It does not hold.**" };
        let _ = write!(
            page,
            "\n## In short\n\n{verdict} With default settings, looked at every 15 s:\n\n\
             - Healthy releases rolled back, in the worst of 36 cells: {} % ({} of {}, {}); with 99 % confidence at most {:.2} %.\n\
             - Bad requests that the canary served, against rules tuned with perfect knowledge to the same 1 %: \
             {argo:.0} % fewer than Argo's, {flagger:.0} % fewer than Flagger's, at least {each:.0} % in every scenario; \
             {best:.0} % fewer than the best of ten tuned rules, chosen for each cell afterwards.\n",
            percent(worst.rate()),
            worst.rolled_back,
            worst.tried,
            worst.cell.label(),
            100.0 * bound,
        );
    }

    fn tell_false(&self, page: &mut String) {
        let rules = [
            "argo as printed: irate every 5m, 95 %, 3",
            "argo limits at 1m: 95 %, 3",
            "flagger as printed: 1m, 99 %, 10",
            ARGO,
            FLAGGER,
            KAYENTA,
            "binomial test peeked each minute",
            "seq phi=1",
            "seq",
            "seq rho0=1.1",
            PROTOTYPE,
            DEFAULT,
        ];
        page.push_str(
            "\n## Healthy releases rolled back\n\nPer cent, in the worst of six cells (1, 10, 100 requests a second; 0.1 and 1 % errors). \
             *Late* is *bursty* here.\n\n| rule |",
        );
        for scenario in Scenario::ALL {
            let _ = write!(page, " {} |", scenario.name());
        }
        page.push_str("\n|---|---|---|---|---|---|---|\n");
        for rule in rules {
            let is_ours = rule == DEFAULT;
            let name = if is_ours { format!("**{rule}**") } else { rule.to_owned() };
            let _ = write!(page, "| {name} |");
            for scenario in Scenario::ALL {
                let _ = write!(page, " {} |", percent(self.worst(scenario, rule).rate()));
            }
            page.push('\n');
        }
    }

    fn tell_found(&self, page: &mut String) {
        page.push_str(
            "\n## Regressions found\n\nEach field: rolled back in per cent / median minutes until then / bad requests that the canary served, \
             on average, of an hour.\n\n| cell | rule | ×1.5 | ×2 | ×5 |\n|---|---|---|---|---|\n",
        );
        for scenario in Scenario::ALL {
            for (rps, bad) in RPS.into_iter().flat_map(|rps| BAD.map(|bad| (rps, bad))) {
                for rule in [ARGO, FLAGGER, KAYENTA, DEFAULT, KNOWING] {
                    let cell = |ratio: f64| Cell { scenario, rps, bad, ratio };
                    let name = if rule == DEFAULT { format!("**{rule}**") } else { rule.to_owned() };
                    let _ = write!(page, "| {} | {name} |", cell(1.0).label());
                    for row in [1.5, 2.0, 5.0].map(|ratio| self.row(cell(ratio), rule)) {
                        let rate = 100.0 * row.rate();
                        let _ = write!(page, " {rate:.0} / {} / {:.1} |", minutes(row.median), row.bad);
                    }
                    page.push('\n');
                }
            }
        }
    }

    fn tell_fewer(&self, page: &mut String) {
        page.push_str(
            "\n## Fewer bad requests\n\nPer cent fewer than the other rule: geometric mean over 10 and 100 requests a second, both error rates, \
             ×2 and ×5. The last two lines are bounds, not rules: ours without a tolerance for pods that differ, and the likelihood ratio of the true \
             size of the regression (in *clustered* it rolls back healthy releases too, in *late* it begins too early).\n\n| rule | against |",
        );
        for scenario in Scenario::COMPARED {
            let _ = write!(page, " {} |", scenario.name());
        }
        page.push_str(" all five |\n|---|---|---|---|---|---|---|---|\n");
        for (rule, other) in [
            (DEFAULT, Some(ARGO)),
            (DEFAULT, Some(FLAGGER)),
            (DEFAULT, Some(KAYENTA)),
            (DEFAULT, None),
            (PROTOTYPE, Some(ARGO)),
            ("seq", Some(ARGO)),
            (KNOWING, Some(ARGO)),
        ] {
            let served =
                |cell: Cell| other.map_or_else(|| self.best(cell), |other| self.row(cell, other).bad);
            let _ = write!(page, "| {rule} | {} |", other.unwrap_or("best of ten tuned, for each cell"));
            for scenario in Scenario::COMPARED {
                let _ = write!(page, " {:.0} |", self.fewer(rule, &[scenario], served));
            }
            let _ = writeln!(page, " {:.0} |", self.fewer(rule, &Scenario::COMPARED, served));
        }
    }

    fn tell_lost(&self, page: &mut String) {
        page.push_str(
            "\n## Lost\n\nEvery cell in which the canary served more bad requests under our rule than under Argo's or Flagger's tuned one, or was \
             rolled back less often by ours (by more than two standard errors of the difference). In *drift* the tuned rules also roll back 17 to 19 % of healthy releases.\n\n\
             | cell | size | ours: rolled back / bad | Argo tuned | Flagger tuned |\n|---|---|---|---|---|\n",
        );
        let mut lost = 0;
        for cell in
            Scenario::ALL.into_iter().flat_map(|scenario| Self::cells(scenario, &RPS, &[1.5, 2.0, 5.0]))
        {
            let ours = self.row(cell, DEFAULT);
            let others = [ARGO, FLAGGER].map(|rule| self.row(cell, rule));
            let is_better = |other: &&Row| {
                let tried = other.tried as f64;
                let rates = (other.rate() * (1.0 - other.rate()) + ours.rate() * (1.0 - ours.rate())) / tried;
                let served = (other.deviation.powi(2) + ours.deviation.powi(2)) / tried;
                other.rate() - ours.rate() > 2.0 * rates.sqrt() || ours.bad - other.bad > 2.0 * served.sqrt()
            };
            if !others.iter().any(is_better) {
                continue;
            }
            lost += 1;
            let told = |row: &Row| format!("{:.0} % / {:.1}", 100.0 * row.rate(), row.bad);
            let [argo, flagger] = others.map(told);
            let _ = writeln!(
                page,
                "| {} | ×{} | {} | {argo} | {flagger} |",
                cell.label(),
                cell.ratio,
                told(ours)
            );
        }
        let _ = writeln!(page, "\n{lost} of 108 cells.");
    }

    fn tell_pipeline(&self, page: &mut String) {
        page.push_str(
            "\n## A whole release\n\n20 minutes at 10 %, 20 at 50 %, then an hour at 100 % if nobody noticed. Each field: rolled back in per cent \
             (at 10 % already) / bad requests of the new version.\n\n| cell | rule | healthy | ×1.5 | ×2 | ×5 |\n|---|---|---|---|---|---|\n",
        );
        for line in self.pipeline.iter().filter(|row| row.cell.ratio == 1.0) {
            let _ = write!(page, "| {} | {} |", line.cell.label(), line.rule);
            let is_mine =
                |row: &&pipeline::Row| row.rule == line.rule && Cell { ratio: 1.0, ..row.cell } == line.cell;
            for row in self.pipeline.iter().filter(is_mine) {
                let rate = |count: usize| 100.0 * count as f64 / row.tried as f64;
                let _ =
                    write!(page, " {:.0} ({:.0}) / {:.0} |", rate(row.rolled_back), rate(row.early), row.bad);
            }
            page.push('\n');
        }
    }

    fn tell_latency(&self, page: &mut String) {
        page.push_str(
            "\n## Latency\n\nLog-normal, median 60 ms, p99 386 ms; classic histogram with default buckets; bounds 0.1, 0.25, 0.5 and 1 s. \
             Each field: rolled back in per cent / median minutes.\n\n| requests a second | what is wrong |",
        );
        for rule in latency::RULES {
            let _ = write!(page, " {rule} |");
        }
        page.push_str("\n|---|---|---|---|---|\n");
        for rows in self.latency.chunks(latency::RULES.len()) {
            let _ = write!(page, "| {} | {} |", rows[0].rps, rows[0].case);
            for row in rows {
                let rate = 100.0 * row.rolled_back as f64 / row.tried as f64;
                let _ = write!(page, " {rate:.1} / {} |", minutes(row.median));
            }
            page.push('\n');
        }
    }

    fn tell_agreement(&self, page: &mut String) {
        page.push_str(
            "\n## Agreement with the prototype\n\nThe same scenarios and rules were first written in another language with other random numbers \
             (`tests/gates/prototype.csv`). Differences in standard errors of both runs together:\n\n",
        );
        for (is_tuned, what) in [
            (false, "rules without tuned limits"),
            (true, "tuned rules, whose limits are estimated anew in each run"),
        ] {
            let Agreement { compared, rate, served, above_two } = agreement(&self.rows, is_tuned);
            let _ = writeln!(
                page,
                "- {what}: {compared} figures; largest difference of a rate {:.1} ({}), of bad requests {:.1} ({}); {:.1} % above two \
                 (chance alone: 4.6 %).",
                rate.0,
                rate.1,
                served.0,
                served.1,
                100.0 * above_two
            );
        }
    }

    /// Whether the rules without tuned limits do what they did in the prototype.
    pub fn agrees(&self) -> bool {
        let Agreement { rate, served, .. } = agreement(&self.rows, false);
        rate.0 <= ERRORS_MAX && served.0 <= ERRORS_MAX
    }
}
