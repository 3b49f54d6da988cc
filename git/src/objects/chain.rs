//! Objects of one pack: inflated, and rebuilt from their chains of deltas.
//!
//! Always true: iterative and bounded by [`DELTAS_MAX`] and [`OBJECT_BYTES_MAX`]; a base lies in
//! the same pack; nothing leaves or is cached before the maps were checked for faults.
//! Never here: which pack an object is looked for in.

use super::base_cache::{self, Base};
use super::delta::{self, DeltaError};
use super::inflate;
use super::pack::{Entry, Form, Pack};
use super::pack_index::PackIndex;
use super::{Header, OBJECT_BYTES_MAX, Object, StoreError};
use gix_object::Kind;
use std::sync::Arc;

/// Deltas on the way from an object to its whole base. git writes at most 4,095
/// (`pack.depth`'s ceiling); more than twice that is a cycle.
const DELTAS_MAX: usize = 10_000;
/// Of a commit or tag. Nearly all are smaller.
const KEPT_BYTES_MAX: usize = 2_048;
/// Two numbers of at most nine bytes each.
const DELTA_SIZES_BYTES: usize = 18;

/// A pack and its index.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chains<'a> {
    pub(super) pack: &'a Pack,
    pub(super) index: &'a PackIndex,
}

// === impl Chains ===

impl Chains<'_> {
    /// The kind of the object whose entry begins at `offset`.
    pub(super) fn kind(&self, offset: u64) -> Result<Kind, StoreError> {
        self.kind_of(self.pack.entry(offset)?)
    }

    /// Kind and size of an object, without rebuilding it.
    pub(super) fn header(&self, offset: u64) -> Result<Header, StoreError> {
        let entry = self.pack.entry(offset)?;
        let size_bytes = match entry.form {
            Form::Whole(_) => entry.size_bytes,
            Form::OfsDelta(_) | Form::RefDelta(_) => self.result_size(&entry)?,
        };
        Ok(Header { kind: self.kind_of(entry)?, size_bytes })
    }

    /// The whole object.
    pub(super) fn read(&self, offset: u64) -> Result<Object, StoreError> {
        let mut deltas = Vec::new();
        let mut at = offset;
        let mut base = loop {
            if let Some(base) = base_cache::get((self.pack.serial(), at)) {
                break base;
            }
            let entry = self.pack.entry(at)?;
            if let Form::Whole(kind) = entry.form {
                let data = self.inflate(&entry)?;
                if deltas.is_empty() {
                    self.keep(offset, kind, &data);
                    return Ok(Object { kind, data });
                }
                break Base { kind, data: Arc::new(data) };
            }
            at = self.base_of(&entry)?;
            deltas.push(entry);
            if deltas.len() > DELTAS_MAX {
                return Err(self.pack.limit(offset, "chain of deltas too long"));
            }
        };
        while let Some(entry) = deltas.pop() {
            base_cache::insert((self.pack.serial(), at), base.clone());
            let data = self.apply(&base.data, &entry)?;
            base = Base { kind: base.kind, data: Arc::new(data) };
            at = entry.offset;
        }
        let data = Arc::try_unwrap(base.data).unwrap_or_else(|shared| shared.to_vec());
        self.keep(offset, base.kind, &data);
        Ok(Object { kind: base.kind, data })
    }

    /// Commits and tags are asked for again and again, and inflating one costs more than all else
    /// that is done with it.
    fn keep(&self, offset: u64, kind: Kind, data: &[u8]) {
        if matches!(kind, Kind::Commit | Kind::Tag) && data.len() <= KEPT_BYTES_MAX {
            let base = Base { kind, data: Arc::new(data.to_vec()) };
            base_cache::insert((self.pack.serial(), offset), base);
        }
    }

    fn kind_of(&self, mut entry: Entry) -> Result<Kind, StoreError> {
        for _ in 0..=DELTAS_MAX {
            if let Form::Whole(kind) = entry.form {
                return Ok(kind);
            }
            entry = self.pack.entry(self.base_of(&entry)?)?;
        }
        Err(self.pack.limit(entry.offset, "chain of deltas too long"))
    }

    fn base_of(&self, entry: &Entry) -> Result<u64, StoreError> {
        match entry.form {
            Form::Whole(_) => Ok(entry.offset),
            Form::OfsDelta(base) => Ok(base),
            Form::RefDelta(id) => self.index.lookup(&id)?.ok_or_else(|| {
                self.pack.corrupt(entry.offset, format!("base {id} is not in this pack"))
            }),
        }
    }

    fn result_size(&self, entry: &Entry) -> Result<u64, StoreError> {
        let mut start = [0; DELTA_SIZES_BYTES];
        let inflated = inflate::prefix(self.pack.data(entry), &mut start);
        self.pack.check()?;
        let len = inflated.map_err(|error| self.pack.corrupt(entry.offset, error))?;
        let sizes = delta::sizes(&start[..len]);
        Ok(sizes.map_err(|error| self.pack.corrupt(entry.offset, error))?.result)
    }

    fn inflate(&self, entry: &Entry) -> Result<Vec<u8>, StoreError> {
        if entry.size_bytes > OBJECT_BYTES_MAX {
            let reason = format!("{} bytes are more than {OBJECT_BYTES_MAX}", entry.size_bytes);
            return Err(self.pack.limit(entry.offset, reason));
        }
        let inflated = inflate::exact(self.pack.data(entry), entry.size_bytes);
        self.pack.check()?;
        let (data, _) = inflated.map_err(|error| self.pack.corrupt(entry.offset, error))?;
        Ok(data)
    }

    fn apply(&self, base: &[u8], entry: &Entry) -> Result<Vec<u8>, StoreError> {
        let delta = self.inflate(entry)?;
        delta::apply(base, &delta, OBJECT_BYTES_MAX).map_err(|error| match error {
            DeltaError::TooLarge => self.pack.limit(entry.offset, error),
            DeltaError::CutShort
            | DeltaError::OtherBase
            | DeltaError::BeyondBase
            | DeltaError::OtherSize
            | DeltaError::Reserved => self.pack.corrupt(entry.offset, error),
        })
    }
}
