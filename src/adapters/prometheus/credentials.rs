//! From a MetricSource and the Secrets that it names to what a client is made of.

use std::collections::BTreeMap;

use crate::api::PrometheusServer;

use super::client::SourceConfig;
use super::secret::{Auth, Secret};

/// A key of a Secret: the names of both.
pub type SecretAt = (String, String);

/// The keys of Secrets that a MetricSource names.
#[must_use]
pub fn secrets_of(server: &PrometheusServer) -> Vec<SecretAt> {
    let keys = [&server.ca_bundle_ref, &server.bearer_token_ref].into_iter().flatten();
    let mut all: Vec<SecretAt> = keys.map(|at| (at.name.clone(), at.key.clone())).collect();
    if let Some(at) = &server.basic_auth_ref {
        all.extend(["username", "password"].map(|key| (at.name.clone(), key.to_owned())));
    }
    all
}

/// The configuration of a MetricSource with the values of [`secrets_of`].
///
/// # Errors
/// A value that is missing or is no text. Nothing of its contents.
pub fn configured(
    server: &PrometheusServer,
    values: &BTreeMap<SecretAt, Vec<u8>>,
) -> Result<SourceConfig, String> {
    let value = |name: &str, key: &str| {
        let found = values.get(&(name.to_owned(), key.to_owned()));
        found.ok_or_else(|| format!("the Secret {name} has no key {key}"))
    };
    let text = |name: &str, key: &str| {
        let value = value(name, key)?;
        std::str::from_utf8(value).map_err(|_| format!("the key {key} of the Secret {name} is no text"))
    };
    let ca_bundle = match &server.ca_bundle_ref {
        Some(at) => Some(value(&at.name, &at.key)?.clone()),
        None => None,
    };
    let auth = match (&server.bearer_token_ref, &server.basic_auth_ref) {
        (Some(at), _) => Some(Auth::Bearer(Secret::new(text(&at.name, &at.key)?))),
        (None, Some(at)) => Some(Auth::Basic {
            username: text(&at.name, "username")?.trim_end().to_owned(),
            password: Secret::new(text(&at.name, "password")?),
        }),
        (None, None) => None,
    };
    Ok(SourceConfig::of(server, ca_bundle, auth))
}
