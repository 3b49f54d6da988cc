//! What a repository's configuration makes of a fetch: `uploadpack.*`, `uploadpackfilter.*`,
//! `transfer.*` and `lsrefs.*` (git-config).
//!
//! Always true: a key that changes a fetch in a way that we do not follow exactly is a
//! [`Fallback`], never ignored.
//! Never here: reading configuration files.

use std::collections::HashMap;
use std::time::Duration;

use bstr::ByteSlice;

use super::Fallback;
use super::filter::Filter;
use crate::config::{BadValue, Config};
use crate::refs::{HideRules, Namespace};

/// What `uploadpack.keepAlive` is where nothing is configured.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Who talks: what every conversation of one server has in common.
#[derive(Debug, Clone)]
pub struct Server {
    /// The value of the `agent` capability.
    pub agent: String,
    /// `GIT_NAMESPACE`: whose refs are served.
    pub namespace: Namespace,
    /// Tell the client of every error by an `ERR` packet, also of those for which git just hangs
    /// up after a message to its own terminal.
    pub explain_errors: bool,
}

/// Whether `HEAD` of a repository without commits is told to clients (`lsrefs.unborn`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unborn {
    /// Told to those who ask, and not offered.
    Allow,
    /// Offered and told.
    Advertise,
    /// Neither.
    Ignore,
}

/// Which objects v0 clients may want beside the refs that were advertised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AllowWants(u8);

/// The settings of one request.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `uploadpack.allow{Tip,Reachable,Any}SHA1InWant`
    pub allow_wants: AllowWants,
    /// `uploadpack.allowFilter`
    pub allow_filter: bool,
    /// `uploadpack.allowRefInWant`
    pub allow_ref_in_want: bool,
    /// `transfer.advertiseObjectInfo`
    pub object_info: bool,
    /// `lsrefs.unborn`
    pub unborn: Unborn,
    /// `uploadpack.keepAlive`: how long a client with side-band waits without a sign of life.
    pub keep_alive: Option<Duration>,
    /// `transfer.hideRefs` and `uploadpack.hideRefs`
    pub hide: HideRules,
    filters: FilterRules,
    /// Why v2 advertisements, and v0 conversations as a whole, go to a git child.
    pub advertisement_fallback: Option<Fallback>,
    /// Why every fetch goes to a git child.
    pub fetch_fallback: Option<Fallback>,
}

#[derive(Debug, Clone)]
struct FilterRules {
    allow_by_default: bool,
    allow: HashMap<String, bool>,
    tree_depth_max: u64,
}

// === impl AllowWants ===

impl AllowWants {
    const TIP: u8 = 1;
    const REACHABLE: u8 = 2;
    const ANY: u8 = 7;

    /// Ref tips may be wanted though they are hidden.
    pub fn tip(self) -> bool {
        self.0 & Self::TIP != 0
    }

    /// What any ref reaches may be wanted.
    pub fn reachable(self) -> bool {
        self.0 & Self::REACHABLE != 0
    }

    /// Whatever exists may be wanted.
    pub fn any(self) -> bool {
        self.0 & Self::ANY == Self::ANY
    }

    fn set(&mut self, bits: u8, on: bool) {
        if on {
            self.0 |= bits;
        } else {
            self.0 &= !bits;
        }
    }
}

// === impl Settings ===

impl Settings {
    /// Reads what `config` says of fetches.
    pub fn from_config(config: &Config) -> Result<Self, BadValue> {
        let flag = |key: &str| config.boolean(key).map(|value| value.unwrap_or(false));
        Ok(Self {
            allow_wants: allow_wants(config)?,
            allow_filter: flag("uploadpack.allowfilter")?,
            allow_ref_in_want: flag("uploadpack.allowrefinwant")?,
            object_info: flag("transfer.advertiseobjectinfo")?,
            unborn: unborn(config)?,
            keep_alive: keep_alive(config)?,
            hide: HideRules::from_config(config, "uploadpack")?,
            filters: FilterRules::from_config(config)?,
            advertisement_fallback: advertisement_fallback(config)?,
            fetch_fallback: config
                .protected_string("uploadpack.packobjectshook")
                .is_some_and(|hook| !hook.is_empty())
                .then_some(Fallback::PackObjectsHook),
        })
    }

    /// Whether clients may use `filter`; the error is what they are told.
    pub fn check_filter(&self, filter: &Filter) -> Result<(), String> {
        filter.parts().into_iter().try_for_each(|part| self.filters.check(part))
    }
}

// === impl FilterRules ===

impl FilterRules {
    fn from_config(config: &Config) -> Result<Self, BadValue> {
        let mut rules =
            Self { allow_by_default: true, allow: HashMap::new(), tree_depth_max: u64::MAX };
        for (key, _) in config.entries() {
            let Some(rest) = key.strip_prefix(b"uploadpackfilter.") else { continue };
            if let Some(filter) = rest.strip_suffix(b".allow") {
                let allow = config.boolean(&key.to_str_lossy())?.unwrap_or(true);
                rules.allow.insert(filter.to_str_lossy().into_owned(), allow);
            }
        }
        if let Some(allow) = config.boolean("uploadpackfilter.allow")? {
            rules.allow_by_default = allow;
        }
        if let Some(depth) = config.integer("uploadpackfilter.tree.maxdepth")? {
            rules.tree_depth_max = u64::try_from(depth).unwrap_or(u64::MAX);
            rules.allow.insert("tree".into(), true);
        }
        Ok(rules)
    }

    fn check(&self, filter: &Filter) -> Result<(), String> {
        let name = filter.config_name();
        if !self.allow.get(name).copied().unwrap_or(self.allow_by_default) {
            return Err(format!("filter '{name}' not supported"));
        }
        match filter {
            Filter::TreeDepth(depth) if *depth > self.tree_depth_max => Err(format!(
                "tree filter allows max depth {}, but got {depth}",
                self.tree_depth_max
            )),
            Filter::BlobNone
            | Filter::BlobLimit(_)
            | Filter::TreeDepth(_)
            | Filter::SparseOid(_)
            | Filter::ObjectType(_)
            | Filter::Combine(_) => Ok(()),
        }
    }
}

/// Each key adds or takes its own bits, in the order of the configuration, as in git.
fn allow_wants(config: &Config) -> Result<AllowWants, BadValue> {
    let mut allow = AllowWants::default();
    let keys = [
        ("uploadpack.allowtipsha1inwant", AllowWants::TIP),
        ("uploadpack.allowreachablesha1inwant", AllowWants::REACHABLE),
        ("uploadpack.allowanysha1inwant", AllowWants::ANY),
    ];
    for (key, value) in config.entries() {
        if let Some((_, bits)) = keys.iter().find(|(name, _)| key == name.as_bytes()) {
            allow.set(*bits, Config::boolean_of(key, value)?);
        }
    }
    Ok(allow)
}

fn unborn(config: &Config) -> Result<Unborn, BadValue> {
    match config.string("lsrefs.unborn").map(|value| value.as_bytes()) {
        None | Some(b"advertise") => Ok(Unborn::Advertise),
        Some(b"allow") => Ok(Unborn::Allow),
        Some(b"ignore") => Ok(Unborn::Ignore),
        Some(value) => {
            Err(BadValue { key: "lsrefs.unborn".into(), value: value.to_str_lossy().into_owned() })
        }
    }
}

fn keep_alive(config: &Config) -> Result<Option<Duration>, BadValue> {
    Ok(match config.integer("uploadpack.keepalive")? {
        None => Some(KEEP_ALIVE),
        Some(seconds) => {
            u64::try_from(seconds).ok().filter(|seconds| *seconds > 0).map(Duration::from_secs)
        }
    })
}

fn advertisement_fallback(config: &Config) -> Result<Option<Fallback>, BadValue> {
    let keys = [
        ("uploadpack.advertisebundleuris", Fallback::BundleUri),
        ("promisor.advertise", Fallback::PromisorRemote),
        ("transfer.advertisesid", Fallback::SessionId),
        ("uploadpack.allowsidebandall", Fallback::SidebandAll),
    ];
    for (key, reason) in keys {
        if config.boolean(key)?.unwrap_or(false) {
            return Ok(Some(reason));
        }
    }
    let uris = config.string("uploadpack.blobpackfileuri").is_some();
    Ok(uris.then_some(Fallback::PackfileUris))
}
