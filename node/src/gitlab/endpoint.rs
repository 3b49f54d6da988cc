//! Where GitLab listens: `http://host`, `https://host`, `http+unix://%2Fpath%2Fto%2Fsocket`.
//!
//! Always true: what was parsed can be connected to and named in a request.
//! Never here: connecting.

use hyper::Uri;
use hyper::header::HeaderValue;
use std::path::PathBuf;
use tokio_rustls::rustls::pki_types::ServerName;

/// GitLab's address, and the path below which its API lies.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub(super) way: Way,
    /// The `Host` header.
    host: HeaderValue,
    /// Without a slash at its end.
    root: String,
}

/// How it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Way {
    Tcp { host: String, port: u16 },
    Tls { host: String, port: u16, name: ServerName<'static> },
    Unix(PathBuf),
}

// === impl Endpoint ===

impl Endpoint {
    /// Parses `url`; `relative_url_root` counts for sockets alone, as in Gitaly. Errors say what is
    /// wrong and what is allowed.
    pub fn parse(url: &str, relative_url_root: &str) -> Result<Self, String> {
        if let Some(path) = url.strip_prefix("http+unix://") {
            let wrong =
                || format!("'{url}' names no socket, allowed: http+unix://%2Fpath%2Fto%2Fit");
            let path = unescape(path).filter(|path| path.starts_with('/')).ok_or_else(wrong)?;
            let root = match relative_url_root.trim_matches('/') {
                "" => String::new(),
                root => format!("/{root}"),
            };
            check_path(&root).ok_or_else(|| format!("'{root}' is no path of a URL"))?;
            let host = HeaderValue::from_static("unix");
            return Ok(Self { way: Way::Unix(path.into()), host, root });
        }
        let allowed = "allowed: http://host, https://host, http+unix://%2Fpath%2Fto%2Fsocket";
        let is_tls = url.starts_with("https://");
        if !is_tls && !url.starts_with("http://") {
            return Err(format!("'{url}' has an unknown prefix, {allowed}"));
        }
        let wrong = |what: &str| format!("the URL {what}, {allowed}");
        let uri: Uri = url.parse().map_err(|error| wrong(&format!("is none ({error})")))?;
        let authority = uri.authority().ok_or_else(|| wrong("names no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("holds a user: http-settings.user and password are for that"));
        }
        if uri.query().is_some() {
            return Err(wrong("holds a query"));
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let way = match (is_tls, authority.port_u16()) {
            (false, port) => Way::Tcp { host, port: port.unwrap_or(80) },
            (true, port) => {
                let name = ServerName::try_from(host.clone());
                let name = name.map_err(|_| wrong("names no host that a certificate can name"))?;
                Way::Tls { host, port: port.unwrap_or(443), name }
            }
        };
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| wrong("names no host"))?;
        Ok(Self { way, host, root: uri.path().trim_end_matches('/').to_owned() })
    }

    pub(super) fn is_tls(&self) -> bool {
        matches!(self.way, Way::Tls { .. })
    }

    pub(super) fn host(&self) -> HeaderValue {
        self.host.clone()
    }

    /// What the request line says for `path`.
    pub(super) fn uri(&self, path: &str) -> Uri {
        let whole = format!("{}{path}", self.root);
        whole.parse().expect("the root was parsed as a path, and paths of the API are plain")
    }
}

fn check_path(root: &str) -> Option<()> {
    let uri: Uri = format!("{root}/").parse().ok()?;
    (uri.path().len() == root.len() + 1).then_some(())
}

/// Undoes percent-encoding (RFC 3986 §2.1).
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
        let value = digit(rest.first())? * 16 + digit(rest.get(1))?;
        bytes.push(u8::try_from(value).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart_or_refused() {
        fn check(url: &str, root: &str, expected: Result<(Way, &str, &str), &str>) {
            let found = Endpoint::parse(url, root);
            match (found, expected) {
                (Ok(found), Ok((way, host, path))) => {
                    assert_eq!(found.way, way, "{url}");
                    assert_eq!(found.host(), host, "{url}");
                    assert_eq!(found.uri("/api").to_string(), path, "{url}");
                }
                (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
                (found, expected) => panic!("{url}: {found:?}, expected {expected:?}"),
            }
        }
        let tcp = |host: &str, port| Way::Tcp { host: host.to_owned(), port };
        let tls = |host: &str, port| {
            let name = ServerName::try_from(host.to_owned()).unwrap();
            Way::Tls { host: host.to_owned(), port, name }
        };
        check("http://gitlab", "x", Ok((tcp("gitlab", 80), "gitlab", "/api")));
        check("http://[::1]:8080/", "", Ok((tcp("::1", 8080), "[::1]:8080", "/api")));
        check("https://a.b/root/", "", Ok((tls("a.b", 443), "a.b", "/root/api")));
        check("https://127.0.0.1:1", "", Ok((tls("127.0.0.1", 1), "127.0.0.1:1", "/api")));
        let socket = Way::Unix("/run/git lab".into());
        check("http+unix://%2Frun%2fgit%20lab", "", Ok((socket.clone(), "unix", "/api")));
        check("http+unix:///run/git lab", "/gitlab/", Ok((socket, "unix", "/gitlab/api")));
        for url in ["http+unix://run", "http+unix://%2", "http+unix://%zz", "http+unix://%2F%00"] {
            check(url, "", Err("names no socket"));
        }
        check("http+unix://%2Fs", "a b", Err("is no path of a URL"));
        check("http+unix://%2Fs", "a?b", Err("is no path of a URL"));
        check("", "", Err("unknown prefix"));
        check("ftp://a", "", Err("unknown prefix"));
        check("http://", "", Err("the URL is none"));
        check("http://u:p@a", "", Err("holds a user"));
        check("http://a/?b", "", Err("holds a query"));
    }
}
