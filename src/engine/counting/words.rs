//! What a gate that counts says to people.

use jiff::Timestamp;

use crate::api::{BucketsRule, Budget, CountersRule, GateStatistics, Rule, Span, Verdict};
use crate::engine::statistics::budget::{self, Settings};
use crate::engine::statistics::special::share_at_most;
use crate::engine::statistics::{Arm, Block};

use super::{Counting, Memory, read};

/// The counts that people see.
pub(super) fn counts(counted: &GateStatistics) -> Block {
    Block::new((counted.canary_bad, counted.canary_total), (counted.stable_bad, counted.stable_total))
}

/// A budget as the statistics take it.
pub(super) fn budget(it: &Budget) -> Settings {
    Settings { objective: it.objective, window_requests: it.window_requests, max_spend: it.max_spend }
}

/// A share in per cent, in at most 12 characters; empty without requests.
pub(super) fn percent(arm: Arm) -> String {
    if arm.total > 0.0 { share(arm.bad / arm.total) } else { String::new() }
}

fn share(share: f64) -> String {
    let percent = share * 100.0;
    if percent == 0.0 || percent >= 1.0 { format!("{percent:.1} %") } else { format!("{percent:.2} %") }
}

/// `3 bad of 1200 (0.25 %)`.
fn of(arm: Arm, bad: &str) -> String {
    format!("{:.0} {bad} of {:.0} ({})", arm.bad, arm.total, percent(arm))
}

/// What the gate counts.
const fn bad(rule: &Rule<'_>) -> &'static str {
    match rule {
        Rule::Buckets { .. } => "slow",
        _ => "bad",
    }
}

/// The number beside the verdict, at most 32 characters.
pub(super) fn value(counting: &Counting<'_>, counted: &GateStatistics) -> String {
    match &counting.rule {
        Rule::Counters { by: CountersRule::Budget(it), .. } => {
            share(budget::spend(&budget(it), &counts(counted)).min(99.0))
        }
        _ => percent(counts(counted).canary),
    }
}

/// Why an answer is nothing at all, if it is.
pub(super) fn nothing_of(counting: &Counting<'_>, answer: &read::Answered) -> Option<String> {
    let what = if matches!(counting.rule, Rule::Buckets { .. }) { "by (pod, le)" } else { "by (pod)" };
    if answer.canary_pods > 0 && (answer.stable_pods > 0 || counting.is_whole || is_absolute(&counting.rule))
    {
        None
    } else if answer.nameless > 0 {
        Some(format!("the series have no label pod: write sum {what} (…), of counters"))
    } else if answer.canary_pods == 0 {
        Some("there are no series of the canary's pods: is pod the label of their names, and are they scraped?".to_owned())
    } else {
        Some("there are no series of stable's pods to compare with".to_owned())
    }
}

fn is_absolute(rule: &Rule<'_>) -> bool {
    matches!(
        rule,
        Rule::Counters { by: CountersRule::Share(_) | CountersRule::Budget(_), .. }
            | Rule::Buckets { by: BucketsRule::Quantile(_), .. }
    )
}

/// Since when there has been nothing to judge, if for longer than a quiet service has: series alone are no requests.
pub(super) fn idle(counting: &Counting<'_>, kept: &Memory, now: Timestamp) -> Option<String> {
    let begins_at = counting.schedule().begins_at;
    let since = |last: Option<Timestamp>| {
        let last = last.map_or(begins_at, |last| last.max(begins_at));
        (now.duration_since(last) > super::quiet_max(counting.gate)).then_some(last)
    };
    let says = |whose: &str, last: Timestamp| format!("no request of {whose} was counted since {last:.0}");
    if let Some(last) = since(kept.canary_at) {
        return Some(says("the canary", last));
    }
    let compares = !counting.is_whole && !is_absolute(&counting.rule);
    since(kept.stable_at).filter(|_| compares).map(|last| says("stable", last))
}

/// What a gate that looks at its window says.
pub(super) fn in_window(by: &CountersRule<'_>, seen: &Block, window: Span, verdict: Verdict) -> String {
    let canary = of(seen.canary, "bad");
    let beside = match by {
        CountersRule::Compare(_) => format!(", stable {}", of(seen.stable, "bad")),
        _ => String::new(),
    };
    let too_few = if verdict == Verdict::Wait { ": too few to judge yet" } else { "" };
    format!("{canary} in {window}{beside}{too_few}")
}

/// What a gate that counts since the run began says.
pub(super) fn shown(counting: &Counting<'_>, counted: &GateStatistics, verdict: Verdict) -> String {
    let Block { canary, stable } = counts(counted);
    let bad = bad(&counting.rule);
    if let Rule::Counters { by: CountersRule::Budget(it), .. } = &counting.rule {
        let spent = budget::spend(&budget(it), &counts(counted));
        return format!(
            "{}: {} of the error budget spent beyond what stable would have",
            of(canary, bad),
            share(spent)
        );
    }
    let limit = match &counting.rule {
        Rule::Buckets { by: BucketsRule::Quantile(it), .. } => format!(" above {}", it.max),
        Rule::Buckets { .. } => {
            counted.bounds.first().map(|bound| format!(" above {bound}")).unwrap_or_default()
        }
        _ => String::new(),
    };
    let beside =
        if is_absolute(&counting.rule) { String::new() } else { format!(", stable {}", of(stable, bad)) };
    let counts = format!("{}{limit}{beside}", of(canary, bad));
    let evidence = format!("evidence {:.2} of {:.2}", counted.evidence, counted.limit);
    match verdict {
        Verdict::Fail => {
            let ratio = match counted.ratio_at_least {
                Some(ratio) if ratio > 1.0 => format!(", at least {ratio:.2} times stable's"),
                _ => String::new(),
            };
            format!("harm is shown: {counts}{ratio} ({evidence})")
        }
        Verdict::Pass => format!("safe: {counts} ({evidence})"),
        _ => {
            let most = share(share_at_most(canary.bad.round(), canary.total.round(), 0.95));
            format!("neither harm nor safety is shown yet: {counts}; up to {most} is possible ({evidence})")
        }
    }
}
