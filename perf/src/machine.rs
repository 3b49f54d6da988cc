//! Where and when a result was taken.
//!
//! Always true: what cannot be found out is written as `unknown`, never guessed.
//!
//! Never here: figures.

use std::fs;
use std::path::Path;
use std::process::Command;

use gitring_tests::git;

/// Lines of markdown about machine, kernel, git, commit and date.
pub fn describe() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown", |(_, name)| name);
    let sha = if cpu.contains(" sha_ni") { "with SHA-NI" } else { "without SHA-NI" };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory =
        memory.lines().next().and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    let memory: u64 = memory.unwrap_or(0) / 1024 / 1024;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    // What a builder adds behind the number says nothing to others.
    let kernel = kernel.split(|c: char| !c.is_ascii_digit() && c != '.').next().unwrap_or_default();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let changes = git::try_run(root, &["status", "--porcelain", "--untracked-files=no"]).stdout;
    let state = if changes.is_empty() { "" } else { ", with local changes" };
    let commit = git::try_run(root, &["rev-parse", "--short=12", "HEAD"]).stdout;
    format!(
        "- date: {}\n- machine: {model}, {cores} cores, {sha}, {memory} GiB\n- kernel: {}\n\
         - {}\n- commit: {}{state}\n",
        today(),
        kernel,
        git::run(root, &["version"]),
        String::from_utf8_lossy(&commit).trim(),
    )
}

/// The date as `YYYY-MM-DD`, in UTC.
pub fn today() -> String {
    let output = Command::new("date").args(["-u", "+%F"]).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_else(|_| "unknown".to_owned())
}
