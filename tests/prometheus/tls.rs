//! Whom the client trusts.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;

use palier::adapters::prometheus::{PrometheusClient, SourceConfig};
use palier::engine::Answer;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::asked;
use crate::server::{config, number};

const AUTHORITY: &[u8] = include_bytes!("../fixtures/prometheus/tls/ca.pem");
const CERTIFICATE: &[u8] = include_bytes!("../fixtures/prometheus/tls/server.pem");
const KEY: &[u8] = include_bytes!("../fixtures/prometheus/tls/server.key");

/// Answers this many connections at `host`, whether they get as far as a request or not, then ends.
fn serve(host: &str, connections: usize) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certificates = vec![CertificateDer::from_pem_slice(CERTIFICATE).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .unwrap();
    let (config, listener) = (Arc::new(config), TcpListener::bind((host, 0)).unwrap());
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().take(connections).flatten() {
            let connection = ServerConnection::new(config.clone()).unwrap();
            let mut stream = StreamOwned::new(connection, stream);
            let mut request = [0u8; 4096];
            if stream.read(&mut request).is_ok_and(|n| n > 0) {
                let _ = stream.write_all(&number("1"));
            }
        }
    });
    addr
}

async fn ask(url: String, ca_bundle: Option<&[u8]>) -> Answer {
    let config = SourceConfig { ca_bundle: ca_bundle.map(<[u8]>::to_vec), ..config(&url, 10_000) };
    match PrometheusClient::new(config) {
        Ok(client) => client.ask(&asked("up")).await,
        // A system without any authority trusts nobody from the start.
        Err(error) => Answer::Failed(error.to_string()),
    }
}

#[tokio::test]
async fn a_given_authority_is_trusted_for_the_name_it_vouches_for() {
    let port = serve("127.0.0.1", 3).port();
    let answer = ask(format!("https://127.0.0.1:{port}"), Some(AUTHORITY)).await;
    assert!(matches!(answer, Answer::Sample { .. }), "{answer:?}");
    let answer = ask(format!("https://127.0.0.1:{port}"), None).await;
    assert!(
        matches!(&answer, Answer::Failed(reason) if reason.contains("in caBundleRef")),
        "the system's authorities know nothing of it: {answer:?}"
    );
    // The certificate alone, without its authority's consent, is not enough either.
    let answer = ask(format!("https://127.0.0.1:{port}"), Some(CERTIFICATE)).await;
    assert!(matches!(&answer, Answer::Failed(reason) if reason.contains("is not trusted")), "{answer:?}");
}

#[tokio::test]
async fn another_name_is_not_trusted() {
    let answer = ask(format!("https://{}", serve("127.0.0.2", 1)), Some(AUTHORITY)).await;
    assert!(
        matches!(&answer, Answer::Failed(reason) if reason.contains("the name that it is made out to")),
        "{answer:?}"
    );
}

#[tokio::test]
async fn https_to_a_plain_server_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0u8; 4096]);
        let _ = stream
            .write_all(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.");
    });
    let answer = ask(format!("https://{addr}"), Some(AUTHORITY)).await;
    assert!(
        matches!(&answer, Answer::Failed(reason) if reason.contains("does the server speak https?")),
        "{answer:?}"
    );
}
