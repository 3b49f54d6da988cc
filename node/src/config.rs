//! The configuration file: Gitaly's TOML and tables of ours.
//!
//! Each owner has a struct for its part; this module fills them.
//!
//! Always true: a configuration that was returned can be run; a wrong value was refused with
//! file, line, key and what is allowed.
//! Never here: what a setting does.

mod adaptation;
mod auth;
mod cgroups;
mod command;
mod gitaly;
mod gitlab;
mod keys;
mod limits;
mod pack_cache;
mod prometheus;
mod reloadable;
mod runtime;
mod secret_file;
mod tls;
mod upstream;
pub mod validate;

pub use self::prometheus::LATENCY_BUCKETS_S;
pub use self::reloadable::{Changes, Digests};

use self::keys::Standing;
use crate::adaptation::AdaptationConfig;
use crate::cgroups::CgroupsConfig;
use crate::gitlab::GitlabConfig;
use crate::hooks::HooksConfig;
use crate::limits::LimitsConfig;
use crate::pack_cache::PackCacheConfig;
use crate::reactor::RuntimeConfig;
use crate::rpc::gateway::{GatewayConfig, Limits};
use crate::rpc::gitaly::GitalyConfig;
use crate::rpc::push;
use crate::storage::{StorageConfig, StorageName, Storages};
use gitring_daemon::log::{Format, LevelFilter, LogConfig};
use gitring_daemon::settings::{Document, Section, SettingsError};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Gitaly's default of `graceful_restart_timeout`.
const GRACE_DEFAULT: Duration = Duration::from_secs(60);

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It says something that is not allowed.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

/// Everything that the file decides.
#[derive(Debug)]
pub struct Config {
    /// Where the node keeps what it needs while it runs; the system's temporary directory if
    /// absent.
    pub runtime_dir: Option<PathBuf>,
    /// `[[storage]]`, at least one.
    pub storages: Storages,
    /// `[git]`.
    pub git: GitConfig,
    /// `[logging]`.
    pub log: LogConfig,
    /// Where `/metrics` is served, if anywhere.
    pub prometheus_listen_addr: Option<SocketAddr>,
    /// Upper bounds of histograms of latencies, seconds; ascending.
    pub latency_buckets: Vec<f64>,
    /// How long requests may go on after SIGTERM.
    pub grace: Duration,
    /// `socket_path`, `listen_addr`, `tls_listen_addr`, `[auth]`, `[tls]`, `[timeout]`,
    /// `[upstream]`.
    pub gitaly: GitalyConfig,
    /// `[gateway]`, if it listens.
    pub gateway: Option<GatewayConfig>,
    /// `[gitlab]`, if it has a URL.
    pub gitlab: Option<GitlabConfig>,
    /// `[hooks]`.
    pub hooks: HooksConfig,
    /// `[runtime]`.
    pub runtime: RuntimeConfig,
    /// `[cgroups]`.
    pub cgroups: CgroupsConfig,
    /// `[adaptive_limiting]`.
    pub adaptation: AdaptationConfig,
    /// `[pushes]`.
    pub pushes: push::Limits,
    /// `[pack_objects_cache]`.
    pub pack_cache: PackCacheConfig,
    /// Who may do how much at once.
    pub limits: LimitsConfig,
    /// Keys that Gitaly uses and we do not.
    pub unused_keys: Vec<String>,
    /// Keys that nobody knows.
    pub unknown_keys: Vec<String>,
    /// What is taken, and should be otherwise: file, line, key, what to do.
    pub remarks: Vec<String>,
    /// What tells this file from the next one.
    pub digests: Digests,
}

/// `[git]`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct GitConfig {
    /// The git to run; found in PATH if absent.
    pub bin_path: Option<PathBuf>,
    /// `[[git.config]]`: applied over every other configuration of git, in this order.
    pub config: Vec<(String, String)>,
}

// === impl Config ===

impl Config {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        #[expect(clippy::disallowed_methods, reason = "start-up: no reactor runs yet")]
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Ok(Self::parse(path, &text)?)
    }

    /// Checks the text of `file`; the storages it names must exist. Runs `config_command`.
    pub fn parse(file: &Path, text: &str) -> Result<Self, SettingsError> {
        let mut document = Document::parse(file, text)?;
        let mut remarks = Vec::new();
        secret_file::remark_on(&document, &mut remarks);
        let overlay = command::overlay(&document)?;
        if let Some(overlay) = &overlay {
            document.put_over(overlay)?;
        }
        let mut config = Self::read(&document)?;
        config.remarks.splice(0..0, remarks);
        Ok(config)
    }

    fn read(document: &Document<'_>) -> Result<Self, SettingsError> {
        let root = document.root();
        let (unused_keys, unknown_keys) = sort_keys(document)?;
        let (storages, first) = storages(&root)?;
        let pack_cache = pack_cache::read(&root, &storages, &first)?;
        let mut remarks = Vec::new();
        let cgroups = cgroups::read(&root)?;
        let this = Self {
            runtime_dir: directory(&root, "runtime_dir")?,
            gitaly: gitaly::read(&root, &mut remarks)?,
            gateway: gateway(&root, &storages, first)?,
            storages,
            git: git(&root)?,
            log: log(&root)?,
            prometheus_listen_addr: match root.string("prometheus_listen_addr")? {
                None | Some("") => None,
                Some(_) => root.parsed("prometheus_listen_addr", address)?,
            },
            latency_buckets: prometheus::latency_buckets(&root)?,
            grace: root.duration("graceful_restart_timeout")?.unwrap_or(GRACE_DEFAULT),
            gitlab: gitlab::read(&root, &mut remarks)?,
            hooks: gitlab::hooks(&root)?,
            runtime: runtime::read(&root, cgroups::memory_bytes(&root, &cgroups)?)?,
            cgroups,
            adaptation: adaptation::read(&root)?,
            pushes: pushes(&root)?,
            pack_cache,
            limits: limits::read(&root)?,
            unused_keys,
            unknown_keys,
            remarks,
            digests: document.digests(),
        };
        if !this.gitaly.listens() && this.gateway.is_none() {
            let what = "is missing, and so are tls_listen_addr, socket_path and \
                        gateway.listen_addr: there is nothing to serve";
            return Err(root.error("listen_addr", what));
        }
        Ok(this)
    }
}

fn sort_keys(document: &Document<'_>) -> Result<(Vec<String>, Vec<String>), SettingsError> {
    let (mut unused, mut unknown) = (Vec::new(), Vec::new());
    for leaf in document.leaves() {
        match keys::standing(&leaf.path) {
            Some(Standing::Used) => {}
            // The tables of an array have their keys in common: each is named once.
            Some(Standing::Known) if unused.contains(&leaf.path) => {}
            Some(Standing::Known) => unused.push(leaf.path),
            None if unknown.contains(&leaf.path) => {}
            None => unknown.push(leaf.path),
        }
    }
    Ok((unused, unknown))
}

/// The storages and the name of the first.
fn storages(root: &Section<'_>) -> Result<(Storages, StorageName), SettingsError> {
    let sections = root.sections("storage")?;
    let mut configs = Vec::new();
    for section in &sections {
        let name = required(section, "name")?.to_owned();
        let path = PathBuf::from(required(section, "path")?);
        configs.push(StorageConfig { name, path });
    }
    let storages = Storages::new(&configs)
        .map_err(|error| sections[error.index].error(error.key, error.what))?;
    match configs.first().and_then(|config| StorageName::parse(&config.name)) {
        Some(first) => Ok((storages, first)),
        None => Err(root.error("storage", "is missing, required: at least one [[storage]]")),
    }
}

fn required<'d>(section: &Section<'d>, key: &str) -> Result<&'d str, SettingsError> {
    section.string(key)?.ok_or_else(|| section.error(key, "is missing, required: a string"))
}

fn gateway(
    root: &Section<'_>,
    storages: &Storages,
    first: StorageName,
) -> Result<Option<GatewayConfig>, SettingsError> {
    let Some(section) = root.section("gateway")? else { return Ok(None) };
    let Some(listen_addr) = section.parsed("listen_addr", address)? else { return Ok(None) };
    if !section.boolean("insecure")?.unwrap_or(false) && !listen_addr.ip().is_loopback() {
        let what = format!(
            "{listen_addr} is open to the network and the gateway knows no users, allowed: a \
             loopback address, or insecure = true"
        );
        return Err(section.error("listen_addr", what));
    }
    let known = |name| {
        StorageName::parse(name)
            .filter(|name| storages.root(name).is_some())
            .ok_or_else(|| format!("'{name}' is unknown, allowed: the name of a [[storage]]"))
    };
    let storage = section.parsed("storage", known)?.unwrap_or(first);
    let receive_pack = section.boolean("receive_pack")?.unwrap_or(false);
    Ok(Some(GatewayConfig { listen_addr, storage, receive_pack, limits: Limits::default() }))
}

fn pushes(root: &Section<'_>) -> Result<push::Limits, SettingsError> {
    let mut limits = push::Limits::default();
    if let Some(section) = root.section("pushes")? {
        if let Some(bytes) = section.integer("pack_bytes_max", 1, usize::MAX)? {
            limits.pack_bytes_max = bytes as u64;
        }
        if let Some(objects) = section.integer("objects_max", 1, u32::MAX as usize)? {
            limits.objects_max = u32::try_from(objects).unwrap_or(u32::MAX);
        }
        let time = section.duration("unpack_time_max")?;
        limits.unpack_time_max = time.unwrap_or(limits.unpack_time_max);
    }
    Ok(limits)
}

fn git(root: &Section<'_>) -> Result<GitConfig, SettingsError> {
    let Some(section) = root.section("git")? else { return Ok(GitConfig::default()) };
    let mut config = Vec::new();
    for entry in section.sections("config")? {
        let key = required(&entry, "key")?;
        if !is_config_key(key) {
            let what = format!("'{key}' is no key of git, allowed: section.name, section.sub.name");
            return Err(entry.error("key", what));
        }
        let value = required(&entry, "value")?;
        if value.contains('\0') {
            return Err(entry.error("value", "contains NUL, allowed: any other text"));
        }
        config.push((key.to_owned(), value.to_owned()));
    }
    Ok(GitConfig { bin_path: executable(&section, "bin_path")?, config })
}

/// git-config(1), "Syntax": letters, digits and `-` in section and name, any text between them.
fn is_config_key(key: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let Some((section, rest)) = key.split_once('.') else { return false };
    let name = rest.rsplit_once('.').map_or(rest, |(_, name)| name);
    is_word(section) && is_word(name) && !key.contains(['=', '\0', '\n'])
}

fn log(root: &Section<'_>) -> Result<LogConfig, SettingsError> {
    let defaults = LogConfig { format: Format::Text, level: LevelFilter::INFO };
    let Some(section) = root.section("logging")? else { return Ok(defaults) };
    let format = section.parsed("format", |text| match text {
        "" | "text" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        other => Err(format!("'{other}' is no format, allowed: text, json")),
    })?;
    let level = section.parsed("level", |text| match text.to_ascii_lowercase().as_str() {
        "" | "info" => Ok(LevelFilter::INFO),
        "panic" | "fatal" | "error" => Ok(LevelFilter::ERROR),
        "warn" | "warning" => Ok(LevelFilter::WARN),
        "debug" => Ok(LevelFilter::DEBUG),
        "trace" => Ok(LevelFilter::TRACE),
        other => Err(format!(
            "'{other}' is no level, allowed: panic, fatal, error, warn, info, debug, trace"
        )),
    })?;
    let (format, level) = (format.unwrap_or(defaults.format), level.unwrap_or(defaults.level));
    Ok(LogConfig { format, level })
}

/// `host:port` as Go takes it: an empty host is every IPv4 address; of a name's addresses the
/// first IPv4 one is taken, else the first.
fn address(text: &str) -> Result<SocketAddr, String> {
    let allowed = "allowed: host:port or :port";
    let full = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_owned() };
    let found: Vec<SocketAddr> = full
        .to_socket_addrs()
        .map_err(|error| format!("'{text}' is no address ({error}), {allowed}"))?
        .collect();
    let chosen = found.iter().find(|address| address.is_ipv4()).or(found.first());
    chosen.copied().ok_or_else(|| format!("'{text}' has no address, {allowed}"))
}

/// A string that says something: an empty one is an absent one to Go.
fn text<'d>(section: &Section<'d>, key: &str) -> Result<Option<&'d str>, SettingsError> {
    Ok(section.string(key)?.filter(|text| !text.is_empty()))
}

fn directory(section: &Section<'_>, key: &str) -> Result<Option<PathBuf>, SettingsError> {
    path(section, key, "directory", |metadata| metadata.is_dir())
}

fn executable(section: &Section<'_>, key: &str) -> Result<Option<PathBuf>, SettingsError> {
    use std::os::unix::fs::PermissionsExt;
    let test = |metadata: &std::fs::Metadata| {
        metadata.is_file() && metadata.permissions().mode() & 0o111 != 0
    };
    path(section, key, "executable file", test)
}

fn path(
    section: &Section<'_>,
    key: &str,
    kind: &str,
    test: impl FnOnce(&std::fs::Metadata) -> bool,
) -> Result<Option<PathBuf>, SettingsError> {
    if section.string(key)? == Some("") {
        return Ok(None);
    }
    section.parsed(key, |text| {
        #[expect(clippy::disallowed_methods, reason = "start-up: no reactor runs yet")]
        let found = std::fs::metadata(text);
        match found {
            Ok(metadata) if test(&metadata) => std::path::absolute(text)
                .map_err(|error| format!("'{text}' cannot be made absolute: {error}")),
            Ok(_) => Err(format!("'{text}' is something else, allowed: an existing {kind}")),
            Err(error) => Err(format!("'{text}': {error}, allowed: an existing {kind}")),
        }
    })
}

#[cfg(test)]
mod tests;
