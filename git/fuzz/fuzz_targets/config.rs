//! Configuration: any bytes as a repository's `config` are settings or an error.
//!
//! Includes may name any file of the machine; what they hold changes nothing that is checked.

#![no_main]

use std::sync::LazyLock;

use gitring_git::config::Config;
use gitring_git::upload_pack::Settings;
use gitring_git_fuzz::scratch::Scratch;
use libfuzzer_sys::fuzz_target;

static SCRATCH: LazyLock<Scratch> = LazyLock::new(Scratch::default);

fuzz_target!(|data: &[u8]| {
    SCRATCH.write("config", data);
    match SCRATCH.snapshot() {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(snapshot) => {
            for (key, value) in snapshot.config.entries() {
                assert!(!key.contains(&0), "{key}");
                drop(Config::boolean_of(key, value));
                if let Ok(key) = std::str::from_utf8(key) {
                    drop((snapshot.config.boolean(key), snapshot.config.integer(key)));
                }
            }
            drop(Settings::from_config(&snapshot.config));
        }
    }
});
