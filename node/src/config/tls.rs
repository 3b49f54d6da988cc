//! `[tls]` and `tls_listen_addr`.
//!
//! Always true: a certificate that was returned fits its key.

use super::secret_file::{self, Rule};
use super::{address, text};
use crate::rpc::gitaly::TlsConfig;
use gitring_daemon::log;
use gitring_daemon::settings::{Section, SettingsError};
use gitring_daemon::tls::{Identity, Loaded, MinVersion, PrivateKey, TlsError};
use std::path::PathBuf;

/// Where clients are answered within TLS, and as whom.
pub(super) fn door(
    root: &Section<'_>,
    remarks: &mut Vec<String>,
) -> Result<Option<TlsConfig>, SettingsError> {
    let Some(_) = text(root, "tls_listen_addr")? else { return Ok(None) };
    let Some(listen_addr) = root.parsed("tls_listen_addr", address)? else { return Ok(None) };
    let missing = || {
        let what = "is missing, and tls_listen_addr is set";
        match root.section("tls") {
            Ok(Some(section)) => section.error("certificate_path", what),
            Ok(None) => root.error("tls.certificate_path", what),
            Err(error) => error,
        }
    };
    let Some(section) = root.section("tls")? else { return Err(missing()) };
    let identity = identity(root, remarks)?.ok_or_else(missing)?;
    let min_version = section.parsed("min_version", |text| match text {
        "" | "TLS 1.2" => Ok(MinVersion::Tls12),
        "TLS 1.3" => Ok(MinVersion::Tls13),
        other => Err(format!("'{other}' is no version, allowed: TLS 1.2, TLS 1.3")),
    })?;
    let loaded = Loaded::read(&identity, min_version.unwrap_or_default());
    let loaded = loaded.map_err(|error| {
        let key = match (&error, &identity.key) {
            (TlsError::Key(_), PrivateKey::File(_)) => "key_path",
            (TlsError::Key(_), PrivateKey::Inline(_)) => "key",
            (_, _) => "certificate_path",
        };
        section.error(key, log::chain(&error))
    })?;
    Ok(Some(TlsConfig { listen_addr, loaded }))
}

/// The node's certificate, if it has one: shown to clients, and to a GitLab that asks.
pub(super) fn identity(
    root: &Section<'_>,
    remarks: &mut Vec<String>,
) -> Result<Option<Identity>, SettingsError> {
    let Some(section) = root.section("tls")? else { return Ok(None) };
    let certificate_path = text(&section, "certificate_path")?.map(PathBuf::from);
    let key = match (text(&section, "key_path")?, text(&section, "key")?) {
        (Some(_), Some(_)) => {
            return Err(section.error("key", "is set, and so is key_path, allowed: one of them"));
        }
        (Some(file), None) => {
            let file = PathBuf::from(file);
            secret_file::check((&section, "key_path"), &file, Rule::Remark, remarks)?;
            Some(PrivateKey::File(file))
        }
        (None, key) => key.map(|key| PrivateKey::Inline(key.to_owned())),
    };
    match (certificate_path, key) {
        (Some(certificate_path), Some(key)) => Ok(Some(Identity { certificate_path, key })),
        (None, None) => Ok(None),
        (Some(_), None) => {
            Err(section.error("key_path", "is missing, and certificate_path is set"))
        }
        (None, Some(_)) => Err(section.error("certificate_path", "is missing, and a key is set")),
    }
}
