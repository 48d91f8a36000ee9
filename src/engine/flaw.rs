//! Bugs that can be put back into the engine and the edges, one at a time, by the tests alone (feature `flaws`): each was made
//! in a peer of Palier or in Palier itself, and each must be seen by a monitor, a property or a test. Without the feature every
//! question is a constant `false`.

use crate::api::ComponentStatus;

use super::plan::{Inquiry, Write};
use super::turn::{Part, Turn};
use super::world::DeploymentSeen;

#[cfg(feature = "flaws")]
thread_local! {
    static PRESENT: std::cell::Cell<Option<Flaw>> = const { std::cell::Cell::new(None) };
    static STUMBLES: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

/// A bug that can be put back. The words after the bug say where it comes from: issues of peers, the classes of incidents
/// that are made of them, promises (P) and scenarios of the test plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flaw {
    /// A raise comes after the first pass, whatever is left of the bake: a run that ended early counted as a success. (argo
    /// #1360, PR #4602; class 12)
    ShortBake,
    /// What a former run had earned is not earned again by the next. (argo #721, #2769, flagger #30; class 17, scenario 15)
    FormerRunsPhasesCount,
    /// The time that one phase has proven counts for the next. (argo #721, flagger #30; P5, scenario 15)
    FormerPhasesProofCounts,
    /// A number that is none is not above the limit, and passes. (argo evaluate.go, flagger #1637; P6, scenarios 9 and 11)
    NanPasses,
    /// No series is no error, and passes. (argo #1466, flagger #1035; class 14, scenario 13)
    NothingPasses,
    /// A metric server that cannot be asked has nothing against the release. (argo #4535, #4770; scenario 10)
    OutagePasses,
    /// The time of a sample is not looked at. (flagger #1763; P6, scenario 12)
    CacheIsEvidence,
    /// The bake begins with the write of the weight; that the gateway has not taken it is not looked at. (argo #4612,
    /// #4564; class 5, scenario 19)
    BakesBeforeAccepted,
    /// A gateway that refuses the route is taken for one that accepts it. (trail of bits ARGO-005; scenario 32)
    RouteErrorIgnored,
    /// An old ReplicaSet of an equal template is left there when the canary is to be adopted. (kruise #230, argo #1453;
    /// class 19)
    TwinStays,
    /// On the way back the canary's pods go in the same breath as its traffic. (argo PR #4612, #2050, kruise #230; class 2,
    /// scenario 27)
    PodsBeforeTraffic,
    /// At 100 % everything is done: the old pods go at once. (argo #3586, #3681; class 2, scenario 21)
    NoLastBake,
    /// A rollback first lets the measurements under way come to their end. (argo #4841, #4898; class 4, scenario 18)
    RollbackWaitsForMetrics,
    /// Once it is promoting nothing is looked at any more, a changed template neither. (flagger #1588, #1898; class 10,
    /// scenario 24)
    NoWayBackWhilePromoting,
    /// Stable's backend keeps its weight when the canary gets one. (argo #3467, #3474; P1, scenario 20)
    WeightsDoNotSum,
    /// The canary's size is that of the moment of its preparation: an autoscaler is not followed. (argo #4321, #1415; class
    /// 19, P32)
    SizeIsFixedAtTheRaise,
    /// Stable gives up the pods that its share does not need: a way back is one to too few. (argo #3372, #3020, flagger
    /// #1600; class 3, scenario 17)
    StableShrinks,
    /// A component goes back alone; what was proven with it stays. (P11, scenario 22)
    DependentsStayUp,
    /// At the end of a run the switches of a degraded mode are forgotten. (class 18, P12)
    DegradedLeavesSwitches,
    /// A switch is set back to what was found, whoever has changed it since. (argo #2266, #1070; class 18, P20)
    ForeignSwitchOverwritten,
    /// A hook whose Job is gone is started again. (argo #1107, #3015; class 13, P14)
    HookRunsAgainWhenGone,
    /// A restore that is done is done once more. (argo #2897, #1107; class 13, P14)
    RestoreRunsTwice,
    /// A Rollout that is deleted waits for a Deployment that is gone. (flagger #1562, #640, #686; class 19, scenario 25)
    FinalizerWaitsForDeployment,
    /// A ReplicaSet of the right name is ours, whoever owns it. (kruise #191, sieve's stale reads; P19, scenario 29)
    NameNotUid,
    /// The status is stored when there is nothing to write: after the effects, not before them. (argo #4842, #4804; P16,
    /// scenario 7)
    NoWriteAhead,
    /// The canary's pods start while callers of the Service may still reach them. (kruise #230; scenario 27)
    PinComesLate,
    /// A hook is tried again without a limit. (argo #3015, #1118; class 13, scenario 31)
    HookRetriedForEver,
    /// What was just made is never what was wanted: it is deleted and made again. (argo #1118, #3064, #2982; class 7,
    /// scenario 31)
    EndlessCreates,
    /// A restart annotation changes the revision: every restart is a new run. (argo #4696, flagger #1201, #1673; class 1)
    RestartIsARelease,
    /// What was rolled back is released again, because it is not stable. (argo #2929, flagger #989; class 13, scenario 26)
    RejectedStartsAgain,
    /// A pause holds nobody who has earned his phase. (argo #3354, flagger #1248; P28, scenario 16)
    PauseIgnored,
    /// An action on a run that is over is obeyed by the next. (argo #2929; P27)
    AnyRunsActions,
    /// A controller that was replaced as leader goes on with what it knows. (argo #2117, #3355; class 8, scenario 1)
    NoStandBy,
    /// A new leader does not say so before it acts. (argo #2117, flagger #1613; class 8, P13)
    NoClaim,
    /// A gate without evidence holds for ever. (flagger #1450, argo #1466; class 14)
    DeadlineNeverTicks,
    /// While canary pods start, or a weight is waited for, a failing gate turns nothing back. (flagger #1801; class 15,
    /// scenario 23)
    FailureOnlyCountsInTheBake,
    /// The canary's Service goes when the route says so, not when the gateway does. (argo #1718, #2864; class 6, scenario
    /// 22)
    ServiceGoesUndrained,
    /// The route comes back with weights that nobody gave it. (gatewayapi plugin #217, flagger #1573; class 18, P12)
    RouteNotAsFound,
    /// A pause counts as a lack of progress. (argo #1268, #3711, #3534; class 16, scenario 33)
    PauseIsNoProgress,
    /// Times that were noted are believed, even when they lie ahead. (P26)
    ClockTrusted,
    /// A run ends before its record says how. (argo #4073; class 9, P12)
    EndsBeforeRecord,
    /// Everybody takes the pods that he wants. (argo PR #4221, #1583; class 20)
    RoomIgnored,
    /// A component starts before what it depends on serves everybody. (P10)
    DependentsStartEarly,
    /// Actions are taken in the order in which they were listed. (argo #3078, #3758; class 7, P15)
    ListOrderMatters,
    /// A rollback is given up when every gate passes again. (kruise #257, argo #2929; P8, scenario 28)
    AbortForgotten,
    /// A canary without a single ready pod keeps its share. (flagger #874, argo #2781; class 15, scenario 22)
    TrafficToNobody,
    /// New pods of stable get the canary's configuration. (argo #2507, #3602; class 5, scenario 19)
    StableGetsNewConfig,
    /// After a crash the requests of the whole phase are counted once more. (argo #4073; class 9, P16)
    CountedTwice,
    /// A run that is complete leaves the Deployment paused. (argo #3855, flagger #1550; class 19, scenario 25)
    StaysPaused,
    /// Copies of configuration that nobody mounts are never deleted. (argo #2855, flux #10; class 20)
    CopiesStay,

    // The edges.
    /// A write names the object that was looked at, and not the version. (anvil's note on unconditional updates; class 9, P17)
    WriteWithoutVersion,
    /// What is deleted is whatever has the name by then. (sieve's stale reads, kruise #191; P19, scenario 29)
    DeleteByName,
    /// The answers to our own writes are forgotten: only the watch counts. (argo #4786, #3080; class 9, scenario 6)
    OwnWritesForgotten,
    /// A leader whose Lease is lost goes on. (argo #2117, PR #2291; class 8, P13, scenario 1)
    LeaderForEver,
    /// An answer with warnings is as good as another. (flagger #1763; class 12, P6, scenario 11)
    WarningsPass,
    /// A redirect of a metric server is followed wherever it leads. (argo #4707; P31)
    RedirectFollowed,
    /// An answer of any size is read. (flagger reads answers unbounded; class 20, P30)
    AnyAnswerIsRead,
    /// A name is resolved to whatever it says, this machine included. (argo #4707)
    AddressUnchecked,
    /// A panic takes the Rollout's place in the queue with it. (class 9, P30)
    PanicIsTheEnd,
    /// A status whose reply was lost counts as not stored: its answers are judged again. (found here by the fault proxy; P16)
    LostStatusJudgedAgain,
    /// A list that does not come is waited for without a limit. (found here by seeds 138 and 241; class 9, P18)
    ListWithoutDeadline,
    /// Work that is due later is not remembered. (argo #4694, #3316; class 9, scenario 5)
    WakeUpForgotten,
    /// What was asked of a former Rollout of that name is obeyed. (found here by the hostile tenants; P27)
    FormerRolloutsActions,
}

/// Puts a bug back, for decisions of this thread; `None` takes it out again.
#[cfg(feature = "flaws")]
pub fn put_back(flaw: Option<Flaw>) {
    PRESENT.set(flaw);
}

/// Whether this bug was put back.
#[cfg(feature = "flaws")]
pub(crate) fn is(flaw: Flaw) -> bool {
    PRESENT.get() == Some(flaw)
}

/// Never, in the program.
#[cfg(not(feature = "flaws"))]
pub(crate) const fn is(_: Flaw) -> bool {
    false
}

/// The work on a Rollout panics when this thread comes to it for the `after`-th time from now; 0 for never.
#[cfg(feature = "flaws")]
pub fn let_stumble(after: u32) {
    STUMBLES.set(after);
}

/// Panics if the tests want it.
#[cfg(feature = "flaws")]
pub(crate) fn stumble() {
    let left = STUMBLES.get();
    STUMBLES.set(left.saturating_sub(1));
    assert!(left != 1, "a bug that was put there by a test");
}

/// Never, in the program.
#[cfg(not(feature = "flaws"))]
pub(crate) const fn stumble() {}

/// [`Flaw::StableShrinks`].
pub(super) fn shrink_stable(
    turn: &mut Turn<'_>,
    component: &ComponentStatus,
    part: &Part<'_>,
    deployment: &DeploymentSeen,
) {
    if !part.seen.replica_sets_complete {
        return turn.look(Inquiry::ReplicaSets(part.name.clone()));
    }
    let (Some(stable), desired) = (component.stable.as_ref(), deployment.replicas) else { return };
    let set = part.seen.replica_sets.iter().find(|set| set.at.name == stable.replica_set);
    let replicas = desired - desired * component.weight / 100;
    if let Some(set) = set.filter(|set| set.replicas > replicas) {
        turn.write(Write::ScaleReplicaSet { replica_set: set.at.clone(), replicas, desired });
    }
}
