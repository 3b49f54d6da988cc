//! What a client says, hashed as it passes: operators find equal requests by it.

use crate::rpc::wire::Input;
use bytes::Bytes;
use gix_hash::{Hasher, Kind, hasher};
use std::io;

/// A client's side of a fetch, and its SHA-1 so far.
pub(super) struct Hashed<I> {
    input: I,
    hasher: Hasher,
}

// === impl Hashed ===

impl<I: Input> Hashed<I> {
    pub(super) fn new(input: I) -> Self {
        Self { input, hasher: hasher(Kind::Sha1) }
    }

    /// In hexadecimal digits. Bytes that were made to collide have none.
    pub(super) fn finish(self) -> Option<String> {
        Some(self.hasher.try_finalize().ok()?.to_string())
    }
}

impl<I: Input> Input for Hashed<I> {
    async fn read(&mut self) -> io::Result<Option<Bytes>> {
        let read = self.input.read().await?;
        if let Some(bytes) = &read {
            self.hasher.update(bytes);
        }
        Ok(read)
    }
}
