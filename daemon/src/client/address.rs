//! Addresses as Gitaly's clients are configured with them.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a Gitaly listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// `tcp://host:port`
    Tcp {
        /// A name or an IP address.
        host: String,
        /// Not 0.
        port: u16,
    },
    /// `unix:///path` or `unix:path`
    Unix(PathBuf),
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Nothing here speaks TLS.
    #[error("tls:// is not supported yet")]
    Tls,
    /// A scheme of nobody's, or none.
    #[error("'{0}' begins with neither tcp:// nor unix:")]
    Scheme(String),
    /// Behind the scheme.
    #[error("'{0}' is no address, expected tcp://host:port or unix:/path")]
    Malformed(String),
}

// === impl Address ===

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let malformed = || AddressError::Malformed(text.to_owned());
        if text.starts_with("tls:") {
            return Err(AddressError::Tls);
        }
        if let Some(rest) = text.strip_prefix("tcp://") {
            return tcp(rest).ok_or_else(malformed);
        }
        let Some(path) = text.strip_prefix("unix:") else {
            return Err(AddressError::Scheme(text.to_owned()));
        };
        // Two slashes introduce a host, and a socket has none: a third one must follow.
        let path = match path.strip_prefix("//") {
            Some(path) if !path.starts_with('/') => return Err(malformed()),
            Some(path) => path,
            None => path,
        };
        if path.is_empty() { Err(malformed()) } else { Ok(Self::Unix(path.into())) }
    }
}

fn tcp(rest: &str) -> Option<Address> {
    let (host, port) = rest.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let host = match host.strip_prefix('[') {
        Some(bracketed) => bracketed.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    let sound = !host.is_empty() && !host.contains(['/', '@', '[', ']']);
    sound.then(|| Address::Tcp { host: host.to_owned(), port })
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, AddressError>) {
        let address: Result<Address, _> = text.parse();
        assert_eq!(address.map(|address| address.to_string()), expected.map(str::to_owned));
    }

    #[test]
    fn addresses_of_gitaly() {
        let malformed = |text: &str| check(text, Err(AddressError::Malformed(text.to_owned())));
        let scheme = |text: &str| check(text, Err(AddressError::Scheme(text.to_owned())));
        check("tcp://gitaly.example:8075", Ok("tcp://gitaly.example:8075"));
        check("tcp://[::1]:8075", Ok("tcp://[::1]:8075"));
        check("unix:///run/gitaly.sock", Ok("unix:/run/gitaly.sock"));
        check("unix:/run/gitaly.sock", Ok("unix:/run/gitaly.sock"));
        check("unix:gitaly.sock", Ok("unix:gitaly.sock"));
        check("tls://gitaly.example:9999", Err(AddressError::Tls));
        malformed("tcp://gitaly.example");
        malformed("tcp://:8075");
        malformed("tcp://::1:8075");
        malformed("tcp://host:0");
        malformed("tcp://host:65536");
        malformed("tcp://host:80/path");
        malformed("unix:");
        malformed("unix://run/gitaly.sock");
        scheme("gitaly.example:8075");
        scheme("http://gitaly.example");
        scheme("");
    }
}
