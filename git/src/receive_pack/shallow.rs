//! Pushes from shallow clones (gitprotocol-pack, `shallow` lines; steps 1 to 7 of git's shallow.c).
//!
//! ```text
//!   theirs:  S ── x ── tip      S has no parents there
//!   ours:    … ── S             fine, S is reached by a ref: nothing new is shallow
//!            (no S)             `tip` would make the repository shallow: refused
//! ```
//!
//! Always true: the repository never becomes shallow; where that is allowed
//! (`receive.shallowUpdate`) a git child serves the push.
//! Never here: writing a `shallow` file; the child gets a temporary one in the quarantine.

use std::collections::HashSet;
use std::sync::Arc;

use super::PushRequest;
use super::desk::DeskError;
use super::list::EntryMut;
use crate::ObjectId;
use crate::connectivity::Checker;
use crate::history::Cancel;
use crate::objects::Store;
use crate::refs::Head;
use crate::repository::Snapshot;

const REASON: &str = "shallow update not allowed";

/// Refuses commands whose new value reaches one of the client's shallow commits, unless an existing
/// ref reaches that commit, too.
pub(super) fn refuse(
    snapshot: &Snapshot,
    store: &Arc<Store>,
    cancel: &Cancel,
    request: &mut PushRequest,
) -> Result<(), DeskError> {
    if request.shallow.is_empty() {
        return Ok(());
    }
    let mut checker = Checker::new(Arc::clone(store), tips(snapshot), Vec::new(), cancel.clone());
    let mut present = Vec::new();
    for commit in &request.shallow {
        if store.contains(commit)? {
            present.push(*commit);
        }
    }
    let new_roots: HashSet<ObjectId> = checker.unreached(&present)?.into_iter().collect();
    if new_roots.is_empty() {
        return Ok(());
    }
    let is_update = |command: &EntryMut<'_>| !command.is_deletion();
    for command in request.commands.iter_mut().filter(is_update) {
        if checker.meets(&command.new, &new_roots)? {
            command.state.refuse(REASON);
        }
    }
    Ok(())
}

/// What any ref points to, hidden ones too.
fn tips(snapshot: &Snapshot) -> Vec<ObjectId> {
    let whole = snapshot.refs.iter().filter(|reference| !reference.is_broken());
    let mut tips: Vec<ObjectId> =
        whole.flat_map(|one| [Some(one.target), one.peeled]).flatten().collect();
    if let Head::Detached(id) = snapshot.head {
        tips.push(id);
    }
    tips
}
