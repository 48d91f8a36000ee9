//! Random numbers with a fixed seed: the same run on every machine.

/// xoshiro256++ (Blackman and Vigna, 2019), seeded by splitmix64.
#[derive(Clone, Debug)]
pub struct Random([u64; 4]);

impl Random {
    /// The stream of these numbers; other numbers give another, independent one.
    #[must_use]
    pub fn new(seed: &[u64]) -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut mix = |word: u64| {
            state = (state ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        for word in seed {
            mix(*word);
        }
        Self([mix(1), mix(2), mix(3), mix(4)])
    }

    fn next(&mut self) -> u64 {
        let s = &mut self.0;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// Between 0 and 1, neither included.
    pub fn unit(&mut self) -> f64 {
        ((self.next() >> 12) as f64 + 0.5) / (1_u64 << 52) as f64
    }

    /// A Poisson number: by inversion for small means, else by Hörmann's transformed rejection (PTRS, 1993).
    pub fn poisson(&mut self, mean: f64) -> f64 {
        if !(mean > 0.0 && mean.is_finite()) {
            return 0.0;
        }
        if mean < 12.0 {
            let (mut count, mut product, limit) = (0.0, self.unit(), (-mean).exp());
            while product > limit {
                product *= self.unit();
                count += 1.0;
            }
            return count;
        }
        let b = 0.931 + 2.53 * mean.sqrt();
        let a = -0.059 + 0.02483 * b;
        let inverse_alpha = 1.1239 + 1.1328 / (b - 3.4);
        let v_r = 0.9277 - 3.6224 / (b - 2.0);
        loop {
            let u = self.unit() - 0.5;
            let v = self.unit();
            let us = 0.5 - u.abs();
            let k = ((2.0 * a / us + b) * u + mean + 0.43).floor();
            if us >= 0.07 && v <= v_r {
                return k;
            }
            if k < 0.0 || (us < 0.013 && v > us) {
                continue;
            }
            if (v * inverse_alpha / (a / (us * us) + b)).ln() <= k * mean.ln() - mean - ln_factorial(k) {
                return k;
            }
        }
    }
}

/// Stirling's series; `k` is 0 or a whole number above it.
fn ln_factorial(k: f64) -> f64 {
    if k < 10.0 {
        return (2..=k as u32).map(|factor| f64::from(factor).ln()).sum();
    }
    let z = k + 1.0;
    (z - 0.5) * z.ln() - z + 0.918_938_533_204_672_8 + 1.0 / (12.0 * z) - 1.0 / (360.0 * z.powi(3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_and_variances_are_right_and_the_stream_is_always_the_same() {
        for mean in [0.3, 5.0, 40.0, 4_000.0] {
            let mut random = Random::new(&[7, 1]);
            let drawn: Vec<f64> = (0..20_000).map(|_| random.poisson(mean)).collect();
            let average = drawn.iter().sum::<f64>() / 20_000.0;
            let variance = drawn.iter().map(|it| (it - average).powi(2)).sum::<f64>() / 20_000.0;
            assert!((average / mean - 1.0).abs() < 0.03, "{mean}: {average}");
            assert!((variance / mean - 1.0).abs() < 0.06, "{mean}: {variance}");
        }
        assert_eq!(Random::new(&[1]).unit(), Random::new(&[1]).unit());
        assert!(Random::new(&[1]).unit() != Random::new(&[2]).unit());
    }
}
