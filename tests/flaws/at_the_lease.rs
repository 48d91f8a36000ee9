//! A bug put back into the candidature.

#[path = "caught.rs"]
mod caught;

use palier::engine::flaw::Flaw;

use crate::lifecycle;
use caught::caught_by;

#[test]
fn a_leader_for_ever() {
    caught_by(
        Flaw::LeaderForEver,
        "controller/lifecycle::who_loses_the_lease_ends_with_an_error",
        "Elapsed",
        lifecycle::who_loses_the_lease_ends_with_an_error,
    );
}
