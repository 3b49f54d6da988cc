//! On whose behalf something is asked for.
//!
//! Always true: names of different kinds are never equal.

use super::claim::{Claim, Name};
use super::crowd::By;
use std::net::{IpAddr, SocketAddr};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requester {
    /// Where the request comes from, if that has a limit of its own.
    pub address: Option<Name>,
    /// Who takes turns with others.
    pub client: Name,
    /// It does not say as whom it asks: there is no `username`.
    pub is_anonymous: bool,
}

/// What is known of who asks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known<'a> {
    /// GitLab's number of the user.
    pub user_id: Option<&'a str>,
    /// Where GitLab was asked from.
    pub remote_ip: Option<&'a str>,
    /// The user's name.
    pub username: Option<&'a str>,
    /// Where the connection comes from.
    pub peer: Option<IpAddr>,
}

// === impl Requester ===

impl Requester {
    /// Turns are taken by users, else by addresses, else by names, else by connections' addresses.
    /// An address has a limit of its own unless it is this machine's, as in Gitaly.
    pub fn of(known: Known<'_>) -> Self {
        let Known { user_id, remote_ip, username, peer } = known;
        let client = match (user_id, remote_ip, username) {
            (Some(id), ..) => format!("user {id}"),
            (None, Some(ip), _) => format!("address {ip}"),
            (None, None, Some(name)) => format!("name {name}"),
            (None, None, None) => match peer {
                Some(peer) => format!("peer {peer}"),
                None => "peer".to_owned(),
            },
        };
        let address = remote_ip.and_then(address).filter(|address| !address.is_loopback());
        Self {
            address: address.map(|address| Name::new(&address.to_string())),
            client: Name::new(&client),
            is_anonymous: username.is_none(),
        }
    }

    /// What it claims where `by` is counted.
    pub(super) fn claim(&self, by: By) -> Claim {
        // The empty key is that of those whose address is not limited.
        let key = match by {
            By::Address => self.address.clone().unwrap_or_else(|| Name::new("")),
            By::Node => Name::new(NODE),
        };
        Claim { key, client: self.client.clone() }
    }
}

/// The one key of the node's line.
pub(super) const NODE: &str = "node";

/// With or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    text.parse().ok().or_else(with_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_and_addresses() {
        fn check(known: Known<'_>, client: &str, address: Option<&str>) {
            let found = Requester::of(known);
            let told = (found.client.as_str(), found.address.as_ref().map(Name::as_str));
            assert_eq!(told, (client, address), "{known:?}");
            assert_eq!(found.is_anonymous, known.username.is_none());
        }
        let peer = Some("10.0.0.1".parse().unwrap());
        let none = Known { peer, ..Known::default() };
        check(none, "peer 10.0.0.1", None);
        check(Known::default(), "peer", None);
        let named = Known { username: Some("7"), ..none };
        check(named, "name 7", None);
        let far = Known { remote_ip: Some("192.0.2.1"), ..named };
        check(far, "address 192.0.2.1", Some("192.0.2.1"));
        check(Known { user_id: Some("7"), ..far }, "user 7", Some("192.0.2.1"));
        for (text, address) in [
            ("192.0.2.1:443", Some("192.0.2.1")),
            ("[2001:db8::1]:443", Some("2001:db8::1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("127.0.0.1", None),
            ("127.8.0.1:80", None),
            ("::1", None),
            ("nowhere", None),
        ] {
            let known = Known { user_id: Some("7"), remote_ip: Some(text), ..none };
            check(known, "user 7", address);
        }
    }
}
