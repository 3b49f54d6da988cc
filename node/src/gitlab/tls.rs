//! Whom a TLS connection to GitLab trusts, and what it shows.
//!
//! Always true: a server is judged as every other one (`daemon::tls`); TLS 1.2 at least.
//! Never here: connections.

use super::GitlabConfig;
use gitring_daemon::tls::{self, certificates, verifier};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A directory of certificates cannot be read.
    #[error("read {path}")]
    Directory {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Certificates, keys, and what they are good for.
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
}

/// What connections are made with.
pub(super) fn configure(config: &GitlabConfig) -> Result<Arc<ClientConfig>, TlsError> {
    let trust = verifier(true, extra(config)?)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(tls::TlsError::from)?
        .dangerous()
        .with_custom_certificate_verifier(trust);
    let configured = match &config.client_certificate {
        None => builder.with_no_client_auth(),
        Some(shown) => {
            let (chain, key) = shown.read()?;
            builder.with_client_auth_cert(chain, key).map_err(tls::TlsError::from)?
        }
    };
    Ok(Arc::new(configured))
}

/// `ca_file`, and every file in `ca_path`.
#[expect(clippy::disallowed_methods, reason = "start-up: no reactor runs yet")]
fn extra(config: &GitlabConfig) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let mut found = Vec::new();
    if let Some(file) = &config.ca_file {
        found.extend(certificates(file)?);
    }
    if let Some(directory) = &config.ca_path {
        let failed = |source| TlsError::Directory { path: directory.clone(), source };
        for entry in std::fs::read_dir(directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.is_dir() {
                continue;
            }
            match certificates(&path) {
                Ok(more) => found.extend(more),
                // Other files may lie there, too.
                Err(error) => {
                    tracing::debug!(path = %path.display(), %error, "no certificates");
                }
            }
        }
    }
    Ok(found)
}
