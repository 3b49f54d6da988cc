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

#[cfg(test)]
mod tests {
    use super::*;
    use gitring_daemon::settings::Document;
    use std::path::Path;

    #[test]
    fn thresholds_and_their_defaults() {
        let parse = |text: &str| {
            let document = Document::parse(Path::new("c.toml"), text).unwrap();
            read(&document.root()).map_err(|error| error.to_string())
        };
        let defaults = AdaptationConfig::default();
        assert_eq!(parse(""), Ok(defaults));
        assert_eq!(parse("[adaptive_limiting]\nmemory_threshold = 0"), Ok(defaults));
        let text = "[adaptive_limiting]\ncpu_throttled_threshold = 0.25\nmemory_threshold = 1\n\
                    io_pressure_threshold = 0.5e-1\nqueue_time_threshold = '250ms'";
        let expected = AdaptationConfig {
            cpu_throttled: 0.25,
            memory: 1.0,
            io_pressure: 0.05,
            queue_time: Duration::from_millis(250),
            ..defaults
        };
        assert_eq!(parse(text), Ok(expected));
        let error = parse("[adaptive_limiting]\nmemory_threshold = 90").unwrap_err();
        assert!(error.contains("memory_threshold") && error.contains("from 0 to 1"), "{error}");
    }
}
