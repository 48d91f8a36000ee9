//! What the network, and whoever admits requests, do to the controllers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use palier::apiserver::{Act, Deed, Fate, Kind, Refusal, Sighted, Stream, Weather};

use crate::counters;
use crate::dice::Dice;
use crate::faults::deeds;

/// What the network does.
pub struct Storm {
    dice: Dice,
    pub blows: bool,
    /// Writes of this kind are refused.
    pub denied: Option<Kind>,
}

impl Storm {
    /// Fair weather, for now.
    pub fn new(seed: u64) -> Self {
        Self { dice: Dice::new(seed ^ 0x5707), blows: false, denied: None }
    }

    /// The weather of one connection.
    pub fn weather(storm: &Arc<Mutex<Self>>) -> Weather {
        let storm = storm.clone();
        Box::new(move |sighted: &Sighted| storm.lock().expect("nobody panics with it").fate(sighted))
    }

    fn fate(&mut self, sighted: &Sighted) -> Fate {
        let fate = self.draw(sighted);
        counters::network(&fate);
        fate
    }

    fn draw(&mut self, sighted: &Sighted) -> Fate {
        if sighted.act.is_write() && self.denied == Some(sighted.key.kind) {
            return Fate::from(Deed::Refuse(Refusal::new(
                403,
                "Forbidden",
                "an admission webhook denied it",
            )));
        }
        if !self.blows || self.dice.upto(100) >= 12 {
            return Fate::default();
        }
        if sighted.act == Act::Watch {
            let event = self.dice.upto(6);
            return Fate::from(match self.dice.upto(5) {
                0 => Stream::Cut { event, within: true },
                1 => Stream::Twice { event },
                2 => Stream::Lose { event },
                3 => Stream::Silent { event },
                _ => Stream::Late(Duration::from_secs(self.dice.upto(10))),
            });
        }
        let all = deeds();
        let deed = if sighted.act.is_write() {
            all[self.dice.index(all.len())].1.clone()
        } else {
            [Deed::Drop, Deed::Silence, Deed::Refuse(Refusal::new(503, "ServiceUnavailable", "a storm"))]
                [self.dice.index(3)]
            .clone()
        };
        let late = Duration::from_millis(self.dice.upto(8_000));
        Fate {
            request_delay: if self.dice.upto(4) == 0 { late } else { Duration::ZERO },
            deed,
            ..Fate::default()
        }
    }
}
