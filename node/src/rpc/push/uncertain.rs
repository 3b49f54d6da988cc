//! Refs of which nobody knows whether the disk has what was written: looked at once more.
//!
//! Always true: hooks that run after a push hear of each ref that is found as the push wanted it,
//! whatever its client was told.
//! Never here: what the client is told.

use super::not_landed::UNCERTAIN;
use super::{Call, PushError};
use crate::rpc::Services;
use gitring_daemon::log;
use gitring_git::receive_pack::PushRequest;
use gitring_git::refs::Namespace;
use gitring_git::repository::Snapshot;
use std::sync::Arc;

/// Marks what was done after all.
pub(super) async fn look_again(
    services: &Services,
    call: &Call,
    mut request: PushRequest,
) -> PushRequest {
    if !request.commands.iter().any(|command| command.state.refused == Some(UNCERTAIN)) {
        return request;
    }
    let repository = Arc::clone(&call.repository);
    let looked = services.workers.run(move || repository.snapshot()).await;
    match looked.map_err(PushError::from).and_then(|looked| Ok(looked?)) {
        Ok(snapshot) => mark(&mut request, &snapshot, &call.namespace),
        Err(error) => {
            tracing::error!(error = log::chain(&error), "look at refs that may have changed");
        }
    }
    request
}

fn mark(request: &mut PushRequest, snapshot: &Snapshot, namespace: &Namespace) {
    for command in request.commands.iter_mut() {
        if command.state.refused != Some(UNCERTAIN) {
            continue;
        }
        let found = snapshot.find(namespace.full_name(command.name).as_ref());
        let found = found.map(|reference| reference.target);
        command.state.has_changed = match command.is_deletion() {
            true => found.is_none(),
            false => found == Some(command.new),
        };
    }
}
