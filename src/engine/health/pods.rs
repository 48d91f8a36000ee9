//! What a list of pods says about the version that they run.
//!
//! | a pod | is |
//! |---|---|
//! | a container that was started again more often than allowed | a failure |
//! | a container that cannot be started, while no pod of the version is ready | a failure, at once or after a while |
//! | not scheduled, being created, running and not ready | a wait |
//! | evicted, preempted, lost with its node | nobody's fault |

use crate::engine::turn::clip;
use crate::engine::world::{ContainerSeen, PodSeen};

/// Reasons for which a container waits that do not pass without another template.
const FOR_GOOD: [&str; 2] = ["InvalidImageName", "ErrImageNeverPull"];
/// Reasons that can pass: a registry that is away, a ConfigMap or Secret that comes later.
const FOR_NOW: [&str; 8] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
];
/// Characters of the kubelet's words that are repeated.
const SAYS_MAX: usize = 100;
/// What the kubelet calls a container that was killed because it took more memory than it may.
const OUT_OF_MEMORY: &str = "OOMKilled";

/// What pods of two versions can have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Containers are killed for their memory.
    Memory,
    /// Containers end.
    Ends,
    /// Containers cannot be started.
    Start,
}

/// What is wrong with one pod: the first of these that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Trouble {
    /// Started again more often than allowed.
    Crashes(Fault, String),
    /// Cannot be started; whether that can pass.
    Stuck { can_pass: bool, words: String },
    /// Taken away by the cluster.
    Taken(String),
    /// No node has room.
    Unscheduled(String),
    /// Started again, as often as allowed, or still on its way.
    Waits(String),
}

impl Trouble {
    fn words(&self) -> &str {
        match self {
            Self::Crashes(_, words)
            | Self::Stuck { words, .. }
            | Self::Taken(words)
            | Self::Unscheduled(words)
            | Self::Waits(words) => words,
        }
    }

    const fn rank(&self) -> u8 {
        match self {
            Self::Crashes(..) => 0,
            Self::Stuck { .. } => 1,
            Self::Taken(_) => 2,
            Self::Unscheduled(_) => 3,
            Self::Waits(_) => 4,
        }
    }
}

/// What the pods of the canary say together.
pub(super) struct Findings {
    size: i32,
    /// What is wrong, and with how many pods; the gravest first.
    troubles: Vec<(Trouble, usize)>,
    has_ready: bool,
}

impl Findings {
    /// Of pods of one version that is to have `size` of them. One container may be started again `max_restarts` times.
    pub fn of(pods: &[PodSeen], size: i32, max_restarts: i32) -> Self {
        let mut troubles: Vec<(Trouble, usize)> = Vec::new();
        for trouble in
            pods.iter().filter(|pod| !pod.is_leaving).filter_map(|pod| trouble_of(pod, max_restarts))
        {
            match troubles.iter_mut().find(|(known, _)| *known == trouble) {
                Some((_, count)) => *count += 1,
                None => troubles.push((trouble, 1)),
            }
        }
        troubles.sort_by(|(a, m), (b, n)| (a.rank(), n, a.words()).cmp(&(b.rank(), m, b.words())));
        Self { size, troubles, has_ready: pods.iter().any(|pod| pod.is_ready && !pod.is_leaving) }
    }

    /// Whether containers cannot be started for a reason that can pass. One pod of the version that is ready shows that the
    /// version can be started: then it is not the version.
    pub fn is_stuck(&self) -> bool {
        !self.has_ready
            && self.troubles.iter().any(|(it, _)| matches!(it, Trouble::Stuck { can_pass: true, .. }))
    }

    /// What is the fault of the version, if anything is. `is_over`: what can pass has had its time.
    pub fn fault(&self, is_over: bool) -> Option<Fault> {
        self.troubles.iter().find_map(|(trouble, _)| match trouble {
            Trouble::Crashes(fault, _) => Some(*fault),
            Trouble::Stuck { can_pass, .. } if !self.has_ready && (is_over || !can_pass) => {
                Some(Fault::Start)
            }
            _ => None,
        })
    }

    /// Such as `2 of 5 canary pods: container app restarted 3 times, last exit 1`.
    pub fn in_words(&self) -> String {
        let all = self.troubles.iter().enumerate().map(|(at, (trouble, count))| {
            let of = if at == 0 {
                format!("{count} of {} canary pods", self.size)
            } else {
                format!("{count} of {}", self.size)
            };
            format!("{of}: {}", trouble.words())
        });
        let all: Vec<String> = all.collect();
        if all.is_empty() { "canary pods are being created".to_owned() } else { all.join("; ") }
    }
}

/// How many pods that are not ready have the same fault.
pub(super) fn alike(pods: &[PodSeen], fault: Fault) -> usize {
    let has = |pod: &&PodSeen| match trouble_of(pod, 0) {
        Some(Trouble::Crashes(own, _)) => own == fault,
        Some(Trouble::Stuck { .. }) => fault == Fault::Start,
        _ => false,
    };
    pods.iter().filter(|pod| !pod.is_leaving && !pod.is_ready).filter(has).count()
}

fn trouble_of(pod: &PodSeen, max_restarts: i32) -> Option<Trouble> {
    if !pod.taken.is_empty() {
        return Some(Trouble::Taken(format!("taken away by the cluster ({})", clip(&pod.taken, SAYS_MAX))));
    }
    let crashed = pod.containers.iter().max_by_key(|it| it.restarts).filter(|it| it.restarts > max_restarts);
    if let Some(container) = crashed {
        let is_memory = container.ended.as_ref().is_some_and(|(reason, _)| reason == OUT_OF_MEMORY);
        let fault = if is_memory { Fault::Memory } else { Fault::Ends };
        return Some(Trouble::Crashes(fault, restarts_in_words(container)));
    }
    if pod.is_ready {
        return None;
    }
    if let Some(stuck) = pod.containers.iter().find_map(stuck) {
        return Some(stuck);
    }
    if !pod.unscheduled.is_empty() {
        let says = clip(&pod.unscheduled, SAYS_MAX);
        return Some(Trouble::Unscheduled(format!("waiting for a node: {says}")));
    }
    Some(Trouble::Waits(wait_in_words(pod)))
}

fn stuck(container: &ContainerSeen) -> Option<Trouble> {
    let reason = container.waiting.as_str();
    let (is_final, can_pass) = (FOR_GOOD.contains(&reason), FOR_NOW.contains(&reason));
    let says = clip(&container.says, SAYS_MAX);
    let says = if says.is_empty() { says } else { format!(" ({says})") };
    let words = format!("container {} cannot be started: {reason}{says}", container.name);
    (is_final || can_pass).then_some(Trouble::Stuck { can_pass, words })
}

fn restarts_in_words(container: &ContainerSeen) -> String {
    let times = match container.restarts {
        1 => "once".to_owned(),
        n => format!("{n} times"),
    };
    let last = match &container.ended {
        None => String::new(),
        Some((reason, code)) if reason.is_empty() || reason == "Error" => format!(", last exit {code}"),
        Some((reason, code)) => format!(", last {reason} (exit {code})"),
    };
    format!("container {} restarted {times}{last}", container.name)
}

/// What a pod that is not ready waits for.
fn wait_in_words(pod: &PodSeen) -> String {
    let Some(container) = pod.containers.iter().find(|it| !it.is_ready) else {
        return "not ready".to_owned();
    };
    let name = &container.name;
    match container.waiting.as_str() {
        _ if container.restarts > 0 => restarts_in_words(container),
        "" => format!("container {name} runs and is not ready"),
        reason => format!("container {name} waits: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(restarts: i32, waiting: &str, ended: Option<(&str, i32)>) -> ContainerSeen {
        ContainerSeen {
            name: "app".to_owned(),
            is_ready: false,
            restarts,
            waiting: waiting.to_owned(),
            says: String::new(),
            ended: ended.map(|(reason, code)| (reason.to_owned(), code)),
        }
    }

    fn pod(container: ContainerSeen) -> PodSeen {
        PodSeen { containers: vec![container], ..PodSeen::default() }
    }

    fn ready() -> PodSeen {
        PodSeen { is_ready: true, ..pod(ContainerSeen { is_ready: true, ..container(0, "", None) }) }
    }

    fn of(pods: &[PodSeen]) -> (Option<Fault>, String) {
        let found = Findings::of(pods, 5, 2);
        (found.fault(true), found.in_words())
    }

    #[test]
    fn a_container_that_ends_too_often_is_the_versions_fault_however_many_pods_are_well() {
        let killed = || pod(container(3, "CrashLoopBackOff", Some(("OOMKilled", 137))));
        let (fault, words) = of(&[killed(), ready(), killed(), ready(), ready()]);
        assert_eq!(fault, Some(Fault::Memory));
        assert_eq!(words, "2 of 5 canary pods: container app restarted 3 times, last OOMKilled (exit 137)");
        let (fault, words) = of(&[pod(container(3, "", Some(("Error", 1)))), ready()]);
        assert_eq!(fault, Some(Fault::Ends));
        assert_eq!(words, "1 of 5 canary pods: container app restarted 3 times, last exit 1");
        let back = PodSeen { is_ready: true, ..killed() };
        assert_eq!(of(&[back, ready()]).0, Some(Fault::Memory), "that it is ready just now changes nothing");
    }

    #[test]
    fn as_many_restarts_as_allowed_are_a_wait() {
        let (fault, words) = of(&[pod(container(2, "CrashLoopBackOff", Some(("Error", 2))))]);
        assert_eq!(fault, None);
        assert_eq!(words, "1 of 5 canary pods: container app restarted 2 times, last exit 2");
        assert_eq!(of(&[pod(container(1, "", None))]).1, "1 of 5 canary pods: container app restarted once");
    }

    #[test]
    fn an_image_that_cannot_be_had_is_the_versions_fault_unless_a_pod_has_it() {
        for reason in FOR_NOW {
            let stuck = || pod(container(0, reason, None));
            let found = Findings::of(&[stuck(), stuck()], 2, 2);
            assert!(found.is_stuck() && found.fault(false).is_none(), "{reason} can pass");
            assert_eq!(found.fault(true), Some(Fault::Start));
            let found = Findings::of(&[stuck(), ready()], 2, 2);
            assert!(!found.is_stuck() && found.fault(true).is_none(), "{reason} on one node");
        }
        for reason in FOR_GOOD {
            let found = Findings::of(&[pod(container(0, reason, None))], 1, 2);
            assert!(!found.is_stuck() && found.fault(false) == Some(Fault::Start), "{reason} does not pass");
        }
        let told = ContainerSeen { says: "no such tag".to_owned(), ..container(0, "ErrImagePull", None) };
        assert_eq!(
            of(&[pod(told)]).1,
            "1 of 5 canary pods: container app cannot be started: ErrImagePull (no such tag)"
        );
    }

    #[test]
    fn what_the_cluster_does_to_pods_is_nobodys_fault() {
        let evicted = PodSeen { taken: "Evicted".to_owned(), ..pod(container(9, "", Some(("Error", 137)))) };
        let unscheduled = PodSeen { unscheduled: "0/3 nodes are available".to_owned(), ..PodSeen::default() };
        let leaving = PodSeen { is_leaving: true, ..pod(container(9, "", None)) };
        let (fault, words) = of(&[evicted, unscheduled, leaving]);
        assert_eq!(fault, None);
        assert_eq!(
            words,
            "1 of 5 canary pods: taken away by the cluster (Evicted); 1 of 5: waiting for a node: 0/3 nodes are available"
        );
    }

    #[test]
    fn what_only_takes_long_is_a_wait_with_words() {
        for (waiting, words) in [
            ("", "container app runs and is not ready"),
            ("ContainerCreating", "container app waits: ContainerCreating"),
        ] {
            let (fault, said) = of(&[pod(container(0, waiting, None))]);
            assert_eq!((fault, said), (None, format!("1 of 5 canary pods: {words}")));
        }
        assert_eq!(of(&[]), (None, "canary pods are being created".to_owned()));
    }

    #[test]
    fn stable_fails_alike_only_with_pods_that_are_not_ready_now() {
        let old = PodSeen { is_ready: true, ..pod(container(40, "", Some(("OOMKilled", 137)))) };
        let killed = pod(container(1, "CrashLoopBackOff", Some(("OOMKilled", 137))));
        let stuck = pod(container(0, "ImagePullBackOff", None));
        let stable = [old, killed, stuck];
        assert_eq!([Fault::Memory, Fault::Ends, Fault::Start].map(|it| alike(&stable, it)), [1, 0, 1]);
    }
}
