//! How many repositories there are: counted once, at the start, and kept up to date from then on.
//!
//! Always true: nobody waits for the count; it reads directories, a few thousand a second, and no
//! file.
//! Never here: other processes that create repositories; they are seen at the next start, as in
//! Gitaly.

use super::Repositories;
use super::path::INTERNAL;
use super::place::Place;
use super::sweep::distinct_roots;
use gitring_daemon::log;
use prometheus::{IntGaugeVec, Opts, Registry};
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, io};

/// GitLab's are 4 deep.
const DEPTH_MAX: usize = 16;
/// Prefixes that are counted apart: GitLab has 4. Further ones count as `other`.
const PREFIXES_MAX: usize = 100;
/// Directories that are read without a pause.
const BATCH: usize = 64;
const PAUSE: Duration = Duration::from_millis(10);
/// What a path of Praefect's begins with, before the prefix.
const CLUSTER: &str = "@cluster";
/// What every repository has.
const PARTS: [&str; 3] = ["HEAD", "objects", "refs"];

/// `gitaly_total_repositories_count`
#[derive(Debug, Clone)]
pub(super) struct Counts {
    gauges: IntGaugeVec,
    /// Those that are counted apart, of all storages.
    prefixes: Arc<Mutex<HashSet<String>>>,
}

/// Repositories by prefix.
#[derive(Debug, Default)]
struct Walk {
    found: BTreeMap<String, i64>,
    directories: usize,
}

// === impl Repositories ===

impl Repositories {
    /// Counts all repositories, on a thread of its own. The metric is there once it has ended.
    pub fn count(&self, registry: &Registry) -> io::Result<()> {
        let help = "Repositories by storage and by the first part of their paths.";
        let opts = Opts::new("gitaly_total_repositories_count", help);
        let gauges =
            IntGaugeVec::new(opts, &["path", "prefix"]).expect("name and labels are valid");
        let counts = Counts { gauges, prefixes: Arc::default() };
        let _ = self.shared.counts.set(counts.clone());
        let (roots, registry) = (distinct_roots(&self.shared.storages), registry.clone());
        std::thread::Builder::new().name("count".to_owned()).spawn(move || {
            let began = Instant::now();
            for root in &roots {
                counts.count(root);
            }
            registry.register(Box::new(counts.gauges)).expect("registered once a registry");
            tracing::info!(duration_s = began.elapsed().as_secs_f64(), "counted repositories");
        })?;
        Ok(())
    }
}

// === impl Counts ===

impl Counts {
    /// A repository was created (1) or removed (-1).
    pub(super) fn changed(&self, place: &Place, by: i64) {
        let relative = place.relative();
        if let Some(prefix) = prefix(&relative) {
            self.add(&place.root().to_string_lossy(), prefix, by);
        }
    }

    fn count(&self, root: &Path) {
        let mut walk = Walk::default();
        if let Err(error) = walk.descend(root, "", 0) {
            let error = log::chain(&error);
            tracing::error!(storage_path = %root.display(), error, "count repositories");
        }
        let path = root.to_string_lossy();
        for (prefix, count) in walk.found {
            self.add(&path, &prefix, count);
        }
    }

    fn add(&self, root: &str, prefix: &str, by: i64) {
        let mut prefixes = self.prefixes.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = prefixes.len() < PREFIXES_MAX;
        let is_apart = prefixes.contains(prefix) || has_room && prefixes.insert(prefix.to_owned());
        let prefix = if is_apart { prefix } else { "other" };
        self.gauges.with_label_values(&[root, prefix]).add(by);
    }
}

// === impl Walk ===

impl Walk {
    #[expect(clippy::disallowed_methods, reason = "runs on a thread of its own")]
    fn descend(&mut self, directory: &Path, relative: &str, depth: usize) -> io::Result<()> {
        self.directories += 1;
        if self.directories.is_multiple_of(BATCH) {
            std::thread::sleep(PAUSE);
        }
        let (mut below, mut parts) = (Vec::new(), 0);
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            parts += usize::from(PARTS.contains(&name.as_str()));
            if entry.file_type()?.is_dir() {
                below.push(name);
            }
        }
        if parts == PARTS.len() && depth > 0 {
            if let Some(prefix) = prefix(relative) {
                *self.found.entry(prefix.to_owned()).or_default() += 1;
            }
            return Ok(());
        }
        for name in below.into_iter().filter(|name| depth > 0 || name != INTERNAL) {
            if depth < DEPTH_MAX {
                let relative = if depth == 0 { name.clone() } else { format!("{relative}/{name}") };
                // Removed in the meantime, or not ours to read: the others still count.
                let _ = self.descend(&directory.join(&name), &relative, depth + 1);
            }
        }
        Ok(())
    }
}

/// `@hashed` of `@hashed/aa/bb/aabb.git`, `pools` of `@cluster/pools/aa/bb/17`; none where the
/// repository lies at the top, as in Gitaly.
fn prefix(relative: &str) -> Option<&str> {
    let (first, rest) = relative.split_once('/')?;
    if first == CLUSTER { rest.split_once('/').map(|(second, _)| second) } else { Some(first) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_counted_by_prefix() {
        let root = tempfile::tempdir().unwrap();
        for path in [
            "@hashed/aa/bb/aabb.git",
            "@hashed/aa/bb/aabb.wiki.git",
            "@cluster/pools/11/22/17",
            "top.git",
            "+gitaly/tmp/x/repo",
            "group/a.git",
            "group/a.git/modules/inner.git",
        ] {
            for part in ["objects", "refs"] {
                #[expect(clippy::disallowed_methods, reason = "a test")]
                fs::create_dir_all(root.path().join(path).join(part)).unwrap();
            }
            #[expect(clippy::disallowed_methods, reason = "a test")]
            fs::write(root.path().join(path).join("HEAD"), "").unwrap();
        }
        let mut walk = Walk::default();
        walk.descend(root.path(), "", 0).unwrap();
        let found: Vec<_> =
            walk.found.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        assert_eq!(found, [("@hashed", 2), ("group", 1), ("pools", 1)]);
    }
}
