//! Loose over packed refs: which value wins, where symbolic refs lead, which of them are left out.
//!
//! Always true: the result is sorted by name. As in git since 2.34 (`GIT_REF_PARANOIA`), a broken
//! ref is listed with a null id and one whose object is missing with its id, so that nothing
//! builds on an incomplete list; symbolic refs that lead nowhere are left out.
//! Never here: files, stamps.

use bstr::{BStr, BString, ByteSlice};

use super::loose::{LooseRef, Value};
use super::packed::{PackedRef, PackedRefs, Peeled};
use super::{Head, Ref, name};
use crate::ObjectId;
use crate::objects::StoreError;

/// `SYMREF_MAXDEPTH` of git: names read on the way, the first included.
pub(crate) const SYMBOLIC_DEPTH_MAX: usize = 5;

/// All refs as they are stored.
pub(crate) struct Stored<'a> {
    /// Sorted by name.
    loose: Vec<&'a LooseRef>,
    packed: &'a PackedRefs,
    /// Reads what is not below `refs/`, such as `ORIG_HEAD`.
    outside: &'a dyn Fn(&BStr) -> Option<Value>,
}

/// What [`Stored::list`] found.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) refs: Vec<Ref>,
    /// The symbolic refs called `HEAD` of namespaces, those included that lead nowhere.
    pub(crate) heads: Vec<(BString, Head)>,
    /// Some ref is broken or leads to an object that is missing.
    pub(crate) has_broken: bool,
}

/// What is known of an object: none if it is missing, else what it peels to if it is a tag.
pub(crate) type Object = Option<Option<ObjectId>>;

// === impl Stored ===

impl<'a> Stored<'a> {
    pub(crate) fn new(
        mut loose: Vec<&'a LooseRef>,
        packed: &'a PackedRefs,
        outside: &'a dyn Fn(&BStr) -> Option<Value>,
    ) -> Self {
        loose.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Self { loose, packed, outside }
    }

    /// Whether any ref is below `prefix`.
    pub(crate) fn has_prefix(&self, prefix: &str) -> bool {
        let at = self.loose.partition_point(|(name, _)| name.as_slice() < prefix.as_bytes());
        self.loose.get(at).is_some_and(|(name, _)| name.starts_with(prefix.as_bytes()))
            || self.packed.has_prefix(prefix)
    }

    /// What HEAD stands for, given what its file holds.
    pub(crate) fn head(&self, value: Option<&Value>) -> Head {
        match value {
            None | Some(Value::Broken) => Head::Missing,
            Some(Value::Direct(id)) => Head::Detached(*id),
            Some(Value::Symbolic(target)) => match self.follow(target) {
                Some((target, id)) => Head::Symbolic { target, id },
                None => Head::Missing,
            },
        }
    }

    /// All refs. `known` are those of an earlier listing, whose objects are not asked for again;
    /// `object` tells what an object is where that is not known from `packed-refs`.
    pub(crate) fn list(
        &self,
        known: &[Ref],
        object: &dyn Fn(&ObjectId) -> Result<Object, StoreError>,
    ) -> Result<Listing, StoreError> {
        let refs = Vec::with_capacity(self.loose.len() + self.packed.len());
        let mut lister = Lister { known, object, listing: Listing { refs, ..Listing::default() } };
        let mut loose = self.loose.iter().peekable();
        for packed in self.packed.iter() {
            while let Some((name, value)) = loose.next_if(|(name, _)| *name < *packed.name) {
                self.list_loose(name.as_bstr(), value, &mut lister)?;
            }
            match loose.next_if(|(name, _)| *name == *packed.name) {
                Some((name, value)) => self.list_loose(name.as_bstr(), value, &mut lister)?,
                None => lister.add(packed, None)?,
            }
        }
        for (name, value) in loose {
            self.list_loose(name.as_bstr(), value, &mut lister)?;
        }
        Ok(lister.listing)
    }

    fn list_loose(
        &self,
        name: &BStr,
        value: &Value,
        lister: &mut Lister<'_>,
    ) -> Result<(), StoreError> {
        let direct = |target| PackedRef { name, target, peeled: Peeled::Unknown };
        match value {
            Value::Direct(id) => lister.add(direct(*id), None),
            Value::Broken => lister.add(direct(ObjectId::null(gix_hash::Kind::Sha1)), None),
            Value::Symbolic(_) => {
                let head = self.head(Some(value));
                if name.ends_with(b"/HEAD") && name.starts_with(b"refs/namespaces/") {
                    lister.listing.heads.push((name.to_owned(), head.clone()));
                }
                match head {
                    Head::Symbolic { target, id: Some(id) } => lister.add(direct(id), Some(target)),
                    // Nothing is wrong with a symbolic ref to a ref that does not exist yet.
                    Head::Symbolic { id: None, .. } | Head::Missing | Head::Detached(_) => Ok(()),
                }
            }
        }
    }

    /// The end of a chain of symbolic refs that begins with one to `target`, and what it holds;
    /// none if the chain is broken or too long.
    fn follow(&self, target: &BString) -> Option<(BString, Option<ObjectId>)> {
        let mut target = target.clone();
        for _ in 1..SYMBOLIC_DEPTH_MAX {
            if !name::is_valid(&target) {
                return None;
            }
            match self.get(&target) {
                None => return Some((target, None)),
                Some(Value::Direct(id)) => return Some((target, Some(id))),
                Some(Value::Symbolic(next)) => target = next,
                Some(Value::Broken) => return None,
            }
        }
        None
    }

    fn get(&self, full_name: &BString) -> Option<Value> {
        if !full_name.starts_with(b"refs/") {
            return (self.outside)(full_name.as_bstr());
        }
        match self.loose.binary_search_by(|(name, _)| name.cmp(full_name)) {
            Ok(at) => Some(self.loose[at].1.clone()),
            Err(_) => {
                let packed = self.packed.get(full_name.as_bstr());
                packed.map(|packed| match packed.target.is_null() {
                    true => Value::Broken,
                    false => Value::Direct(packed.target),
                })
            }
        }
    }
}

struct Lister<'a> {
    /// What of the earlier listing lies behind the last name that was added.
    known: &'a [Ref],
    object: &'a dyn Fn(&ObjectId) -> Result<Object, StoreError>,
    listing: Listing,
}

// === impl Lister ===

impl Lister<'_> {
    /// Adds a ref. Names come in order.
    fn add(&mut self, found: PackedRef<'_>, target: Option<BString>) -> Result<(), StoreError> {
        let passed = self.known.iter().take_while(|known| known.name < *found.name).count();
        self.known = &self.known[passed..];
        let same = |known: &&Ref| known.name == *found.name && known.target == found.target;
        let object = match (found.peeled, self.known.first().filter(same)) {
            _ if found.target.is_null() => None,
            (Peeled::Known(peeled), _) => Some(peeled),
            (Peeled::Unknown, Some(known)) => Some(known.peeled),
            (Peeled::Unknown, None) => (self.object)(&found.target)?,
        };
        self.listing.has_broken |= object.is_none();
        self.listing.refs.push(Ref {
            name: found.name.to_owned(),
            target: found.target,
            peeled: object.flatten(),
            symref_target: target,
        });
        Ok(())
    }
}
