//! Tokens of version 2: who knows the secret may call, for half a minute around one instant.
//!
//! ```text
//!   authorization: Bearer v2.<HMAC-SHA256 of the time, hexadecimal>.<seconds since 1970, decimal>
//! ```
//!
//! A header without such a form is no authentication at all ([`Missing`]: `Unauthenticated`); a
//! header with it that does not hold is refused ([`Refused`]: `PermissionDenied`).
//!
//! Always true: signatures are compared in constant time, and before the time is read: what is not
//! signed is not parsed. A secret never shows in `Debug`.
//! Never here: the clock, and whether a refusal is enforced. Tokens hold no nonce and no method:
//! one that was overheard opens everything until it is too old.

use std::fmt::{self, Debug, Formatter};

use aws_lc_rs::hmac;

/// Longest header value that is looked at: a token of ours takes 86.
pub const HEADER_BYTES_MAX: usize = 1_024;

/// How far the time of a token may lie from ours, in either direction, bounds included.
pub const VALIDITY_S: i64 = 30;

const VERSION: &str = "v2";
const SIGNATURE_BYTES: usize = 32;

/// The shared secret, as a key that is ready to sign and to verify.
#[derive(Clone)]
pub struct Secret(hmac::Key);

/// What an authorization header holds, not yet verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credentials<'a> {
    version: &'a [u8],
    /// `None` where the length is not that of a signature, so that none can be equal.
    signature: Option<[u8; SIGNATURE_BYTES]>,
    /// What is signed: everything behind the second dot.
    message: &'a [u8],
}

/// Why a header counts as none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// The scheme is not `bearer`, in whatever case, with one space behind it.
    #[error("authorization is not a bearer token")]
    NotBearer,
    /// Fewer than three parts, or a signature that is not hexadecimal.
    #[error("token does not have the form version.signature.time")]
    Malformed,
    /// Longer than [`HEADER_BYTES_MAX`]. Gitaly has no limit here and would refuse the token.
    #[error("authorization is longer than {HEADER_BYTES_MAX} bytes")]
    TooLong,
}

/// Why credentials do not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Another version than `v2`.
    #[error("unsupported token version")]
    UnsupportedVersion,
    /// Signed with another secret, or another time is signed.
    #[error("wrong hmac signature")]
    WrongSignature,
    /// Signed, but not a decimal number of 64 bits.
    #[error("cannot parse timestamp")]
    UnparsableTimestamp,
    /// More than [`VALIDITY_S`] ago.
    #[error("timestamp too old")]
    TooOld,
    /// More than [`VALIDITY_S`] ahead.
    #[error("timestamp too new")]
    TooNew,
}

/// The value of the `authorization` header that is valid around `now_unix_s`.
pub fn sign(secret: &Secret, now_unix_s: i64) -> String {
    let message = now_unix_s.to_string();
    let tag = hmac::sign(&secret.0, message.as_bytes());
    let mut value = format!("Bearer {VERSION}.");
    for byte in tag.as_ref() {
        for digit in [byte >> 4, byte & 0xf] {
            value.extend(char::from_digit(digit.into(), 16));
        }
    }
    value + "." + &message
}

// === impl Secret ===

impl Secret {
    /// The secret as configured; `None` where it is empty, which means no authentication.
    pub fn new(secret: &[u8]) -> Option<Self> {
        (!secret.is_empty()).then(|| Self(hmac::Key::new(hmac::HMAC_SHA256, secret)))
    }
}

impl Debug for Secret {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

// === impl Credentials ===

impl<'a> Credentials<'a> {
    /// Reads the value of an `authorization` header; of several headers, Gitaly takes the first.
    pub fn parse(header: &'a [u8]) -> Result<Self, Missing> {
        if header.len() > HEADER_BYTES_MAX {
            return Err(Missing::TooLong);
        }
        let (scheme, token) = cut(header, b' ').ok_or(Missing::NotBearer)?;
        if !scheme.eq_ignore_ascii_case(b"bearer") {
            return Err(Missing::NotBearer);
        }
        let (version, rest) = cut(token, b'.').ok_or(Missing::Malformed)?;
        let (signature, message) = cut(rest, b'.').ok_or(Missing::Malformed)?;
        let signature = decode_signature(signature).ok_or(Missing::Malformed)?;
        Ok(Self { version, signature, message })
    }

    /// The version as the client wrote it, for metrics.
    pub fn version(&self) -> &'a [u8] {
        self.version
    }

    /// Whether the secret's holder made these within [`VALIDITY_S`] of now.
    ///
    /// `now_unix_s` is cut to whole seconds, so a token lives up to one second longer than with a
    /// finer clock.
    pub fn verify(&self, secret: &Secret, now_unix_s: i64) -> Result<(), Refused> {
        self.verify_any([secret], now_unix_s).map(drop)
    }

    /// Which of several secrets, by its place, signed these within [`VALIDITY_S`] of now.
    ///
    /// Every secret is compared, whichever fits: the time that this takes tells how many there are
    /// and nothing else.
    pub fn verify_any<'s>(
        &self,
        secrets: impl IntoIterator<Item = &'s Secret>,
        now_unix_s: i64,
    ) -> Result<usize, Refused> {
        if self.version != VERSION.as_bytes() {
            return Err(Refused::UnsupportedVersion);
        }
        let signature = self.signature.ok_or(Refused::WrongSignature)?;
        let mut signer = None;
        for (place, secret) in secrets.into_iter().enumerate() {
            if hmac::verify(&secret.0, self.message, &signature).is_ok() {
                signer = Some(place);
            }
        }
        let signer = signer.ok_or(Refused::WrongSignature)?;
        self.verify_time(now_unix_s).map(|()| signer)
    }

    /// To be asked once the signature holds.
    fn verify_time(&self, now_unix_s: i64) -> Result<(), Refused> {
        let text = str::from_utf8(self.message).map_err(|_| Refused::UnparsableTimestamp)?;
        let issued_unix_s: i64 = text.parse().map_err(|_| Refused::UnparsableTimestamp)?;
        if issued_unix_s < now_unix_s.saturating_sub(VALIDITY_S) {
            Err(Refused::TooOld)
        } else if issued_unix_s > now_unix_s.saturating_add(VALIDITY_S) {
            Err(Refused::TooNew)
        } else {
            Ok(())
        }
    }
}

fn cut(bytes: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let place = bytes.iter().position(|byte| *byte == separator)?;
    Some((&bytes[..place], &bytes[place + 1..]))
}

/// `None` where the text is not hexadecimal; `Some(None)` where it is, of another length.
fn decode_signature(text: &[u8]) -> Option<Option<[u8; SIGNATURE_BYTES]>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    if !text.len().is_multiple_of(2) {
        return None;
    }
    let decode = |pair: &[u8]| Some(digit(pair[0])? << 4 | digit(pair[1])?);
    let bytes: Vec<u8> = text.chunks_exact(2).map(decode).collect::<Option<_>>()?;
    Some(bytes.try_into().ok())
}

// === impl Refused ===

impl Refused {
    /// The word by which Gitaly counts errors of v2 tokens
    /// (`gitaly_authentication_errors_total{version="v2",error}`); foreign versions are not counted.
    pub fn metric(self) -> Option<&'static str> {
        match self {
            Self::UnsupportedVersion => None,
            Self::WrongSignature => Some("wrong hmac signature"),
            Self::UnparsableTimestamp => Some("cannot parse timestamp"),
            Self::TooOld => Some("timestamp too old"),
            Self::TooNew => Some("timestamp too new"),
        }
    }
}

#[cfg(test)]
mod tests;
