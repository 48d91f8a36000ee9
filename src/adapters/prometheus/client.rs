//! Asks one metric server: one connection pool, one deadline, one size limit, no redirects, no proxies.

use std::error::Error;
use std::io;
use std::iter::successors;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::{Method, Response, StatusCode, header, redirect, retry};
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;

use crate::api::{PrometheusServer, Span};
use crate::engine::flaw::{self, Flaw};
use crate::engine::{Answer, Ask};

use super::address::{self, AddressError, CheckedResolver};
use super::answer;
use super::secret::Auth;
use super::series;
use super::tls::{self, TlsError};

/// All that a client is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceConfig {
    /// Base address.
    pub url: String,
    /// The longest time for one answer, waiting included.
    pub timeout: Span,
    /// The largest answer in bytes that is read.
    pub max_bytes: usize,
    /// The authorities to trust (PEM) instead of the system's.
    pub ca_bundle: Option<Vec<u8>>,
    /// How to say who asks.
    pub auth: Option<Auth>,
    /// Whether the address may be this machine itself: for tests, and for an address given as a flag.
    pub allow_loopback: bool,
}

impl SourceConfig {
    /// The configuration of a MetricSource, with what its Secrets hold.
    #[must_use]
    pub fn of(server: &PrometheusServer, ca_bundle: Option<Vec<u8>>, auth: Option<Auth>) -> Self {
        SourceConfig {
            url: server.url.clone(),
            timeout: server.timeout,
            max_bytes: usize::try_from(server.max_bytes).unwrap_or(0),
            ca_bundle,
            auth,
            allow_loopback: false,
        }
    }
}

/// Why a server cannot be asked at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// Its address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Its certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Its credentials.
    #[error(
        "the token, user or password cannot stand in a header: it is empty or has characters like line ends"
    )]
    Auth,
    /// The limits.
    #[error("timeout and maxBytes must be more than zero")]
    Limits,
    /// The library refuses.
    #[error("the HTTP client cannot be set up")]
    Setup,
}

/// A client of one metric server.
#[derive(Debug)]
pub struct PrometheusClient {
    http: reqwest::Client,
    endpoint: Url,
    auth: Option<Auth>,
    timeout: Span,
    max_bytes: usize,
    /// Whether the server has refused POST.
    get_only: AtomicBool,
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Shorter than the idle timeout of any usual server or balancer, so that no request meets a connection being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections kept open; more are made when more questions are asked at once.
const IDLE_MAX: usize = 4;
/// Enough of an error answer to find its class.
const ERROR_BYTES_MAX: usize = 64 << 10;
/// How long the class of an error answer is waited for.
const ERROR_BODY_WAIT: Duration = Duration::from_secs(1);

impl PrometheusClient {
    /// A client; nothing is connected to yet.
    ///
    /// # Errors
    /// An address that is refused, a bundle that holds no certificate, credentials that no header can hold.
    pub fn new(config: SourceConfig) -> Result<Self, SourceError> {
        let mut endpoint = address::parse(&config.url, config.allow_loopback)?;
        if config.timeout.is_zero() || config.max_bytes == 0 {
            return Err(SourceError::Limits);
        }
        let path = format!("{}/api/v1", endpoint.path().trim_end_matches('/'));
        endpoint.set_path(&path);
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::config(
                endpoint.scheme() == "https",
                config.ca_bundle.as_deref(),
            )?)
            .dns_resolver(CheckedResolver::new(config.allow_loopback))
            .redirect(redirects())
            .retry(retry::never())
            .no_proxy()
            .referer(false)
            .user_agent(concat!("palier/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_MAX)
            .build()
            .map_err(|_| SourceError::Setup)?;
        let client = PrometheusClient {
            http,
            endpoint,
            auth: config.auth,
            timeout: config.timeout,
            max_bytes: config.max_bytes,
            get_only: AtomicBool::new(false),
        };
        client.check_auth()?;
        Ok(client)
    }

    /// The longest time for one answer.
    #[must_use]
    pub const fn timeout(&self) -> Span {
        self.timeout
    }

    /// Asks a question. Whatever goes wrong is an [`Answer::Failed`] in our own words.
    pub async fn ask(&self, ask: &Ask) -> Answer {
        self.ask_until(ask, Instant::now() + self.timeout.as_std()).await
    }

    /// The same with a deadline that began earlier.
    pub(super) async fn ask_until(&self, ask: &Ask, deadline: Instant) -> Answer {
        match timeout_at(deadline, self.answer(ask)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(reason)) => Answer::Failed(reason),
            Err(_) => Answer::Failed(late(self.timeout)),
        }
    }

    async fn answer(&self, ask: &Ask) -> Result<Answer, String> {
        let (queries, from, until, step) = match ask {
            Ask::Which { queries, at, .. } => (queries, at, at, &Span::seconds(1)),
            Ask::Number(query) => {
                return self.exchange("query", &[("query", query)]).await.map(|body| answer::parse(&body));
            }
            Ask::Series { queries, from, until, step } => (queries, from, until, step),
        };
        let moments =
            [seconds(from.as_millisecond()), seconds(until.as_millisecond()), seconds(step.as_millis())];
        let mut answers = Vec::with_capacity(queries.len());
        for query in queries {
            let params = [
                ("query", query.as_str()),
                ("start", &moments[0]),
                ("end", &moments[1]),
                ("step", &moments[2]),
            ];
            match series::parse(&self.exchange("query_range", &params).await?) {
                Ok(lines) => answers.push(lines),
                Err(answer) => return Ok(answer),
            }
        }
        Ok(Answer::Series(answers))
    }

    /// The body of a good answer of the API's `path`.
    async fn exchange(&self, path: &str, params: &[(&str, &str)]) -> Result<Vec<u8>, String> {
        let mut response = self.send(path, params, self.get_only.load(Ordering::Relaxed)).await?;
        if response.status() == StatusCode::METHOD_NOT_ALLOWED && !self.get_only.load(Ordering::Relaxed) {
            // Proxies that let only reads through know a read by its method.
            self.get_only.store(true, Ordering::Relaxed);
            response = self.send(path, params, true).await?;
        }
        let status = response.status();
        if status != StatusCode::OK {
            return Err(self.refusal(status, response).await);
        }
        if let Some(encoding) = response.headers().get(header::CONTENT_ENCODING)
            && encoding != "identity"
        {
            return Err("the answer is compressed, which was not asked for".to_owned());
        }
        self.read(response, self.max_bytes).await
    }

    async fn send(&self, path: &str, params: &[(&str, &str)], get: bool) -> Result<Response, String> {
        let request = self.request(path, params, get);
        request.send().await.map_err(|error| self.in_words(&error))
    }

    fn request(&self, path: &str, params: &[(&str, &str)], get: bool) -> reqwest::RequestBuilder {
        let (mut url, timeout) = (self.endpoint.clone(), self.timeout.to_string());
        url.set_path(&format!("{}/{path}", url.path()));
        // The server gives up at the same time as we do.
        let params = [params, &[("timeout", timeout.as_str())]].concat();
        let request = if get {
            self.http.request(Method::GET, url).query(&params)
        } else {
            self.http.request(Method::POST, url).form(&params)
        };
        let request = request.header(header::ACCEPT, "application/json");
        match &self.auth {
            Some(Auth::Bearer(token)) => request.bearer_auth(token.reveal()),
            Some(Auth::Basic { username, password }) => request.basic_auth(username, Some(password.reveal())),
            None => request,
        }
    }

    fn check_auth(&self) -> Result<(), SourceError> {
        let whole = match &self.auth {
            Some(Auth::Bearer(token)) => !token.reveal().is_empty(),
            Some(Auth::Basic { username, .. }) => !username.is_empty() && !username.contains(':'),
            None => true,
        };
        if whole && self.request("query", &[("query", "1")], true).build().is_ok() {
            Ok(())
        } else {
            Err(SourceError::Auth)
        }
    }

    /// Reads a body of at most `max` bytes, whatever its length is said to be.
    async fn read(&self, mut response: Response, max: usize) -> Result<Vec<u8>, String> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.in_words(&error))? {
            if body.len() + chunk.len() > max && !flaw::is(Flaw::AnyAnswerIsRead) {
                return Err(format!(
                    "the answer is larger than {max} bytes: aggregate it, or raise maxBytes"
                ));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    async fn refusal(&self, status: StatusCode, response: Response) -> String {
        if status.is_redirection() {
            return format!("redirect refused (HTTP {}): give the final address in url", status.as_u16());
        }
        // The status says enough: its body is not worth waiting for.
        let wait = ERROR_BODY_WAIT.min(self.timeout.as_std() / 4);
        let body = match timeout(wait, self.read(response, ERROR_BYTES_MAX)).await {
            Ok(Ok(body)) => body,
            _ => Vec::new(),
        };
        let class = answer::error_class(&body).map(|class| format!(" {class}")).unwrap_or_default();
        let cure = match status.as_u16() {
            401 | 403 => ": check the MetricSource's credentials",
            404 => ": there is no Prometheus API at this address; is a path missing in url?",
            400 | 422 => ": the server cannot evaluate the query; ask it by hand to read why",
            429 => ": the server is asked too often",
            503 => ": the server is not ready or too busy",
            _ => "",
        };
        format!("HTTP {}{class}{cure}", status.as_u16())
    }

    /// A failure in fixed words: an error's own text may hold what a stranger wrote.
    fn in_words(&self, error: &reqwest::Error) -> String {
        if let Some(reason) =
            successors(Some(error as &(dyn Error + 'static)), cause_of).find_map(known_cause)
        {
            return reason;
        }
        match error {
            error if error.is_dns() => "the name of the server cannot be resolved",
            error if error.is_timeout() && error.is_connect() => "no connection within 2 s",
            error if error.is_connect() => "no connection to the server",
            error if error.is_body() || error.is_decode() => "the answer broke off",
            _ => "the connection broke before an answer came",
        }
        .to_owned()
    }
}

fn redirects() -> redirect::Policy {
    if flaw::is(Flaw::RedirectFollowed) { redirect::Policy::limited(5) } else { redirect::Policy::none() }
}

/// What is behind an error. `source` of an I/O error skips the error that it wraps.
fn cause_of<'a>(error: &&'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    let error = *error;
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

fn known_cause(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(refused) = error.downcast_ref::<AddressError>() {
        return Some(refused.to_string());
    }
    let words = match error.downcast_ref::<rustls::Error>() {
        Some(rustls::Error::InvalidCertificate(_)) => {
            "the server's certificate is not trusted: give its authority in caBundleRef, and in url the name that it \
             is made out to"
        }
        Some(_) => "no TLS connection: does the server speak https?",
        None => match error.downcast_ref::<io::Error>().map(io::Error::kind) {
            Some(io::ErrorKind::ConnectionRefused) => "connection refused: nothing listens at this address",
            _ => return None,
        },
    };
    Some(words.to_owned())
}

/// A time or a length as the API reads it, from milliseconds: seconds, exactly.
fn seconds(millis: i64) -> String {
    format!("{}.{:03}", millis.div_euclid(1_000), millis.rem_euclid(1_000))
}

fn late(timeout: Span) -> String {
    format!("no answer within {timeout}")
}
