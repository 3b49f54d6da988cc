//! A certificate and its private key, where they are and how they are read.

use std::fmt;
use std::path::{Path, PathBuf};
use tokio_rustls::rustls;
use tokio_rustls::rustls::client::VerifierBuilderError;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// How somebody shows who it is.
#[derive(Debug, Clone)]
pub struct Identity {
    /// PEM: the certificate, then those that lead to its authority.
    pub certificate_path: PathBuf,
    /// Its private key.
    pub key: PrivateKey,
}

/// Where a private key is.
#[derive(Clone)]
pub enum PrivateKey {
    /// In a PEM file.
    File(PathBuf),
    /// In the configuration, as PEM.
    Inline(String),
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file of certificates cannot be read, or holds none.
    #[error("read certificates of {path}")]
    Certificates {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        source: pem::Error,
    },
    /// The key.
    #[error("read the private key of the certificate")]
    Key(#[source] pem::Error),
    /// Nobody is trusted.
    #[error("no certificate is trusted")]
    NoTrust(#[from] VerifierBuilderError),
    /// Certificate and key do not fit together, or nobody can use them.
    #[error("getting certificate")]
    Unusable(#[from] rustls::Error),
}

/// All certificates of a PEM file, at least one.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |source| TlsError::Certificates { path: path.to_owned(), source };
    let read = CertificateDer::pem_file_iter(path).map_err(failed)?;
    let found: Vec<_> = read.collect::<Result<_, _>>().map_err(failed)?;
    if found.is_empty() { Err(failed(pem::Error::NoItemsFound)) } else { Ok(found) }
}

// === impl Identity ===

impl Identity {
    /// The chain and its key, as they are now.
    pub fn read(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
        Ok((certificates(&self.certificate_path)?, self.key.read()?))
    }

    /// Every file that it is read from.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        let key = match &self.key {
            PrivateKey::File(path) => Some(path.as_path()),
            PrivateKey::Inline(_) => None,
        };
        [Some(self.certificate_path.as_path()), key].into_iter().flatten()
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

impl fmt::Debug for PrivateKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => out.debug_tuple("File").field(path).finish(),
            Self::Inline(_) => out.write_str("Inline(…)"),
        }
    }
}
