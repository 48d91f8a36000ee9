//! CronJobs and their Jobs: a script says how each Job ends.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::api::Span;
use crate::engine::Write;
use crate::engine::world::{CronJobSeen, HooksSeen, JobSeen, JobState, Look, Seen};

use super::cluster::{Cluster, Conflict};

/// How one Job goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// Its pods succeed after this time.
    Succeeds(Span),
    /// They fail after this time.
    Fails(Span),
    /// They never start, or never end.
    Hangs,
    /// Somebody deletes it after this time.
    Vanishes(Span),
    /// The API server refuses to create it, with these words.
    IsRefused(String),
}

/// A CronJob.
#[derive(Clone, Debug)]
pub struct CronJob {
    /// Identity and version.
    pub at: Seen,
    /// `spec.suspend`.
    pub suspended: bool,
    /// How its Jobs go, in their order; the last fate is that of all that follow.
    pub fates: Vec<Fate>,
}

/// A Job.
#[derive(Clone, Debug)]
pub struct Job {
    /// Identity and version.
    pub at: Seen,
    /// Number of the run in its label.
    pub run: i64,
    /// When it was created.
    pub created_at: Timestamp,
    /// What its conditions say.
    pub state: JobState,
    /// What happens to it by itself, and when.
    pub due: Option<(Timestamp, Fate)>,
    /// Whether our finalizer is on it.
    pub is_kept: bool,
    /// When it is gone, once it is being deleted.
    pub gone_at: Option<Timestamp>,
}

/// A Job that was created at some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Its name.
    pub name: String,
    /// The CronJob whose template it has.
    pub cron_job: String,
    /// When it was created.
    pub at: Timestamp,
    /// What its containers were told.
    pub environment: BTreeMap<&'static str, String>,
}

/// Everything about Jobs in one cluster.
#[derive(Clone, Debug, Default)]
pub struct Jobs {
    /// Whether the controller runs hooks.
    pub enabled: bool,
    /// CronJobs by name.
    pub cron_jobs: BTreeMap<String, CronJob>,
    /// Jobs by name.
    pub jobs: BTreeMap<String, Job>,
    /// Every Job that was ever created, in order.
    pub made: Vec<Made>,
    /// Jobs that were refused, with the words.
    pub refused: BTreeMap<String, String>,
}

impl Jobs {
    /// What the controller sees; `looked` are the CronJobs that it looked at.
    pub(super) fn seen<'l>(&self, looked: impl Iterator<Item = &'l String>) -> HooksSeen {
        let cron_job = |name: &String| match self.cron_jobs.get(name) {
            Some(found) => Look::Found(CronJobSeen { at: found.at.clone(), suspended: found.suspended }),
            None => Look::Missing,
        };
        let job = |job: &Job| JobSeen {
            at: job.at.clone(),
            deleting: job.gone_at.is_some(),
            is_kept: job.is_kept,
            run: job.run,
            created_at: job.created_at,
            state: job.state.clone(),
        };
        let jobs = self.jobs.iter().filter(|_| self.enabled);
        HooksSeen {
            enabled: self.enabled,
            cron_jobs: looked.map(|name| (name.clone(), cron_job(name))).collect(),
            jobs: jobs.map(|(name, it)| (name.clone(), job(it))).collect(),
            refused: self.refused.clone(),
        }
    }

    /// When something happens to a Job by itself.
    pub(super) fn next_changes(&self) -> impl Iterator<Item = Timestamp> {
        let gone_at = |job: &Job| job.gone_at.filter(|_| !job.is_kept);
        self.jobs.values().flat_map(move |job| [job.due.as_ref().map(|due| due.0), gone_at(job)]).flatten()
    }
}

impl Cluster {
    /// Adds a suspended CronJob whose Jobs go like this, one after the other.
    pub fn add_cron_job(&mut self, name: &str, fates: &[Fate]) {
        let at = self.fresh(name);
        self.jobs.enabled = true;
        self.jobs.cron_jobs.insert(name.to_owned(), CronJob { at, suspended: true, fates: fates.to_vec() });
    }

    /// Somebody deletes a Job. It goes at once, unless our finalizer is on it.
    pub fn vanish(&mut self, name: &str) {
        let (now, version) = (self.now, self.bump());
        if let Some(job) = self.jobs.jobs.get_mut(name) {
            job.gone_at.get_or_insert(now);
            job.at.resource_version = version;
        }
        self.jobs.jobs.retain(|of, job| of != name || job.is_kept);
    }

    /// Jobs of a CronJob that were created, in order.
    #[must_use]
    pub fn made_from(&self, cron_job: &str) -> Vec<&Made> {
        self.jobs.made.iter().filter(|made| made.cron_job == cron_job).collect()
    }
}

/// What is due happens.
pub(super) fn settle(cluster: &mut Cluster) {
    let now = cluster.now;
    cluster.jobs.jobs.retain(|_, job| job.is_kept || job.gone_at.is_none_or(|at| at > now));
    let due: Vec<(String, Fate)> = cluster
        .jobs
        .jobs
        .iter()
        .filter_map(|(name, job)| {
            Some((name.clone(), job.due.clone().filter(|due| due.0 <= now && job.gone_at.is_none())?.1))
        })
        .collect();
    for (name, fate) in due {
        let version = cluster.bump();
        let Some(job) = cluster.jobs.jobs.get_mut(&name) else { continue };
        (job.due, job.at.resource_version) = (None, version);
        match fate {
            Fate::Succeeds(_) => job.state = JobState::Complete,
            Fate::Fails(_) => {
                job.state = JobState::Failed("Job has reached the specified backoff limit".into())
            }
            Fate::Vanishes(_) => cluster.vanish(&name),
            Fate::Hangs | Fate::IsRefused(_) => {}
        }
    }
}

/// Carries out a write on a Job.
pub(super) fn apply(cluster: &mut Cluster, write: &Write) -> Result<(), Conflict> {
    match write {
        Write::CreateJob { name, cron_job, environment, run, number, .. } => {
            // The record is the owner: it is created with the Job if it is not there.
            cluster.runs.entry(run.clone()).or_insert(None);
            create(cluster, name, cron_job, *number, environment)
        }
        Write::DeleteJob { job } => delete(cluster, job),
        Write::ReleaseJob { job } => release(cluster, job),
        _ => Ok(()),
    }
}

fn create(
    cluster: &mut Cluster,
    name: &str,
    cron_job: &Seen,
    run: i64,
    environment: &[(&'static str, String)],
) -> Result<(), Conflict> {
    let found = cluster.jobs.cron_jobs.get(&cron_job.name).filter(|found| found.at.uid == cron_job.uid);
    let Some(found) = found.cloned() else { return Err(Conflict("no such CronJob".to_owned())) };
    if let Some(job) = cluster.jobs.jobs.get(name) {
        let is_its = job.run == run;
        return if is_its { Ok(()) } else { Err(Conflict("the name is taken".to_owned())) };
    }
    let before = cluster.made_from(&cron_job.name).len();
    let fate = found.fates.get(before).or(found.fates.last()).cloned().unwrap_or(Fate::Succeeds(Span::ZERO));
    if let Fate::IsRefused(why) = fate {
        cluster.jobs.refused.insert(name.to_owned(), why);
        return Ok(());
    }
    let span = match fate {
        Fate::Succeeds(span) | Fate::Fails(span) | Fate::Vanishes(span) => Some(span),
        Fate::Hangs | Fate::IsRefused(_) => None,
    };
    let due = span.map(|span| (cluster.in_a_while(span), fate));
    let (at, created_at) = (cluster.fresh(name), cluster.now);
    let job = Job { at, run, created_at, state: JobState::Running, due, is_kept: true, gone_at: None };
    cluster.jobs.jobs.insert(name.to_owned(), job);
    cluster.jobs.made.push(Made {
        name: name.to_owned(),
        cron_job: cron_job.name.clone(),
        at: created_at,
        environment: environment.iter().cloned().collect(),
    });
    Ok(())
}

fn release(cluster: &mut Cluster, seen: &Seen) -> Result<(), Conflict> {
    let version = cluster.bump();
    let Some(job) = cluster.jobs.jobs.get_mut(&seen.name).filter(|job| job.at == *seen) else {
        return Err(Conflict("no such Job".to_owned()));
    };
    (job.is_kept, job.at.resource_version) = (false, version);
    settle(cluster);
    Ok(())
}

fn delete(cluster: &mut Cluster, seen: &Seen) -> Result<(), Conflict> {
    let (gone_at, version) = (cluster.in_a_while(cluster.pod_lag), cluster.bump());
    let Some(job) = cluster.jobs.jobs.get_mut(&seen.name).filter(|job| job.at == *seen) else {
        return Err(Conflict("no such Job".to_owned()));
    };
    (job.gone_at, job.at.resource_version) = (Some(gone_at), version);
    Ok(())
}
