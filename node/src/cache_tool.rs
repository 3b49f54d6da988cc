//! `gitring-node cache`: looks at the files of the pack cache, of a running node or without one.
//!
//! Always true: files are named by the cache's own listing, so nothing else is ever removed; a
//! running node takes a removed pack for a miss.
//! Never here: the cache's format, which is streamcache's.

mod entry;
mod explain;

use self::entry::Entry;
use clap::{Args, Subcommand};
use gitring_daemon::log;
use gitring_git::pack_request::store::StoreId;
use gitring_node::config::Config;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Repositories that `stats` names.
const TOP: usize = 10;

/// What `gitring-node cache` takes.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
    /// The node's configuration, which says where the cache is
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "dir")]
    config: Option<PathBuf>,
    /// The cache's directory
    #[arg(long, global = true, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// How many packs of how many bytes there are, and whose
    Stats,
    /// Every pack, the newest first
    Ls,
    /// Remove packs
    Purge {
        /// Only those made for this repository, or from its objects
        #[arg(long, value_name = "DIR")]
        repository: Option<PathBuf>,
        /// Only say which
        #[arg(long)]
        dry_run: bool,
    },
    /// Say why two fetches did not share a pack
    Explain(explain::Arguments),
}

/// Does what was asked for; the exit status.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match act(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("gitring-node cache: {message}");
            ExitCode::FAILURE
        }
    }
}

fn act(arguments: &Arguments) -> Result<(), String> {
    let json = arguments.json;
    match &arguments.action {
        Action::Stats => stats(&directory(arguments)?, json),
        Action::Ls => {
            let entries = entries(&directory(arguments)?)?;
            show(json, entries.iter().map(Entry::json).collect(), || {
                entries.iter().map(Entry::line).collect()
            });
            Ok(())
        }
        Action::Purge { repository, dry_run } => {
            purge(&directory(arguments)?, repository.as_deref(), *dry_run, json)
        }
        Action::Explain(asked) => {
            let directory = directory(arguments).ok();
            let explained = explain::explain(asked, directory.as_deref())?;
            show(json, explained.json(), || explained.text());
            Ok(())
        }
    }
}

fn directory(arguments: &Arguments) -> Result<PathBuf, String> {
    match (&arguments.config, &arguments.dir) {
        (_, Some(directory)) => Ok(directory.clone()),
        (Some(file), None) => {
            let config = Config::load(file).map_err(|error| log::chain(&error))?;
            Ok(config.pack_cache.directory)
        }
        (None, None) => Err("where is the cache? Say --config FILE or --dir DIR".to_owned()),
    }
}

/// What lies in the cache, the newest first.
fn entries(directory: &Path) -> Result<Vec<Entry>, String> {
    let failed = |error: std::io::Error| format!("read {}: {error}", directory.display());
    let listing = gitring_streamcache::list(directory).map_err(failed)?;
    let readable = |stored: std::io::Result<_>| {
        stored
            .inspect_err(|error| eprintln!("gitring-node cache: one file is left out: {error}"))
            .ok()
    };
    let mut entries: Vec<Entry> = listing.filter_map(readable).map(Entry::new).collect();
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.stored.created));
    Ok(entries)
}

fn stats(directory: &Path, json: bool) -> Result<(), String> {
    let entries = entries(directory)?;
    let bytes: u64 = entries.iter().map(|entry| entry.stored.length_bytes).sum();
    let mut owners: HashMap<&str, (usize, u64)> = HashMap::new();
    for entry in &entries {
        let (packs, bytes) = owners.entry(&entry.repository).or_default();
        *packs += 1;
        *bytes += entry.stored.length_bytes;
    }
    let mut owners: Vec<(&str, (usize, u64))> = owners.into_iter().collect();
    owners.sort_by_key(|(name, (_, bytes))| (std::cmp::Reverse(*bytes), *name));
    owners.truncate(TOP);
    let ages = || entries.iter().map(Entry::age_s);
    let value = json!({
        "directory": directory.to_string_lossy(),
        "packs": entries.len(),
        "bytes": bytes,
        "youngest_s": ages().min(),
        "oldest_s": ages().max(),
        "repositories": owners.iter().map(|(name, (packs, bytes))| {
            json!({ "repository": name, "packs": packs, "bytes": bytes })
        }).collect::<Vec<_>>(),
    });
    show(json, value, || {
        let mut lines = vec![format!("{} packs, {bytes} bytes", entries.len())];
        if let (Some(youngest), Some(oldest)) = (ages().min(), ages().max()) {
            lines.push(format!("{youngest} s to {oldest} s old"));
        }
        let line = |(name, (packs, bytes)): &(&str, (usize, u64))| {
            format!("{bytes:>14} bytes in {packs} packs  {name}")
        };
        lines.extend(owners.iter().map(line));
        lines
    });
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a tool has no reactor")]
fn purge(
    directory: &Path,
    repository: Option<&Path>,
    dry_run: bool,
    json: bool,
) -> Result<(), String> {
    let mut entries = entries(directory)?;
    if let Some(repository) = repository {
        // The node notes real paths; a repository that is gone has only its name.
        let full = std::fs::canonicalize(repository).or_else(|_| std::path::absolute(repository));
        let full = full.map_err(|error| error.to_string())?;
        let store = StoreId::of(&full.join("objects")).ok().map(|id| id.to_string());
        entries.retain(|entry| entry.is_of(&full, store.as_deref()));
    }
    let mut failures = 0;
    if !dry_run {
        entries.retain(|entry| {
            let path = &entry.stored.path;
            match std::fs::remove_file(path) {
                Ok(()) => true,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
                Err(error) => {
                    eprintln!("gitring-node cache: remove {}: {error}", path.display());
                    failures += 1;
                    false
                }
            }
        });
    }
    let bytes: u64 = entries.iter().map(|entry| entry.stored.length_bytes).sum();
    let value = json!({
        "removed": !dry_run,
        "packs": entries.iter().map(Entry::json).collect::<Vec<_>>(),
        "bytes": bytes,
    });
    show(json, value, || {
        let verb = if dry_run { "would remove" } else { "removed" };
        vec![format!("{verb} {} packs, {bytes} bytes", entries.len())]
    });
    if failures > 0 {
        return Err(format!("{failures} packs could not be removed"));
    }
    Ok(())
}

fn show(json: bool, value: Value, lines: impl FnOnce() -> Vec<String>) {
    if json {
        println!("{value:#}");
    } else {
        lines().iter().for_each(|line| println!("{line}"));
    }
}
