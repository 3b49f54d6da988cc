//! The commands of v2: their arguments, and the sections of a fetch's reply.
//!
//! Always true: an argument that git does not know is refused, or left to a child that may.
//! Never here: the order in which things may be said.

use bstr::BString;

use super::super::arguments::{NAME_BYTES_MAX, Needs, object_id, push, push_name, text};
use super::super::question::FetchAnswer;
use super::super::settings::{Settings, Unborn};
use crate::ObjectId;
use crate::pack_request::PackRequest;
use crate::pkt_line::{self, DELIMITER, FLUSH};

/// From this many `ref-prefix` lines on, git sends every ref instead of matching them.
pub(super) const PREFIXES_MAX: usize = 65_536;

/// Arguments of `ls-refs`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct LsRefs {
    /// Say what annotated tags lead to.
    pub peel: bool,
    /// Say what symbolic refs name.
    pub symrefs: bool,
    /// Say what `HEAD` names though nothing is there yet.
    pub unborn: bool,
    /// Only refs that begin with one of these; all where there are none.
    pub prefixes: Vec<BString>,
}

/// Arguments of `fetch`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fetch {
    /// What the client wants.
    pub needs: Needs,
    /// What the client says it has.
    pub haves: Vec<ObjectId>,
    /// The client will negotiate no further.
    pub done: bool,
    /// `wait-for-done`: never say `ready`.
    pub wait_for_done: bool,
}

/// Arguments of `object-info`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectInfo {
    /// The sizes are wanted.
    pub size: bool,
    /// Objects, as the client spelled them.
    pub objects: Vec<BString>,
}

/// What a line was refused for, and whether git itself tells the client.
pub(super) type Refusal = (String, bool);

// === impl LsRefs ===

impl LsRefs {
    pub(super) fn take(&mut self, line: &[u8], unborn: Unborn) -> Result<(), String> {
        match line {
            b"peel" => self.peel = true,
            b"symrefs" => self.symrefs = true,
            b"unborn" => self.unborn = unborn != Unborn::Ignore,
            _ => {
                let prefix = line
                    .strip_prefix(b"ref-prefix ")
                    .ok_or_else(|| format!("unexpected line: '{}'", text(line)))?;
                if self.prefixes.len() < PREFIXES_MAX {
                    // What is cut is longer than any name still: it matches none.
                    let kept = &prefix[..prefix.len().min(NAME_BYTES_MAX + 1)];
                    self.prefixes.push(kept.into());
                }
            }
        }
        Ok(())
    }
}

// === impl Fetch ===

impl Fetch {
    /// `Ok(false)`: no argument that we know.
    pub(super) fn take(&mut self, line: &[u8], settings: &Settings) -> Result<bool, Refusal> {
        let quietly = |message: String| (message, false);
        let needs = &mut self.needs;
        if let Some(name) = line.strip_prefix(b"want ") {
            let id = object_id(name).ok_or_else(|| {
                quietly(format!(
                    "git upload-pack: protocol error, expected to get oid, not '{}'",
                    text(line)
                ))
            })?;
            push(&mut needs.wants, id).map_err(quietly)?;
        } else if let Some(name) = line.strip_prefix(b"have ") {
            let id = object_id(name).ok_or_else(|| {
                quietly(format!("git upload-pack: expected SHA1 object, got '{}'", text(name)))
            })?;
            push(&mut self.haves, id).map_err(quietly)?;
        } else if settings.allow_ref_in_want
            && let Some(name) = line.strip_prefix(b"want-ref ")
        {
            push_name(&mut needs.want_refs, name).map_err(quietly)?;
        } else if settings.allow_filter
            && let Some(spec) = line.strip_prefix(b"filter ")
        {
            needs.take_filter(spec, settings)?;
        } else if !needs.take_shallow_line(line).map_err(quietly)? {
            match line {
                b"thin-pack" => needs.thin = true,
                b"ofs-delta" => needs.ofs_delta = true,
                b"no-progress" => needs.no_progress = true,
                b"include-tag" => needs.include_tag = true,
                b"deepen-relative" => needs.relative = true,
                b"done" => self.done = true,
                b"wait-for-done" => self.wait_for_done = true,
                _ => return Ok(false),
            }
        }
        Ok(true)
    }
}

// === impl ObjectInfo ===

impl ObjectInfo {
    pub(super) fn take(&mut self, line: &[u8]) -> Result<(), String> {
        if line == b"size" {
            self.size = true;
            return Ok(());
        }
        match line.strip_prefix(b"oid ") {
            // The reply ends at the first name that is none.
            Some(_) if self.objects.last().is_some_and(|name| object_id(name).is_none()) => Ok(()),
            Some(name) => push(&mut self.objects, name.into()),
            None => Err(format!("object-info: unexpected line: '{}'", text(line))),
        }
    }
}

/// The sections of a fetch's reply in front of the pack.
pub(super) fn sections(answer: FetchAnswer) -> (Vec<u8>, Option<PackRequest>) {
    let mut out = Vec::new();
    if let Some(acks) = &answer.acknowledgments {
        pkt_line::push(&mut out, b"acknowledgments\n");
        if acks.common.is_empty() {
            pkt_line::push(&mut out, b"NAK\n");
        }
        for id in &acks.common {
            pkt_line::push_text(&mut out, format_args!("ACK {id}\n"));
        }
        if acks.ready {
            pkt_line::push(&mut out, b"ready\n");
        }
        out.extend_from_slice(if answer.pack.is_some() { DELIMITER } else { FLUSH });
    }
    if answer.pack.is_none() {
        return (out, None);
    }
    if !answer.wanted_refs.is_empty() {
        pkt_line::push(&mut out, b"wanted-refs\n");
        for (id, name) in &answer.wanted_refs {
            let mut line = format!("{id} ").into_bytes();
            line.extend_from_slice(name);
            line.push(b'\n');
            pkt_line::push(&mut out, &line);
        }
        out.extend_from_slice(DELIMITER);
    }
    if let Some(boundary) = &answer.boundary {
        pkt_line::push(&mut out, b"shallow-info\n");
        boundary.push_lines(&mut out);
        out.extend_from_slice(DELIMITER);
    }
    pkt_line::push(&mut out, b"packfile\n");
    (out, answer.pack)
}
