//! What a client asks for: commands, capabilities, `shallow` lines, push options
//! (gitprotocol-pack, "Reference Update Request and Packfile Transfer").
//!
//! Always true: what is kept of one push is at most [`COMMANDS_MAX`] commands with
//! [`NAMES_BYTES_MAX`] of names, as many `shallow` lines, and [`OPTIONS_BYTES_MAX`] of options.
//! Never here: whether a command is allowed.

use bstr::{BString, ByteSlice};

use super::list::{Commands, State};
use super::settings::Settings;
use crate::ObjectId;
use crate::sideband::Width;

/// Commands of one push, and `shallow` lines of one.
pub const COMMANDS_MAX: usize = 1_000_000;
/// Bytes of the names of all commands together.
pub const NAMES_BYTES_MAX: usize = 128 << 20;
/// Push options of one push. Hooks get each in a variable of its own.
pub const OPTIONS_MAX: usize = 10_000;
/// Bytes of all push options together: the environment of a process takes little more.
pub const OPTIONS_BYTES_MAX: usize = 1 << 20;

const HEX_BYTES: usize = 40;

/// One reference to create, update or delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The name without the namespace, as the client gave it: it may be no valid name.
    pub name: BString,
    /// What the client believes it is now; null for none.
    pub old: ObjectId,
    /// What it shall be; null for none.
    pub new: ObjectId,
    /// What has become of it.
    pub state: State,
}

/// How the client wants to hear of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Report {
    /// Not at all.
    #[default]
    None,
    /// `report-status`
    V1,
    /// `report-status-v2`
    V2,
}

/// Everything that a client said before its pack.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PushRequest {
    /// In the client's order.
    pub commands: Commands,
    /// Without line feeds.
    pub push_options: Vec<BString>,
    /// Commits whose parents the client lacks.
    pub shallow: Vec<ObjectId>,
    /// All references or none.
    pub atomic: bool,
    /// No progress.
    pub quiet: bool,
    /// Push options follow the commands.
    pub has_push_options: bool,
    /// Whether, and how, the client hears of the result.
    pub report: Report,
    /// Report, messages and progress are multiplexed.
    pub sideband: Option<Width>,
    options_bytes: usize,
}

// === impl Command ===

impl Command {
    /// Whether the reference shall go.
    pub fn is_deletion(&self) -> bool {
        self.new.is_null()
    }
}

/// `<old> <new> <name>`, without the line feed.
fn parse(line: &[u8]) -> Option<(ObjectId, ObjectId, &[u8])> {
    let (old, rest) = id(line)?;
    let (new, rest) = id(rest.strip_prefix(b" ")?)?;
    Some((old, new, rest.strip_prefix(b" ")?))
}

// === impl PushRequest ===

impl PushRequest {
    /// Whether a pack follows: not if everything is a deletion.
    pub fn has_pack(&self) -> bool {
        self.commands.iter().any(|command| !command.is_deletion())
    }

    /// The new values of commands that are still to be done, deletions left out.
    pub fn tips(&self) -> impl Iterator<Item = ObjectId> {
        let open = self.commands.iter().filter(|command| command.state.is_open());
        open.filter(|command| !command.is_deletion()).map(|command| command.new)
    }

    /// Memory that it takes, in bytes.
    pub fn bytes(&self) -> usize {
        let options = self.push_options.capacity() * size_of::<BString>() + self.options_bytes;
        self.commands.bytes() + self.shallow.capacity() * size_of::<ObjectId>() + options
    }

    /// Takes one line, without its line feed. The error is what git dies of.
    pub(super) fn take_line(&mut self, line: &[u8], settings: &Settings) -> Result<(), String> {
        if line.len() > 8
            && let Some(hex) = line.strip_prefix(b"shallow ")
        {
            return self.take_shallow(hex);
        }
        let (text, features) = line.split_once_str(b"\0").unwrap_or((line, b""));
        self.take_features(features, settings)?;
        let Some((old, new, name)) = parse(text) else {
            let text = text.to_str_lossy();
            return Err(format!("protocol error: expected old/new/ref, got '{text}'"));
        };
        let names_bytes = self.commands.names_bytes() + name.len();
        if self.commands.len() == COMMANDS_MAX || names_bytes > NAMES_BYTES_MAX {
            return Err(format!(
                "more than {COMMANDS_MAX} commands or {NAMES_BYTES_MAX} bytes of names"
            ));
        }
        self.commands.push(name, old, new);
        Ok(())
    }

    /// Takes one push option, without its line feed.
    pub(super) fn take_option(&mut self, line: &[u8]) -> Result<(), String> {
        // What follows a NUL, git does not see.
        let option = line.split_once_str(b"\0").map_or(line, |(option, _)| option);
        self.options_bytes += option.len();
        if self.push_options.len() == OPTIONS_MAX || self.options_bytes > OPTIONS_BYTES_MAX {
            return Err(format!(
                "more than {OPTIONS_MAX} push options or {OPTIONS_BYTES_MAX} bytes of them"
            ));
        }
        self.push_options.push(option.into());
        Ok(())
    }

    fn take_shallow(&mut self, hex: &[u8]) -> Result<(), String> {
        let Some((commit, _)) = id(hex) else {
            let hex = hex.split(|byte| *byte == 0).next().unwrap_or_default().to_str_lossy();
            return Err(format!("protocol error: expected shallow sha, got '{hex}'"));
        };
        if self.shallow.len() == COMMANDS_MAX {
            return Err(format!("more than {COMMANDS_MAX} shallow lines"));
        }
        self.shallow.push(commit);
        Ok(())
    }

    /// Capabilities; git reads them behind every command, not only the first.
    fn take_features(&mut self, features: &[u8], settings: &Settings) -> Result<(), String> {
        let features = features.split(|byte| *byte == 0).next().unwrap_or_default();
        if features.is_empty() {
            return Ok(());
        }
        let has = |name: &str| feature(features, name).is_some();
        if has("report-status") && self.report == Report::None {
            self.report = Report::V1;
        }
        if has("report-status-v2") {
            self.report = Report::V2;
        }
        if has("side-band-64k") {
            self.sideband = Some(Width::Large);
        }
        self.quiet |= has("quiet");
        self.atomic |= settings.advertise_atomic && has("atomic");
        self.has_push_options |= settings.advertise_push_options && has("push-options");
        match feature(features, "object-format") {
            Some(rest) if value(rest) != b"sha1" => {
                Err(format!("error: unsupported object format '{}'", rest.to_str_lossy()))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Forty digits at the front, and what follows.
fn id(text: &[u8]) -> Option<(ObjectId, &[u8])> {
    let (hex, rest) = text.split_at_checked(HEX_BYTES)?;
    Some((ObjectId::from_hex(hex).ok()?, rest))
}

/// What follows a capability, and `=` if it has a value, up to the end of all.
fn feature<'a>(features: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let mut starts = (0..features.len()).filter(|at| *at == 0 || is_blank(&features[at - 1]));
    starts.find_map(|at| {
        let rest = features[at..].strip_prefix(name.as_bytes())?;
        match rest.first() {
            None => Some(rest),
            Some(b'=') => Some(&rest[1..]),
            Some(byte) => is_blank(byte).then_some(rest),
        }
    })
}

/// The value at the front of what [`feature`] found.
fn value(rest: &[u8]) -> &[u8] {
    let end = rest.iter().position(|byte| matches!(byte, b' ' | b'\t' | b'\n'));
    &rest[..end.unwrap_or(rest.len())]
}
