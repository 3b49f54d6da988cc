//! Whom a TLS connection to GitLab trusts, and what it shows.
//!
//! Always true: a server shows a chain to a certificate that is trusted, or a trusted certificate
//! itself, with the name that was asked for; TLS 1.2 at least.
//! Never here: connections.

use super::GitlabConfig;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::client::{
    VerifierBuilderError, WebPkiServerVerifier, verify_server_name,
};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{
    self, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

/// What is shown to a server that asks: the node's own certificate.
#[derive(Clone)]
pub struct ClientCertificate {
    /// PEM: the certificate, then those that lead to its authority.
    pub certificate_path: PathBuf,
    /// Its private key.
    pub key: PrivateKey,
}

/// Where a private key is.
#[derive(Clone)]
pub enum PrivateKey {
    /// `key_path`
    File(PathBuf),
    /// `key`, as PEM.
    Inline(String),
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file of certificates cannot be read.
    #[error("read certificates of {path}")]
    Certificates {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        source: pem::Error,
    },
    /// A directory of certificates cannot be read.
    #[error("read {path}")]
    Directory {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The key.
    #[error("read the private key of the certificate")]
    Key(#[source] pem::Error),
    /// Nobody is trusted: neither the system nor the configuration has a certificate.
    #[error("no certificate is trusted")]
    NoTrust(#[from] VerifierBuilderError),
    /// Certificate and key do not fit together, or nobody can use them.
    #[error("getting certificate")]
    Unusable(#[from] rustls::Error),
}

/// Trusts what rustls trusts, and what shows itself.
#[derive(Debug)]
struct Trust {
    chains: Arc<WebPkiServerVerifier>,
    /// Everything that is trusted, as it came.
    trusted: Vec<CertificateDer<'static>>,
}

/// What connections are made with.
pub(super) fn configure(config: &GitlabConfig) -> Result<Arc<ClientConfig>, TlsError> {
    // What cannot be read of the system's is missing, as in Go.
    let mut trusted = rustls_native_certs::load_native_certs().certs;
    trusted.extend(extra(config)?);
    let mut roots = RootCertStore::empty();
    for certificate in &trusted {
        if let Err(error) = roots.add(certificate.clone()) {
            tracing::debug!(%error, "a certificate cannot be an authority");
        }
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let chains =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let trust = Trust { chains: chains.build()?, trusted };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(trust));
    let configured = match &config.client_certificate {
        None => builder.with_no_client_auth(),
        Some(shown) => {
            let chain = certificates(&shown.certificate_path)?;
            builder.with_client_auth_cert(chain, shown.key.read()?)?
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

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |source| TlsError::Certificates { path: path.to_owned(), source };
    let read = CertificateDer::pem_file_iter(path).map_err(failed)?;
    let found: Vec<_> = read.collect::<Result<_, _>>().map_err(failed)?;
    if found.is_empty() { Err(failed(pem::Error::NoItemsFound)) } else { Ok(found) }
}

// === impl Trust ===

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let judged = self.chains.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match judged {
            // Many a GitLab shows a certificate that is its own authority, and has it trusted,
            // which Go accepts. Its dates were looked at before this was found.
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(why)))
                if why.to_string().contains("CaUsedAsEndEntity")
                    && self.trusted.contains(end_entity) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            judged => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chains.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chains.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

// === impl PrivateKey ===

impl PrivateKey {
    fn read(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        match self {
            Self::File(path) => PrivateKeyDer::from_pem_file(path),
            Self::Inline(text) => PrivateKeyDer::from_pem_slice(text.as_bytes()),
        }
        .map_err(TlsError::Key)
    }
}

// === impl ClientCertificate ===

impl std::fmt::Debug for ClientCertificate {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = out.debug_struct("ClientCertificate");
        shown.field("certificate_path", &self.certificate_path).finish_non_exhaustive()
    }
}
