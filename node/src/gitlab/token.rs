//! JSON web tokens (RFC 7519) with HMAC-SHA256 (RFC 7515), as gitlab-shell signs them.
//!
//! Always true: the secret never shows in `Debug`.
//! Never here: the clock; verifying, which GitLab does.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::header::HeaderValue;

/// How long a token is good for.
const VALIDITY_S: u64 = 60;
/// The issuer that GitLab expects.
const ISSUER: &str = "gitlab-shell";

/// Signs tokens.
pub(super) struct Signer(hmac::Key);

// === impl Signer ===

impl Signer {
    /// `None` for a secret that is nothing but white space.
    pub(super) fn new(secret: &[u8]) -> Option<Self> {
        let secret = secret.trim_ascii();
        (!secret.is_empty()).then(|| Self(hmac::Key::new(hmac::HMAC_SHA256, secret)))
    }

    /// A token of this second.
    pub(super) fn sign(&self, now_unix_s: u64) -> HeaderValue {
        let claims = serde_json::json!({
            "iss": ISSUER,
            "iat": now_unix_s,
            "exp": now_unix_s + VALIDITY_S,
        });
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let header = encode(br#"{"alg":"HS256","typ":"JWT"}"#);
        let signed = format!("{header}.{}", encode(claims.to_string().as_bytes()));
        let tag = hmac::sign(&self.0, signed.as_bytes());
        let token = HeaderValue::from_str(&format!("{signed}.{}", encode(tag.as_ref())));
        let mut token = token.expect("letters, digits, '-', '_' and '.' may stand in a header");
        token.set_sensitive(true);
        token
    }
}
