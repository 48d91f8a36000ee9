//! A release to come as a page.

use crate::api::{HookPoint, OnFailure, Outcome, RolloutSpec, Span};
use crate::cli::plan::{ComponentPlan, Finds, GatePlan, ReleasePlan};
use crate::engine::outlook::CHECK_FAILS;

use super::explain::roughly;
use super::explained::count;
use super::ink::{Ink, Page, Style};
use super::{WIDTH_MAX, WIDTH_MIN, text, time};

/// The page in lines of at most `width` columns (brought into 60 to 100).
#[must_use]
pub fn render_plan(plan: &ReleasePlan, spec: &RolloutSpec, width: usize, style: Style) -> String {
    let mut page = Page::new(width.clamp(WIDTH_MIN, WIDTH_MAX), style);
    title(&mut page, plan);
    hooks(&mut page, plan, &[HookPoint::BeforeRun], "before the run");
    for component in &plan.components {
        page.gap();
        draw_component(&mut page, plan, component, spec);
    }
    hooks(&mut page, plan, &[HookPoint::BeforePhase, HookPoint::AfterPhase], "around phases");
    hooks(&mut page, plan, &[HookPoint::AfterRun], "after the run");
    draw_modes(&mut page, plan);
    page.gap();
    let line = page.line().put(Ink::Strong, "if it goes back");
    page.push(line);
    for sentence in &plan.rollback {
        page.paragraph(2, Ink::Plain, sentence, 4);
    }
    page.gap();
    let line = page.line().put(Ink::Strong, "who is told, and who is asked");
    page.push(line);
    for sentence in &plan.told {
        page.paragraph(2, Ink::Plain, sentence, 4);
    }
    page.finish()
}

/// A time from the push: `+4m12s`.
pub(super) fn after(span: Span) -> String {
    format!("+{}", time::span(span.as_millis() / 1_000))
}

fn title(page: &mut Page, plan: &ReleasePlan) {
    let what = plan.image.as_deref().map(text::clean).unwrap_or_else(|| "a new version".to_owned());
    let line = page
        .line()
        .put(Ink::Strong, &text::clean(&plan.rollout))
        .put(Ink::Plain, &format!("  if {what} were released now"));
    page.push(line);
    let long = time::span(plan.ends_after.as_millis() / 1_000);
    let (ink, said) = match plan.outcome {
        Some(Outcome::Completed) => {
            let early = plan.ends_after_earliest.filter(|it| *it < plan.ends_after);
            let early =
                early.map(|it| format!(", after {} at the earliest", time::span(it.as_millis() / 1_000)));
            (Ink::Good, format!("It serves everyone after {long}{}.", early.unwrap_or_default()))
        }
        Some(_) => (
            Ink::Bad,
            format!(
                "It would be taken back after {long}, healthy as it is: the limits do not fit this traffic."
            ),
        ),
        None => (Ink::Warn, format!("It would not end by itself: {}.", plan.message)),
    };
    page.paragraph(0, ink, &said, 3);
    let max = plan.max_extra_pods.map(|max| format!(" of {max} allowed")).unwrap_or_default();
    page.paragraph(
        0,
        Ink::Plain,
        &format!("Up to {}{max} canary pods run beside stable's.", plan.extra_pods),
        2,
    );
    if !plan.traffic_is_known {
        let said = "Gates are taken to pass in time. --rps and --error-rate say what your traffic can show, and when.";
        page.paragraph(0, Ink::Dim, said, 2);
    }
}

fn draw_component(page: &mut Page, plan: &ReleasePlan, component: &ComponentPlan, spec: &RolloutSpec) {
    let line = page
        .line()
        .put(Ink::Strong, &text::clean(&component.name))
        .put(Ink::Dim, &format!("  {} pods", component.replicas));
    let line = match component.depends_on.is_empty() {
        true => line,
        false => line.put(Ink::Dim, &format!(", after {}", text::clean(&component.depends_on.join(", ")))),
    };
    page.push(line);
    let widest = component.phases.iter().map(|it| text::width(&it.name)).max().unwrap_or(0).min(20);
    for phase in &component.phases {
        let to = phase.to.map_or("no end".to_owned(), after);
        let early = phase.to_earliest.filter(|it| phase.to.is_none_or(|to| *it < to));
        let line = page
            .line()
            .to(2)
            .put(Ink::Plain, &text::cut(&text::clean(&phase.name), 20))
            .put_right(widest + 9, Ink::Plain, &format!("{} %", phase.traffic))
            .put_right(
                widest + 20,
                Ink::Plain,
                &format!("{} pod{}", phase.canary_pods, if phase.canary_pods == 1 { "" } else { "s" }),
            )
            .put_right(widest + 31, Ink::Plain, &after(phase.from))
            .put(Ink::Dim, " to ")
            .put(if phase.to.is_some() { Ink::Plain } else { Ink::Warn }, &to);
        let line = match early {
            Some(early) => line.put(Ink::Dim, &format!(", {} at the earliest", after(early))),
            None => line,
        };
        page.push(line);
    }
    if component.phases.is_empty() {
        page.paragraph(2, Ink::Warn, "would not begin", 1);
    }
    let before = plan.components.iter().take_while(|it| it.name != component.name);
    let same =
        before.filter(|it| it.gates == component.gates && !it.gates.is_empty()).map(|it| &it.name).next();
    if let Some(same) = same {
        page.paragraph(2, Ink::Dim, &format!("gates as for {same}"), 1);
        return;
    }
    for gate in &component.gates {
        draw_gate(page, gate, spec, plan);
    }
}

fn draw_gate(page: &mut Page, gate: &GatePlan, spec: &RolloutSpec, plan: &ReleasePlan) {
    let line = page
        .line()
        .to(2)
        .put(Ink::Dim, "gate ")
        .put(Ink::Strong, &text::clean(&gate.name))
        .put(Ink::Plain, &format!("  {}", gate.limits))
        .put(Ink::Dim, &format!("  every {}, {}", gate.interval, asks(gate.on_failure)));
    page.push(line);
    let first = time::span(gate.first_trip.as_millis() / 1_000);
    let mut says = vec![match gate.first_trip.is_zero() {
        true => "It can trip as soon as the first weight is in force.".to_owned(),
        false => format!("It can trip {first} after the first weight at the earliest."),
    }];
    says.push(match (gate.is_test, gate.false_alarm) {
        (true, Some(chance)) => format!(
            "It takes back a healthy release in at most {} of 100 runs, however often it looks{}.",
            number(chance * 100.0),
            if chance < spec.alpha { " (all tests share spec.alpha)" } else { "" }
        ),
        (false, Some(chance)) => format!(
            "If {} of 100 checks fail by chance, it trips in {} of 100 healthy runs.",
            number(CHECK_FAILS * 100.0),
            number(chance * 100.0)
        ),
        _ => String::new(),
    });
    page.paragraph(4, Ink::Plain, says.join(" ").trim(), 4);
    for finds in &gate.finds {
        page.paragraph(4, Ink::Plain, &found(finds), 3);
    }
    if gate.is_test && gate.finds.is_empty() && plan.traffic_is_known {
        page.paragraph(
            4,
            Ink::Dim,
            "What it can find depends on the distribution of latency: palier simulate plays it.",
            2,
        );
    }
}

/// What a test finds in a phase, in a sentence.
fn found(it: &Finds) -> String {
    let requests = count(it.requests);
    match (it.smallest_ratio, it.doubling_seconds) {
        (Some(ratio), Some(seconds)) => format!(
            "{}: {requests} canary requests show a share of {ratio:.1} times stable's in four of five cases; a doubling takes {}.",
            it.phase,
            roughly(seconds)
        ),
        (Some(ratio), None) => {
            format!(
                "{}: {requests} canary requests show a share of {ratio:.1} times stable's in four of five cases.",
                it.phase
            )
        }
        (None, _) => format!(
            "{}: {requests} canary requests; nothing of stable's to compare them with, or too few.",
            it.phase
        ),
    }
}

/// A number with as many digits as it needs.
fn number(it: f64) -> String {
    match it {
        it if it >= 10.0 => format!("{it:.0}"),
        it if it >= 1.0 => format!("{it:.1}").trim_end_matches(".0").to_owned(),
        it if it >= 0.01 => format!("{it:.2}"),
        _ => "0.01 or fewer".to_owned(),
    }
}

const fn asks(asks: OnFailure) -> &'static str {
    match asks {
        OnFailure::Notify => "says so and goes on",
        OnFailure::Hold => "holds the run",
        OnFailure::DegradedMode => "enters a degraded mode",
        OnFailure::StepBack => "steps one phase back",
        OnFailure::PartialRollback => "takes the component back",
        OnFailure::FullRollback => "takes everything back",
    }
}

fn hooks(page: &mut Page, plan: &ReleasePlan, points: &[HookPoint], title: &str) {
    let of: Vec<_> = plan.hooks.iter().filter(|it| points.contains(&it.at)).collect();
    if of.is_empty() {
        return;
    }
    page.gap();
    let line = page.line().put(Ink::Strong, title);
    page.push(line);
    for hook in of {
        let only = if hook.only.is_empty() { String::new() } else { format!(" ({})", hook.only.join(", ")) };
        let place = match hook.at {
            HookPoint::BeforePhase => ", before each phase",
            HookPoint::AfterPhase => ", after each phase",
            _ => "",
        };
        let said =
            format!("hook {}: a Job of CronJob {}{place}{only}, up to {}", hook.name, hook.job, hook.timeout);
        page.paragraph(2, Ink::Plain, &said, 2);
    }
}

fn draw_modes(page: &mut Page, plan: &ReleasePlan) {
    for mode in &plan.degraded_modes {
        page.gap();
        let line = page.line().put(Ink::Strong, &format!("degraded mode {}", text::clean(&mode.name)));
        page.push(line);
        let said = format!(
            "entered by {}; left when they have passed for {}; given up after {}",
            if mode.gates.is_empty() { "no gate".to_owned() } else { mode.gates.join(", ") },
            mode.recover_after,
            mode.deadline
        );
        page.paragraph(2, Ink::Plain, &said, 2);
        for switch in &mode.switches {
            page.paragraph(4, Ink::Dim, switch, 2);
        }
    }
}
