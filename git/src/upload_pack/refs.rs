//! Refs as clients are told of them: v0 advertisements, `ls-refs`, and names that requests use.
//!
//! Always true: hidden refs and refs outside the namespace are told to nobody; refs come in the
//! order of their names, `HEAD` first.
//! Never here: reading refs from disk.

use std::collections::HashSet;

use bstr::{BStr, BString};
use bytes::Bytes;

use super::arguments::object_id;
use super::desk::DeskError;
use super::push_error;
use super::tags::Tag;
use super::v2::{LsRefs, ObjectInfo};
use crate::ObjectId;
use crate::objects::{Store, StoreError};
use crate::pkt_line::{self, FLUSH};
use crate::refs::{Head, HideRules, Namespace, Ref};
use crate::repository::Snapshot;

/// A snapshot's refs through namespace and hide rules.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    snapshot: &'a Snapshot,
    namespace: &'a Namespace,
    hide: &'a HideRules,
}

// === impl View ===

impl<'a> View<'a> {
    /// What clients see of `snapshot`.
    pub fn new(snapshot: &'a Snapshot, namespace: &'a Namespace, hide: &'a HideRules) -> Self {
        Self { snapshot, namespace, hide }
    }

    /// v0: every ref behind `HEAD`, the capabilities behind the first, flush.
    pub fn advertisement(&self, capabilities: &str) -> Result<Bytes, DeskError> {
        let key = self.advertisement_key(capabilities);
        self.snapshot.memo.get_or_make(key, || self.make_advertisement(capabilities))
    }

    /// [`Self::advertisement`], if it was made before.
    pub fn kept_advertisement(&self, capabilities: &str) -> Option<Bytes> {
        self.snapshot.memo.get(&self.advertisement_key(capabilities))
    }

    /// v2: the lines of `ls-refs`, flush.
    pub fn ls_refs(&self, arguments: &LsRefs) -> Result<Bytes, DeskError> {
        let key = self.ls_refs_key(arguments);
        self.snapshot.memo.get_or_make(key, || self.make_ls_refs(arguments))
    }

    /// [`Self::ls_refs`], if it was made before.
    pub fn kept_ls_refs(&self, arguments: &LsRefs) -> Option<Bytes> {
        self.snapshot.memo.get(&self.ls_refs_key(arguments))
    }

    fn advertisement_key(&self, capabilities: &str) -> Vec<u8> {
        let mut key = self.key(b'0');
        key.extend_from_slice(capabilities.as_bytes());
        key
    }

    fn ls_refs_key(&self, arguments: &LsRefs) -> Vec<u8> {
        let mut key = self.key(b'2');
        key.extend([arguments.peel, arguments.symrefs, arguments.unborn].map(u8::from));
        for prefix in &arguments.prefixes {
            key.extend_from_slice(prefix);
            key.push(b'\n');
        }
        key
    }

    /// What every answer depends on beside its arguments.
    pub(super) fn key(&self, kind: u8) -> Vec<u8> {
        let mut key = vec![kind];
        key.extend_from_slice(self.namespace.prefix());
        key.push(0);
        self.hide.push_key(&mut key);
        key
    }

    fn make_advertisement(&self, capabilities: &str) -> Result<Vec<u8>, DeskError> {
        let head = self.head();
        let symref = match &head {
            Head::Symbolic { target, id: Some(_) } => {
                format!(" symref=HEAD:{}", self.stripped(target.as_ref()))
            }
            Head::Symbolic { id: None, .. } | Head::Detached(_) | Head::Missing => String::new(),
        };
        let capabilities = capabilities.replace("{symrefs}", &symref);
        let mut lines = Lines { out: Vec::new(), capabilities: Some(capabilities) };
        if let Some((id, peeled)) = self.head_target(&head)?
            && !self.hides(BStr::new("HEAD"))
        {
            lines.push(&id, BStr::new("HEAD"), peeled.as_ref());
        }
        for (name, reference) in self.refs() {
            lines.push(&reference.target, name, reference.peeled.as_ref());
        }
        if lines.capabilities.is_some() {
            let null = ObjectId::null(gix_hash::Kind::Sha1);
            lines.push(&null, BStr::new("capabilities^{}"), None);
        }
        lines.out.extend_from_slice(FLUSH);
        Ok(lines.out)
    }

    fn make_ls_refs(&self, arguments: &LsRefs) -> Result<Vec<u8>, DeskError> {
        let prefixes = disjoint(&arguments.prefixes);
        let mut out = Vec::new();
        if matches(&arguments.prefixes, BStr::new("HEAD")) && !self.hides(BStr::new("HEAD")) {
            self.push_head(arguments, &mut out)?;
        }
        for prefix in prefixes {
            for (name, reference) in self.refs_below(prefix) {
                let mut line = LsRefsLine::new(Some(&reference.target), name);
                if let Some(target) = reference.symref_target.as_ref().filter(|_| arguments.symrefs)
                {
                    line.symref_target(self.stripped(target.as_ref()));
                }
                if let Some(peeled) = reference.peeled.as_ref().filter(|_| arguments.peel) {
                    line.peeled(peeled);
                }
                line.push_to(&mut out);
            }
        }
        out.extend_from_slice(FLUSH);
        Ok(out)
    }

    /// The object of a ref that clients may see, by its name without the namespace.
    pub fn visible(&self, name: &BStr) -> Option<ObjectId> {
        if self.hides(name) {
            return None;
        }
        if name == "HEAD" {
            return self.head_target(&self.head()).ok().flatten().map(|(id, _)| id);
        }
        self.snapshot
            .find(self.namespace.full_name(name).as_ref())
            .map(|reference| reference.target)
    }

    /// The distinct places where git would look for an abbreviated name, and finds something
    /// (gitrevisions, "`<refname>`").
    pub fn expand(&self, name: &BStr) -> Vec<ObjectId> {
        let rules = [
            ("", ""),
            ("refs/", ""),
            ("refs/tags/", ""),
            ("refs/heads/", ""),
            ("refs/remotes/", ""),
            ("refs/remotes/", "/HEAD"),
        ];
        let mut found = Vec::new();
        for (before, after) in rules {
            let full = BString::from([before.as_bytes(), name, after.as_bytes()].concat());
            if full == "HEAD" {
                let head = self.snapshot.head.clone();
                found.extend(self.head_target(&head).ok().flatten().map(|(id, _)| id));
            } else if let Some(reference) = self.snapshot.find(full.as_ref()) {
                found.push(reference.target);
            }
        }
        found
    }

    /// What v0 clients were told, by object; with those of hidden refs where `with_hidden`.
    pub fn tips(&self, with_hidden: bool) -> HashSet<ObjectId> {
        let mut tips: HashSet<ObjectId> = match with_hidden {
            true => self.named().map(|(_, reference)| reference.target).collect(),
            false => self.refs().map(|(_, reference)| reference.target).collect(),
        };
        if with_hidden || !self.hides(BStr::new("HEAD")) {
            tips.extend(self.head_target(&self.head()).ok().flatten().map(|(id, _)| id));
        }
        tips
    }

    /// What `make` makes of the refs that clients may see and of objects, kept with the snapshot;
    /// `kind` tells it from other answers.
    pub(super) fn kept<E>(
        &self,
        kind: u8,
        make: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<Bytes, E> {
        self.snapshot.memo.get_or_make(self.key(kind), make)
    }

    /// The objects of the repository.
    pub(super) fn store(&self) -> &'a Store {
        &self.snapshot.store
    }

    /// Annotated tags that clients may see.
    pub fn tags(&self) -> Vec<Tag> {
        let tag = |(_, reference): (&BStr, &Ref)| {
            reference.peeled.map(|peeled| Tag { id: reference.target, peeled })
        };
        self.refs_below(BStr::new("refs/tags/")).filter_map(tag).collect()
    }

    fn push_head(&self, arguments: &LsRefs, out: &mut Vec<u8>) -> Result<(), DeskError> {
        let head = self.head();
        let found = self.head_target(&head)?;
        let target = match &head {
            Head::Symbolic { target, .. } if arguments.symrefs => Some(target),
            Head::Symbolic { .. } | Head::Detached(_) | Head::Missing => None,
        };
        let unborn = arguments.unborn && target.is_some();
        if found.is_none() && !unborn {
            return Ok(());
        }
        let id = found.map(|(id, _)| id);
        let mut line = LsRefsLine::new(id.as_ref(), BStr::new("HEAD"));
        if let Some(target) = target {
            line.symref_target(self.stripped(target.as_ref()));
        }
        if let Some(peeled) = found.and_then(|(_, peeled)| peeled).filter(|_| arguments.peel) {
            line.peeled(&peeled);
        }
        line.push_to(out);
        Ok(())
    }

    fn head(&self) -> Head {
        self.snapshot.head_of(self.namespace)
    }

    /// The object of `HEAD`, and what it leads to where it is an annotated tag.
    fn head_target(&self, head: &Head) -> Result<Option<(ObjectId, Option<ObjectId>)>, StoreError> {
        match head {
            Head::Missing | Head::Symbolic { id: None, .. } => Ok(None),
            Head::Symbolic { target, id: Some(id) } => {
                let found = self.snapshot.find(target.as_ref());
                Ok(Some((*id, found.and_then(|reference| reference.peeled))))
            }
            // Told even if its object is gone, like any other ref.
            Head::Detached(id) => match self.snapshot.store.peel(id) {
                Err(StoreError::Object { .. }) => Ok(Some((*id, None))),
                peeled => Ok(Some((*id, peeled?))),
            },
        }
    }

    fn hides(&self, name: &BStr) -> bool {
        if self.hide.is_empty() {
            return false;
        }
        if self.namespace.prefix().is_empty() {
            return self.hide.hides(name, name);
        }
        self.hide.hides(name, self.namespace.full_name(name).as_ref())
    }

    fn stripped<'n>(&self, name: &'n BStr) -> &'n BStr {
        self.namespace.strip(name).unwrap_or(name)
    }

    /// Refs of the namespace with their names in it, hidden ones too.
    fn named(&self) -> impl Iterator<Item = (&'a BStr, &'a Ref)> {
        self.named_below(BStr::new("refs/"))
    }

    fn refs(&self) -> impl Iterator<Item = (&'a BStr, &'a Ref)> {
        self.refs_below(BStr::new("refs/"))
    }

    fn named_below(&self, prefix: &BStr) -> impl Iterator<Item = (&'a BStr, &'a Ref)> {
        let length = self.namespace.prefix().len();
        self.snapshot
            .with_prefix(&self.namespace.full_name(prefix))
            .iter()
            .map(move |reference| (BStr::new(&reference.name[length..]), reference))
    }

    fn refs_below(&self, prefix: &BStr) -> impl Iterator<Item = (&'a BStr, &'a Ref)> {
        let view = *self;
        self.named_below(prefix).filter(move |(name, _)| !view.hides(name))
    }
}

/// The reply to `object-info`; as in git, an `ERR` packet in the place of each bad name.
pub fn object_info(store: &Store, arguments: &ObjectInfo) -> Result<Vec<u8>, StoreError> {
    let mut out = Vec::new();
    if arguments.size && !arguments.objects.is_empty() {
        pkt_line::push(&mut out, b"size");
    }
    for name in &arguments.objects {
        let Some(id) = object_id(name) else {
            let message = format!("object-info: protocol error, expected to get oid, not '{name}'");
            push_error(&mut out, &message);
            continue;
        };
        match store.header(&id)? {
            None => pkt_line::push_text(&mut out, format_args!("{name} ")),
            Some(header) if arguments.size => {
                pkt_line::push_text(&mut out, format_args!("{name} {}", header.size_bytes));
            }
            Some(_) => pkt_line::push(&mut out, name),
        }
    }
    out.extend_from_slice(FLUSH);
    Ok(out)
}

/// Lines of a v0 advertisement, of fetches and of pushes.
pub(crate) struct Lines {
    pub(crate) out: Vec<u8>,
    /// Until the first line was made.
    pub(crate) capabilities: Option<String>,
}

// === impl Lines ===

impl Lines {
    /// One ref, and behind a tag what it stands for.
    pub(crate) fn push(&mut self, id: &ObjectId, name: &BStr, peeled: Option<&ObjectId>) {
        let mut line = format!("{id} ").into_bytes();
        line.extend_from_slice(name);
        if let Some(capabilities) = self.capabilities.take() {
            line.push(0);
            line.extend_from_slice(capabilities.as_bytes());
        }
        line.push(b'\n');
        pkt_line::push(&mut self.out, &line);
        if let Some(peeled) = peeled {
            let mut line = format!("{peeled} ").into_bytes();
            line.extend_from_slice(name);
            line.extend_from_slice(b"^{}\n");
            pkt_line::push(&mut self.out, &line);
        }
    }
}

/// One line of `ls-refs`.
struct LsRefsLine(Vec<u8>);

// === impl LsRefsLine ===

impl LsRefsLine {
    fn new(id: Option<&ObjectId>, name: &BStr) -> Self {
        let mut line = Vec::with_capacity(64 + name.len());
        match id {
            Some(id) => push_hex(&mut line, id),
            None => line.extend_from_slice(b"unborn"),
        }
        line.push(b' ');
        line.extend_from_slice(name);
        Self(line)
    }

    fn symref_target(&mut self, target: &BStr) {
        self.0.extend_from_slice(b" symref-target:");
        self.0.extend_from_slice(target);
    }

    fn peeled(&mut self, id: &ObjectId) {
        self.0.extend_from_slice(b" peeled:");
        push_hex(&mut self.0, id);
    }

    fn push_to(mut self, out: &mut Vec<u8>) {
        self.0.push(b'\n');
        pkt_line::push(out, &self.0);
    }
}

fn push_hex(out: &mut Vec<u8>, id: &ObjectId) {
    let start = out.len();
    out.resize(start + id.kind().len_in_hex(), 0);
    let _ = id.hex_to_buf(&mut out[start..]);
}

/// Whether `name` begins with one of `prefixes`, or there are none.
fn matches(prefixes: &[BString], name: &BStr) -> bool {
    prefixes.is_empty() || prefixes.iter().any(|prefix| name.starts_with(prefix))
}

/// The prefixes that match the same names, sorted, none beginning with another.
fn disjoint(prefixes: &[BString]) -> Vec<&BStr> {
    if prefixes.is_empty() {
        return vec![BStr::new("")];
    }
    let mut sorted: Vec<&BStr> = prefixes.iter().map(AsRef::as_ref).collect();
    sorted.sort_unstable();
    sorted.dedup_by(|longer, shorter| longer.starts_with(shorter));
    sorted
}
