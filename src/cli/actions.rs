//! `palier abort | promote | pause | resume | retry`: a person's word on a run.
//!
//! A word is a `RolloutAction` object: the API server proves who said it, the controller obeys or refuses it and says
//! so in the timeline. The command writes the object and waits for that answer.

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::{ObjectMeta, PostParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::watch_object;
use kube::{Api, Resource};

use crate::api::{
    ActionKind, Outcome, Requester, Rollout, RolloutAction, RolloutActionSpec, RunStatus, TimelineEntry,
};
use crate::engine::Reason;
use crate::engine::gate_templates::GateTemplates;

use super::follow::{Follow, Goal, follow, watch_trouble};
use super::view::{Detail, Ink, clean};
use super::{Asked, CliError, Cluster, ExitStatus, Printer, rollout_name, templates};

/// How long the controller's answer is waited for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Arguments of every action.
#[derive(Debug, Clone, clap::Args)]
pub struct ActionArgs {
    /// Name of the Rollout
    #[arg(value_name = "ROLLOUT", value_parser = rollout_name)]
    pub rollout: String,
    /// Why, for the record
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub reason: String,
    /// Act on this run only; nothing is done when another one is on
    #[arg(long, value_name = "N")]
    pub run: Option<i64>,
    /// Do not wait for the controller's answer
    #[arg(long, conflicts_with = "watch")]
    pub no_wait: bool,
    /// Then follow the run to its end
    #[arg(short, long)]
    pub watch: bool,
}

/// Arguments of `palier promote`.
#[derive(Debug, Clone, clap::Args)]
pub struct PromoteArgs {
    /// End every phase, not only the present one
    #[arg(long)]
    pub full: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub args: ActionArgs,
}

/// Asks for an action and reports what the controller made of it.
///
/// # Errors
/// When there is nothing to act on, or the API server refuses.
pub async fn act(
    cluster: &Cluster,
    kind: ActionKind,
    args: &ActionArgs,
    full: bool,
    printer: &Printer,
) -> Result<ExitStatus, CliError> {
    let rollout = cluster.rollout(&args.rollout).await?;
    let run = run_to_act_on(&rollout, kind, args.run)?;
    let number = run.number;
    let known = run.timeline.clone();
    let wish = RolloutActionSpec {
        rollout: args.rollout.clone(),
        run: number,
        action: kind,
        full,
        reason: args.reason.clone(),
        requested_by: requester(cluster).await,
    };
    let action = create(cluster, &rollout, wish).await?;
    let place = format!("{}/{}", cluster.namespace, args.rollout);
    let name = action.metadata.name.as_deref().unwrap_or_default();
    printer.print(&format!("{place}, run {number}: {}\n", effect(kind, full)))?;
    if args.no_wait {
        printer.print(&format!("Asked as RolloutAction {name}.\n"))?;
        return Ok(ExitStatus::Success);
    }
    let uid = action.metadata.uid.unwrap_or_default();
    let style = printer.style();
    match answer(cluster, args, number, &uid, &known, kind).await? {
        Some((taken, words)) => {
            let (mark, said, ink) =
                if taken { ("✓", "Taken", Ink::Good) } else { ("✗", "Refused", Ink::Bad) };
            let words = if words.is_empty() { String::new() } else { format!(": {words}") };
            printer.print(&format!("{} {said}{words}\n", style.paint(ink, mark)))?;
            if !taken {
                return Ok(ExitStatus::Refused);
            }
        }
        None => {
            printer.say(&format!(
                "The controller has not answered within {} s; RolloutAction {name} stays in force until it does. Is \
                 Palier running?\n",
                ANSWER_TIMEOUT.as_secs()
            ));
            if !args.watch {
                return Ok(ExitStatus::TimedOut);
            }
        }
    }
    if !args.watch {
        return Ok(ExitStatus::Success);
    }
    let run = if kind == ActionKind::Retry { number + 1 } else { number };
    let seen = cluster.rollout(&args.rollout).await?;
    let plan = Follow {
        cluster,
        name: &args.rollout,
        goal: Goal { run, back: kind == ActionKind::Abort },
        timeout: None,
        format: None,
        detail: Detail::Attention,
        templates: templates::in_the_cluster(cluster, &seen).await?,
    };
    follow(&plan, seen, printer).await
}

/// What the action will bring about.
const fn effect(kind: ActionKind, full: bool) -> &'static str {
    match (kind, full) {
        (ActionKind::Abort, _) => "every component goes back to its stable version.",
        (ActionKind::Promote, false) => "the present bake ends now as if it had been earned.",
        (ActionKind::Promote, true) => "every phase ends now as if it had been earned.",
        (ActionKind::Pause, _) => {
            "it stays where it is until somebody resumes it; a failing gate still rolls it back."
        }
        (ActionKind::Resume, _) => "it goes on from where it was paused.",
        (ActionKind::Retry, _) => "the version that was rolled back is tried again in a new run.",
    }
}

/// The verb on `rollouts` that grants the action.
const fn verb(kind: ActionKind) -> &'static str {
    match kind {
        ActionKind::Abort => "abort",
        ActionKind::Promote => "promote",
        ActionKind::Pause => "pause",
        ActionKind::Resume => "resume",
        ActionKind::Retry => "retry",
    }
}

/// The run that the action speaks of.
fn run_to_act_on(rollout: &Rollout, kind: ActionKind, wanted: Option<i64>) -> Result<&RunStatus, CliError> {
    let nothing = |why: String| Err(CliError::NothingToDo { why });
    let Some(run) = rollout.status.as_ref().and_then(|status| status.run.as_ref()) else {
        return nothing("there has been no run yet; a changed Deployment starts one".to_owned());
    };
    if let Some(wanted) = wanted
        && wanted != run.number
    {
        return nothing(format!("the present run is {}, not {wanted}", run.number));
    }
    match (kind, run.ended_at, run.outcome) {
        (ActionKind::Retry, Some(_), Some(Outcome::RolledBack)) | (_, None, _) if is_open_to(kind, run) => {
            Ok(run)
        }
        (ActionKind::Retry, None, _) => nothing(format!("run {} is still on", run.number)),
        (ActionKind::Retry, ..) => nothing(format!("run {} was not rolled back", run.number)),
        _ => nothing(format!("no run is on; run {} has ended", run.number)),
    }
}

/// Only a run that is over can be tried again, only one that is on can be steered.
fn is_open_to(kind: ActionKind, run: &RunStatus) -> bool {
    (kind == ActionKind::Retry) == run.ended_at.is_some()
}

/// Who asks, as the API server sees it. Where it stamps actions itself this is overwritten; where it only checks them
/// it has to be there. Without an answer the API server's own verdict on the action says what is wrong.
async fn requester(cluster: &Cluster) -> Option<Requester> {
    let reviews: Api<SelfSubjectReview> = Api::all(cluster.client.clone());
    let asked = Asked {
        verb: "create",
        resource: "selfsubjectreviews",
        kind: "SelfSubjectReview",
        name: "",
        namespace: "",
        server: &cluster.server,
    };
    let (params, review) = (PostParams::default(), SelfSubjectReview::default());
    let review = cluster.ask(asked, reviews.create(&params, &review)).await.ok()?;
    let user = review.status?.user_info?;
    Some(Requester { user: user.username?, groups: user.groups.unwrap_or_default() })
}

async fn create(
    cluster: &Cluster,
    rollout: &Rollout,
    wish: RolloutActionSpec,
) -> Result<RolloutAction, CliError> {
    let verb = verb(wish.action);
    let name = wish.rollout.clone();
    // The owner reference makes the action go with its Rollout. It asks for no right on the Rollout's finalizers.
    let owner = rollout.owner_ref(&()).map(|owner| vec![owner]);
    let action = RolloutAction {
        metadata: ObjectMeta {
            generate_name: Some(format!("{name}-{verb}-")),
            namespace: Some(cluster.namespace.clone()),
            owner_references: owner,
            ..ObjectMeta::default()
        },
        spec: wish,
    };
    let api: Api<RolloutAction> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let asked = Asked {
        verb: "create",
        resource: "rolloutactions",
        kind: "RolloutAction",
        name: "",
        namespace: &cluster.namespace,
        server: &cluster.server,
    };
    cluster.ask(asked, api.create(&PostParams::default(), &action)).await.map_err(|error| {
        let (CliError::Forbidden { said, .. } | CliError::Refused { said, .. }) = &error else {
            return error;
        };
        // Words of an admission policy, behind its name and its binding's.
        match said.split_once("denied request: ") {
            Some((_, said)) => {
                CliError::ActionForbidden { verb, rollout: name.clone(), said: said.to_owned() }
            }
            None => error,
        }
    })
}

/// Whether the action was taken, and the timeline's words; `None` when the time is over.
async fn answer(
    cluster: &Cluster,
    args: &ActionArgs,
    number: i64,
    uid: &str,
    known: &[TimelineEntry],
    kind: ActionKind,
) -> Result<Option<(bool, String)>, CliError> {
    let plan = Follow {
        cluster,
        name: &args.rollout,
        goal: Goal::default(),
        timeout: None,
        format: None,
        detail: Detail::Attention,
        templates: GateTemplates::default(),
    };
    let wait = async {
        let changes = watch_object(cluster.rollouts(), &args.rollout).default_backoff();
        let mut changes = std::pin::pin!(changes);
        while let Some(change) = changes.next().await {
            match change {
                Ok(Some(rollout)) => {
                    if let Some(answer) = answer_in(&rollout, number, uid, known, kind) {
                        return Ok(answer);
                    }
                }
                Ok(None) => return Err(CliError::Deleted { name: args.rollout.clone() }),
                Err(error) => {
                    watch_trouble(error, &plan)?;
                }
            }
        }
        Err(CliError::Other { verb: "watch", resource: "rollouts", why: "the watch ended".to_owned() })
    };
    match tokio::time::timeout(ANSWER_TIMEOUT, wait).await {
        Ok(answer) => answer.map(Some),
        Err(_) => Ok(None),
    }
}

/// The controller's answer, if this version of the Rollout holds it.
fn answer_in(
    rollout: &Rollout,
    number: i64,
    uid: &str,
    known: &[TimelineEntry],
    kind: ActionKind,
) -> Option<(bool, String)> {
    let run = rollout.status.as_ref()?.run.as_ref()?;
    // A retry is obeyed by a new run; any other action on a run that was followed by another one is void.
    if run.number > number {
        return Some(match kind {
            ActionKind::Retry => (true, format!("run {} has started", run.number)),
            _ => (false, format!("run {} came before it", run.number)),
        });
    }
    if !run.handled_actions.iter().any(|handled| handled == uid) {
        return None;
    }
    let is_answer = |entry: &&TimelineEntry| {
        (entry.reason == Reason::ActionTaken.as_str() || entry.reason == Reason::ActionRefused.as_str())
            && !known.contains(entry)
    };
    let answers: Vec<&TimelineEntry> = run.timeline.iter().filter(is_answer).collect();
    // Entries begin with the verb; another action may have been answered at the same time.
    let about_this = |entry: &&&TimelineEntry| entry.message.starts_with(verb(kind));
    let entry = answers.iter().find(about_this).or(answers.last());
    Some(entry.map_or((true, String::new()), |entry| {
        let message = clean(&entry.message);
        let words = message.split_once("refused: ").map_or(message.as_str(), |(_, why)| why);
        (entry.reason == Reason::ActionTaken.as_str(), words.to_owned())
    }))
}
