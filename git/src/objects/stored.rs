//! In which files objects lie.
//!
//! Always true: a file that is told held the object a moment ago; git may pack and prune meanwhile.
//! Never here: what the files hold.

use super::{Place, Store, StoreError, loose};
use crate::ObjectId;
use std::path::PathBuf;

/// The files of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// One of its own.
    Loose(PathBuf),
    /// A pack and its index; the path that both have but for `.pack` and `.idx`.
    Packed(PathBuf),
}

impl Store {
    /// Where an object lies: in the first place that [`Self::read`] would look at. `None`: there is
    /// no such object, or it is the empty tree, which need not be stored.
    ///
    /// # Errors
    /// What stands in the way of looking.
    pub fn stored(&self, id: &ObjectId) -> Result<Option<Stored>, StoreError> {
        self.find(id, &|place| match place {
            Place::Packed(file, _) => {
                file.chains()?;
                Ok(Some(Stored::Packed(file.base().to_owned())))
            }
            Place::Loose(path) => Ok(loose::contains(&path)?.then_some(Stored::Loose(path))),
        })
    }

    /// Lists packs again where they may have changed: for whoever finds that a file of
    /// [`Self::stored`] has gone.
    ///
    /// # Errors
    /// A directory that cannot be read.
    pub fn list_again(&self) -> Result<(), StoreError> {
        self.rescan()
    }
}
