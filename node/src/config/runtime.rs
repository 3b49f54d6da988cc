//! `[runtime]`: threads, children, connections, the ring.

use crate::reactor::RuntimeConfig;
use crate::reactor::children::Budget;
use crate::reactor::ring::IoUring;
use gitring_daemon::settings::{Section, SettingsError};

/// Children wait for slow clients most of the time, so there may be many more than cores.
const CHILDREN_DEFAULT: usize = 128;
/// A connection costs a file descriptor and some tens of KiB.
const CONNECTIONS_DEFAULT: usize = 4096;

/// Reads the table; `memory` is what children may be expected to take, bytes.
pub(super) fn read(root: &Section<'_>, memory: u64) -> Result<RuntimeConfig, SettingsError> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut config = RuntimeConfig {
        reactors: cores,
        workers: cores,
        children: Budget { children_max: CHILDREN_DEFAULT, memory_bytes_max: memory },
        connections_max: CONNECTIONS_DEFAULT,
        io_uring: IoUring::Auto,
        is_durable: true,
    };
    if let Some(section) = root.section("runtime")? {
        let set = |key, max, field: &mut usize| -> Result<(), SettingsError> {
            *field = section.integer(key, 1, max)?.unwrap_or(*field);
            Ok(())
        };
        set("reactors", 1024, &mut config.reactors)?;
        set("workers", 1024, &mut config.workers)?;
        set("children", 65_536, &mut config.children.children_max)?;
        set("connections", 1_000_000, &mut config.connections_max)?;
        let mode = section.parsed("io_uring", |text| match text {
            "auto" => Ok(IoUring::Auto),
            "off" => Ok(IoUring::Off),
            other => Err(format!("'{other}' is no choice, allowed: auto, off")),
        })?;
        config.io_uring = mode.unwrap_or(config.io_uring);
        config.is_durable = section.boolean("fsync")?.unwrap_or(config.is_durable);
    }
    Ok(config)
}
