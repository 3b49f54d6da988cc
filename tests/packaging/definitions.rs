//! Which metrics the program defines, with which labels, read off its source.
//!
//! A running node shows only what has been counted already, so its page cannot tell a metric that
//! does not exist from one that is still empty.
//!
//! Never here: what dashboards ask for.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

/// Metrics of prometheus' process collector, which is not ours.
const PROCESS: &[&str] = &[
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_threads",
    "process_virtual_memory_bytes",
];

/// The quoted words of each source file.
pub(crate) struct Definitions(Vec<HashSet<String>>);

// === impl Definitions ===

impl Definitions {
    pub(crate) fn of_the_tree() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut files = Vec::new();
        for folder in ["node/src", "daemon/src"] {
            collect(&root.join(folder), &mut files);
        }
        Self(files)
    }

    /// What is wrong with asking for this metric by these labels.
    pub(crate) fn fault<'l>(
        &self,
        metric: &str,
        mut labels: impl Iterator<Item = &'l String>,
    ) -> Option<String> {
        let names = [metric, base(metric)];
        if names.iter().any(|name| PROCESS.contains(name)) {
            return labels.next().map(|label| format!("{metric} has no label {label}"));
        }
        let defines = |file: &&HashSet<String>| names.iter().any(|name| is_in(file, name));
        let files: Vec<_> = self.0.iter().filter(defines).collect();
        if files.is_empty() {
            return Some(format!("{metric} is not defined"));
        }
        let missing = labels.find(|label| !files.iter().any(|file| file.contains(*label)));
        missing.map(|label| format!("{metric} has no label {label}"))
    }
}

/// Whether a file has the name in quotes: whole, or as a pattern (`a_{name}_total`) and what goes in.
fn is_in(file: &HashSet<String>, name: &str) -> bool {
    let is_filled = |pattern: &String| {
        let Some((before, rest)) = pattern.split_once('{') else { return false };
        let Some((_, behind)) = rest.split_once('}') else { return false };
        let inner = name.strip_prefix(before).and_then(|name| name.strip_suffix(behind));
        !before.is_empty() && inner.is_some_and(|inner| file.contains(inner))
    };
    file.contains(name) || file.iter().any(is_filled)
}

/// Of a histogram's series the histogram.
fn base(metric: &str) -> &str {
    let suffixes = ["_bucket", "_sum", "_count"];
    suffixes.iter().find_map(|suffix| metric.strip_suffix(suffix)).unwrap_or(metric)
}

fn collect(folder: &Path, files: &mut Vec<HashSet<String>>) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).expect("a source file");
            files.push(text.split('"').skip(1).step_by(2).map(str::to_owned).collect());
        }
    }
}
