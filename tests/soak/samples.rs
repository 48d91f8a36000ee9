//! What each process of the controllers uses, from `/proc`.

use std::time::{Duration, Instant};

use crate::crews::Crew;
use crate::judge::flat::{Sample, median};
use crate::lab::Lab;
use crate::lab::children::Usage;

/// One process from its start to its end.
pub struct Life {
    /// The replica's name.
    pub name: String,
    pid: u32,
    begun: Instant,
    /// Since its start, and what it used.
    pub samples: Vec<(Duration, Usage)>,
}

impl Life {
    /// One figure of it over its life.
    pub fn series(&self, figure: impl Fn(&Usage) -> u64) -> Vec<Sample> {
        self.samples.iter().map(|(age, usage)| (age.as_secs_f64(), figure(usage) as f64)).collect()
    }
}

/// All processes.
#[derive(Default)]
pub struct Samples {
    lives: Vec<Life>,
    warm_since: Option<Instant>,
}

impl Samples {
    /// Looks at everybody who lives.
    pub fn take(&mut self, lab: &Lab, crews: &[Crew]) {
        for replica in crews.iter().flat_map(|crew| &crew.replicas) {
            let name = &replica.controller.name;
            // One that ends between the two questions is gone; the next sample is its successor's.
            let Some(pid) = lab.children().pid(name) else { continue };
            let Ok(usage) = Usage::of(pid) else { continue };
            let known = self.lives.iter().position(|life| life.pid == pid && life.name == *name);
            let index = known.unwrap_or_else(|| {
                let begun = Instant::now();
                self.lives.push(Life { name: name.clone(), pid, begun, samples: Vec::new() });
                self.lives.len() - 1
            });
            let life = &mut self.lives[index];
            life.samples.push((life.begun.elapsed(), usage));
        }
    }

    /// From now on there is all that there will be: the next samples can be compared.
    pub fn is_warm(&mut self) {
        self.warm_since.get_or_insert_with(Instant::now);
    }

    /// The age of a process in seconds at which it was warm; `None` when it never was.
    pub fn warm_up(&self, life: &Life) -> Option<f64> {
        Some(self.warm_since?.saturating_duration_since(life.begun).as_secs_f64())
    }

    /// The processes of a replica, in their order.
    pub fn of(&self, prefix: &str) -> Vec<&Life> {
        self.lives.iter().filter(|life| life.name.starts_with(prefix)).collect()
    }

    /// Processor time of all processes, as far as it was seen.
    pub fn cpu(&self) -> Duration {
        self.lives.iter().filter_map(|life| life.samples.last()).map(|(_, usage)| usage.cpu).sum()
    }

    /// The memory of processes at the same age, early and late in the soak: those of the first and of the last third that lived
    /// longer than `age`. What a process has to read when it starts must not grow either. `None` when there are too few.
    pub fn at_age(&self, prefix: &str, age: Duration) -> Option<(f64, f64)> {
        let grown = |life: &&Life| {
            life.samples.iter().find(|(old, _)| *old >= age).map(|(_, usage)| usage.anonymous as f64)
        };
        let all: Vec<f64> = self.of(prefix).iter().filter_map(grown).collect();
        let third = all.len() / 3;
        (third >= 2).then(|| (median(&all[..third]), median(&all[all.len() - third..])))
    }
}
