//! What kind of place an IP address is: somewhere on the internet, one's own network, or nowhere that a request may go.
//!
//! The ranges are those of the IANA special-purpose address registries (RFC 6890 and what was entered since), and the
//! addresses at which clouds hand out credentials.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where an address lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On the internet.
    Public,
    /// On this machine or in its own network: "a loopback address".
    Private(&'static str),
    /// Where no server that anybody meant can be: "a link-local address".
    Never(&'static str),
}

/// Where metadata services of clouds answer that are in no range which is refused anyway: Azure, Alibaba, AWS, Google.
const METADATA: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];

const CLOUD_METADATA: Place = Place::Never("the metadata address of a cloud");

/// The place of `address`.
pub fn place(address: IpAddr) -> Place {
    if METADATA.contains(&address) {
        return CLOUD_METADATA;
    }
    match address {
        IpAddr::V4(address) => place_v4(address),
        IpAddr::V6(address) => place_v6(address),
    }
}

fn place_v4(address: Ipv4Addr) -> Place {
    use Place::{Never, Private, Public};
    match address.octets() {
        [0, 0, 0, 0] => Never("the unspecified address"),
        [0, ..] => Never("an address of \"this network\""),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Private("a private address"),
        [100, 64..=127, ..] => Private("an address of a carrier's own network"),
        [127, ..] => Private("a loopback address"),
        [169, 254, 169, 254] => CLOUD_METADATA,
        [169, 254, ..] => Never("a link-local address"),
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Never("an address for documentation"),
        [192, 0, 0, _] | [192, 88, 99, _] | [240..=255, ..] => Never("a reserved address"),
        [198, 18 | 19, ..] => Never("an address for benchmarks"),
        [224..=239, ..] => Never("a multicast address"),
        _ => Public,
    }
}

fn place_v6(address: Ipv6Addr) -> Place {
    use Place::{Never, Private, Public};
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Never("the unspecified address"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Private("a loopback address"),
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] => Never("an IPv4 address dressed as IPv6"),
        // NAT64 (RFC 6052): on a network without IPv4 this is how a name server answers for the IPv4 internet, and for
        // that alone.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            match place(IpAddr::V4(Ipv4Addr::new(a, b, c, d))) {
                Public => Public,
                Private(_) | Never(_) => Never("an address of an own network behind NAT64"),
            }
        }
        [0x64, 0xff9b, ..] => Never("an address of an own network behind NAT64"),
        [0x2001, 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => Never("an address for documentation"),
        [0x2001, 0, ..] => Never("a Teredo address"),
        // 2001::/23: benchmarks, ORCHID, and what else the IETF keeps for protocols.
        [0x2001, 1..=0x01ff, ..] => Never("a reserved address"),
        [0x2002, ..] => Never("a 6to4 address"),
        [0xfc00..=0xfdff, ..] => Private("a private address"),
        [0xfe80..=0xfebf, ..] => Never("a link-local address"),
        [0xff00..=0xffff, ..] => Never("a multicast address"),
        [0x2000..=0x3fff, ..] => Public,
        _ => Never("a reserved address"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_internet_are_public() {
        for text in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2a00:1450:4001::8a",
            "2001:4860:4860::8888",
            "2001:200::1",
            "64:ff9b::101:101",
        ] {
            assert_eq!(place(text.parse().unwrap()), Place::Public, "{text}");
        }
    }

    #[test]
    fn an_own_network_is_told_from_where_nothing_may_go() {
        let place = |text: &str| place(text.parse().unwrap());
        for text in [
            "10.0.0.0",
            "10.255.255.255",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "127.0.0.1",
            "127.255.255.254",
            "100.64.0.0",
            "100.127.255.255",
            "::1",
            "fc00::1",
            "fdff:ffff::1",
        ] {
            assert!(matches!(place(text), Place::Private(_)), "{text}: {:?}", place(text));
        }
        for text in [
            // Unspecified and "this network"
            "0.0.0.0",
            "0.1.2.3",
            "::",
            // Link-local and metadata
            "169.254.0.1",
            "169.254.169.254",
            "169.254.170.2",
            "fe80::1",
            "febf::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            // Documentation, benchmarks, reserved, multicast, broadcast
            "192.0.2.1",
            "198.51.100.1",
            "203.0.113.1",
            "2001:db8::1",
            "3fff::1",
            "198.18.0.1",
            "198.19.255.255",
            "2001:2::1",
            "192.0.0.1",
            "192.88.99.1",
            "240.0.0.1",
            "255.255.255.255",
            "224.0.0.1",
            "239.255.255.255",
            "ff02::1",
            "100::1",
            "fec0::1",
            "5f00::1",
            "4000::1",
            "2001:10::1",
            // IPv4 in IPv6
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:8.8.8.8",
            "::127.0.0.1",
            "::7f00:1",
            "::8.8.8.8",
            "64:ff9b::127.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::8.8.8.8",
            "64:ff9b:1::a00:1",
            "2002:7f00:1::1",
            "2002:808:808::1",
            "2001:0:4136:e378::1",
        ] {
            assert!(matches!(place(text), Place::Never(_)), "{text}: {:?}", place(text));
        }
    }
}
