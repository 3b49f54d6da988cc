//! What a request asks for: its line and headers, parsed once.
//!
//! Never here: I/O.

use super::refusal::Refusal;
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
    pub(super) operation: Operation,
    pub(super) version: Version,
    /// Only the headers of the answer are wanted.
    pub(super) head_only: bool,
    /// The body is gzip.
    pub(super) gzip: bool,
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
pub(super) fn parse(parts: &Parts) -> Result<Asked, Refusal> {
    let (repository, endpoint) = target(parts.uri.path())?;
    let operation = match endpoint {
        Endpoint::InfoRefs => {
            info_refs(&parts.method, parts.uri.query())?;
            Operation::AdvertiseRefs
        }
        Endpoint::UploadPack => {
            upload_pack(&parts.method, &parts.headers)?;
            Operation::UploadPack
        }
        Endpoint::ReceivePack => return Err(no_push()),
    };
    Ok(Asked {
        repository,
        operation,
        version: version(&parts.headers),
        head_only: parts.method == Method::HEAD,
        gzip: gzip(&parts.headers)?,
    })
}

/// What the access log calls an operation.
pub(super) fn name(operation: Operation) -> &'static str {
    match operation {
        Operation::AdvertiseRefs => "InfoRefs",
        Operation::UploadPack => "UploadPack",
    }
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

fn info_refs(method: &Method, query: Option<&str>) -> Result<(), Refusal> {
    if method != Method::GET && method != Method::HEAD {
        return Err(Refusal::method("GET, HEAD"));
    }
    let service = query.unwrap_or("").split('&').find_map(|pair| pair.strip_prefix("service="));
    match service {
        Some("git-upload-pack") => Ok(()),
        Some("git-receive-pack") => Err(no_push()),
        Some(_) => Err(Refusal::new(StatusCode::FORBIDDEN, "this service does not exist")),
        None => Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "the dumb protocol is not served: use git 1.6.6 or later",
        )),
    }
}

fn upload_pack(method: &Method, headers: &HeaderMap) -> Result<(), Refusal> {
    if method != Method::POST {
        return Err(Refusal::method("POST"));
    }
    let wanted = "application/x-git-upload-pack-request";
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

#[cfg(test)]
mod tests;
