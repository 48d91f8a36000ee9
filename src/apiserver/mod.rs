//! An API server in this process, for tests, simulation and the demo: what Palier relies on of the real one, on a clock and in an
//! order that the caller decides.
//!
//! It is written from the Kubernetes documentation and compared with the real one by the fidelity tests; it uses nothing of the
//! engine, so that a mistake there is not repeated here.

pub mod admission;
pub mod answer;
pub mod connection;
pub mod defaults;
pub mod deletion;
pub mod front;
pub mod kinds;
pub mod natives;
pub mod patch;
pub mod reads;
pub mod refusal;
pub mod request;
pub mod rules;
pub mod schema;
pub mod selector;
pub mod server;
pub mod store;
pub mod version;
pub mod watch;
pub mod weather;
pub mod writes;

pub use admission::Chart;
pub use connection::Connection;
pub use front::{Front, Sight};
pub use kinds::Kind;
pub use refusal::Refusal;
pub use request::Act;
pub use server::{ApiServer, Clock};
pub use store::{Admit, Caller, Key, Part, Policy, Review, Revision, Store, Verb};
pub use weather::{Deed, Fate, Sighted, Stream, Weather};
