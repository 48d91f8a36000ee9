//! Where a metric source may point: never at the machine itself, its neighbours on the link, or a cloud's metadata.
//!
//! A controller that fetches what it is told to is a door into the cluster's network. So an address is checked when it
//! is read, and each time that its name is resolved: every address of the name must be allowed, and only addresses that
//! were checked are connected to.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use futures::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use crate::engine::flaw::{self, Flaw};

/// Why an address is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not an address at all.
    #[error("url is not an address: write it like https://prometheus.monitoring:9090")]
    Invalid,
    /// Another scheme.
    #[error("url must begin with http:// or https://")]
    Scheme,
    /// With a user or a password in it.
    #[error("url has a user or a password in it: use basicAuthRef or bearerTokenRef")]
    UserInfo,
    /// With a query or a fragment.
    #[error("url must end before ? and #: give the base address only")]
    Extra,
    /// A name that is never a metric server.
    #[error("url names {host}, which is {what}: no metric source may point there")]
    Host {
        /// The host.
        host: String,
        /// What it is.
        what: &'static str,
    },
    /// A name that stands for an address that is never a metric server.
    #[error("{host} resolves to {what}: no metric source may point there")]
    Resolved {
        /// The host.
        host: String,
        /// What it resolves to.
        what: &'static str,
    },
}

const LOOPBACK: &str = "this machine itself (loopback)";
const METADATA: &str = "a cloud's metadata service";

/// Names by which clouds offer credentials to whoever asks.
const METADATA_NAMES: [&str; 5] =
    ["metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal"];

/// Metadata services outside of link-local ranges: Alibaba, Oracle, Azure.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192), Ipv4Addr::new(168, 63, 129, 16)];

/// Metadata services by IPv6: Amazon, Google, Oracle.
const METADATA_V6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
];

/// Reads a base address and checks all that can be said without resolving it. Decimal, octal and hexadecimal forms of
/// an IPv4 address are read as what they are.
///
/// # Errors
/// Another scheme than http and https, more than a base address, or a host that no source may point to. The error never
/// repeats a user or password.
pub fn parse(url: &str, allow_loopback: bool) -> Result<Url, AddressError> {
    let url = Url::parse(url.trim()).map_err(|_| AddressError::Invalid)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(AddressError::Scheme);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(AddressError::UserInfo);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(AddressError::Extra);
    }
    let refused = match url.host().ok_or(AddressError::Invalid)? {
        Host::Domain(name) => refused_name(name, allow_loopback),
        Host::Ipv4(ip) => refused_ip(ip.into(), allow_loopback),
        Host::Ipv6(ip) => refused_ip(ip.into(), allow_loopback),
    };
    match refused {
        Some(what) => Err(AddressError::Host { host: url.host_str().unwrap_or_default().to_owned(), what }),
        None => Ok(url),
    }
}

/// What a name stands for, if it is refused by itself.
fn refused_name(name: &str, allow_loopback: bool) -> Option<&'static str> {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    if METADATA_NAMES.contains(&name.as_str()) {
        Some(METADATA)
    } else if (name == "localhost" || name.ends_with(".localhost")) && !allow_loopback {
        Some(LOOPBACK)
    } else {
        None
    }
}

/// What an IP address is, if it is refused. An IPv6 address that carries an IPv4 address is judged as that one too.
#[must_use]
pub fn refused_ip(ip: IpAddr, allow_loopback: bool) -> Option<&'static str> {
    match ip {
        IpAddr::V4(ip) => refused_v4(ip, allow_loopback),
        IpAddr::V6(ip) => refused_v6(ip, allow_loopback),
    }
}

fn refused_v4(ip: Ipv4Addr, allow_loopback: bool) -> Option<&'static str> {
    if ip.is_loopback() {
        return if allow_loopback { None } else { Some(LOOPBACK) };
    }
    if ip.is_link_local() {
        Some("link-local, where clouds keep their metadata service")
    } else if METADATA_V4.contains(&ip) {
        Some(METADATA)
    } else if ip.octets()[0] == 0 {
        Some("no host (unspecified)")
    } else if ip.is_multicast() || ip.is_broadcast() {
        Some("many hosts (multicast or broadcast)")
    } else {
        None
    }
}

fn refused_v6(ip: Ipv6Addr, allow_loopback: bool) -> Option<&'static str> {
    if ip.is_loopback() {
        return if allow_loopback { None } else { Some(LOOPBACK) };
    }
    if ip.is_unspecified() {
        Some("no host (unspecified)")
    } else if ip.is_unicast_link_local() {
        Some("link-local")
    } else if ip.is_multicast() {
        Some("many hosts (multicast)")
    } else if METADATA_V6.contains(&ip) {
        Some(METADATA)
    } else {
        carried_v4(ip).into_iter().flatten().find_map(|ip| refused_v4(ip, allow_loopback))
    }
}

/// The IPv4 addresses that an IPv6 address may carry: mapped and compatible (RFC 4291), translated (RFC 2765), NAT64 (RFC 6052,
/// RFC 8215), 6to4 (RFC 3056), ISATAP (RFC 5214), and the client of Teredo (RFC 4380).
fn carried_v4(ip: Ipv6Addr) -> [Option<Ipv4Addr>; 3] {
    let bytes = ip.octets();
    let at = |places: [usize; 4]| Some(Ipv4Addr::from(places.map(|place| bytes[place])));
    let last = at([12, 13, 14, 15]);
    match ip.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => {
            [last, None, None]
        }
        // The local prefix may be of 48, 56, 64 or 96 bits; the ninth byte belongs to none of them.
        [0x64, 0xff9b, 1, ..] => [
            last,
            at([6, 7, 9, 10]),
            if bytes[6] == 0 && bytes[7] == 0 { at([9, 10, 11, 12]) } else { at([7, 9, 10, 11]) },
        ],
        [0x2002, ..] => [at([2, 3, 4, 5]), None, None],
        [0x2001, 0, ..] => [last.map(|ip| Ipv4Addr::from(!u32::from(ip))), None, None],
        [_, _, _, _, 0 | 0x200, 0x5efe, ..] => [last, None, None],
        _ => [None; 3],
    }
}

/// Asks the system for the addresses of a name.
type Lookup = fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>>;

/// Resolves names for one client and refuses a name if any of its addresses is refused. The client connects to the
/// returned addresses and to no others, so a name cannot change between check and use.
#[derive(Clone, Copy, Debug)]
pub struct CheckedResolver {
    allow_loopback: bool,
    lookup: Lookup,
}

impl CheckedResolver {
    /// A resolver that asks the system; `allow_loopback` as in [`parse`].
    #[must_use]
    pub fn new(allow_loopback: bool) -> Self {
        let lookup: Lookup =
            |host| Box::pin(async move { Ok(tokio::net::lookup_host((host, 0)).await?.collect()) });
        Self { allow_loopback, lookup }
    }
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let Self { allow_loopback, lookup } = *self;
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found = lookup(host.clone()).await?;
            let addrs: Addrs = Box::new(checked(&host, found, allow_loopback)?.into_iter());
            Ok(addrs)
        })
    }
}

fn checked(
    host: &str,
    found: Vec<SocketAddr>,
    allow_loopback: bool,
) -> Result<Vec<SocketAddr>, AddressError> {
    match found.iter().find_map(|addr| refused_ip(addr.ip(), allow_loopback)) {
        Some(_) if flaw::is(Flaw::AddressUnchecked) => Ok(found),
        Some(what) => Err(AddressError::Resolved { host: host.to_owned(), what }),
        None => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[test]
    fn accepts_addresses_of_metric_servers() {
        for (text, url) in [
            ("http://prometheus.monitoring:9090", "http://prometheus.monitoring:9090/"),
            (
                "https://prometheus.monitoring.svc.cluster.local",
                "https://prometheus.monitoring.svc.cluster.local/",
            ),
            ("http://mimir.monitoring/prometheus/", "http://mimir.monitoring/prometheus/"),
            ("http://10.0.0.7:9090", "http://10.0.0.7:9090/"),
            ("http://[fd12::7]:9090", "http://[fd12::7]:9090/"),
            ("http://203.0.113.9", "http://203.0.113.9/"),
            ("http://metadata.monitoring:9090", "http://metadata.monitoring:9090/"),
            ("http://[64:ff9b::10.0.0.7]", "http://[64:ff9b::a00:7]/"),
            ("http://[fd12::5efe:10.0.0.7]", "http://[fd12::5efe:a00:7]/"),
            // A host after a backslash is a path.
            (r"http://prometheus\@169.254.169.254", "http://prometheus/@169.254.169.254"),
        ] {
            assert_eq!(parse(text, false).map(String::from).as_deref(), Ok(url), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_base_address() {
        for (text, error) in [
            ("", AddressError::Invalid),
            ("prometheus", AddressError::Invalid),
            ("http://", AddressError::Invalid),
            ("http://a b", AddressError::Invalid),
            ("http://prometheus:99999", AddressError::Invalid),
            ("prometheus:9090", AddressError::Scheme),
            ("file:///etc/passwd", AddressError::Scheme),
            ("gopher://prometheus", AddressError::Scheme),
            ("ftp://prometheus", AddressError::Scheme),
            ("http://ana@prometheus", AddressError::UserInfo),
            ("http://:pw@prometheus", AddressError::UserInfo),
            ("http://prometheus?x=1", AddressError::Extra),
            ("http://prometheus/?", AddressError::Extra),
            ("http://prometheus#x", AddressError::Extra),
        ] {
            assert_eq!(parse(text, true), Err(error), "{text}");
        }
        let error = parse("http://ana:hunter2@prometheus", false).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn refuses_hosts_that_are_no_metric_server() {
        for host in [
            "169.254.169.254",
            "169.254.0.1",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "255.255.255.255",
            "100.100.100.200",
            "192.0.0.192",
            "168.63.129.16",
            // The same in other clothes.
            "2852039166",
            "0xa9fea9fe",
            "0xA9.0xFE.0xA9.0xFE",
            "0251.0376.0251.0376",
            "169.254.43518",
            "169.254.169.254.",
            "①⑥⑨.254.169.254",
            "169%2e254%2e169%2e254",
            "[::ffff:169.254.169.254]",
            "[::ffff:a9fe:a9fe]",
            "[::169.254.169.254]",
            "[64:ff9b::169.254.169.254]",
            "[64:ff9b:1::169.254.169.254]",
            "[64:ff9b:1:a9fe:a9:fe00::]",
            "[64:ff9b:1:a9:fe:a9fe::]",
            "[64:ff9b:1:0:a9:fea9:fe00:0]",
            "[::ffff:0:169.254.169.254]",
            "[2002:a9fe:a9fe::1]",
            "[2001:0:4136:e378:8000:63bf:5601:5601]",
            "[fd12::5efe:169.254.169.254]",
            "[fd12::200:5efe:a9fe:a9fe]",
            "[fe80::1]",
            "[febf::1]",
            "[::]",
            "[::ffff:0.0.0.0]",
            "[ff02::1]",
            "[fd00:ec2::254]",
            "[fd20:ce::254]",
            "[fd00:c1::a9fe:a9fe]",
            "169。254。169。254",
            "metadata",
            "METADATA",
            "metadata.",
            "metadata.google.internal",
            "Metadata.Google.Internal.",
            "instance-data",
        ] {
            for url in [format!("http://{host}"), format!("https://{host}:9090/api")] {
                let refused = parse(&url, true);
                assert!(matches!(refused, Err(AddressError::Host { .. })), "{url}: {refused:?}");
            }
        }
    }

    #[test]
    fn refuses_addresses_in_disguise() {
        for url in [
            "http:169.254.169.254",
            "http:///169.254.169.254/",
            r"http:\\169.254.169.254",
            r"http://169.254.169.254\@prometheus",
            "http://169.254.\n169.254",
            "\t http://169.254.169.254",
            "HTTP://169.254.169.254:80",
        ] {
            assert!(matches!(parse(url, true), Err(AddressError::Host { .. })), "{url}");
        }
        for (url, error) in [
            ("http://prometheus@169.254.169.254", AddressError::UserInfo),
            ("http://prometheus:9090@169.254.169.254", AddressError::UserInfo),
            ("http://prometheus%40@169.254.169.254", AddressError::UserInfo),
            ("http://prometheus#@169.254.169.254", AddressError::Extra),
            ("http://prometheus?@169.254.169.254", AddressError::Extra),
            ("http://[fe80::1%25eth0]:9090", AddressError::Invalid),
            ("http://[::ffff:169.254.169.254%25lo]", AddressError::Invalid),
            ("http://256.256.256.256", AddressError::Invalid),
            ("http://0x1.0x1.0x1.0x1.0x1", AddressError::Invalid),
            ("http://prometheus:80:80", AddressError::Invalid),
            ("http://prome%00theus", AddressError::Invalid),
            ("jar:http://prometheus!/", AddressError::Scheme),
            ("unix:///var/run/docker.sock", AddressError::Scheme),
        ] {
            assert_eq!(parse(url, true), Err(error), "{url}");
        }
    }

    #[test]
    fn loopback_needs_leave() {
        for host in [
            "127.0.0.1",
            "127.9.9.9",
            "2130706433",
            "0x7f.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "localhost",
            "a.localhost.",
        ] {
            let url = format!("http://{host}:9090");
            assert!(matches!(parse(&url, false), Err(AddressError::Host { .. })), "{url}");
            assert!(parse(&url, true).is_ok(), "{url}");
        }
    }

    #[test]
    fn one_refused_address_refuses_the_name() {
        let addr = |ip: &str| SocketAddr::new(ip.parse().unwrap(), 0);
        let good = vec![addr("10.0.0.7"), addr("fd12::7")];
        assert_eq!(checked("prometheus", good.clone(), false), Ok(good.clone()));
        for bad in ["169.254.169.254", "::ffff:169.254.169.254", "127.0.0.1", "::1", "0.0.0.0"] {
            let mixed = [good.clone(), vec![addr(bad)]].concat();
            assert!(checked("prometheus", mixed, false).is_err(), "{bad}");
        }
    }

    /// A name that stands for a metric server when it is looked at first, and for a metadata service from then on.
    fn rebound(_: String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let ip = if ASKED.fetch_add(1, Ordering::SeqCst) == 0 { "127.0.0.1" } else { "169.254.169.254" };
        Box::pin(async move { Ok(vec![SocketAddr::new(ip.parse().unwrap(), 0)]) })
    }

    #[tokio::test]
    async fn a_name_that_changes_its_address_is_checked_each_time() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                .await
                .unwrap();
        });
        let resolver = CheckedResolver { allow_loopback: true, lookup: rebound };
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(super::super::tls::config(false, None).unwrap())
            .dns_resolver(resolver)
            .no_proxy()
            .build()
            .unwrap();
        let url = format!("http://prometheus.example:{port}/");
        // One look serves the check and the connection: were there two, the second would be refused here.
        assert_eq!(http.get(&url).send().await.unwrap().status(), 200);
        serving.await.unwrap();
        let error = format!("{:?}", http.get(&url).send().await.unwrap_err());
        assert!(error.contains("link-local"), "{error}");
    }
}
