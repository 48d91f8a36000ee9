//! Room for extra pods: how far the canaries of all components may grow together (`spec.maxExtraPods`).
//!
//! A component gets what it asks for if it fits and if, after that, every component can still come to its end in some
//! order: the banker's algorithm (Dijkstra, EWD 623). A component whose old version is given up when it has baked
//! (`retain: UntilBaked`) gives its room back then; otherwise all is kept until the run ends.

use crate::api::{Retain, Stage};

use super::flaw::{self, Flaw};
use super::scaling::canary_size;
use super::turn::{Part, Turn, takes_part};
use super::units::Weight;

/// What one component has and may come to need, in pods beyond those of its Deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    /// Canary pods that exist or were asked for.
    pub held: i64,
    /// Canary pods at 100 %.
    pub need: i64,
}

/// Whether `claims` can all be served with `max` pods.
#[must_use]
pub(super) fn can_all_end(max: i64, claims: &[Claim], retain: Retain) -> bool {
    let held: i64 = claims.iter().map(|claim| claim.held).sum();
    let mut free = max - held;
    if free < 0 {
        return false;
    }
    if retain == Retain::UntilRunEnds {
        return claims.iter().map(|claim| claim.need.max(claim.held)).sum::<i64>() <= max;
    }
    let mut waiting: Vec<Claim> = claims.to_vec();
    while let Some(next) = waiting.iter().position(|claim| claim.need - claim.held <= free) {
        free += waiting.swap_remove(next).held;
    }
    waiting.is_empty()
}

/// The number of pods that the spec would have to allow so that every component can come to its end.
#[must_use]
pub(super) fn least(claims: &[Claim], retain: Retain) -> i64 {
    let needs = claims.iter().map(|claim| claim.need.max(claim.held));
    match retain {
        Retain::UntilRunEnds => needs.sum(),
        Retain::UntilBaked => needs.max().unwrap_or(0),
    }
}

/// Pods that a component with `held` canary pods may have when it asks for `wanted`.
#[must_use]
fn granted(max: i64, others: &[Claim], own: Claim, wanted: i64, retain: Retain) -> i64 {
    if wanted <= own.held {
        return wanted;
    }
    let held_by_others: i64 = others.iter().map(|claim| claim.held).sum();
    let fits = wanted.min(max - held_by_others).max(own.held);
    let mut all = others.to_vec();
    all.push(own);
    // What cannot end whatever is done is no reason to keep a component from what fits: it ends by its deadline.
    if !can_all_end(max, &all, retain) {
        return fits;
    }
    all.pop();
    all.push(Claim { held: fits, need: own.need.max(fits) });
    if can_all_end(max, &all, retain) { fits } else { own.held }
}

/// The claim of one component that takes part in the run; nothing once its canary is the Deployment's own.
pub(super) fn claim_of(turn: &Turn<'_>, part: &Part<'_>, stage: Stage) -> Claim {
    let ours = |owner: &Option<String>| owner.as_deref() == Some(turn.world.rollout.at.uid.as_str());
    let sets = part.seen.replica_sets.iter().filter(|set| ours(&set.owner_uid));
    let held: i64 = sets.map(|set| i64::from(set.replicas.max(set.current))).sum();
    let desired = part.seen.deployment.found().map_or(0, |deployment| deployment.replicas);
    let goes_on = !matches!(stage, Stage::RollingBack | Stage::TakenBack | Stage::Adopted);
    let need = if goes_on { i64::from(canary_size(desired, Weight::FULL)) } else { 0 };
    Claim { held, need: need.max(held) }
}

/// The claims of all components but `except`, with what this decision has promised already.
fn others(turn: &Turn<'_>, except: &str) -> Vec<Claim> {
    let others = turn.status.components.iter().filter(|c| !c.name.is_empty() && c.name != except);
    let claim = |c: &crate::api::ComponentStatus| {
        let part = turn.part(&c.name)?;
        let claim = claim_of(turn, &part, c.stage);
        let held = claim.held.max(turn.promised(&c.name));
        let need = if takes_part(c) { claim.need.max(held) } else { held };
        Some(Claim { held, need })
    };
    others.filter_map(claim).collect()
}

/// How many of `wanted` canary pods a component may have now. `has` of them were asked for before.
pub(super) fn allowed(turn: &mut Turn<'_>, part: &Part<'_>, stage: Stage, wanted: i32) -> i32 {
    let spec = &turn.world.rollout.spec;
    let Some(max) = spec.max_extra_pods.filter(|_| !flaw::is(Flaw::RoomIgnored)) else { return wanted };
    let others = others(turn, &part.name);
    let own = claim_of(turn, part, stage);
    let size = granted(i64::from(max), &others, own, i64::from(wanted), spec.retain);
    turn.promise(&part.name, size);
    i32::try_from(size).unwrap_or(wanted)
}

/// Why a component does not grow, for people.
pub(super) fn in_words(turn: &Turn<'_>, wanted: i32) -> String {
    let max = turn.world.rollout.spec.max_extra_pods.unwrap_or(i32::MAX);
    let held: i64 = others(turn, "").iter().map(|claim| claim.held).sum();
    format!(
        "waits for room: {wanted} canary pods are wanted, and {held} of {max} extra pods are in use by others"
    )
}

/// Whether a run with `claims` could ever end; the words of what to change if not.
pub(super) fn check(turn: &Turn<'_>, claims: &[Claim]) -> Option<String> {
    let spec = &turn.world.rollout.spec;
    let (max, least) = (i64::from(spec.max_extra_pods?), least(claims, spec.retain));
    let cure = match spec.retain {
        Retain::UntilRunEnds => format!("allow {least}, or set retain: UntilBaked"),
        Retain::UntilBaked => format!("allow {least}"),
    };
    (least > max).then(|| {
        format!("spec.maxExtraPods: the canaries of this run need up to {least} pods, and {max} are allowed: {cure}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(pairs: &[(i64, i64)]) -> Vec<Claim> {
        pairs.iter().map(|(held, need)| Claim { held: *held, need: *need }).collect()
    }

    #[test]
    fn everything_is_kept_until_the_run_ends() {
        assert!(can_all_end(10, &claims(&[(5, 5), (0, 5)]), Retain::UntilRunEnds));
        assert!(!can_all_end(9, &claims(&[(5, 5), (0, 5)]), Retain::UntilRunEnds));
        assert_eq!(least(&claims(&[(0, 4), (0, 6)]), Retain::UntilRunEnds), 10);
    }

    #[test]
    fn what_one_gives_back_the_next_can_have() {
        assert!(!can_all_end(6, &claims(&[(2, 5), (3, 6)]), Retain::UntilBaked));
        assert!(can_all_end(8, &claims(&[(2, 5), (3, 6)]), Retain::UntilBaked));
        assert_eq!(least(&claims(&[(0, 4), (0, 6)]), Retain::UntilBaked), 6);
    }

    #[test]
    fn two_halves_that_block_each_other_are_never_handed_out() {
        // With 2 of the 5 that each needs and 6 allowed, neither could ever end.
        let (one, other) = (Claim { held: 2, need: 5 }, Claim { held: 1, need: 5 });
        assert_eq!(granted(6, &[one], other, 2, Retain::UntilBaked), 1);
        assert_eq!(granted(7, &[one], other, 2, Retain::UntilBaked), 2);
        assert_eq!(granted(6, &[other], one, 5, Retain::UntilBaked), 5, "one of them can end");
    }

    #[test]
    fn growth_that_does_not_fit_gets_what_is_left() {
        let own = Claim { held: 4, need: 9 };
        assert_eq!(granted(6, &[], own, 9, Retain::UntilRunEnds), 6);
        assert_eq!(granted(6, &claims(&[(2, 2)]), own, 9, Retain::UntilRunEnds), 4);
        assert_eq!(granted(3, &[], own, 9, Retain::UntilRunEnds), 4, "nothing is taken away");
        assert_eq!(granted(6, &[], own, 1, Retain::UntilRunEnds), 1);
    }
}
