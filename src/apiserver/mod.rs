//! An API server in this process, for tests, simulation and the demo: what Palier relies on of the real one, on a clock and in an
//! order that the caller decides.
//!
//! It is written from the Kubernetes documentation and compared with the real one by the fidelity tests; it uses nothing of the
//! engine, so that a mistake there is not repeated here.

pub mod kinds;
pub mod refusal;
pub mod store;

pub use kinds::Kind;
pub use refusal::Refusal;
pub use store::{Caller, Key, Part, Revision, Store, Verb};
