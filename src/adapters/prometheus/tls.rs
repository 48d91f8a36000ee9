//! Whom to trust: the authorities of a given bundle, or else those of the system; never everybody.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// Why no trust can be set up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// Not PEM.
    #[error("caBundleRef holds no certificates in PEM form (-----BEGIN CERTIFICATE-----)")]
    Bundle,
    /// Nobody to trust.
    #[error("this system has no certificate authorities: give those of the server in caBundleRef")]
    NoAuthorities,
    /// The library refuses.
    #[error("TLS cannot be set up")]
    Setup,
}

/// TLS for one server: the authorities in `ca_bundle` (PEM) alone if it is given, else the system's. The system's are
/// not read for a server without TLS (`https` false).
///
/// # Errors
/// A bundle without a certificate, or no bundle on a system without authorities.
pub fn config(https: bool, ca_bundle: Option<&[u8]>) -> Result<ClientConfig, TlsError> {
    let roots = match ca_bundle {
        Some(pem) => of_bundle(pem)?,
        None if https => of_system()?,
        None => RootCertStore::empty(),
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|_| TlsError::Setup)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn of_bundle(pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate.map_err(|_| TlsError::Bundle)?).map_err(|_| TlsError::Bundle)?;
    }
    if roots.is_empty() { Err(TlsError::Bundle) } else { Ok(roots) }
}

fn of_system() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    // Some systems carry old certificates that no library reads any more; the others serve.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(TlsError::NoAuthorities) } else { Ok(roots) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_must_hold_certificates() {
        for pem in ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert_eq!(config(true, Some(pem.as_bytes())).err(), Some(TlsError::Bundle), "{pem:?}");
        }
    }

    #[test]
    fn a_server_without_tls_needs_no_authorities() {
        assert!(config(false, None).is_ok());
    }
}
