//! The refs as a pusher is told of them (gitprotocol-pack, "Reference Discovery").
//!
//! Always true: hidden refs are told to nobody; refs outside the namespace and those of alternates
//! are told as `.have`, each object once. Unlike in a fetch there is no HEAD, and nothing is peeled.
//! Never here: running `core.alternateRefsCommand`.

use std::collections::HashSet;

use bstr::{BStr, BString, ByteSlice};

use super::settings::{AlternateRefs, Settings};
use crate::ObjectId;
use crate::pkt_line::FLUSH;
use crate::ref_list::Patterns;
use crate::refs::{Namespace, Ref};
use crate::repository::{Environment, Repository, Snapshot};
use crate::upload_pack::refs::Lines;

/// What an advertisement depends on beside the snapshot and alternates.
pub(super) fn key(namespace: &Namespace, settings: &Settings, capabilities: &str) -> Vec<u8> {
    let mut key = b"receive-pack ".to_vec();
    key.extend_from_slice(namespace.prefix());
    key.push(0);
    settings.hide.push_key(&mut key);
    key.extend_from_slice(capabilities.as_bytes());
    key
}

/// Whether the refs of other repositories matter.
pub(super) fn has_alternates(snapshot: &Snapshot, settings: &Settings) -> bool {
    settings.alternate_refs != AlternateRefs::None && snapshot.store.directories().nth(1).is_some()
}

/// The lines with their flush.
pub(super) fn make(
    snapshot: &Snapshot,
    namespace: &Namespace,
    settings: &Settings,
    capabilities: &str,
) -> Vec<u8> {
    let mut lines = Lines { out: Vec::new(), capabilities: Some(capabilities.to_owned()) };
    // Which objects were told matters only for `.have` lines.
    let tells_have = !namespace.prefix().is_empty() || has_alternates(snapshot, settings);
    let mut seen = HashSet::new();
    for reference in snapshot.refs.iter() {
        let name = namespace.strip(reference.name.as_ref());
        if is_hidden(settings, name, reference) {
            continue;
        }
        let is_new = !tells_have || seen.insert(reference.target);
        match name {
            Some(name) => lines.push(&reference.target, name, None),
            None if is_new => lines.push(&reference.target, BStr::new(".have"), None),
            None => {}
        }
    }
    for id in alternate_tips(snapshot, settings) {
        if seen.insert(id) {
            lines.push(&id, BStr::new(".have"), None);
        }
    }
    if lines.capabilities.is_some() {
        lines.push(&ObjectId::null(gix_hash::Kind::Sha1), BStr::new("capabilities^{}"), None);
    }
    lines.out.extend_from_slice(FLUSH);
    lines.out
}

/// Whether a ref is kept from pushers; `name` is that in the namespace, if it is there.
pub(super) fn is_hidden(settings: &Settings, name: Option<&BStr>, reference: &Ref) -> bool {
    let full = reference.name.as_bstr();
    !settings.hide.is_empty()
        && match name {
            Some(name) => settings.hide.hides(name, full),
            None => settings.hide.hides_outside(full),
        }
}

/// What the refs of alternates point to, alternate by alternate, in the order of names.
pub(super) fn alternate_tips(snapshot: &Snapshot, settings: &Settings) -> Vec<ObjectId> {
    let mut tips = Vec::new();
    if !has_alternates(snapshot, settings) {
        return tips;
    }
    let prefixes = match &settings.alternate_refs {
        AlternateRefs::Prefixes(prefixes) => prefixes.clone(),
        AlternateRefs::All | AlternateRefs::None => Vec::<BString>::new(),
    };
    let patterns = Patterns::new(prefixes);
    for objects in snapshot.store.directories().skip(1) {
        let is_repository = objects.ends_with("objects");
        let Some(git_dir) = objects.parent().filter(|_| is_repository) else { continue };
        let opened = Repository::open(git_dir, Environment::default());
        // git runs a child there and takes what it says: one that fails says nothing.
        let Ok(alternate) = opened.and_then(|opened| opened.snapshot()) else { continue };
        tips.extend(patterns.of(&alternate).into_iter().flatten().map(|one| one.target));
    }
    tips
}
