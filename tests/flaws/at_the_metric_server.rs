//! Bugs put back into the client of metric servers.

#[path = "caught.rs"]
mod caught;

use palier::engine::flaw::Flaw;

use crate::{answers, bad_servers};
use caught::caught_by;

#[test]
fn warnings_pass() {
    caught_by(
        Flaw::WarningsPass,
        "prometheus/answers::everything_else_is_named_for_what_it_is",
        "Warnings(",
        answers::everything_else_is_named_for_what_it_is,
    );
}

#[test]
fn a_redirect_is_followed() {
    caught_by(
        Flaw::RedirectFollowed,
        "prometheus/bad_servers::a_redirect_is_not_followed",
        "Sample",
        bad_servers::a_redirect_is_not_followed,
    );
}

#[test]
fn any_answer_is_read() {
    caught_by(
        Flaw::AnyAnswerIsRead,
        "prometheus/bad_servers::a_large_answer_is_not_read",
        "",
        bad_servers::a_large_answer_is_not_read,
    );
}

#[test]
fn an_address_is_not_checked() {
    caught_by(
        Flaw::AddressUnchecked,
        "prometheus/bad_servers::a_name_is_checked_after_it_is_resolved",
        "None",
        bad_servers::a_name_is_checked_after_it_is_resolved,
    );
}
