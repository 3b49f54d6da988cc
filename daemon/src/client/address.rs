//! Addresses as Gitaly's clients are configured with them.

use crate::tls::Trust;
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
    /// `tls://host:port`
    Tls {
        /// A name or an IP address, which the server's certificate must have.
        host: String,
        /// Not 0.
        port: u16,
        /// Who may vouch for the server.
        trust: Trust,
    },
    /// `unix:///path` or `unix:path`
    Unix(PathBuf),
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// A scheme of nobody's, or none.
    #[error("'{0}' begins with neither tcp://, tls:// nor unix:")]
    Scheme(String),
    /// Behind the scheme.
    #[error("'{0}' is no address, expected tcp://host:port, tls://host:port or unix:/path")]
    Malformed(String),
}

// === impl Address ===

impl Address {
    /// The same address, where it is one of TLS with others to trust than the system's.
    #[must_use]
    pub fn trusting(self, trust: Trust) -> Self {
        match self {
            Self::Tls { host, port, .. } => Self::Tls { host, port, trust },
            Self::Tcp { .. } | Self::Unix(_) => self,
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let malformed = || AddressError::Malformed(text.to_owned());
        if let Some(rest) = text.strip_prefix("tls://") {
            let (host, port) = host_and_port(rest).ok_or_else(malformed)?;
            return Ok(Self::Tls { host, port, trust: Trust::System });
        }
        if let Some(rest) = text.strip_prefix("tcp://") {
            let (host, port) = host_and_port(rest).ok_or_else(malformed)?;
            return Ok(Self::Tcp { host, port });
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

fn host_and_port(rest: &str) -> Option<(String, u16)> {
    let (host, port) = rest.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let host = match host.strip_prefix('[') {
        Some(bracketed) => bracketed.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    let sound = !host.is_empty() && !host.contains(['/', '@', '[', ']']);
    sound.then(|| (host.to_owned(), port))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut at = |scheme, host: &str, port| match host.contains(':') {
            true => write!(f, "{scheme}://[{host}]:{port}"),
            false => write!(f, "{scheme}://{host}:{port}"),
        };
        match self {
            Self::Tcp { host, port } => at("tcp", host, port),
            Self::Tls { host, port, .. } => at("tls", host, port),
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
        check("tls://gitaly.example:9999", Ok("tls://gitaly.example:9999"));
        check("tls://[::1]:9999", Ok("tls://[::1]:9999"));
        malformed("tls://gitaly.example");
        scheme("tls:gitaly.example:9999");
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
