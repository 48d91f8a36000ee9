//! `palier record` with a metric server that asks who is there: by a token, by a user and password, over TLS, and by a
//! MetricSource of the cluster. Nothing of a secret is printed, whatever happens.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::fixtures::path;

const AUTHORITY: &str = include_str!("../fixtures/prometheus/tls/ca.pem");
const CERTIFICATE: &[u8] = include_bytes!("../fixtures/prometheus/tls/server.pem");
const KEY: &[u8] = include_bytes!("../fixtures/prometheus/tls/server.key");
const PALIER: &str = env!("CARGO_BIN_EXE_palier");
const TOKEN: &str = "t0ken-that-nobody-may-see";
const PASSWORD: &str = "hunter2-that-nobody-may-see";

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("palier-record-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let file = self.0.join(name);
        fs::write(&file, text).unwrap();
        file.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

async fn serve(app: axum::Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// Answers one series to whoever sends this header; to others it repeats what they sent.
async fn range(State(wanted): State<String>, headers: HeaderMap) -> Response {
    let sent = headers.get("authorization").map(|it| it.to_str().unwrap().to_owned()).unwrap_or_default();
    if sent != wanted {
        let error = json!({"status": "error", "errorType": "bad_data", "error": format!("who is {sent}?")});
        return (StatusCode::UNAUTHORIZED, axum::Json(error)).into_response();
    }
    axum::Json(series()).into_response()
}

fn series() -> Value {
    let result = json!([{"metric": {"pod": "shop-api-5d4c-abcde"}, "values": [[1_700_000_000, "1"]]}]);
    json!({"status": "success", "data": {"resultType": "matrix", "result": result}})
}

fn basic() -> String {
    use base64::Engine as _;
    let both = base64::engine::general_purpose::STANDARD.encode(format!("ana:{PASSWORD}"));
    format!("Basic {both}")
}

fn prometheus(wanted: &str) -> axum::Router {
    axum::Router::new().route("/api/v1/query_range", post(range)).with_state(wanted.to_owned())
}

async fn record(args: &[&str], environment: &[(&str, &str)]) -> Output {
    let shop = path("rollouts", "to-simulate.yaml").display().to_string();
    let mut run = tokio::process::Command::new(PALIER);
    run.args(["record", "-f", &shop, "--from", "1h", "--stable", "shop-api-5d4c"]).args(args);
    run.env_remove("KUBECONFIG").env("HOME", "/nonexistent").envs(environment.iter().copied());
    let output = tokio::time::timeout(std::time::Duration::from_secs(60), run.output()).await;
    let output = output.expect("it hangs").unwrap();
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    for secret in [TOKEN, PASSWORD, basic().trim_start_matches("Basic ")] {
        assert!(!said.contains(secret), "{said}");
    }
    output
}

fn recorded(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let recording: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(recording["series"][0]["lines"][0]["pod"], "shop-api-5d4c-abcde", "{recording}");
}

fn refused(output: &Output, words: &str) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // Long lines are wrapped.
    let flat = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(!output.status.success() && flat.contains(words), "{said}");
}

#[tokio::test]
async fn a_token_comes_from_a_file_or_the_environment() {
    let folder = Folder::new("token");
    let url = serve(prometheus(&format!("Bearer {TOKEN}"))).await;
    let url = ["--prometheus-url", url.as_str()];
    // Editors leave a line end there.
    let file = folder.file("token", &format!("{TOKEN}\n"));
    recorded(&record(&[&url[..], &["--bearer-token-file", &file]].concat(), &[]).await);
    let by_variable = [&url[..], &["--bearer-token-env", "METRICS_TOKEN"]].concat();
    recorded(&record(&by_variable, &[("METRICS_TOKEN", TOKEN)]).await);
    refused(&record(&by_variable, &[]).await, "no text in the variable METRICS_TOKEN");
    refused(&record(&url, &[]).await, "HTTP 401");
    let wrong = folder.file("wrong", &format!("{TOKEN}x"));
    refused(&record(&[&url[..], &["--bearer-token-file", &wrong]].concat(), &[]).await, "HTTP 401");
    let broken = folder.file("broken", &format!("{TOKEN}\nX: y"));
    refused(
        &record(&[&url[..], &["--bearer-token-file", &broken]].concat(), &[]).await,
        "cannot stand in a header",
    );
}

#[tokio::test]
async fn a_user_has_a_password() {
    let folder = Folder::new("basic");
    let url = serve(prometheus(&basic())).await;
    let user = ["--prometheus-url", url.as_str(), "--username", "ana"];
    let file = folder.file("password", &format!("{PASSWORD}\n"));
    recorded(&record(&[&user[..], &["--password-file", &file]].concat(), &[]).await);
    let by_variable = [&user[..], &["--password-env", "METRICS_PASSWORD"]].concat();
    recorded(&record(&by_variable, &[("METRICS_PASSWORD", PASSWORD)]).await);
    refused(&record(&user, &[]).await, "--username needs --password-file or --password-env");
    let both = [&user[..], &["--password-file", &file, "--bearer-token-file", &file]].concat();
    refused(&record(&both, &[]).await, "cannot be used with");
}

fn encoded(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// An API server with one MetricSource and its Secret.
async fn cluster(folder: &Folder, url: &str) -> String {
    let source = json!({
        "apiVersion": "palier.dev/v1alpha1", "kind": "MetricSource", "metadata": {"name": "main"},
        "spec": {"prometheus": {"url": url, "bearerTokenRef": {"name": "prometheus", "key": "token"}}},
    });
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "prometheus", "namespace": "palier-system"},
        "data": {"token": encoded(TOKEN), "other": encoded(PASSWORD)},
    });
    let none = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404,
                      "message": "not found", "details": {"name": "it"}});
    let app = axum::Router::new()
        .route("/apis/palier.dev/v1alpha1/metricsources/main", get(|| async { axum::Json(source) }))
        .route("/api/v1/namespaces/palier-system/secrets/prometheus", get(|| async { axum::Json(secret) }))
        .fallback(|| async { (StatusCode::NOT_FOUND, axum::Json(none)) });
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": serve(app).await}}],
        "users": [{"name": "test", "user": {}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    });
    folder.file("kubeconfig", &config.to_string())
}

#[tokio::test]
async fn a_metric_source_of_the_cluster_brings_its_address_and_its_secret() {
    let folder = Folder::new("source");
    let url = serve(prometheus(&format!("Bearer {TOKEN}"))).await;
    let of_cluster =
        |kubeconfig: &str| ["--metric-source", "main", "--kubeconfig", kubeconfig].map(str::to_owned);
    let run =
        async |args: Vec<String>| record(&args.iter().map(String::as_str).collect::<Vec<_>>(), &[]).await;
    let kubeconfig = cluster(&folder, &url).await;
    recorded(&run(of_cluster(&kubeconfig).to_vec()).await);
    // A port-forward: the secret goes to where the person says.
    let kubeconfig = cluster(&folder, "http://nowhere.invalid:9090").await;
    let forwarded = [&of_cluster(&kubeconfig)[..], &["--prometheus-url".to_owned(), url]].concat();
    recorded(&run(forwarded).await);
    let elsewhere = ["--palier-namespace".to_owned(), "palier".to_owned()];
    refused(&run([&of_cluster(&kubeconfig)[..], &elsewhere].concat()).await, "no Secret \"prometheus\"");
    let unknown = ["--metric-source", "other", "--kubeconfig", &kubeconfig].map(str::to_owned);
    refused(&run(unknown.to_vec()).await, "no MetricSource \"other\"");
}

/// A server whose certificate nobody vouches for but the authority of the fixtures.
fn serve_tls() -> String {
    let certificates = vec![CertificateDer::from_pem_slice(CERTIFICATE).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .unwrap();
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
    let address = format!("https://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream);
            if stream.read(&mut [0_u8; 8192]).is_ok_and(|read| read > 0) {
                let body = series().to_string();
                let head =
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                let _ = stream.write_all(format!("{head}{body}").as_bytes());
            }
        }
    });
    address
}

#[tokio::test]
async fn an_authority_that_is_named_is_trusted_instead_of_the_systems() {
    let folder = Folder::new("authority");
    let url = serve_tls();
    let url = ["--prometheus-url", url.as_str()];
    let bundle = folder.file("ca.pem", AUTHORITY);
    recorded(&record(&[&url[..], &["--ca-file", &bundle]].concat(), &[]).await);
    assert!(!record(&url, &[]).await.status.success(), "nobody vouches for it");
    let none = folder.file("none.pem", "not a certificate");
    refused(&record(&[&url[..], &["--ca-file", &none]].concat(), &[]).await, "--prometheus-url");
}
