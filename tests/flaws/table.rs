//! The bugs: where each was made before, what kind of incident it makes, what shows it and who must see it.

use palier::engine::flaw::Flaw;

/// What shows a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The script of a shape and a seed.
    Seed(&'static str, u64),
    /// A script that was written for it, in `tests/flaws/scripts`.
    Script(&'static str),
    /// Every order of events in the world of `tests/model`.
    SmallWorld,
    /// A test of the edges.
    Edge,
}

/// A bug.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    pub flaw: Flaw,
    /// Issues of the peers' trackers, or where else it was made.
    pub from: &'static str,
    /// The kind of incident, a number of [`CLASSES`]; 0 for none of them.
    pub class: usize,
    /// Scenarios of the test plan, from issues of the peers, that it brings back.
    pub scenarios: &'static [u8],
    /// The promise that it breaks, where the test plan names it.
    pub promise: &'static str,
    pub shown: Shown,
    /// The functions that may see it: anybody else sees it for the wrong reason. Where nobody is named, anybody may.
    pub by: &'static [&'static str],
}

/// Kinds of incidents that the peers had, from 1.
pub const CLASSES: [&str; 20] = [
    "an upgrade or a restart releases everything anew",
    "pods go before their traffic does",
    "all traffic to a stable version that is too small",
    "an abort that never ends",
    "a route and what it names change in the wrong order",
    "traffic to where nobody listens any more",
    "objects or selectors that flap",
    "two leaders act",
    "an old view is decided from, or nothing goes on until a restart",
    "promotion without a way back",
    "taken over or let go before anybody is ready",
    "what failed, ended early or said nothing counts as a success",
    "tried again unasked, or not tried when it should be",
    "no data is taken for good, or held for ever",
    "a gate that is not heard while something is waited for",
    "the progress deadline counts the wrong time",
    "a new version inherits what another one earned",
    "what others wrote is lost",
    "what was borrowed is not given back",
    "limits that are not kept, leaks and floods",
];

/// A bug of the table.
const fn known(
    flaw: Flaw,
    from: &'static str,
    (class, scenarios, promise): (usize, &'static [u8], &'static str),
    shown: Shown,
    by: &'static [&'static str],
) -> Known {
    Known { flaw, from, class, scenarios, promise, shown, by }
}

impl Known {
    /// A row of the published table: what showed it, who saw it, in what words.
    pub fn row(&self, shown: &str, by: &str, words: &str) -> serde_json::Value {
        let class = self.class.checked_sub(1).and_then(|index| CLASSES.get(index)).copied().unwrap_or("–");
        let scenarios: Vec<String> = self.scenarios.iter().map(ToString::to_string).collect();
        serde_json::json!({
            "flaw": format!("{:?}", self.flaw), "from": self.from, "class": class, "scenarios": scenarios.join(", "),
            "promise": self.promise, "shown": shown, "by": by, "words": words,
        })
    }
}

use Shown::{Edge, Script, Seed, SmallWorld};

/// Put back into the engine.
pub const ENGINE: [Known; 50] = [
    known(
        Flaw::ShortBake,
        "argo #1360, PR #4602",
        (12, &[], ""),
        Seed("one", 4),
        &["planner/monitors::check_phase"],
    ),
    known(
        Flaw::FormerRunsPhasesCount,
        "argo #721, #2769, flagger #30",
        (17, &[15], ""),
        Seed("config", 2),
        &["planner/monitors::check_phase"],
    ),
    known(
        Flaw::FormerPhasesProofCounts,
        "argo #721, flagger #30",
        (0, &[15], "P5"),
        Seed("one", 4),
        &["planner/monitors::check_phase"],
    ),
    known(
        Flaw::NanPasses,
        "argo evaluate.go, flagger #1637",
        (0, &[9, 11], "P6"),
        Seed("one", 6),
        &["planner/monitors::check_phase"],
    ),
    known(
        Flaw::NothingPasses,
        "argo #1466, flagger #1035",
        (14, &[13], ""),
        Seed("one", 4),
        &["planner/monitors::check_phase"],
    ),
    known(
        Flaw::OutagePasses,
        "argo #4535, #4770",
        (0, &[10], ""),
        Seed("one", 26),
        &["planner/monitors::check_phase"],
    ),
    known(
        Flaw::CacheIsEvidence,
        "flagger #1763",
        (0, &[12], "P6"),
        Seed("one", 4),
        &["planner/monitors::check_phase"],
    ),
    known(
        Flaw::BakesBeforeAccepted,
        "argo #4612, #4564",
        (5, &[19], ""),
        Seed("one", 14),
        &["planner/monitors::check_phase"],
    ),
    known(
        Flaw::RouteErrorIgnored,
        "trail of bits ARGO-005",
        (0, &[32], ""),
        Seed("one", 87),
        &["planner/monitors::check_phase"],
    ),
    known(
        Flaw::TwinStays,
        "kruise #230, argo #1453",
        (19, &[], ""),
        Seed("one", 47),
        &["planner/play::check_end"],
    ),
    known(
        Flaw::PodsBeforeTraffic,
        "argo PR #4612, #2050, kruise #230",
        (2, &[27], ""),
        Seed("one", 33),
        &["planner/monitors_serving::look_at_shrinking"],
    ),
    known(
        Flaw::NoLastBake,
        "argo #3586, #3681",
        (2, &[21], ""),
        Seed("one", 3),
        &["planner/monitors::check_phase"],
    ),
    known(
        Flaw::RollbackWaitsForMetrics,
        "argo #4841, #4898",
        (4, &[18], ""),
        Seed("one", 4),
        &["planner/play::check_abort"],
    ),
    known(
        Flaw::NoWayBackWhilePromoting,
        "flagger #1588, #1898",
        (10, &[24], ""),
        Script("no-way-back-while-promoting"),
        &["planner/monitors_serving::look_at_handover", "planner/monitors_serving::look_at_resume"],
    ),
    known(
        Flaw::WeightsDoNotSum,
        "argo #3467, #3474",
        (0, &[20], "P1"),
        Seed("one", 3),
        &["planner/monitors::check_sums"],
    ),
    known(
        Flaw::SizeIsFixedAtTheRaise,
        "argo #4321, #1415",
        (19, &[], "P32"),
        Script("size-is-fixed-at-the-raise"),
        &["planner/monitors_serving::look_at_size"],
    ),
    known(
        Flaw::StableShrinks,
        "argo #3372, #3020, flagger #1600",
        (3, &[17], ""),
        Seed("one", 3),
        &["planner/monitors_serving::look_at_shrinking"],
    ),
    known(
        Flaw::DependentsStayUp,
        "the test plan",
        (0, &[22], "P11"),
        Seed("parts", 7),
        &["planner/monitors_parts::look_at_closure", "planner/properties_parts::play"],
    ),
    known(
        Flaw::DegradedLeavesSwitches,
        "the test plan",
        (18, &[], "P12"),
        Seed("degraded", 15),
        &["planner/properties_degraded::look"],
    ),
    known(
        Flaw::ForeignSwitchOverwritten,
        "argo #2266, #1070",
        (18, &[], "P20"),
        Seed("degraded", 17),
        &["planner/properties_degraded::look"],
    ),
    known(
        Flaw::HookRunsAgainWhenGone,
        "argo #1107, #3015",
        (13, &[], "P14"),
        Seed("hooks", 1),
        &["planner/properties_hooks::watch"],
    ),
    known(
        Flaw::RestoreRunsTwice,
        "argo #2897, #1107",
        (13, &[], "P14"),
        Seed("hooks", 34),
        &["planner/properties_hooks::watch"],
    ),
    known(
        Flaw::FinalizerWaitsForDeployment,
        "flagger #1562, #640, #686",
        (19, &[25], ""),
        Seed("one", 10),
        &["planner/properties::leave"],
    ),
    known(
        Flaw::NameNotUid,
        "kruise #191, sieve's stale reads",
        (0, &[29], "P19"),
        Seed("one", 3),
        &["planner/monitors_parts::look_at_adoption"],
    ),
    known(
        Flaw::NoWriteAhead,
        "argo #4842, #4804",
        (0, &[7], "P16"),
        Seed("one", 0),
        &["planner/monitors_runs::look"],
    ),
    known(
        Flaw::PinComesLate,
        "kruise #230",
        (0, &[27], ""),
        Seed("one", 3),
        &["planner/monitors_serving::look_at_leak"],
    ),
    known(
        Flaw::HookRetriedForEver,
        "argo #3015, #1118",
        (13, &[31], ""),
        Seed("hooks", 0),
        &["planner/properties_hooks::watch"],
    ),
    known(
        Flaw::EndlessCreates,
        "argo #1118, #3064, #2982",
        (7, &[31], ""),
        Seed("one", 0),
        &["planner/properties::happen"],
    ),
    known(
        Flaw::RestartIsARelease,
        "argo #4696, flagger #1201, #1673",
        (1, &[], ""),
        Seed("one", 22),
        &["planner/monitors_runs::look"],
    ),
    known(
        Flaw::RejectedStartsAgain,
        "argo #2929, flagger #989",
        (13, &[26], ""),
        Seed("one", 2),
        &["planner/monitors_runs::look"],
    ),
    known(
        Flaw::PauseIgnored,
        "argo #3354, flagger #1248",
        (0, &[16], "P28"),
        Seed("one", 16),
        &["planner/monitors::look_at_weight"],
    ),
    known(
        Flaw::AnyRunsActions,
        "argo #2929",
        (0, &[], "P27"),
        Seed("one", 157),
        &["planner/monitors::check_phase", "planner/monitors_runs::look_at_plan"],
    ),
    known(Flaw::NoStandBy, "argo #2117, #3355", (8, &[1], ""), SmallWorld, &["model/world::advance"]),
    known(Flaw::NoClaim, "argo #2117, flagger #1613", (8, &[], "P13"), SmallWorld, &["model/world::advance"]),
    known(
        Flaw::ServiceGoesUndrained,
        "argo #1718, #2864",
        (6, &[22], ""),
        Seed("one", 14),
        &["planner/monitors_serving::look_at_writes"],
    ),
    known(
        Flaw::RouteNotAsFound,
        "gatewayapi plugin #217, flagger #1573",
        (18, &[], "P12"),
        Seed("one", 3),
        &["planner/play::check_end"],
    ),
    known(
        Flaw::PauseIsNoProgress,
        "argo #1268, #3711, #3534",
        (16, &[33], ""),
        Seed("one", 63),
        &["planner/monitors_runs::look_at_plan"],
    ),
    known(
        Flaw::ClockTrusted,
        "the test plan",
        (0, &[], "P26"),
        Seed("one", 41),
        &["planner/properties::heal"],
    ),
    known(
        Flaw::EndsBeforeRecord,
        "argo #4073",
        (9, &[], "P12"),
        Seed("one", 0),
        &["planner/monitors::check_record"],
    ),
    known(
        Flaw::RoomIgnored,
        "argo PR #4221, #1583",
        (20, &[], ""),
        Seed("parts", 2),
        &["planner/monitors_parts::look_at_room"],
    ),
    known(
        Flaw::DependentsStartEarly,
        "the test plan",
        (0, &[], "P10"),
        Seed("parts", 0),
        &["planner/monitors_parts::look_at_order"],
    ),
    known(
        Flaw::ListOrderMatters,
        "argo #3078, #3758",
        (7, &[], "P15"),
        Seed("one", 2),
        &["planner/play::turn"],
    ),
    known(
        Flaw::AbortForgotten,
        "kruise #257, argo #2929",
        (0, &[28], "P8"),
        Seed("one", 3),
        &["planner/properties::happen"],
    ),
    known(
        Flaw::TrafficToNobody,
        "flagger #874, argo #2781",
        (15, &[22], ""),
        Seed("one", 84),
        &["planner/monitors::look_at_callers"],
    ),
    known(
        Flaw::StableGetsNewConfig,
        "argo #2507, #3602",
        (5, &[19], ""),
        Seed("config", 2),
        &["planner/properties_config::watch"],
    ),
    known(
        Flaw::CountedTwice,
        "argo #4073",
        (9, &[], "P16"),
        Seed("counting", 0),
        &["planner/examples_counting::count"],
    ),
    known(
        Flaw::StaysPaused,
        "argo #3855, flagger #1550",
        (19, &[25], ""),
        Seed("one", 3),
        &["planner/play::check_end"],
    ),
    known(
        Flaw::CopiesStay,
        "argo #2855, flux #10",
        (20, &[], ""),
        Seed("config", 2),
        &["planner/properties_config::check_end"],
    ),
    known(
        Flaw::DeadlineNeverTicks,
        "flagger #1450, argo #1466",
        (14, &[], ""),
        Script("deadline-never-ticks"),
        &["planner/monitors_runs::check_obeyed"],
    ),
    known(
        Flaw::FailureOnlyCountsInTheBake,
        "flagger #1801",
        (15, &[23], ""),
        Script("failure-only-counts-in-the-bake"),
        &["planner/monitors_runs::check_obeyed"],
    ),
];

/// Put back into the edges: see `at_the_api_server.rs`, `at_the_metric_server.rs` and `at_the_lease.rs`.
pub const EDGES: [Known; 13] = [
    known(Flaw::WriteWithoutVersion, "unconditional updates of built-in kinds", (9, &[], "P17"), Edge, &[]),
    known(Flaw::DeleteByName, "kruise #191", (9, &[29], "P19"), Edge, &[]),
    known(Flaw::OwnWritesForgotten, "argo #4786, #3080", (9, &[6], "P17"), Edge, &[]),
    known(Flaw::LeaderForEver, "argo #2117, PR #2291", (8, &[1], "P13"), Edge, &[]),
    known(Flaw::WarningsPass, "flagger #1763", (12, &[], "P6"), Edge, &[]),
    known(Flaw::RedirectFollowed, "argo #4707", (0, &[], ""), Edge, &[]),
    known(Flaw::AnyAnswerIsRead, "flagger reads answers of any size", (20, &[], "P30"), Edge, &[]),
    known(Flaw::AddressUnchecked, "argo #4707", (0, &[], ""), Edge, &[]),
    known(Flaw::PanicIsTheEnd, "argo #4694", (9, &[], "P30"), Edge, &[]),
    known(Flaw::LostStatusJudgedAgain, "here: the fault proxy", (9, &[], "P16"), Edge, &[]),
    known(Flaw::ListWithoutDeadline, "here: seeds 138 and 241", (9, &[], "P18"), Edge, &[]),
    known(Flaw::WakeUpForgotten, "argo #4694, #3316", (9, &[5], "P21"), Edge, &[]),
    known(Flaw::FormerRolloutsActions, "here: the hostile tenants; argo #2929", (13, &[], "P27"), Edge, &[]),
];
