//! The reference values, computed elsewhere with 40 digits.

use crate::api::Verdict;

use super::combine::{Say, combined, is_harm, leading};
use super::*;

mod counting;
mod properties;

const B: [(f64, f64, f64, f64); 3] =
    [(3.0, 100.0, 5.0, 900.0), (4.0, 100.0, 6.0, 900.0), (5.0, 120.0, 4.0, 1080.0)];

#[track_caller]
fn same(value: f64, reference: f64) {
    near(value, reference, 1e-9);
}

#[track_caller]
fn near(value: f64, reference: f64, relative: f64) {
    assert!((value - reference).abs() <= relative * reference.abs().max(1e-12), "{value}, not {reference}");
}

fn block(counts: (f64, f64, f64, f64)) -> Block {
    Block::new((counts.0, counts.1), (counts.2, counts.3))
}

fn plain() -> rate::Settings {
    rate::Settings { phi: 1.0, rho0: 1.0, ..rate::Settings::default() }
}

/// ln E after each block.
fn rated(settings: &rate::Settings, blocks: &[(f64, f64, f64, f64)]) -> (rate::State, Vec<f64>) {
    let mut state = rate::State::default();
    let mut seen = Vec::new();
    for counts in blocks {
        state = rate::step(&state, settings, &block(*counts));
        seen.push(rate::ln_e(&state));
    }
    (state, seen)
}

#[test]
fn the_gain_of_one_alternative() {
    let gain = |counts, ratio, rho0| rate::gain(&block(counts), ratio, rho0, 1.0);
    same(gain(B[0], 2.0, 1.0), 1.316960103245237);
    same(gain((0.0, 100.0, 10.0, 900.0), 2.0, 1.0), -0.9531017980432486);
    same(gain((7.0, 50.0, 3.0, 50.0), 3.0, 1.25), 0.374639712441681);
    same(gain((1.0, 10.0, 0.0, 90.0), 1000.0, 1.0), 2.293625351622574);
}

#[test]
fn the_mixture_after_each_block() {
    let (_, seen) = rated(&plain(), &B);
    for (value, reference) in seen.iter().zip([1.289469277187113, 3.904954027307702, 8.951372483937517]) {
        same(*value, reference);
    }
    let last = |settings: rate::Settings| rated(&settings, &B).1[2];
    same(last(rate::Settings { phi: 2.5, ..plain() }), 3.062217488229533);
    same(last(rate::Settings { rho0: 1.1, ..plain() }), 8.113176151626219);
    same(last(rate::Settings { rho0: 1.25, ..plain() }), 7.038211893899653);
}

#[test]
fn a_block_without_traffic_at_one_arm_changes_nothing() {
    let mut blocks = B;
    (blocks[1].0, blocks[1].1) = (0.0, 0.0);
    let (_, seen) = rated(&plain(), &blocks);
    same(seen[1], 1.289469277187113);
    same(seen[2], 6.089827567596978);
}

#[test]
fn single_blocks_small_and_large() {
    for (counts, reference) in [
        ((3.0, 10.0, 0.0, 90.0), 5.327196930819794),
        ((5.0, 10.0, 0.0, 90.0), 9.674857223018363),
        ((1000.0, 10000.0, 1000.0, 90000.0), 1016.797879107576),
        ((0.0, 10000.0, 1000.0, 90000.0), -26.77205413205133),
    ] {
        same(rated(&plain(), &[counts]).1[0], reference);
    }
}

#[test]
fn later_starts() {
    // Half, a quarter, a quarter.
    let settings = rate::Settings { starts: Starts { every: 1, planned: 3 }, ..plain() };
    let blocks = [(1.0, 100.0, 10.0, 900.0), (8.0, 100.0, 10.0, 900.0), (9.0, 100.0, 11.0, 900.0)];
    let (_, seen) = rated(&settings, &blocks);
    for (value, reference) in seen.iter().zip([-0.3717562509276978, 4.453076914308085, 12.05569026265235]) {
        same(*value, reference);
    }
    let weights = |starts: Starts| (0..9).map(|block| starts.weight(block)).collect::<Vec<_>>();
    assert_eq!(weights(Starts { every: 2, planned: 5 }), [0.5, 0.0, 0.25, 0.0, 0.25, 0.0, 0.0, 0.0, 0.0]);
    assert_eq!(weights(Starts { every: 4, planned: 4 }), [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    assert_eq!(weights(Starts::ONCE)[..2], [1.0, 0.0]);
}

#[test]
fn the_bound_of_the_ratio() {
    let (state, _) = rated(&plain(), &B);
    same(rate::ratio_at_least(&state, &plain()), 1.72006954547733);
    let (state, _) = rated(&plain(), &[(0.0, 100.0, 10.0, 900.0)]);
    assert_eq!(rate::ratio_at_least(&state, &plain()), 0.0);
}

#[test]
fn harm_needs_evidence_and_a_few_bad_requests() {
    let verdict = |blocks: &[_]| rate::verdict(&rated(&plain(), blocks).0, &plain());
    assert_eq!(verdict(&[]), Verdict::NoData);
    assert_eq!(verdict(&[(0.0, 0.0, 5.0, 900.0)]), Verdict::NoData);
    assert_eq!(verdict(&B[..1]), Verdict::Wait);
    assert_eq!(verdict(&B), Verdict::Fail);
    assert_eq!(
        verdict(&[(3.0, 10.0, 0.0, 90.0)]),
        Verdict::Wait,
        "above ln 100, but three bad requests only"
    );
    assert_eq!(verdict(&[(5.0, 10.0, 0.0, 90.0)]), Verdict::Fail);
}

#[test]
fn safe_enough() {
    let settings = |rate_max| safety::Settings { alpha: 0.05, ratio: 2.0, rate_max, phi: 1.0 };
    let after = |settings: &safety::Settings, counts| {
        let state = safety::step(&safety::State::default(), settings, &block(counts));
        (safety::ln_e(&state, settings), safety::verdict(&state, settings))
    };
    let ratio = settings(None);
    same(after(&ratio, (10.0, 1000.0, 95.0, 9000.0)).0, 2.522924254960241);
    same(after(&ratio, (30.0, 3000.0, 290.0, 27000.0)).0, 8.595525372889142);
    assert_eq!(after(&ratio, (0.0, 100.0, 0.0, 900.0)), (0.0, Verdict::Wait));
    same(safety::own_rate(Arm::new(0.0, 300.0), 0.02), 3.225265558958331);
    same(safety::own_rate(Arm::new(5.0, 1000.0), 0.02), 6.932084112036477);
    // Not one error: the ratio says nothing, the canary's own rate does, at half the stake.
    let (ln_e, verdict) = after(&settings(Some(0.02)), (0.0, 600.0, 0.0, 5400.0));
    same(ln_e, ((safety::own_rate(Arm::new(0.0, 600.0), 0.02)).exp().midpoint(1.0)).ln());
    assert_eq!(verdict, Verdict::Pass);
}

#[test]
fn one_arm_against_a_limit() {
    let after = |limit, bad, total| {
        let settings = one_arm::Settings { limit, alpha: 0.01, phi: 1.0, starts: Starts::ONCE };
        let state = one_arm::step(&one_arm::State::default(), &settings, Arm::new(bad, total));
        (one_arm::ln_e(&state), one_arm::verdict(&state, &settings))
    };
    same(after(0.01, 5.0, 100.0).0, 2.814486990056266);
    same(after(0.01, 0.0, 100.0).0, -1.460713363160929);
    same(after(0.01, 20.0, 1000.0).0, 2.489434646021322);
    same(after(0.5, 70.0, 100.0).0, 6.573169429382863);
    assert_eq!(after(0.5, 70.0, 100.0).1, Verdict::Fail);
    assert_eq!(after(0.01, 5.0, 100.0).1, Verdict::Wait);
    assert_eq!(after(0.01, 0.0, 0.0).1, Verdict::NoData);
}

#[test]
fn bands_for_display() {
    let band = |bad, total| interval::interval(Arm::new(bad, total), 0.05);
    assert_eq!(band(0.0, 0.0), (0.0, 1.0));
    assert_eq!(band(0.0, 60.0).0, 0.0);
    same(band(0.0, 60.0).1, 0.08937358374717644);
    same(band(3.0, 100.0).0, 0.0018790606324);
    same(band(3.0, 100.0).1, 0.1229488856089);
    same(band(100.0, 10000.0).0, 0.0065584761409);
    same(band(100.0, 10000.0).1, 0.0144620670122);
    let (mirrored, all) = (band(97.0, 100.0), band(60.0, 60.0));
    same(1.0 - mirrored.1, 0.0018790606324);
    assert_eq!(all.1, 1.0);
}

#[test]
fn odds_of_large_shares() {
    same(odds::gain(&block((30.0, 100.0, 200.0, 900.0)), 0.2, 2.0), 0.6598809793750775);
    same(odds::gain(&block((5.0, 100.0, 45.0, 900.0)), 0.05, 1.5), -0.3870202072053473);
    let blocks = [(30.0, 100.0, 190.0, 900.0), (34.0, 100.0, 210.0, 900.0), (41.0, 110.0, 205.0, 890.0)];
    let mut state = odds::State::default();
    for (counts, reference) in
        blocks.into_iter().zip([0.1549122538045365, 2.163031659934957, 6.087921648534477])
    {
        state = odds::step(&state, &block(counts), 1.0);
        same(odds::ln_e(&state), reference);
    }
}

#[test]
fn any_change_and_the_split() {
    let buckets = [(40.0, 450.0), (30.0, 270.0), (20.0, 130.0), (10.0, 50.0)];
    same(change::ln_e(0.1, &buckets), -0.5549815357588902);
    same(change::ln_e(0.1, &[(50.0, 950.0)]), 13.94619758538312);
    same(change::ln_e(0.1, &[(80.0, 920.0)]), 1.024207677917901);
}

#[test]
fn bounds_of_a_share_at_one_moment() {
    same(special::share_at_least(3.0, 100.0, 0.95), 0.008225829107652688);
    same(special::share_at_most(3.0, 100.0, 0.95), 0.07571079374983004);
    same(special::share_at_most(0.0, 60.0, 0.95), 0.04870291331009749);
    assert_eq!(special::share_at_least(0.0, 60.0, 0.95), 0.0);
    // The beta function of one bad request has a closed form: many requests are no trouble.
    same(special::share_at_least(1.0, 3e6, 0.95), -(0.95_f64.ln() / 3e6).exp_m1());
    for bad in [0.0, 1.0, 1e3, 5e8, 1e9] {
        let (least, most) = (special::share_at_least(bad, 1e9, 0.99), special::share_at_most(bad, 1e9, 0.99));
        assert!((0.0..=1.0).contains(&least) && least <= bad / 1e9 && bad / 1e9 <= most && most <= 1.0);
    }
}

#[test]
fn quantiles() {
    // scipy.stats: norm.ppf, t.ppf.
    same(special::normal_quantile(0.8), 0.8416212335729143);
    same(special::normal_quantile(0.99), 2.3263478740408408);
    same(special::normal_quantile(1e-9), -5.9978070150076865);
    same(special::student_quantile(0.99, 8.0), 2.896459446760522);
    same(special::student_quantile(0.99, 3.0), 4.540702858568132);
    same(special::student_quantile(0.05, 1.0), -6.313751514675041);
    assert_eq!(special::normal_quantile(1.5), 0.0);
}

#[test]
fn thresholds_with_samples_and_bounds() {
    let needed = [0.001, 0.01, 0.05].map(threshold::min_samples);
    assert_eq!(needed, [2995.0, 299.0, 59.0]);
    let limits = threshold::Limits { min: None, max: Some(0.05) };
    let settings = threshold::Settings { limits, min_samples: None, confidence: 0.95 };
    let verdict = |bad, total| threshold::judge_share(&settings, bad, total).verdict;
    assert_eq!(verdict(30.0, 58.0), Verdict::Wait);
    assert_eq!(verdict(4.0, 60.0), Verdict::Pass, "6.7 %, but it may be 2.3 %");
    assert_eq!(verdict(12.0, 100.0), Verdict::Fail);
    assert_eq!(verdict(0.0, 0.0), Verdict::NoData);
    assert_eq!(verdict(3.0, 2.0), Verdict::NoData);
    let least = threshold::Limits { min: Some(0.99), max: None };
    let settings = threshold::Settings { limits: least, ..settings };
    assert_eq!(threshold::judge_share(&settings, 100.0, 200.0).verdict, Verdict::Wait);
    assert_eq!(threshold::judge_share(&settings, 900.0, 1000.0).verdict, Verdict::Fail);
    assert_eq!(threshold::judge_share(&settings, 999.0, 1000.0).verdict, Verdict::Pass);
    assert_eq!(threshold::judge_value(&limits, f64::NAN), Verdict::NoData);
    assert_eq!(threshold::judge_value(&limits, 0.06), Verdict::Fail);
    assert_eq!(threshold::judge_value(&limits, 0.05), Verdict::Pass);
}

#[test]
fn false_alarms_of_counted_checks() {
    let sliding = |rule| alarms::sliding(0.05, 60, rule).unwrap();
    near(alarms::cumulative(0.05, 60, 4), 0.352718989, 2e-9);
    near(sliding(windows::Rule::USUAL), 0.034834286, 2e-8);
    near(sliding(windows::Rule::consecutive(3)), 0.006872806, 1e-7);
    near(sliding(windows::Rule::consecutive(2)), 0.131574225, 5e-9);
    same(sliding(windows::Rule::consecutive(1)), 1.0 - 0.95_f64.powi(60));
    assert_eq!(alarms::sliding(0.05, 60, windows::Rule { failures: 3, of: 2 }), Some(0.0));
    assert_eq!(alarms::sliding(0.05, 60, windows::Rule { failures: 3, of: 40 }), None);
}

#[test]
fn failed_checks_add_up_in_their_window() {
    let after = |checks: &str, rule| {
        let state =
            checks.chars().fold(windows::State::default(), |state, check| windows::step(state, check == 'F'));
        windows::is_failure(state, rule)
    };
    assert!(after("FPFPF", windows::Rule::USUAL));
    assert!(!after("FPFPFP", windows::Rule::USUAL) && !after("FFPPP", windows::Rule::USUAL));
    assert!(after("PFF", windows::Rule::consecutive(2)) && !after("FFP", windows::Rule::consecutive(2)));
    assert!(!after("", windows::Rule { failures: 0, of: 0 }), "a rule without numbers fails nothing");
}

#[test]
fn comparing_without_a_guarantee() {
    let settings = compare::Settings::default();
    let counts = |counts| compare::judge_counts(&settings, &block(counts));
    assert_eq!(counts((30.0, 1000.0, 90.0, 9000.0)), Verdict::Fail);
    assert_eq!(counts((14.0, 1000.0, 90.0, 9000.0)), Verdict::Pass);
    assert_eq!(counts((4.0, 1000.0, 9.0, 9000.0)), Verdict::Pass, "four times, but by 0.3 % only");
    assert_eq!(counts((30.0, 299.0, 90.0, 9000.0)), Verdict::Wait);
    assert_eq!(counts((0.0, 0.0, 90.0, 9000.0)), Verdict::NoData);
    let gauges = |canary: &[f64], stable: &[f64]| compare::judge_gauges(&settings, canary, stable);
    assert_eq!(gauges(&[0.9, 0.8], &[0.4, 0.5, 9.0]), Verdict::Fail);
    assert_eq!(gauges(&[0.9], &[0.4, 0.5]), Verdict::NoData);
    assert_eq!(gauges(&[0.9, f64::NAN], &[0.4, 0.5]), Verdict::NoData);
}

#[test]
fn the_budget() {
    let settings = budget::Settings { objective: 0.999, window_requests: 259.2e6, max_spend: 0.01 };
    near(settings.allowed(), 259_200.0, 1e-9);
    // 50 bad of 10 000, of which stable's rate explains 10.
    near(budget::spend(&settings, &block((50.0, 10_000.0, 90.0, 90_000.0))), 40.0 / 259_200.0, 1e-9);
    near(budget::spend(&settings, &block((50.0, 10_000.0, 0.0, 0.0))), 0.000154320987654321, 1e-9);
    let judged = |bad| budget::judge_spend(&settings, &block((bad, 10_000.0, 0.0, 0.0)));
    assert_eq!((judged(50.0), judged(2603.0)), (Verdict::Pass, Verdict::Fail));
    assert_eq!(budget::judge_spend(&settings, &Block::default()), Verdict::NoData);
    near(budget::burn(0.999, Arm::new(12.0, 1000.0)), 12.0, 1e-9);
    let burn = |long, short| {
        budget::judge_burn(0.999, budget::Pair::Fast, Arm::new(long, 12_000.0), Arm::new(short, 1000.0))
    };
    assert_eq!(
        (burn(200.0, 15.0), burn(200.0, 14.0), burn(150.0, 15.0)),
        (Verdict::Fail, Verdict::Pass, Verdict::Pass)
    );
    let few = budget::judge_burn(0.999, budget::Pair::Fast, Arm::new(9.0, 12_000.0), Arm::new(9.0, 600.0));
    assert_eq!(few, Verdict::Wait);
    assert_eq!((budget::Pair::Slow.limit(), budget::Pair::Slow.windows()), (6.0, (21_600, 1800)));
}

#[test]
fn what_a_phase_can_find_out() {
    let traffic = |per_second, weight, bad| planner::Traffic {
        per_second,
        weight,
        bad,
        phi: 1.0,
        rho0: 1.0,
        alpha: 0.01,
    };
    for (per_second, bad, ratio, half, most) in [
        (100.0, 0.01, 2.0, 218.3528729, 349.8458953),
        (100.0, 0.001, 2.0, 2183.528729, 3498.458953),
        (10.0, 0.01, 1.5, 7693.103981, 12149.66264),
        (10.0, 0.001, 5.0, 2211.175149, 3670.711107),
        (2.0, 0.01, 2.0, 10917.64364, 17492.29476),
    ] {
        same(planner::median_seconds(&traffic(per_second, 0.1, bad), ratio), half);
        same(planner::seconds(&traffic(per_second, 0.1, bad), ratio, 0.8), most);
    }
    let clustered = planner::Traffic { phi: 5.0, ..traffic(100.0, 0.1, 0.01) };
    same(planner::median_seconds(&clustered, 2.0), 1091.764364);
    same(planner::seconds(&clustered, 2.0, 0.8), 1749.229476);
    let smallest =
        |per_second, bad, bake| planner::smallest_ratio(&traffic(per_second, 0.1, bad), bake, 0.8).unwrap();
    same(smallest(100.0, 0.01, 1800.0), 1.404492709);
    same(smallest(100.0, 0.001, 1800.0), 2.473690038);
    near(smallest(2.0, 0.01, 300.0), 15.62396, 1e-6);
    let outlook = planner::outlook(&traffic(2.0, 0.1, 0.01), 300.0, 0.8);
    near(outlook.requests, 60.0, 1e-12);
    same(outlook.most_if_none_bad, 0.04870291331009749);
    near(outlook.doubling / 3600.0, 4.9, 0.01);
    assert_eq!(planner::smallest_ratio(&traffic(0.001, 0.1, 0.01), 300.0, 0.8), None);
    assert_eq!(planner::seconds(&traffic(1.0, 0.1, 0.01), 1.0, 0.8), f64::INFINITY);
}

#[test]
fn one_alpha_for_all_gates() {
    let says =
        [Say { weight: 1.0, ln_e: 5.0 }, Say { weight: 3.0, ln_e: 4.5 }, Say { weight: 1.0, ln_e: -9.0 }];
    same(combined(&says), ((5.0_f64.exp() + 3.0 * 4.5_f64.exp() + (-9.0_f64).exp()) / 5.0).ln());
    assert_eq!(leading(&says), Some(1));
    assert!(!is_harm(&says, 0.01) && is_harm(&says, 0.02));
    assert_eq!((combined(&[]), leading(&[])), (0.0, None));
}

#[test]
fn latency_is_the_mean_over_its_bounds() {
    let forms = vec![latency::Form::Tail { phi: 1.0, rho0: 1.0 }, latency::Form::Body { phi: 1.0 }];
    let settings = latency::Settings { alpha: 0.01, forms, starts: Starts::ONCE };
    let mut state = latency::State::new(&settings);
    assert_eq!(latency::verdict(&state, &settings), Verdict::NoData);
    for (tail, body) in B.into_iter().zip([
        (30.0, 100.0, 190.0, 900.0),
        (34.0, 100.0, 210.0, 900.0),
        (41.0, 110.0, 205.0, 890.0),
    ]) {
        state = latency::step(&state, &settings, &[block(tail), block(body)]);
    }
    let by_bound = latency::ln_e_by_bound(&state);
    same(by_bound[0], 8.951372483937517);
    same(by_bound[1], 6.087921648534477);
    same(latency::ln_e(&state), (8.951372483937517_f64.exp().midpoint(6.087921648534477_f64.exp())).ln());
    assert_eq!(latency::verdict(&state, &settings), Verdict::Fail);
}

#[test]
fn bounds_are_chosen_where_the_tail_tells_something() {
    let tail = |bound, share: f64| (bound, Arm::new(share * 1e5, 1e5));
    let few = [tail(0.1, 0.3), tail(0.25, 0.2), tail(0.5, 0.01), tail(1.0, 0.001), tail(2.5, 0.0009)];
    assert_eq!(latency::chosen_bounds(&few), [0.25, 0.5, 1.0]);
    let many: Vec<_> = (1..=11).map(|at| tail(f64::from(at), 0.1)).collect();
    assert_eq!(latency::chosen_bounds(&many), [1.0, 3.0, 5.0, 7.0, 9.0, 11.0]);
    assert!(latency::chosen_bounds(&[(1.0, Arm::default())]).is_empty());
}
