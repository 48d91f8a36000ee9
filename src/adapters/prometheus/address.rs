//! Where a metric source may point: never at the machine itself, its neighbours on the link, or a cloud's metadata.
//!
//! A controller that fetches what it is told to is a door into the cluster's network. So an address is checked when it
//! is read, and each time that its name is resolved: every address of the name must be allowed, and only addresses that
//! were checked are connected to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

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

/// Amazon's metadata service.
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

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
    } else if ip == METADATA_V6 {
        Some(METADATA)
    } else {
        carried_v4(ip).and_then(|ip| refused_v4(ip, allow_loopback))
    }
}

/// The IPv4 address that an IPv6 address carries: mapped and compatible (RFC 4291), NAT64 (RFC 6052), 6to4 (RFC 3056).
fn carried_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = ip.segments();
    let joined = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Some(Ipv4Addr::new(a, b, c, d))
    };
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0 | 0xffff] | [0x64, 0xff9b, 0, 0, 0, 0] | [0x64, 0xff9b, 1, 0, 0, 0] => joined(g, h),
        [0x2002, high, low, _, _, _] => joined(high, low),
        _ => None,
    }
}

/// Resolves names for one client and refuses a name if any of its addresses is refused. The client connects to the
/// returned addresses and to no others, so a name cannot change between check and use.
#[derive(Clone, Copy, Debug)]
pub struct CheckedResolver {
    /// Whether loopback is allowed.
    pub allow_loopback: bool,
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_loopback = self.allow_loopback;
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
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
        Some(what) => Err(AddressError::Resolved { host: host.to_owned(), what }),
        None => Ok(found),
    }
}

#[cfg(test)]
mod tests {
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
            "[2002:a9fe:a9fe::1]",
            "[fe80::1]",
            "[febf::1]",
            "[::]",
            "[::ffff:0.0.0.0]",
            "[ff02::1]",
            "[fd00:ec2::254]",
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
}
