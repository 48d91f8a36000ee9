//! A Prometheus for the benchmark and the soak: it answers at once, with what it was told, and remembers when it said what.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use http::Request;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use jiff::Timestamp;
use serde_json::json;

use super::moods::{sample, vector};
use super::serve::{self, Answer, Cut};

/// Values and answers, by the value of the label that tells the queries apart.
#[derive(Default)]
struct Book {
    usual: f64,
    values: HashMap<String, f64>,
    answers: HashMap<String, Vec<(Timestamp, f64)>>,
}

/// The stub and its address.
pub struct Stub {
    url: String,
    book: Arc<Mutex<Book>>,
}

impl Stub {
    /// Answers instant queries by the value of this label in them: with `namespace`, a query with `{namespace="a"}` is `a`'s.
    pub async fn start(label: &str) -> Result<Self> {
        let listener = serve::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let stub = Self { url, book: Arc::default() };
        let (book, opening) = (stub.book.clone(), Arc::<str>::from(format!("{label}=\"")));
        serve::spawn(listener, move |request| reply(request, book.clone(), opening.clone()));
        Ok(stub)
    }

    /// The address to give to a gate.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The answer to queries that nothing else is said about.
    pub fn set_usual(&self, value: f64) {
        lock(&self.book).usual = value;
    }

    /// The answer to the queries of one label value.
    pub fn set(&self, key: &str, value: f64) {
        lock(&self.book).values.insert(key.to_owned(), value);
    }

    /// What was answered to the queries of one label value, and when.
    pub fn answers(&self, key: &str) -> Vec<(Timestamp, f64)> {
        lock(&self.book).answers.get(key).cloned().unwrap_or_default()
    }

    /// The same from a time on.
    pub fn answers_since(&self, key: &str, from: Timestamp) -> Vec<(Timestamp, f64)> {
        let book = lock(&self.book);
        let all = book.answers.get(key).map(Vec::as_slice).unwrap_or_default();
        all[all.partition_point(|(at, _)| *at < from)..].to_vec()
    }

    /// How many queries there were.
    pub fn queries(&self) -> usize {
        lock(&self.book).answers.values().map(Vec::len).sum()
    }
}

async fn reply(request: Request<Incoming>, book: Arc<Mutex<Book>>, opening: Arc<str>) -> Result<Answer, Cut> {
    let in_url = request.uri().query().unwrap_or_default().to_owned();
    let body = request.into_body().collect().await.map_err(|_| Cut)?.to_bytes();
    let query = query_of(in_url.as_bytes()).or_else(|| query_of(&body)).unwrap_or_default();
    let key =
        query.split_once(&*opening).and_then(|(_, rest)| rest.split_once('"')).map_or("", |(key, _)| key);
    let value = {
        let mut book = lock(&book);
        let value = book.values.get(key).copied().unwrap_or(book.usual);
        book.answers.entry(key.to_owned()).or_default().push((Timestamp::now(), value));
        value
    };
    Ok(serve::answer(
        200,
        "application/json",
        vector(vec![sample(json!({}), &value.to_string())]).to_string(),
    ))
}

fn query_of(form: &[u8]) -> Option<String> {
    url::form_urlencoded::parse(form).find(|(name, _)| name == "query").map(|(_, query)| query.into_owned())
}

fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}
