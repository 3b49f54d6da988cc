//! The doors of Gitaly's protocol: `listen_addr`, `socket_path`, `tls_listen_addr`, `[timeout]`,
//! `[upstream]`.

use super::{address, auth, text, tls, upstream};
use crate::rpc::gitaly::{GitalyConfig, Timeouts};
use gitring_daemon::settings::{Section, SettingsError};
use std::path::PathBuf;
use std::time::Duration;

/// Where clients of Gitaly are served, and whom.
pub(super) fn read(
    root: &Section<'_>,
    remarks: &mut Vec<String>,
) -> Result<GitalyConfig, SettingsError> {
    let listen_addr = match text(root, "listen_addr")? {
        None => None,
        Some(_) => root.parsed("listen_addr", address)?,
    };
    let socket_path = text(root, "socket_path")?.map(PathBuf::from);
    let (auth, tls) = (auth::read(root, remarks)?, tls::door(root, remarks)?);
    let mut timeouts = Timeouts::default();
    if let Some(section) = root.section("timeout")? {
        let set = |key, field: &mut Duration| -> Result<(), SettingsError> {
            *field = section.duration(key)?.unwrap_or(*field);
            Ok(())
        };
        set("upload_pack_negotiation", &mut timeouts.upload_pack_negotiation)?;
        set("upload_archive_negotiation", &mut timeouts.upload_archive_negotiation)?;
    }
    let upstream = upstream::read(root, listen_addr, socket_path.as_deref(), remarks)?;
    Ok(GitalyConfig { listen_addr, socket_path, tls, auth, timeouts, upstream })
}
