//! What can go wrong on the way to the cluster, in words that name the cure.

use std::io;
use std::time::Duration;

use kube::core::Status;

use super::view::clean;

/// Why a command could not be done. The text says what is wrong; [`CliError::cure`] says what helps.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CliError {
    /// The kubeconfig cannot be used.
    #[error("cannot read the kubeconfig: {0}")]
    Kubeconfig(String),
    /// The kubeconfig asks for a client that cannot be built.
    #[error("cannot use the kubeconfig: {0}")]
    Client(String),
    /// The API server cannot be reached.
    #[error("cannot reach the API server at {server}: {why}")]
    Unreachable {
        /// Its address.
        server: String,
        /// What the network says.
        why: String,
    },
    /// The API server took too long.
    #[error("the API server at {server} gave no answer within {} s", after.as_secs())]
    NoAnswer {
        /// Its address.
        server: String,
        /// The time that was waited.
        after: Duration,
    },
    /// Nobody knows who asks.
    #[error("the API server at {server} does not know you (401): {said}")]
    Unknown {
        /// Its address.
        server: String,
        /// Its words.
        said: String,
    },
    /// The kinds are not there.
    #[error("the cluster at {server} does not know the kinds of palier.dev/v1alpha1")]
    NotInstalled {
        /// Its address.
        server: String,
    },
    /// No such object.
    #[error("there is no {kind} {name:?} in namespace {namespace:?}")]
    NotFound {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Where it was looked for.
        namespace: String,
    },
    /// RBAC says no.
    #[error("you may not {verb} {resource} in namespace {namespace:?}: {said}")]
    Forbidden {
        /// The verb that is missing.
        verb: &'static str,
        /// The resource.
        resource: &'static str,
        /// The namespace.
        namespace: String,
        /// The API server's words.
        said: String,
    },
    /// An admission policy says no to an action.
    #[error("an admission policy of the cluster refused to {verb} Rollout {rollout:?}: {said}")]
    ActionForbidden {
        /// The verb on `rollouts` that grants the action.
        verb: &'static str,
        /// The Rollout.
        rollout: String,
        /// The policy's words.
        said: String,
    },
    /// There is nothing to act on.
    #[error("nothing was done: {why}")]
    NothingToDo {
        /// Why not.
        why: String,
    },
    /// The object went away while it was looked at.
    #[error("Rollout {name:?} was deleted")]
    Deleted {
        /// Its name.
        name: String,
    },
    /// Another refusal of the API server.
    #[error("the API server refused to {verb} {resource} ({code}): {said}")]
    Refused {
        /// What was asked.
        verb: &'static str,
        /// Of what.
        resource: &'static str,
        /// HTTP status.
        code: u16,
        /// Its words.
        said: String,
    },
    /// An object that this version cannot read.
    #[error("cannot read the {resource} that the API server sent: {why}")]
    Unreadable {
        /// Of what.
        resource: &'static str,
        /// What does not fit.
        why: String,
    },
    /// Anything else between here and the API server.
    #[error("cannot {verb} {resource}: {why}")]
    Other {
        /// What was asked.
        verb: &'static str,
        /// Of what.
        resource: &'static str,
        /// What happened.
        why: String,
    },
    /// A file that cannot be used.
    #[error("cannot use the file {path:?}: {why}")]
    File {
        /// Its path.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// A command line that clap cannot judge.
    #[error("{0}")]
    Usage(String),
    /// An object that cannot be written as text.
    #[error("cannot write the answer as text: {0}")]
    Format(String),
    /// The health and metrics server cannot start.
    #[error(transparent)]
    Listen(#[from] crate::server::ListenError),
    /// The controller ended.
    #[error("the controller ended: {0}")]
    Controller(#[from] crate::controller::RunError),
    /// The output is gone.
    #[error("cannot write the answer: {0}")]
    Output(#[from] io::Error),
}

impl CliError {
    /// What helps, if something is known to.
    #[must_use]
    pub fn cure(&self) -> Option<String> {
        match self {
            CliError::Kubeconfig(_) => {
                Some("Name one with --kubeconfig or KUBECONFIG; choose a context of it with --context.".to_owned())
            }
            CliError::Unreachable { .. } | CliError::NoAnswer { .. } => Some(
                "Is the cluster up, and is it the one you mean? `kubectl config current-context` says which one it is; \
                 --context takes another one."
                    .to_owned(),
            ),
            CliError::Unknown { .. } => Some("Log in again, or take another context with --context.".to_owned()),
            CliError::NotInstalled { .. } => Some(
                "Install Palier with its chart, or at least its kinds: \
                 palier crds | kubectl apply --server-side -f -"
                    .to_owned(),
            ),
            CliError::NotFound { .. } => {
                Some("`kubectl get rollouts --all-namespaces` lists them; -n takes another namespace.".to_owned())
            }
            CliError::Forbidden { verb, resource, .. } => Some(format!(
                "You need the verb {verb:?} on {resource}.palier.dev. Whoever administers the namespace can give it by \
                 binding the ClusterRole palier-operator (palier-view to look only)."
            )),
            CliError::ActionForbidden { verb, rollout, .. } => Some(format!(
                "It takes the verb {verb:?} on rollouts.palier.dev, for all of them or for {rollout:?} by name. Whoever \
                 administers the namespace can give it by binding the ClusterRole palier-operator."
            )),
            CliError::Unreadable { .. } => Some(
                "The kinds in the cluster and this palier are of different versions; \
                 `palier version` says this one's."
                    .to_owned(),
            ),
            _ => None,
        }
    }

    /// Whether this only says that nobody reads the output any more, as with `palier history shop | head -1`.
    #[must_use]
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, CliError::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// What was asked of the API server, to explain its refusal.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The verb, as RBAC says it.
    pub verb: &'static str,
    /// The resource, in the plural.
    pub resource: &'static str,
    /// The kind, for a person.
    pub kind: &'static str,
    /// The object's name; empty for a list.
    pub name: &'a str,
    /// The namespace.
    pub namespace: &'a str,
    /// The API server's address.
    pub server: &'a str,
}

/// Says what an error of the client means for what was asked.
#[must_use]
pub fn explain(error: kube::Error, asked: Asked<'_>) -> CliError {
    let Asked { verb, resource, .. } = asked;
    match error {
        kube::Error::Api(status) => explain_status(&status, asked),
        kube::Error::Service(error) => {
            CliError::Unreachable { server: asked.server.to_owned(), why: root_cause(error.as_ref()) }
        }
        kube::Error::HyperError(error) => {
            CliError::Unreachable { server: asked.server.to_owned(), why: root_cause(&error) }
        }
        kube::Error::SerdeError(error) => CliError::Unreadable { resource, why: clean(&error.to_string()) },
        kube::Error::Auth(error) => CliError::Client(clean(&error.to_string())),
        other => CliError::Other { verb, resource, why: clean(&other.to_string()) },
    }
}

fn explain_status(status: &Status, asked: Asked<'_>) -> CliError {
    let Asked { verb, resource, kind, name, namespace, server } = asked;
    let said = clean(&status.message);
    match status.code {
        401 => CliError::Unknown { server: server.to_owned(), said },
        403 => CliError::Forbidden { verb, resource, namespace: namespace.to_owned(), said },
        // A missing object has details that name it; a missing kind is a bare page.
        404 if status.details.as_ref().is_some_and(|details| !details.name.is_empty())
            && !name.is_empty() =>
        {
            CliError::NotFound { kind, name: name.to_owned(), namespace: namespace.to_owned() }
        }
        404 => CliError::NotInstalled { server: server.to_owned() },
        code => CliError::Refused { verb, resource, code, said },
    }
}

/// The innermost cause: the outer ones only say that a request failed.
fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    clean(&cause.to_string())
}
