//! Draws that only the yardstick needs, from the simulator's random numbers.

pub use palier::sim::random::Random;

/// Further distributions.
pub trait Draws {
    fn exponential(&mut self) -> f64;
    /// Box and Muller.
    fn normal(&mut self) -> f64;
    /// Marsaglia and Tsang (2000), for shapes of 1 and more.
    fn gamma(&mut self, shape: f64, scale: f64) -> f64;
    /// Bad requests when they come in clusters of a geometric size with mean `size`: (bad requests, clusters).
    fn clusters(&mut self, mean: f64, size: f64) -> (f64, f64);
}

impl Draws for Random {
    fn exponential(&mut self) -> f64 {
        -self.unit().ln()
    }

    fn normal(&mut self) -> f64 {
        (2.0 * self.exponential()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }

    fn gamma(&mut self, shape: f64, scale: f64) -> f64 {
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let normal = self.normal();
            let v = (1.0 + c * normal).powi(3);
            if v > 0.0 && self.unit().ln() < 0.5 * normal * normal + d - d * v + d * v.ln() {
                return scale * d * v;
            }
        }
    }

    fn clusters(&mut self, mean: f64, size: f64) -> (f64, f64) {
        let clusters = self.poisson(mean / size);
        if size <= 1.0 {
            return (clusters, clusters);
        }
        let more = (1.0 - 1.0 / size).ln();
        let mut bad = 0.0;
        for _ in 0..clusters as u64 {
            bad += 1.0 + (self.unit().ln() / more).floor();
        }
        (bad, clusters)
    }
}
