//! Credentials, kept from logs and objects by their type.

use std::fmt;

/// A text that is never printed: it has no `Display` and no `Serialize`, and its `Debug` form hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret as it stands in a Kubernetes Secret; whitespace at its end, which editors leave there, is cut off.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Secret(text.trim_end().to_owned())
    }

    /// The text itself, for the one header that it belongs in.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// How to say who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// `Authorization: Bearer …`.
    Bearer(Secret),
    /// `Authorization: Basic …`.
    Basic {
        /// The user; without `:`.
        username: String,
        /// The password.
        password: Secret,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_the_text() {
        let auth = Auth::Basic { username: "ana".to_owned(), password: Secret::new("hunter2\n") };
        assert_eq!(format!("{auth:?}"), r#"Basic { username: "ana", password: Secret(…) }"#);
        assert_eq!(Secret::new("hunter2\n").reveal(), "hunter2");
    }
}
