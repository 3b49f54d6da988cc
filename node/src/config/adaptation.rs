//! `[adaptive_limiting]`.
//!
//! Always true: 0 stands for the default, as in Gitaly; thresholds of parts are at most 1.

use crate::adaptation::AdaptationConfig;
use gitring_daemon::settings::{Section, SettingsError};
use std::time::Duration;

/// Reads the table.
pub(super) fn read(root: &Section<'_>) -> Result<AdaptationConfig, SettingsError> {
    let mut config = AdaptationConfig::default();
    let Some(section) = root.section("adaptive_limiting")? else { return Ok(config) };
    let set = |key, field: &mut f64| -> Result<(), SettingsError> {
        *field = section.number(key, 1.0)?.filter(|number| *number > 0.0).unwrap_or(*field);
        Ok(())
    };
    set("cpu_throttled_threshold", &mut config.cpu_throttled)?;
    set("memory_threshold", &mut config.memory)?;
    set("cpu_pressure_threshold", &mut config.cpu_pressure)?;
    set("memory_pressure_threshold", &mut config.memory_pressure)?;
    set("io_pressure_threshold", &mut config.io_pressure)?;
    let queue_time = section.duration("queue_time_threshold")?;
    config.queue_time =
        queue_time.filter(|time| *time > Duration::ZERO).unwrap_or(config.queue_time);
    Ok(config)
}
