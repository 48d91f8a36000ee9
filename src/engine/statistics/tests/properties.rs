//! What must hold for any counts: the hypothesis gains nothing on average, more evidence never counts backwards, and it does not
//! matter how time is cut.

use proptest::prelude::*;

use super::super::special::ln_b;
use super::super::{Arm, Block, Starts, odds, one_arm, rate, safety};
use super::{near, same};

fn chance(bad: u32, total: u32, share: f64) -> f64 {
    let (x, n) = (f64::from(bad), f64::from(total));
    let ways = -ln_b(x + 1.0, n - x + 1.0) - (n + 1.0).ln();
    (ways + x * share.ln() + (n - x) * (-share).ln_1p()).exp()
}

/// The mean of exp(gain) over everything that can happen.
fn mean(totals: (u32, u32), shares: (f64, f64), gain: impl Fn(&Block) -> f64) -> f64 {
    let mut mean = 0.0;
    for canary in 0..=totals.0 {
        for stable in 0..=totals.1 {
            let block = Block::new(
                (f64::from(canary), f64::from(totals.0)),
                (f64::from(stable), f64::from(totals.1)),
            );
            let chance = chance(canary, totals.0, shares.0) * chance(stable, totals.1, shares.1);
            mean += chance * gain(&block).exp();
        }
    }
    mean
}

#[test]
fn enumerated_means_are_the_references() {
    for (totals, shares, ratio, rho0, reference) in [
        ((5, 20), (0.1, 0.1), 2.0, 1.0, 0.986640283249),
        ((5, 20), (0.5, 0.5), 5.0, 1.0, 0.157812961996),
        ((10, 10), (0.8, 0.4), 3.0, 2.0, 0.904382075009),
        ((5, 20), (0.2, 0.1), 0.5, 2.0, 0.942039793428),
    ] {
        same(mean(totals, shares, |block| rate::gain(block, ratio, rho0, 1.0)), reference);
    }
    near(mean((5, 20), (0.3, 0.3), |block| odds::gain(block, 0.3, 2.0)), 0.9988835289, 1e-9);
    same(mean((5, 20), (0.9, 0.9), |block| odds::gain(block, 0.3, 2.0)), 0.742857818461);
}

#[test]
fn clusters_are_paid_for_by_phi() {
    let mean = |phi: f64| {
        let poisson = |rate: f64, count: u32| {
            (f64::from(count) * rate.ln() - rate - (1..=count).map(|k| f64::from(k).ln()).sum::<f64>()).exp()
        };
        let mut mean = 0.0;
        for canary in 0..60 {
            for stable in 0..60 {
                // The split is what counts: 200 of 1000 requests.
                let bad = (3.0 * f64::from(canary), 3.0 * f64::from(stable));
                let block = Block::new((bad.0, 200.0), (bad.1, 800.0));
                mean += poisson(1.0, canary) * poisson(4.0, stable) * rate::gain(&block, 2.0, 1.0, phi).exp();
            }
        }
        mean
    };
    near(mean(1.0), 6.99, 1e-3);
    same(mean(3.0), 1.0);
}

fn arm() -> impl Strategy<Value = (u32, u32)> {
    (0..2000_u32).prop_flat_map(|total| (0..=total, Just(total)))
}

fn blocks() -> impl Strategy<Value = Vec<Block>> {
    let block = (arm(), arm()).prop_map(|(canary, stable)| {
        Block::new((f64::from(canary.0), f64::from(canary.1)), (f64::from(stable.0), f64::from(stable.1)))
    });
    prop::collection::vec(block, 1..8)
}

fn settings() -> impl Strategy<Value = rate::Settings> {
    (1.0..20.0_f64, 1.0..3.0_f64, 0..4_u32, 0..12_u32).prop_map(|(phi, rho0, every, planned)| {
        rate::Settings { phi, rho0, starts: Starts { every, planned }, ..rate::Settings::default() }
    })
}

fn ln_e(settings: &rate::Settings, blocks: &[Block]) -> f64 {
    let state =
        blocks.iter().fold(rate::State::default(), |state, block| rate::step(&state, settings, block));
    rate::ln_e(&state)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_canary_that_is_no_worse_gains_nothing_on_average(
        totals in (1..8_u32, 1..20_u32),
        stable in 0.01..0.5_f64,
        better in 0.0..1.0_f64,
        rho0 in 1.0..2.0_f64,
        multiple in 1.01..50.0_f64,
        phi in 1.0..5.0_f64,
    ) {
        let shares = ((stable * rho0 * better).clamp(1e-9, 0.999), stable);
        let mean = mean(totals, shares, |block| rate::gain(block, rho0 * multiple, rho0, phi));
        prop_assert!(mean <= 1.0 + 1e-9, "{mean}");
    }

    #[test]
    fn odds_gain_nothing_on_average(
        totals in (1..8_u32, 1..20_u32), share in 0.01..0.99_f64, guess in 0.01..0.99_f64, odds in 1.01..30.0_f64,
    ) {
        let mean = mean(totals, (share, share), |block| odds::gain(block, guess, odds));
        prop_assert!(mean <= 1.0 + 1e-9, "{mean}");
    }

    #[test]
    fn within_its_limit_one_arm_gains_nothing_on_average(
        total in 1..30_u32, limit in 0.001..0.5_f64, better in 0.01..1.0_f64, odds in 1.01..30.0_f64,
    ) {
        let gain = |block: &Block| one_arm::gain(block.canary, limit, odds);
        let harm = mean((total, 0), (limit * better, 0.5), gain);
        prop_assert!(harm <= 1.0 + 1e-9, "{harm}");
        let worse = (limit / better).min(0.999);
        let safe = mean((total, 0), (worse, 0.5), |block| one_arm::gain(block.canary, limit, 1.0 / odds));
        prop_assert!(safe <= 1.0 + 1e-9, "{safe}");
    }

    #[test]
    fn evidence_counts_in_its_own_direction(
        settings in settings(), blocks in blocks(), at in any::<prop::sample::Index>(),
    ) {
        let at = at.index(blocks.len());
        let before = ln_e(&settings, &blocks);
        for (is_canary, block) in [(true, blocks[at]), (false, blocks[at])] {
            let mut more = blocks.clone();
            let arm = if is_canary { &mut more[at].canary } else { &mut more[at].stable };
            if arm.bad + 1.0 > arm.total {
                continue;
            }
            arm.bad += 1.0;
            let after = ln_e(&settings, &more);
            let slack = 1e-9 * before.abs().max(1.0);
            prop_assert!(!is_canary || after >= before - slack, "{before} to {after}: {block:?}");
            prop_assert!(is_canary || after <= before + slack, "{before} to {after}: {block:?}");
        }
    }

    #[test]
    fn blocks_of_one_split_may_be_merged(
        phi in 1.0..20.0_f64, rho0 in 1.0..3.0_f64, unit in 1..50_u32, share in 1..9_u32,
        counts in prop::collection::vec((0.0..1.0_f64, 0.0..1.0_f64), 1..9),
    ) {
        let settings = rate::Settings { phi, rho0, ..rate::Settings::default() };
        let totals = (f64::from(unit * share), f64::from(unit * (10 - share)));
        let cut: Vec<Block> = counts
            .iter()
            .map(|(canary, stable)| {
                Block::new(
                    ((canary * totals.0).floor(), totals.0),
                    ((stable * totals.1).floor(), totals.1),
                )
            })
            .collect();
        let merged = cut.iter().fold(Block::default(), |sum, block| Block {
            canary: sum.canary.plus(block.canary),
            stable: sum.stable.plus(block.stable),
        });
        let (cut, merged) = (ln_e(&settings, &cut), ln_e(&settings, &[merged]));
        prop_assert!((cut - merged).abs() <= 1e-9 * merged.abs().max(1.0), "{cut} {merged}");
    }

    #[test]
    fn any_counts_give_a_number_and_a_small_state(settings in settings(), blocks in blocks(), scale in 1.0..1e9_f64) {
        let mut state = rate::State::default();
        let mut safe = safety::State::default();
        let safety = safety::Settings { alpha: 0.05, ratio: 2.0, rate_max: Some(0.01), phi: settings.phi };
        for block in &blocks {
            let large = Block {
                canary: Arm::new(block.canary.bad * scale, block.canary.total * scale),
                stable: Arm::new(block.stable.bad * scale, block.stable.total * scale),
            };
            state = rate::step(&state, &settings, &large);
            safe = safety::step(&safe, &safety, &large);
        }
        prop_assert!(rate::ln_e(&state).is_finite() && safety::ln_e(&safe, &safety).is_finite());
        prop_assert!(rate::ratio_at_least(&state, &settings).is_finite());
        let stored = serde_json::to_string(&state).unwrap();
        prop_assert!(stored.len() < 2048);
        let restored: rate::State = serde_json::from_str(&stored).unwrap();
        // Reading a number back may change its last digit.
        let (before, after) = (rate::ln_e(&state), rate::ln_e(&restored));
        prop_assert!((before - after).abs() <= 1e-12 * before.abs(), "{before} {after}");
    }
}
