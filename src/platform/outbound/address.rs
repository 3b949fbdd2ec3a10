//! Which addresses may be called: a table, judged on the resolved address.
//!
//! # Invariants
//! - Link-local addresses and the metadata services of clouds are never called.
//! - An IPv4 address inside an IPv6 one is judged as the IPv4 address it leads to.
//! - Private networks may be called: Tenure stands inside the network of the systems it manages.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Any ordinary address, private networks included.
    Ordinary,
    /// This machine.
    Loopback,
    /// Never called, with the reason.
    Never(&'static str),
}

impl Class {
    fn or_stricter(self, other: Self) -> Self {
        match (self, other) {
            (Self::Never(_), _) | (_, Self::Ordinary) => self,
            (_, Self::Never(_)) | (Self::Ordinary, _) => other,
            (Self::Loopback, Self::Loopback) => self,
        }
    }
}

/// Metadata services that do not stand in a link-local network.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192), Ipv4Addr::new(168, 63, 129, 16)];
const METADATA_V6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0023),
    Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254),
    Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254),
];

/// The class of an address.
pub fn class(ip: IpAddr) -> Class {
    match ip {
        IpAddr::V4(ip) => class_v4(ip),
        IpAddr::V6(ip) => {
            // Where several readings are possible, the strictest one counts.
            let inner = match ip.segments() {
                [0x64, 0xff9b, 1, ..] => local_nat64(ip),
                _ => embedded_v4(ip).into_iter().collect(),
            };
            inner.into_iter().map(class_v4).fold(class_v6(ip), Class::or_stricter)
        }
    }
}

fn class_v4(ip: Ipv4Addr) -> Class {
    if ip.is_loopback() {
        Class::Loopback
    } else if ip.octets()[0] == 0 {
        Class::Never("names no host")
    } else if ip.is_link_local() || METADATA_V4.contains(&ip) {
        Class::Never("is link-local or a metadata service")
    } else if ip.is_multicast() || ip.octets()[0] >= 240 {
        Class::Never("is no address of one host")
    } else {
        Class::Ordinary
    }
}

fn class_v6(ip: Ipv6Addr) -> Class {
    if ip.is_loopback() {
        Class::Loopback
    } else if ip.is_unspecified() {
        Class::Never("names no host")
    } else if ip.is_unicast_link_local() || METADATA_V6.contains(&ip) {
        Class::Never("is link-local or a metadata service")
    } else if ip.is_multicast() || ip.segments()[0] & 0xffc0 == 0xfec0 {
        Class::Never("is no address of one host")
    } else if ip.segments()[..2] == [0x2001, 0] {
        Class::Never("leads through a tunnel to an address that it hides")
    } else {
        Class::Ordinary
    }
}

/// Where an address of a network's own NAT64 (RFC 8215) may have an IPv4 one (RFC 6052): that depends on how
/// long the network's prefix is, 48, 56, 64 or 96 bits. A zero at the beginning means that it is elsewhere.
fn local_nat64(ip: Ipv6Addr) -> Vec<Ipv4Addr> {
    let o = ip.octets();
    let places = [[6, 7, 9, 10], [7, 9, 10, 11], [9, 10, 11, 12], [12, 13, 14, 15]];
    let read = |[a, b, c, d]: [usize; 4]| Ipv4Addr::new(o[a], o[b], o[c], o[d]);
    let used: Vec<_> = places.into_iter().map(read).filter(|ip| ip.octets()[0] != 0).collect();
    if used.is_empty() { vec![Ipv4Addr::UNSPECIFIED] } else { used }
}

/// The IPv4 address that an IPv6 one leads to: mapped, compatible, NAT64, 6to4, ISATAP.
fn embedded_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = ip.segments();
    let from = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    };
    match s {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => Some(from(high, low)),
        [0, 0, 0, 0, 0xffff, 0, high, low] => Some(from(high, low)),
        [0x64, 0xff9b, 0 | 1, ..] => Some(from(s[6], s[7])),
        [0x2002, high, low, ..] => Some(from(high, low)),
        [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => Some(from(high, low)),
        _ => None,
    }
}

/// Whether `address` is one that Tenure itself listens on.
pub(super) fn is_own_listener(listeners: &[SocketAddr], address: SocketAddr) -> bool {
    listeners.iter().any(|own| {
        own.port() == address.port()
            && (canonical(own.ip()) == canonical(address.ip())
                || (own.ip().is_unspecified() && is_of_this_machine(address.ip())))
    })
}

fn canonical(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => embedded_v4(v6).map_or(ip, IpAddr::V4),
        IpAddr::V4(_) => ip,
    }
}

/// A socket can be bound to an address of this machine only.
fn is_of_this_machine(ip: IpAddr) -> bool {
    matches!(class(ip), Class::Loopback) || std::net::UdpSocket::bind((canonical(ip), 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Class {
        class(text.parse().expect("an address"))
    }

    #[test]
    fn every_address_has_its_class() {
        for ordinary in [
            "10.0.0.1", "192.168.1.1", "172.16.3.4", "100.64.0.1", "8.8.8.8", "2001:db8::1", "fd12:3456::1",
            "::ffff:10.0.0.1", "64:ff9b::808:808", "2002:0a00:0001::1", "64:ff9b:1::808:808", "64:ff9b:1:808:8:800::",
        ] {
            assert_eq!(of(ordinary), Class::Ordinary, "{ordinary}");
        }
        for loopback in [
            "127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1",
            "2002:7f00:0001::1", "::ffff:0:127.0.0.1", "2001:db8::5efe:127.0.0.1", "64:ff9b:1::7f00:1",
            "64:ff9b:1:7f00:0:100::",
        ] {
            assert_eq!(of(loopback), Class::Loopback, "{loopback}");
        }
        for never in [
            "169.254.169.254", "169.254.0.1", "0.0.0.0", "0.1.2.3", "::", "fe80::1", "fd00:ec2::254", "fd20:ce::254",
            "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "100.100.100.200", "192.0.0.192",
            "168.63.129.16", "224.0.0.1", "255.255.255.255", "ff02::1", "::ffff:0.0.0.0",
            "fd00:ec2::23", "fec0::1", "2001:0:7f00:1::", "fe80::5efe:10.0.0.1", "2001:db8::200:5efe:169.254.169.254",
            "64:ff9b:1:a9fe:a9:fe00::", "64:ff9b:1:a64:64:64c8::", "64:ff9b:1:a0a:64:6464:c800::", "64:ff9b:1::",
        ] {
            assert!(matches!(of(never), Class::Never(_)), "{never}");
        }
    }

    #[test]
    fn our_own_listeners_are_known_in_every_spelling() {
        let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let one = [address("127.0.0.1:7070")];
        assert!(is_own_listener(&one, address("127.0.0.1:7070")));
        assert!(is_own_listener(&one, address("[::ffff:127.0.0.1]:7070")));
        assert!(!is_own_listener(&one, address("127.0.0.1:7071")));
        let all = [address("0.0.0.0:7070")];
        assert!(is_own_listener(&all, address("127.0.0.1:7070")));
        assert!(is_own_listener(&all, address("127.0.0.9:7070")));
        assert!(!is_own_listener(&all, address("203.0.113.9:7070")));
    }
}
