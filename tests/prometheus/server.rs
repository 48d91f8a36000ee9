//! A server on loopback that answers as badly as a test wants.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use palier::adapters::prometheus::SourceConfig;
use palier::api::Span;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// What a client sent.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: String,
    /// Number of the connection, from 0.
    pub connection: usize,
}

impl Request {
    /// A parameter of the query string or the form.
    pub fn param(&self, name: &str) -> Option<String> {
        let query = self.path.split_once('?').map_or(self.body.as_str(), |(_, query)| query);
        url::form_urlencoded::parse(query.as_bytes()).find(|(n, _)| n == name).map(|(_, v)| v.into_owned())
    }
}

/// What the server does about it.
pub enum Reply {
    /// These bytes, then wait for the next request.
    Bytes(Vec<u8>),
    /// These bytes after a while.
    After(Duration, Vec<u8>),
    /// These bytes, then the end of the connection.
    Broken(Vec<u8>),
    /// These bytes, then one more every so often for ever.
    Drip(Vec<u8>, Duration),
    /// These bytes, then this many more as fast as they are taken.
    Flood(Vec<u8>, usize),
    /// Nothing at all.
    Hang,
}

/// A whole HTTP answer.
pub fn http(status: u16, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len()).into_bytes()
}

/// A good answer: one sample of this value.
pub fn number(value: &str) -> Vec<u8> {
    let body = format!(
        r#"{{"status":"success","data":{{"resultType":"vector","result":[{{"metric":{{}},"value":[1700000000.5,"{value}"]}}]}}}}"#
    );
    http(200, "Content-Type: application/json\r\n", &body)
}

type Behaviour = Arc<dyn Fn(&Request) -> Reply + Send + Sync>;

/// The server; it ends when this is dropped.
pub struct Server {
    pub url: String,
    requests: Arc<Mutex<Vec<Request>>>,
    flooded: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub async fn start(behaviour: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, behaviour): (_, Behaviour) = (requests.clone(), Arc::new(behaviour));
        let flooded = Arc::<AtomicUsize>::default();
        let sent = flooded.clone();
        let task = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            for connection in 0.. {
                let Ok((stream, _)) = listener.accept().await else { return };
                open.spawn(serve(stream, connection, behaviour.clone(), seen.clone(), sent.clone()));
            }
        });
        Server { url, requests, flooded, task }
    }

    /// All requests up to now.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// Bytes of floods that clients took.
    pub fn flooded(&self) -> usize {
        self.flooded.load(Ordering::SeqCst)
    }

    /// A configuration for this server with a timeout in milliseconds.
    pub fn config(&self, timeout_millis: i64) -> SourceConfig {
        config(&self.url, timeout_millis)
    }
}

pub fn config(url: &str, timeout_millis: i64) -> SourceConfig {
    SourceConfig {
        url: url.to_owned(),
        timeout: Span::millis(timeout_millis),
        max_bytes: 1 << 20,
        ca_bundle: None,
        auth: None,
        allow_loopback: true,
    }
}

async fn serve(
    mut stream: TcpStream,
    connection: usize,
    behaviour: Behaviour,
    seen: Arc<Mutex<Vec<Request>>>,
    flooded: Arc<AtomicUsize>,
) -> Option<()> {
    loop {
        let request = read(&mut stream, connection).await?;
        seen.lock().unwrap().push(request.clone());
        match behaviour(&request) {
            Reply::Bytes(bytes) => stream.write_all(&bytes).await.ok()?,
            Reply::After(wait, bytes) => {
                sleep(wait).await;
                stream.write_all(&bytes).await.ok()?;
            }
            Reply::Broken(bytes) => {
                stream.write_all(&bytes).await.ok()?;
                return stream.shutdown().await.ok();
            }
            Reply::Drip(bytes, every) => {
                stream.write_all(&bytes).await.ok()?;
                loop {
                    sleep(every).await;
                    stream.write_all(b" ").await.ok()?;
                }
            }
            Reply::Flood(bytes, mut more) => {
                stream.write_all(&bytes).await.ok()?;
                while more > 0 {
                    let part = more.min(1 << 16);
                    stream.write_all(&vec![b' '; part]).await.ok()?;
                    more -= part;
                    flooded.fetch_add(part, Ordering::SeqCst);
                }
            }
            Reply::Hang => std::future::pending().await,
        }
    }
}

async fn read(stream: &mut TcpStream, connection: usize) -> Option<Request> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        more(stream, &mut bytes).await?;
    };
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ').map(str::to_owned);
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length: usize = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    while bytes.len() < end + length {
        more(stream, &mut bytes).await?;
    }
    let body = String::from_utf8(bytes[end..].to_vec()).ok()?;
    Some(Request { method: first.next()?, path: first.next()?, headers, body, connection })
}

async fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    let mut part = [0u8; 4096];
    match stream.read(&mut part).await.ok()? {
        0 => None,
        n => {
            bytes.extend_from_slice(&part[..n]);
            Some(())
        }
    }
}
