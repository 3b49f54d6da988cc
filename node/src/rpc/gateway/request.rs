//! What a request asks for: its line and headers, parsed once.
//!
//! Never here: I/O.

use super::refusal::Refusal;
use crate::rpc::push;
use crate::rpc::wire::{Operation, Version};
use crate::storage::RelativePath;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, StatusCode};

/// A longer `Git-Protocol` is not looked at. Clients send 9 bytes.
const GIT_PROTOCOL_BYTES_MAX: usize = 256;

/// A request that can be served.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) repository: RelativePath,
    pub(super) service: Service,
    pub(super) version: Version,
    /// Only the headers of the answer are wanted.
    pub(super) head_only: bool,
    /// The body is gzip.
    pub(super) gzip: bool,
}

/// Which of git's services is wanted, and what of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    UploadPack(Operation),
    ReceivePack(push::Operation),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    InfoRefs,
    UploadPack,
    ReceivePack,
}

const ENDPOINTS: &[(&str, Endpoint)] = &[
    ("/info/refs", Endpoint::InfoRefs),
    ("/git-upload-pack", Endpoint::UploadPack),
    ("/git-receive-pack", Endpoint::ReceivePack),
];

/// Reads a request; an error says what to answer.
pub(super) fn parse(parts: &Parts, takes_pushes: bool) -> Result<Asked, Refusal> {
    let (repository, endpoint) = target(parts.uri.path())?;
    let service = match endpoint {
        Endpoint::InfoRefs => info_refs(&parts.method, parts.uri.query())?,
        Endpoint::UploadPack => {
            post(&parts.method, &parts.headers, "application/x-git-upload-pack-request")?;
            Service::UploadPack(Operation::UploadPack)
        }
        Endpoint::ReceivePack if !takes_pushes => return Err(no_push()),
        Endpoint::ReceivePack => {
            post(&parts.method, &parts.headers, "application/x-git-receive-pack-request")?;
            Service::ReceivePack(push::Operation::ReceivePack)
        }
    };
    if !takes_pushes && matches!(service, Service::ReceivePack(_)) {
        return Err(no_push());
    }
    Ok(Asked {
        repository,
        service,
        version: version(&parts.headers),
        head_only: parts.method == Method::HEAD,
        gzip: gzip(&parts.headers)?,
    })
}

fn target(path: &str) -> Result<(RelativePath, Endpoint), Refusal> {
    let found = ENDPOINTS
        .iter()
        .find_map(|(suffix, endpoint)| Some((path.strip_suffix(suffix)?, *endpoint)));
    let Some((repository, endpoint)) = found else {
        return Err(Refusal::new(
            StatusCode::NOT_FOUND,
            "nothing here: this server speaks git's smart HTTP protocol",
        ));
    };
    let bad = |what: String| Refusal::new(StatusCode::BAD_REQUEST, what);
    let decoded = decode(repository.strip_prefix('/').unwrap_or(repository))
        .ok_or_else(|| bad("the path is not percent-encoded UTF-8".to_owned()))?;
    let repository = RelativePath::parse(&decoded).map_err(|error| bad(error.to_string()))?;
    Ok((repository, endpoint))
}

/// RFC 3986 §2.1, once: what is still encoded afterwards is meant literally.
fn decode(path: &str) -> Option<String> {
    let mut bytes = path.bytes();
    let mut decoded = Vec::with_capacity(path.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let (high, low) = (hex(bytes.next()?)?, hex(bytes.next()?)?);
            decoded.push(high << 4 | low);
        } else {
            decoded.push(byte);
        }
    }
    String::from_utf8(decoded).ok()
}

fn hex(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

fn info_refs(method: &Method, query: Option<&str>) -> Result<Service, Refusal> {
    if method != Method::GET && method != Method::HEAD {
        return Err(Refusal::method("GET, HEAD"));
    }
    let service = query.unwrap_or("").split('&').find_map(|pair| pair.strip_prefix("service="));
    match service {
        Some("git-upload-pack") => Ok(Service::UploadPack(Operation::AdvertiseRefs)),
        Some("git-receive-pack") => Ok(Service::ReceivePack(push::Operation::AdvertiseRefs)),
        Some(_) => Err(Refusal::new(StatusCode::FORBIDDEN, "this service does not exist")),
        None => Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "the dumb protocol is not served: use git 1.6.6 or later",
        )),
    }
}

fn post(method: &Method, headers: &HeaderMap, wanted: &str) -> Result<(), Refusal> {
    if method != Method::POST {
        return Err(Refusal::method("POST"));
    }
    if headers.get(CONTENT_TYPE).is_none_or(|given| given.as_bytes() != wanted.as_bytes()) {
        let text = format!("the content type must be {wanted}");
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    Ok(())
}

fn no_push() -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, "pushes are not enabled on this server")
}

fn version(headers: &HeaderMap) -> Version {
    let keys = headers.get("git-protocol").filter(|keys| keys.len() <= GIT_PROTOCOL_BYTES_MAX);
    keys.and_then(|keys| keys.to_str().ok()).map_or(Version::V0, Version::from_git_protocol)
}

fn gzip(headers: &HeaderMap) -> Result<bool, Refusal> {
    match headers.get(CONTENT_ENCODING).map(|coding| coding.as_bytes().to_ascii_lowercase()) {
        None => Ok(false),
        Some(coding) => match coding.as_slice() {
            b"identity" => Ok(false),
            b"gzip" | b"x-gzip" => Ok(true),
            _ => Err(Refusal::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the content encoding must be gzip or none",
            )),
        },
    }
}

// === impl Service ===

impl Service {
    /// What the access log calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::UploadPack(Operation::AdvertiseRefs) => "InfoRefs",
            Self::UploadPack(Operation::UploadPack) => "UploadPack",
            Self::ReceivePack(push::Operation::AdvertiseRefs) => "InfoRefsReceivePack",
            Self::ReceivePack(push::Operation::ReceivePack) => "ReceivePack",
        }
    }

    /// The method that Workhorse calls for the same, whose limits hold here as well.
    pub(super) fn rpc(self) -> &'static str {
        match self {
            Self::UploadPack(Operation::AdvertiseRefs) => {
                "/gitaly.SmartHTTPService/InfoRefsUploadPack"
            }
            Self::UploadPack(Operation::UploadPack) => {
                "/gitaly.SmartHTTPService/PostUploadPackWithSidechannel"
            }
            Self::ReceivePack(push::Operation::AdvertiseRefs) => {
                "/gitaly.SmartHTTPService/InfoRefsReceivePack"
            }
            Self::ReceivePack(push::Operation::ReceivePack) => {
                "/gitaly.SmartHTTPService/PostReceivePack"
            }
        }
    }

    /// The content type of its answer.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::UploadPack(Operation::AdvertiseRefs) => {
                "application/x-git-upload-pack-advertisement"
            }
            Self::UploadPack(Operation::UploadPack) => "application/x-git-upload-pack-result",
            Self::ReceivePack(push::Operation::AdvertiseRefs) => {
                "application/x-git-receive-pack-advertisement"
            }
            Self::ReceivePack(push::Operation::ReceivePack) => {
                "application/x-git-receive-pack-result"
            }
        }
    }

    /// What git http-backend writes before an advertisement: a pkt-line and a flush packet. Not
    /// before the capabilities of version 2, which receive-pack does not have.
    pub(super) fn prefix(self, version: Version) -> &'static [u8] {
        match self {
            Self::UploadPack(Operation::AdvertiseRefs) if version < Version::V2 => {
                b"001e# service=git-upload-pack\n0000"
            }
            Self::ReceivePack(push::Operation::AdvertiseRefs) => {
                b"001f# service=git-receive-pack\n0000"
            }
            Self::UploadPack(_) | Self::ReceivePack(push::Operation::ReceivePack) => b"",
        }
    }
}

#[cfg(test)]
mod tests;
