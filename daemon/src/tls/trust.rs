//! Whom a client trusts.
//!
//! Always true: a server shows a chain to a certificate that is trusted, or a trusted certificate
//! itself, with the name that was asked for; TLS 1.2 at least.

use super::HTTP2;
use super::identity::{TlsError, certificates};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::client::{WebPkiServerVerifier, verify_server_name};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{
    self, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

/// Whom a client of a Gitaly trusts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum Trust {
    /// Those that the machine trusts, read once; `SSL_CERT_FILE` and `SSL_CERT_DIR` name others,
    /// as for Go.
    #[default]
    System,
    /// These alone.
    Authorities(Authorities),
}

/// Certificates of authorities, or of servers themselves.
#[derive(Clone)]
pub struct Authorities(Arc<ClientConfig>);

/// Trusts what rustls trusts, and what shows itself.
#[derive(Debug)]
struct Verifier {
    chains: Arc<WebPkiServerVerifier>,
    /// Everything that is trusted, as it came.
    trusted: Vec<CertificateDer<'static>>,
}

/// Trusts the certificates that the machine trusts, where `with_system` says so, and these.
pub fn verifier(
    with_system: bool,
    more: Vec<CertificateDer<'static>>,
) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    let mut trusted = more;
    if with_system {
        // What cannot be read of the system's is missing, as in Go.
        trusted.extend(rustls_native_certs::load_native_certs().certs);
    }
    let mut roots = RootCertStore::empty();
    for certificate in &trusted {
        if let Err(error) = roots.add(certificate.clone()) {
            tracing::debug!(%error, "a certificate cannot be an authority");
        }
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let chains = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
    Ok(Arc::new(Verifier { chains, trusted }))
}

fn configure(verifier: Arc<dyn ServerCertVerifier>) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![HTTP2.to_vec()];
    Ok(Arc::new(config))
}

/// Read with the first connection that asks for them.
fn of_system() -> Result<Arc<ClientConfig>, TlsError> {
    static SYSTEM: Mutex<Option<Arc<ClientConfig>>> = Mutex::new(None);
    let mut known = SYSTEM.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = &*known {
        return Ok(Arc::clone(known));
    }
    let config = configure(verifier(true, Vec::new())?)?;
    Ok(Arc::clone(known.insert(config)))
}

// === impl Trust ===

impl Trust {
    /// Trusts the certificates of a PEM file, and nobody else.
    pub fn authorities(path: &Path) -> Result<Self, TlsError> {
        let config = configure(verifier(false, certificates(path)?)?)?;
        Ok(Self::Authorities(Authorities(config)))
    }

    /// Blocks for the files of the system, the first time.
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        match self {
            Self::System => of_system(),
            Self::Authorities(authorities) => Ok(Arc::clone(&authorities.0)),
        }
    }
}

// === impl Authorities ===

impl PartialEq for Authorities {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Authorities {}

impl Hash for Authorities {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Authorities(…)")
    }
}

// === impl Verifier ===

impl ServerCertVerifier for Verifier {
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
            // Many a server shows a certificate that is its own authority, and has it trusted,
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
