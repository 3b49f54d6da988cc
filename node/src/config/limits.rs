//! `[[concurrency]]`, `[[rate_limiting]]`, `[pack_objects_limiting]`, `[pack_building]`.
//!
//! Always true:
//! - names of 13, 16 and 18 are read; where two say the same, the newer one wins, as in Gitaly;
//! - a queue of size 0, which in Gitaly before 18 has no end, is one of the default's size.

use super::required;
use crate::limits::{
    Concurrency, Limit, LimitsConfig, MethodConcurrency, MethodRate, PACKS_OF_ADDRESS_DEFAULT,
    PACKS_QUEUE_OF_ADDRESS_DEFAULT, QUEUE_DEFAULT, Rate,
};
use gitring_daemon::settings::{Section, SettingsError};
use std::time::Duration;

/// More than a process can do at once, or remember.
const LIMIT_MAX: usize = 65_536;

/// Reads the tables.
pub(super) fn read(root: &Section<'_>) -> Result<LimitsConfig, SettingsError> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut config = LimitsConfig::protective(cores);
    for section in root.sections("concurrency")? {
        let rpc = required(&section, "rpc")?.to_owned();
        let limit = concurrency(&section, 0, QUEUE_DEFAULT)?;
        let anonymous = anonymous(&section)?;
        // Of several tables for a method the last counts.
        config.concurrency.retain(|table| table.rpc != rpc);
        config.concurrency.push(MethodConcurrency { rpc, limit, anonymous });
    }
    implicit(&mut config);
    for section in root.sections("rate_limiting")? {
        let rpc = required(&section, "rpc")?.to_owned();
        let interval = section.duration("interval")?.unwrap_or_default();
        let burst = section.integer("burst", 0, u32::MAX as usize)?.unwrap_or(0);
        config.rates.retain(|table| table.rpc != rpc);
        if !interval.is_zero() && burst > 0 {
            let rate = Rate { interval, burst: u32::try_from(burst).unwrap_or(u32::MAX) };
            config.rates.push(MethodRate { rpc, rate });
        }
    }
    if let Some(section) = root.section("pack_objects_limiting")? {
        let (limit, queue) = (PACKS_OF_ADDRESS_DEFAULT, PACKS_QUEUE_OF_ADDRESS_DEFAULT);
        config.packs_of_address = concurrency(&section, limit, queue)?;
        config.packs_of_address_anonymous = anonymous(&section)?;
    }
    if let Some(section) = root.section("pack_building")? {
        building(&section, &mut config.building)?;
    }
    Ok(config)
}

/// Gitaly replicates into a repository once at a time, whatever the file says of other methods.
fn implicit(config: &mut LimitsConfig) {
    let rpc = "/gitaly.RepositoryService/ReplicateRepository";
    if config.concurrency.iter().all(|table| table.rpc != rpc) {
        let once = Concurrency { limit: Limit::Fixed(1), queue_max: QUEUE_DEFAULT, wait_max: None };
        let rpc = rpc.to_owned();
        config.concurrency.push(MethodConcurrency { rpc, limit: Some(once), anonymous: None });
    }
}

fn anonymous(section: &Section<'_>) -> Result<Option<Concurrency>, SettingsError> {
    match section.section("unauthenticated")? {
        None => Ok(None),
        Some(section) => concurrency(&section, 0, QUEUE_DEFAULT),
    }
}

/// `None`: not limited.
fn concurrency(
    section: &Section<'_>,
    limit_default: usize,
    queue_default: usize,
) -> Result<Option<Concurrency>, SettingsError> {
    let number = |key| section.integer(key, 0, LIMIT_MAX);
    let positive = |key| Ok::<_, SettingsError>(number(key)?.filter(|number| *number > 0));
    let older = number("max_per_repo")?;
    let limit = match number("max_concurrency")? {
        Some(0) | None if older.is_some_and(|older| older > 0) => older.unwrap_or(0),
        Some(limit) => limit,
        None => limit_default,
    };
    let (size, length) = (positive("max_queue_size")?, positive("max_queue_length")?);
    let queue_max = size.or(length).unwrap_or(queue_default);
    let wait_max = section.duration("max_queue_wait")?.filter(|wait| *wait > Duration::ZERO);
    let limit = match section.boolean("adaptive")?.unwrap_or(false) {
        true => adaptive(section)?,
        false if limit == 0 => return Ok(None),
        false => Limit::Fixed(limit),
    };
    Ok(Some(Concurrency { limit, queue_max, wait_max }))
}

fn adaptive(section: &Section<'_>) -> Result<Limit, SettingsError> {
    let number = |key: &str| {
        let number = section.integer(key, 0, LIMIT_MAX)?;
        number.ok_or_else(|| section.error(key, "is missing, required where adaptive = true"))
    };
    let (initial, min, max) =
        (number("initial_limit")?, number("min_limit")?, number("max_limit")?);
    if min == 0 {
        return Err(section.error("min_limit", "is 0, allowed: at least 1"));
    }
    if initial < min {
        let what = format!("{initial} is less than min_limit, allowed: at least {min}");
        return Err(section.error("initial_limit", what));
    }
    if max < initial {
        let what = format!("{max} is less than initial_limit, allowed: at least {initial}");
        return Err(section.error("max_limit", what));
    }
    Ok(Limit::Adaptive { initial, min, max })
}

fn building(section: &Section<'_>, building: &mut Concurrency) -> Result<(), SettingsError> {
    if let Some(max) = section.integer("max_concurrency", 1, LIMIT_MAX)? {
        building.limit = Limit::Adaptive { initial: max, min: 1, max };
    }
    if let Some(queue_max) = section.integer("max_queue_size", 1, LIMIT_MAX)? {
        building.queue_max = queue_max;
    }
    if let Some(wait) = section.duration("max_queue_wait")? {
        building.wait_max = Some(wait).filter(|wait| *wait > Duration::ZERO);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gitring_daemon::settings::Document;
    use std::path::Path;

    fn parse(text: &str) -> Result<LimitsConfig, String> {
        let document = Document::parse(Path::new("c.toml"), text).unwrap();
        read(&document.root()).map_err(|error| error.to_string())
    }

    fn fixed(limit: usize, queue_max: usize, wait_s: u64) -> Option<Concurrency> {
        let wait_max = Some(Duration::from_secs(wait_s)).filter(|wait| !wait.is_zero());
        Some(Concurrency { limit: Limit::Fixed(limit), queue_max, wait_max })
    }

    #[test]
    fn tables_of_each_version() {
        fn check(keys: &str, expected: Option<Concurrency>) {
            let config = parse(&format!("[[concurrency]]\nrpc = '/a'\n{keys}")).unwrap();
            let [table, replicate] = &config.concurrency[..] else { panic!("{config:?}") };
            assert_eq!((table.rpc.as_str(), table.limit), ("/a", expected), "{keys}");
            assert_eq!(replicate.limit, fixed(1, 500, 0));
        }
        check("", None);
        check("max_per_repo = 0", None);
        check("max_per_repo = 5", fixed(5, 500, 0));
        check("max_per_repo = 5\nmax_concurrency = 7", fixed(7, 500, 0));
        check("max_per_repo = 5\nmax_concurrency = 0", fixed(5, 500, 0));
        check("max_per_repo = 5\nmax_queue_size = 0\nmax_queue_wait = '0s'", fixed(5, 500, 0));
        check("max_per_repo = 5\nmax_queue_size = 9\nmax_queue_wait = '1m'", fixed(5, 9, 60));
        check("max_concurrency = 5\nmax_queue_length = 9", fixed(5, 9, 0));
        let limit = Limit::Adaptive { initial: 20, min: 10, max: 40 };
        let adaptive = Concurrency { limit, queue_max: 500, wait_max: None };
        let keys = "adaptive = true\ninitial_limit = 20\nmin_limit = 10\nmax_limit = 40";
        check(&format!("{keys}\nmax_per_repo = 1"), Some(adaptive));
        let text = "[[concurrency]]\nrpc = '/a'\nmax_per_repo = 1\n[concurrency.unauthenticated]\n\
                    max_concurrency = 2\n[[concurrency]]\nrpc = '/b'\n[[concurrency]]\nrpc = '/b'\n\
                    max_per_repo = 3";
        let config = parse(text).unwrap();
        let [one, other, _] = &config.concurrency[..] else { panic!("{config:?}") };
        assert_eq!((one.limit, one.anonymous), (fixed(1, 500, 0), fixed(2, 500, 0)));
        assert_eq!((other.limit, other.anonymous), (fixed(3, 500, 0), None));
    }

    #[test]
    fn packs_and_rates() {
        let config = parse("").unwrap();
        assert_eq!(config.packs_of_address, fixed(200, 200, 0));
        assert!(config.building.queue_max > 0 && config.building.wait_max.is_some());
        let config = parse("[pack_objects_limiting]\nmax_concurrency = 0").unwrap();
        assert_eq!(config.packs_of_address, None);
        let text = "[pack_objects_limiting]\nmax_concurrency = 3\nmax_queue_length = 4\n\
                    max_queue_wait = '5s'\n[pack_objects_limiting.unauthenticated]\n\
                    max_concurrency = 1\nmax_queue_size = 2\n[pack_building]\nmax_concurrency = 9\n\
                    max_queue_size = 8\nmax_queue_wait = '7s'\n[[rate_limiting]]\nrpc = '/a'\n\
                    interval = '1m'\nburst = 2\n[[rate_limiting]]\nrpc = '/b'\nburst = 2";
        let config = parse(text).unwrap();
        assert_eq!(config.packs_of_address, fixed(3, 4, 5));
        assert_eq!(config.packs_of_address_anonymous, fixed(1, 2, 0));
        let limit = Limit::Adaptive { initial: 9, min: 1, max: 9 };
        let wait_max = Some(Duration::from_secs(7));
        assert_eq!(config.building, Concurrency { limit, queue_max: 8, wait_max });
        let rate = Rate { interval: Duration::from_secs(60), burst: 2 };
        assert_eq!(config.rates, [MethodRate { rpc: "/a".into(), rate }]);
    }

    #[test]
    fn wrong_values_are_refused() {
        fn check(text: &str, expected: &str) {
            assert_eq!(parse(text).unwrap_err(), expected, "{text}");
        }
        check("[[concurrency]]", "c.toml:1: concurrency.rpc: is missing, required: a string");
        let adaptive = "[pack_objects_limiting]\nadaptive = true\ninitial_limit = 5";
        let text = format!("{adaptive}\nmax_limit = 6");
        let missing = "is missing, required where adaptive = true";
        check(&text, &format!("c.toml:1: pack_objects_limiting.min_limit: {missing}"));
        let text = format!("{adaptive}\nmin_limit = 0\nmax_limit = 6");
        let zero = "c.toml:4: pack_objects_limiting.min_limit: is 0, allowed: at least 1";
        check(&text, zero);
        let text = format!("{adaptive}\nmin_limit = 1\nmax_limit = 4");
        let less = "4 is less than initial_limit, allowed: at least 5";
        check(&text, &format!("c.toml:5: pack_objects_limiting.max_limit: {less}"));
        let range = "out of range, allowed: a whole number from 1 to 65536";
        let text = "[pack_building]\nmax_concurrency = 0";
        check(text, &format!("c.toml:2: pack_building.max_concurrency: {range}"));
    }
}
