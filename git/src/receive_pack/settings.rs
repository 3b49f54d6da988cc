//! What a repository's configuration makes of a push: `receive.*`, `transfer.*` and a few more
//! (git-config).
//!
//! Always true: a key that changes a push in a way that we do not follow exactly is a
//! [`Fallback`], never ignored.
//! Never here: reading configuration files.

use std::time::Duration;

use bstr::{BStr, BString, ByteSlice};

use super::Fallback;
use crate::config::{BadValue, Config};
use crate::refs::{Head, HideRules};
use crate::repository::Snapshot;

/// What `receive.keepAlive` is where nothing is configured.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// What `receive.unpackLimit` is where nothing is configured.
const UNPACK_LIMIT: i64 = 100;
/// Checks of fsck that git 2.39 knows (git-fsck, "FSCK MESSAGES"), without underscores. One that
/// the installed git does not know would end its child.
const FSCK_MESSAGES: &str = "nulinheader unterminatedheader baddate baddateoverflow bademail badname \
    badobjectsha1 badparentsha1 badtimezone badtree badtreesha1 badtype duplicateentries \
    missingauthor missingcommitter missingemail missingnamebeforeemail missingobject \
    missingspacebeforedate missingspacebeforeemail missingtag missingtagentry missingtree missingtype \
    missingtypeentry multipleauthors treenotsorted unknowntype zeropaddeddate gitmodulesmissing \
    gitmodulesblob gitmoduleslarge gitmodulesname gitmodulessymlink gitmodulesurl gitmodulespath \
    gitmodulesupdate gitattributesmissing gitattributeslarge gitattributeslinelength \
    gitattributesblob emptyname fullpathname hasdot hasdotdot hasdotgit nullsha1 \
    zeropaddedfilemode nulincommit badfilemode gitmodulesparse gitignoresymlink \
    gitattributessymlink mailmapsymlink badtagname missingtaggerentry extraheaderentry";

/// What happens to an update that would take the ground from under a checked out branch
/// (`receive.denyCurrentBranch`, `receive.denyDeleteCurrent`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Deny {
    /// Refused, and the pusher is told how to allow it.
    #[default]
    Unconfigured,
    /// Done.
    Ignore,
    /// Done, with a warning.
    Warn,
    /// Refused.
    Refuse,
    /// The work tree would be updated. Where there is none, and for deletions, it is as `Refuse`.
    UpdateInstead,
}

/// Which references of alternates are told as `.have`, and taken for complete.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum AlternateRefs {
    /// All of them.
    #[default]
    All,
    /// Those that fit one of these patterns (`core.alternateRefsPrefixes`).
    Prefixes(Vec<BString>),
    /// None (`core.alternateRefsCommand` is a command that says nothing).
    None,
}

/// The settings of one push.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `receive.denyDeletes`
    pub deny_deletes: bool,
    /// `receive.denyNonFastForwards`
    pub deny_non_fast_forwards: bool,
    /// `receive.denyCurrentBranch`
    pub deny_current_branch: Deny,
    /// `receive.denyDeleteCurrent`
    pub deny_delete_current: Deny,
    /// `receive.unpackLimit`, else `transfer.unpackLimit`: packs of fewer objects are unpacked.
    pub unpack_limit: u32,
    /// `receive.fsckObjects`, else `transfer.fsckObjects`: what stands behind `--strict`, such as
    /// `=badtimezone=ignore`; none if objects are not checked.
    pub fsck: Option<BString>,
    /// `receive.maxInputSize`
    pub input_bytes_max: Option<u64>,
    /// `receive.advertiseAtomic`
    pub advertise_atomic: bool,
    /// `receive.advertisePushOptions`
    pub advertise_push_options: bool,
    /// `repack.useDeltaBaseOffset`
    pub ofs_delta: bool,
    /// `receive.autoGC`: whether `git gc --auto` follows a push.
    pub auto_gc: bool,
    /// `receive.updateServerInfo`: whether `git update-server-info` follows a push.
    pub update_server_info: bool,
    /// `receive.keepAlive`: how long a client with side-band waits without a sign of life.
    pub keep_alive: Option<Duration>,
    /// `transfer.hideRefs` and `receive.hideRefs`
    pub hide: HideRules,
    /// `core.alternateRefsCommand`, `core.alternateRefsPrefixes`
    pub alternate_refs: AlternateRefs,
    /// Whether the repository has a work tree, whose branch [`Self::deny_current_branch`] guards.
    pub has_work_tree: bool,
    /// Why the push goes to a git child.
    pub fallback: Option<Fallback>,
}

// === impl Settings ===

impl Settings {
    /// Reads what `config` says of pushes. Not all that decides about a fallback stands there: see
    /// [`Self::of`].
    ///
    /// # Errors
    /// A value that git refuses.
    pub fn from_config(config: &Config) -> Result<Self, BadValue> {
        let flag = |key: &str, default| config.boolean(key).map(|value| value.unwrap_or(default));
        let fsck_objects = match config.boolean("receive.fsckobjects")? {
            None => flag("transfer.fsckobjects", false)?,
            Some(on) => on,
        };
        let fsck = fsck_messages(config)?;
        let mut fallback = advertised_fallback(config)?;
        if fsck_objects && fsck.is_none() {
            fallback = fallback.or(Some(Fallback::FsckMessages));
        }
        let is_bare = config.boolean("core.bare")?.unwrap_or(true);
        Ok(Self {
            deny_deletes: flag("receive.denydeletes", false)?,
            deny_non_fast_forwards: flag("receive.denynonfastforwards", false)?,
            deny_current_branch: deny(config, "receive.denycurrentbranch")?,
            deny_delete_current: deny(config, "receive.denydeletecurrent")?,
            unpack_limit: unpack_limit(config)?,
            fsck: fsck.filter(|_| fsck_objects),
            input_bytes_max: input_bytes_max(config)?,
            advertise_atomic: flag("receive.advertiseatomic", true)?,
            advertise_push_options: flag("receive.advertisepushoptions", false)?,
            ofs_delta: flag("repack.usedeltabaseoffset", true)?,
            auto_gc: flag("receive.autogc", true)?,
            update_server_info: flag("receive.updateserverinfo", false)?,
            keep_alive: keep_alive(config)?,
            hide: HideRules::from_config(config, "receive")?,
            alternate_refs: alternate_refs(config),
            has_work_tree: !is_bare || config.string("core.worktree").is_some(),
            fallback,
        })
    }

    /// The settings of a repository under `config`, with every reason why a child has to serve it. Looks for
    /// worktrees, so it may wait for the file system.
    ///
    /// # Errors
    /// A value that git refuses.
    pub fn of(config: &Config, snapshot: &Snapshot) -> Result<Self, BadValue> {
        let mut settings = Self::from_config(config)?;
        let unsupported = snapshot.unsupported.map(Fallback::Repository);
        settings.fallback = unsupported
            .or(settings.fallback)
            .or_else(|| settings.needs_work_tree(snapshot).then_some(Fallback::WorkTree))
            .or_else(|| foreign_command(snapshot).then_some(Fallback::AlternateRefsCommand));
        Ok(settings)
    }

    /// A linked worktree has a branch, and so has a detached one that is being rebased or bisected.
    fn needs_work_tree(&self, snapshot: &Snapshot) -> bool {
        if snapshot.has_linked_worktrees() {
            return true;
        }
        let is_attached = matches!(snapshot.head, Head::Symbolic { .. });
        self.has_work_tree && (!is_attached || self.deny_current_branch == Deny::UpdateInstead)
    }
}

fn deny(config: &Config, key: &str) -> Result<Deny, BadValue> {
    let words = [
        ("ignore", Deny::Ignore),
        ("warn", Deny::Warn),
        ("refuse", Deny::Refuse),
        ("updateinstead", Deny::UpdateInstead),
    ];
    if let Some(value) = config.string(key) {
        let is = |word: &str| value.eq_ignore_ascii_case(word.as_bytes());
        if let Some((_, deny)) = words.iter().find(|(word, _)| is(word)) {
            return Ok(*deny);
        }
    }
    Ok(match config.boolean(key)? {
        None => Deny::Unconfigured,
        Some(true) => Deny::Refuse,
        Some(false) => Deny::Ignore,
    })
}

/// A negative limit is as good as none.
fn unpack_limit(config: &Config) -> Result<u32, BadValue> {
    let own = config.integer("receive.unpacklimit")?.filter(|limit| *limit >= 0);
    let common = config.integer("transfer.unpacklimit")?.filter(|limit| *limit >= 0);
    Ok(u32::try_from(own.or(common).unwrap_or(UNPACK_LIMIT)).unwrap_or(u32::MAX))
}

fn input_bytes_max(config: &Config) -> Result<Option<u64>, BadValue> {
    let bytes = config.integer("receive.maxinputsize")?;
    Ok(bytes.and_then(|bytes| u64::try_from(bytes).ok()).filter(|bytes| *bytes > 0))
}

fn keep_alive(config: &Config) -> Result<Option<Duration>, BadValue> {
    Ok(match config.integer("receive.keepalive")? {
        None => Some(KEEP_ALIVE),
        Some(seconds) => {
            u64::try_from(seconds).ok().filter(|seconds| *seconds > 0).map(Duration::from_secs)
        }
    })
}

/// What git puts behind `--strict`; `None` where only git knows.
fn fsck_messages(config: &Config) -> Result<Option<BString>, BadValue> {
    let mut messages = BString::default();
    for (key, value) in config.entries() {
        let Some(name) = key.strip_prefix(b"receive.fsck.") else { continue };
        let bad = || BadValue {
            key: key.to_string(),
            value: value.map(ToString::to_string).unwrap_or_default(),
        };
        let value = value.ok_or_else(bad)?;
        let is_path = name == b"skiplist";
        if is_path && value.first().is_some_and(|byte| matches!(byte, b'~' | b'%')) {
            return Ok(None);
        }
        if !is_path {
            if !FSCK_MESSAGES.split_whitespace().any(|known| known.as_bytes() == name) {
                return Ok(None);
            }
            let is = |word: &str| value.eq_ignore_ascii_case(word.as_bytes());
            if !["error", "warn", "ignore"].into_iter().any(is) {
                return Err(bad());
            }
        }
        let separator = if messages.is_empty() { b'=' } else { b',' };
        messages.push(separator);
        messages.extend_from_slice(name);
        messages.push(b'=');
        messages.extend_from_slice(value);
    }
    Ok(Some(messages))
}

fn advertised_fallback(config: &Config) -> Result<Option<Fallback>, BadValue> {
    if config.string("receive.certnonceseed").is_some() {
        return Ok(Some(Fallback::PushCertificates));
    }
    if config.entries().any(|(key, _)| key == "receive.procreceiverefs") {
        return Ok(Some(Fallback::ProcReceive));
    }
    let keys = [
        ("receive.shallowupdate", Fallback::ShallowUpdate),
        ("transfer.advertisesid", Fallback::SessionId),
    ];
    for (key, reason) in keys {
        if config.boolean(key)?.unwrap_or(false) {
            return Ok(Some(reason));
        }
    }
    Ok(None)
}

fn alternate_refs(config: &Config) -> AlternateRefs {
    if config.string("core.alternaterefscommand").is_some() {
        return AlternateRefs::None;
    }
    match config.string("core.alternaterefsprefixes") {
        None => AlternateRefs::All,
        Some(prefixes) => AlternateRefs::Prefixes(prefixes.fields().map(BString::from).collect()),
    }
}

/// Whether a program has to be run for the references of alternates. Gitaly's does nothing: its
/// comment sign takes the path that git appends.
fn foreign_command(snapshot: &Snapshot) -> bool {
    let command = snapshot.config.string("core.alternaterefscommand");
    let is_silent = |command: &BStr| {
        let command = command.trim();
        command == b":" || command == b"true" || command == b"exit 0 #"
    };
    command.is_some_and(|command| !is_silent(command))
        && snapshot.store.directories().nth(1).is_some()
}
