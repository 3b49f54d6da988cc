//! What of a file takes effect at once, and what at the next start.
//!
//! Always true: a key that is not listed takes effect at the next start.

use std::collections::BTreeMap;

/// Keys, and tables with a dot behind them, that SIGHUP changes while the node serves.
const AT_RUN_TIME: &[&str] = &[
    "auth.",
    "tls.",
    "timeout.",
    "concurrency.",
    "rate_limiting.",
    "pack_objects_limiting.",
    "pack_building.",
    "adaptive_limiting.",
    "upstream.",
    "logging.level",
    "graceful_restart_timeout",
];

/// Tables that can change while the node serves, but not come or go: with which key they are there.
const AS_LONG_AS: &[(&str, &str)] =
    &[("upstream.", "upstream.address"), ("tls.", "tls_listen_addr")];

/// A digest of what each key holds.
pub type Digests = BTreeMap<String, u64>;

/// Keys that two files differ in: what takes effect at once, and what later.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Since the last file that was taken.
    pub at_once: Vec<String>,
    /// Since the file that the node was started with.
    pub at_next_start: Vec<String>,
}

// === impl Changes ===

impl Changes {
    /// Compares a file with those before it.
    pub fn between(started: &Digests, last: &Digests, new: &Digests) -> Self {
        let is_there = |needed: &str| started.contains_key(needed) && new.contains_key(needed);
        let can_change = |key: &String| {
            let table = AS_LONG_AS.iter().find(|(table, _)| key.starts_with(table));
            is_at_run_time(key) && table.is_none_or(|(_, needed)| is_there(needed))
        };
        Self {
            at_once: differing(last, new).filter(can_change).collect(),
            at_next_start: differing(started, new).filter(|key| !can_change(key)).collect(),
        }
    }
}

fn is_at_run_time(key: &str) -> bool {
    AT_RUN_TIME.iter().any(|listed| match listed.ends_with('.') {
        true => key.starts_with(listed),
        false => key == *listed,
    })
}

fn differing<'d>(one: &'d Digests, other: &'d Digests) -> impl Iterator<Item = String> + 'd {
    let changed = other.iter().filter(|(key, digest)| one.get(*key) != Some(digest));
    let removed = one.iter().filter(|(key, _)| !other.contains_key(*key));
    changed.chain(removed).map(|(key, _)| key.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gitring_daemon::settings::Document;
    use std::path::Path;

    fn digests(text: &str) -> Digests {
        Document::parse(Path::new("c.toml"), text).unwrap().digests()
    }

    /// Goal: keys that differ are named, by what becomes of them; comments and layout do not count.
    #[test]
    fn differences_by_when_they_count() {
        let check = |one: &str, other: &str, at_once: &[&str], at_next_start: &[&str]| {
            let (one, other) = (digests(one), digests(other));
            let changes = Changes::between(&one, &one, &other);
            assert_eq!(changes.at_once, at_once, "{other:?}");
            assert_eq!(changes.at_next_start, at_next_start, "{other:?}");
        };
        check("a = 1\n[auth]\ntoken = 'x'", "auth = { token = \"x\" } # same\na = 1", &[], &[]);
        check("[auth]\ntoken = 'x'", "[auth]\ntoken = 'y'", &["auth.token"], &[]);
        check("[auth]\ntoken = 'x'", "", &["auth.token"], &[]);
        check(
            "[logging]\nlevel = 'info'\nformat = 'text'",
            "",
            &["logging.level"],
            &["logging.format"],
        );
        check("tls_listen_addr = ':1'", "tls_listen_addr = ':2'", &[], &["tls_listen_addr"]);
        check("[tls]\nkey = 'a'", "[tls]\nkey = 'b'", &[], &["tls.key"]);
        let upstream = "[upstream]\naddress = 'unix:/a'\n";
        let token = upstream.to_owned() + "token = 'a'";
        check(upstream, &token, &["upstream.token"], &[]);
        check(upstream, "", &[], &["upstream.address"]);
        check("", &token, &[], &["upstream.address", "upstream.token"]);
        check(
            "[[storage]]\nname = 'a'\npath = '/a'\n[[storage]]\nname = 'b'\npath = '/b'",
            "[[storage]]\nname = 'a'\npath = '/a'\n[[storage]]\nname = 'b'\npath = '/c'",
            &[],
            &["storage.path"],
        );
        check("[a]\nb = ['x', 'y']", "[a]\nb = ['xy']", &[], &["a.b"]);
    }
}
