//! What is to come, for people: what gates that count will have shown, and when, before and during a run.
//!
//! Nothing here decides anything. What a run under way will show is found by going on with the run's own tests on the traffic
//! that it has had so far ([`forecast`]); what a run to come can show is found by the formulas of
//! [`planner`](super::statistics::planner) ([`gates`]).

mod forecast;
mod gates;

pub use forecast::{Forecast, forecast};
pub use gates::{Assumed, CHECK_FAILS, GateOutlook, POWER, PhaseOutlook, gates};
