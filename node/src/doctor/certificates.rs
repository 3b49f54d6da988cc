//! `[tls]`: whether certificate and key can be read, belong together, and for how long they hold.
//!
//! Always true: no finding holds anything of a key.
//! Never here: whether anybody trusts the certificate.

mod validity;

use super::access::secret_file;
use super::finding::Finding;
use gitring_daemon::tls::{Identity, PrivateKey};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

const CHECK: &str = "certificate";
/// Before it ends: time to renew by hand.
const ENDS_SOON: Duration = Duration::from_secs(21 * 86_400);

/// Looks at an identity: its certificates, the first of which belongs to its key.
pub(super) fn examine(identity: &Identity) -> Vec<Finding> {
    let Identity { certificate_path: path, key } = identity;
    let mut findings = Vec::new();
    if let PrivateKey::File(file) = key {
        findings.push(secret_file("tls.key_path", file));
    }
    let at = path.display();
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let chain: Vec<CertificateDer<'static>> = match read {
        Ok(chain) => chain,
        Err(error) => {
            let remedy = "correct tls.certificate_path, or let the node's user read it";
            findings.push(Finding::error(CHECK, format!("{at}: {error}"), remedy));
            return findings;
        }
    };
    let Some(first) = chain.first() else {
        let what = format!("{at} holds no certificate");
        findings.push(Finding::error(CHECK, what, "it must be PEM, the node's own one first"));
        return findings;
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    findings.push(holds(&at.to_string(), validity::of(first), now));
    findings.push(match fits(chain, key) {
        Ok(()) => Finding::ok(CHECK, format!("{at} belongs to its key")),
        Err(error) => {
            let remedy = "put the certificate and the key of one and the same renewal in place";
            Finding::error(CHECK, format!("{at} and its key cannot be used: {error}"), remedy)
        }
    });
    findings
}

fn fits(chain: Vec<CertificateDer<'static>>, key: &PrivateKey) -> Result<(), String> {
    let key = match key {
        PrivateKey::File(path) => PrivateKeyDer::from_pem_file(path),
        PrivateKey::Inline(text) => PrivateKeyDer::from_pem_slice(text.as_bytes()),
    };
    let key = key.map_err(|error| error.to_string())?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let built = builder.with_no_client_auth().with_single_cert(chain, key);
    built.map(drop).map_err(|error| error.to_string())
}

/// `validity`: from when until when, in seconds since 1970; `now` likewise.
fn holds(at: &str, validity: Option<(i64, i64)>, now: Duration) -> Finding {
    let Some((from, until)) = validity else {
        let what = format!("{at}: its dates cannot be read");
        return Finding::warning(CHECK, what, "openssl x509 -noout -dates -in it");
    };
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let days = |seconds: i64| seconds / 86_400;
    let left = until.saturating_sub(now);
    if now < from {
        let what = format!("{at} holds from {} days on", days(from - now) + 1);
        Finding::error(CHECK, what, "look at the clock, or wait")
    } else if left < 0 {
        let what = format!("{at} ended {} days ago", days(-left));
        Finding::error(CHECK, what, "renew it")
    } else if left < i64::try_from(ENDS_SOON.as_secs()).unwrap_or(i64::MAX) {
        Finding::warning(CHECK, format!("{at} ends in {} days", days(left)), "renew it")
    } else {
        Finding::ok(CHECK, format!("{at} holds for {} days", days(left)))
    }
}

#[cfg(test)]
mod tests;
