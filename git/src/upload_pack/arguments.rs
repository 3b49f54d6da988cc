//! The lines of a request that v0 and v2 share: wants, haves, depth, filter.
//!
//! Always true: what is refused is refused in git's words; lists are bounded.
//! Never here: whether the objects exist.

use bstr::{BString, ByteSlice};

use super::filter::Filter;
use super::settings::Settings;
use crate::ObjectId;

/// Lines of one request. 4 million wants are 84 MB; git itself has no limit.
pub const LINES_MAX: usize = 4_000_000;

/// Names of refs in one request, each of at most [`NAME_BYTES_MAX`]: 268 MB.
pub const NAMES_MAX: usize = 65_536;

/// Bytes of a ref's name: no file can have a longer one.
pub const NAME_BYTES_MAX: usize = 4_096;

/// `deepen` with this depth means the whole history (`INFINITE_DEPTH` of git).
pub const DEPTH_INFINITE: u32 = 0x7fff_ffff;

/// What a client asks to have, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Objects by name, in order, possibly twice.
    pub wants: Vec<ObjectId>,
    /// Refs by name (v2, `want-ref`).
    pub want_refs: Vec<BString>,
    /// The client's shallow boundary.
    pub shallows: Vec<ObjectId>,
    /// What the boundary shall be.
    pub depth: Depth,
    /// `deepen-relative`: the depth counts from the client's boundary.
    pub relative: bool,
    /// Objects to leave out.
    pub filter: Option<Filter>,
    /// `thin-pack`
    pub thin: bool,
    /// `ofs-delta`
    pub ofs_delta: bool,
    /// `no-progress`
    pub no_progress: bool,
    /// `include-tag`
    pub include_tag: bool,
}

/// The shallow boundary that a client asks for. Both kinds at once are refused later, as in git.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Depth {
    /// `deepen`: commits from the wants on; 0 where it was not asked for.
    pub commits: u32,
    /// `deepen-since`: seconds since the epoch.
    pub since: Option<i64>,
    /// `deepen-not`: names of refs, not resolved yet.
    pub not: Vec<BString>,
}

// === impl Depth ===

impl Depth {
    /// `deepen-since` or `deepen-not` was asked for.
    pub fn by_walk(&self) -> bool {
        self.since.is_some() || !self.not.is_empty()
    }

    /// Any boundary was asked for.
    pub fn any(&self) -> bool {
        self.commits > 0 || self.by_walk()
    }
}

// === impl Needs ===

impl Needs {
    /// Takes a `shallow` or `deepen…` line; `Ok(false)`: the line is something else.
    pub fn take_shallow_line(&mut self, line: &[u8]) -> Result<bool, String> {
        if let Some(name) = line.strip_prefix(b"shallow ") {
            let id =
                object_id(name).ok_or_else(|| format!("invalid shallow line: {}", text(line)))?;
            push(&mut self.shallows, id)?;
        } else if let Some(depth) = line.strip_prefix(b"deepen ") {
            self.depth.commits = number(depth)
                .and_then(|depth| u32::try_from(depth).ok())
                .filter(|depth| (1..=DEPTH_INFINITE).contains(depth))
                .ok_or_else(|| format!("Invalid deepen: {}", text(line)))?;
        } else if let Some(since) = line.strip_prefix(b"deepen-since ") {
            let since = number(since);
            self.depth.since =
                Some(since.ok_or_else(|| format!("Invalid deepen-since: {}", text(line)))?);
        } else if let Some(name) = line.strip_prefix(b"deepen-not ") {
            push_name(&mut self.depth.not, name)?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Takes what stands behind `filter `. The second of the error says whether git tells the
    /// client by an `ERR` packet.
    pub fn take_filter(&mut self, spec: &[u8], settings: &Settings) -> Result<(), (String, bool)> {
        if self.filter.is_some() {
            return Err(("multiple filter-specs cannot be combined".into(), false));
        }
        let filter = Filter::parse(&text(spec)).map_err(|error| (error.to_string(), false))?;
        settings.check_filter(&filter).map_err(|message| (message, true))?;
        self.filter = Some(filter);
        Ok(())
    }
}

/// Appends to a list of a request unless it is full.
pub fn push<T>(list: &mut Vec<T>, item: T) -> Result<(), String> {
    if list.len() >= LINES_MAX {
        return Err(format!("more than {LINES_MAX} lines of one kind"));
    }
    list.push(item);
    Ok(())
}

/// Appends the name of a ref unless it can be none or the list is full.
pub fn push_name(list: &mut Vec<BString>, name: &[u8]) -> Result<(), String> {
    if list.len() >= NAMES_MAX || name.len() > NAME_BYTES_MAX {
        return Err(format!("more than {NAMES_MAX} names or {NAME_BYTES_MAX} bytes in one"));
    }
    list.push(name.into());
    Ok(())
}

/// An object's full name, and nothing behind it.
pub fn object_id(hex: &[u8]) -> Option<ObjectId> {
    if hex.len() != 40 {
        return None;
    }
    ObjectId::from_hex(hex).ok()
}

/// A line for an error message.
pub fn text(line: &[u8]) -> String {
    line.to_str_lossy().into_owned()
}

fn number(digits: &[u8]) -> Option<i64> {
    let text = digits.to_str().ok()?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}
