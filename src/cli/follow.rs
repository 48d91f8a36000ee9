//! Following a run to its end: live on a terminal, one line per change elsewhere.

use std::io;
use std::time::Duration;

use futures::{Stream, StreamExt};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watch_object};
use tokio::time::{Instant, MissedTickBehavior};

use crate::api::{Rollout, RolloutState};
use crate::engine::gate_templates::GateTemplates;

use super::live::Live;
use super::signals::{EndSignals, resizes};
use super::view::{Detail, Ink, clean, render_status, span, stamp, status_line};
use super::{CliError, Cluster, ExitStatus, Format, Printer, clock, explain, format, templates};

/// How often the live view counts on.
const TICK: Duration = Duration::from_secs(1);

/// What is waited for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Goal {
    /// The lowest number of the run whose end counts.
    pub run: i64,
    /// Whether going back is what is wanted.
    pub back: bool,
}

/// How to follow.
pub(super) struct Follow<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) name: &'a str,
    pub(super) goal: Goal,
    pub(super) timeout: Option<Duration>,
    pub(super) format: Option<Format>,
    /// How much is shown on a terminal.
    pub(super) detail: Detail,
    /// What its gates come from, as it was at the beginning.
    pub(super) templates: GateTemplates,
}

/// Whether the Rollout's run has ended, and how. `None` while it is worth waiting.
#[must_use]
pub fn verdict(rollout: &Rollout, goal: Goal) -> Option<ExitStatus> {
    let status = rollout.status.as_ref()?;
    let run = status.run.as_ref();
    let is_stale = status.observed_generation < rollout.metadata.generation.unwrap_or(0);
    if is_stale || run.map_or(0, |run| run.number) < goal.run {
        return None;
    }
    let end = |is_wanted: bool| Some(if is_wanted { ExitStatus::Success } else { ExitStatus::Refused });
    match status.state {
        RolloutState::Completed => end(!goal.back),
        RolloutState::RolledBack => end(goal.back),
        RolloutState::Idle => end(true),
        // A run that is on can go on once the obstacle is gone; without one nothing will ever happen.
        RolloutState::Stalled if run.is_none_or(|run| run.ended_at.is_some()) => end(false),
        _ => None,
    }
}

/// Follows from `seen` until the verdict is there, the time is over, or Ctrl-C.
pub(super) async fn follow(
    plan: &Follow<'_>,
    seen: Rollout,
    printer: &Printer,
) -> Result<ExitStatus, CliError> {
    let changes = watch_object(plan.cluster.rollouts(), plan.name).default_backoff();
    let mut changes = std::pin::pin!(changes);
    let mut ends = EndSignals::catch()?;
    let mut resized = resizes()?;
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let deadline = plan.timeout.map(|timeout| Instant::now() + timeout);
    let mut screen = Screen::open(printer, plan)?;
    let (mut seen, mut trouble) = (seen, None);
    loop {
        screen.show(&seen, trouble.as_deref())?;
        if let Some(status) = verdict(&seen, plan.goal) {
            return Ok(status);
        }
        tokio::select! {
            change = next_change(&mut changes, plan) => match change? {
                Ok(rollout) => (seen, trouble) = (*rollout, None),
                Err(words) => trouble = Some(words),
            },
            _ = tick.tick(), if screen.is_live() => {}
            _ = resized.recv() => screen.resized()?,
            () = ends.next() => return Ok(ExitStatus::Interrupted),
            () = at(deadline) => {
                drop(screen);
                let waited = i64::try_from(plan.timeout.unwrap_or_default().as_secs()).unwrap_or(i64::MAX);
                printer.say(&format!("The run did not end within {}.\n", span(waited)));
                return Ok(ExitStatus::TimedOut);
            }
        }
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// The next version of the object, or in words why there is none at the moment.
async fn next_change(
    changes: &mut (impl Stream<Item = watcher::Result<Option<Rollout>>> + Unpin),
    plan: &Follow<'_>,
) -> Result<Result<Box<Rollout>, String>, CliError> {
    match changes.next().await {
        Some(Ok(Some(rollout))) => Ok(Ok(Box::new(rollout))),
        Some(Ok(None)) => Err(CliError::Deleted { name: plan.name.to_owned() }),
        Some(Err(error)) => watch_trouble(error, plan).map(Err),
        // The watcher never ends by itself; if it does, waiting for it is the worst answer.
        None => {
            Err(CliError::Other { verb: "watch", resource: "rollouts", why: "the watch ended".to_owned() })
        }
    }
}

/// Words for a trouble that may pass.
///
/// # Errors
/// When it will not pass by waiting: no right to watch, no such kind any more.
pub(super) fn watch_trouble(error: watcher::Error, plan: &Follow<'_>) -> Result<String, CliError> {
    match error {
        watcher::Error::InitialListFailed(error @ kube::Error::Api(_))
        | watcher::Error::WatchStartFailed(error @ kube::Error::Api(_)) => {
            let verb = "watch";
            let explained = explain(error, plan.cluster.asked_rollout(verb, ""));
            match explained {
                CliError::Refused { said, .. } => Ok(said),
                lasting => Err(lasting),
            }
        }
        passing => Ok(clean(&passing.to_string())),
    }
}

/// Where the changes go.
enum Screen<'a> {
    Live(&'a Printer, Live<'a>, &'a Follow<'a>),
    Lines(&'a Printer, String),
    Documents(&'a Printer, Format, Option<String>),
}

impl<'a> Screen<'a> {
    fn open(printer: &'a Printer, plan: &'a Follow<'a>) -> io::Result<Self> {
        Ok(match plan.format {
            Some(format) => Screen::Documents(printer, format, None),
            None if printer.is_live() => Screen::Live(printer, Live::new(printer)?, plan),
            None => Screen::Lines(printer, String::new()),
        })
    }

    const fn is_live(&self) -> bool {
        matches!(self, Screen::Live(..))
    }

    fn resized(&mut self) -> io::Result<()> {
        match self {
            Screen::Live(_, live, _) => live.resized(),
            Screen::Lines(..) | Screen::Documents(..) => Ok(()),
        }
    }

    fn show(&mut self, rollout: &Rollout, trouble: Option<&str>) -> Result<(), CliError> {
        match self {
            Screen::Live(printer, live, plan) => {
                let style = printer.style();
                let (columns, _) = printer.size();
                let rollout = templates::as_far_as_known(rollout.clone(), &plan.templates);
                let mut frame = render_status(&rollout, clock::now(), columns, style, plan.detail);
                if let Some(trouble) = trouble {
                    let words =
                        super::view::cut(&format!("Not up to date, trying again: {trouble}"), columns);
                    frame.push_str(&format!("\n{}\n", style.paint(Ink::Warn, &words)));
                }
                live.draw(&frame)?;
            }
            Screen::Lines(printer, last) => {
                let line = match trouble {
                    Some(trouble) => format!("not up to date, trying again: {trouble}"),
                    None => status_line(rollout),
                };
                if line != *last {
                    printer.print(&format!("{} {line}\n", stamp(clock::now())))?;
                    *last = line;
                }
            }
            Screen::Documents(printer, form, last) => {
                let version = rollout.metadata.resource_version.clone();
                if version != *last {
                    let separator = if last.is_some() && *form == Format::Yaml { "---\n" } else { "" };
                    printer.print(&format!("{separator}{}", format::write(rollout, *form)?))?;
                    *last = version;
                }
            }
        }
        Ok(())
    }
}
