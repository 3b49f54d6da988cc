//! The `packed-refs` file (git-pack-refs(1); its header is explained in git's packed-backend).
//!
//! Always true: entries are sorted by name and unique, whatever the file claims; one whose name
//! no ref can have has a null id.
//! Never here: loose refs. Never: a map of the file, which git may replace and others truncate.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::path::Path;

use bstr::{BStr, ByteSlice};

use super::{REFS_MAX, RefsError, name};
use crate::ObjectId;

/// A file beyond this is refused; offsets fit in 32 bits.
const FILE_BYTES_MAX: u64 = 2 << 30;
const HEX_LEN: usize = 40;

/// A parsed `packed-refs`.
#[derive(Debug, Default)]
pub(crate) struct PackedRefs {
    text: Vec<u8>,
    entries: Vec<Entry>,
}

/// What `packed-refs` knows of one ref.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PackedRef<'a> {
    pub(crate) name: &'a BStr,
    pub(crate) target: ObjectId,
    pub(crate) peeled: Peeled,
}

/// What is known of the object behind a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peeled {
    /// The object has to be asked.
    Unknown,
    /// None for an object that is no tag.
    Known(Option<ObjectId>),
}

#[derive(Debug)]
struct Entry {
    name: Range<u32>,
    target: ObjectId,
    peeled: Peeled,
}

/// The traits of the header line.
#[derive(Clone, Copy, Default)]
struct Traits {
    /// Every ref below `refs/tags/` that can be peeled is.
    peeled: bool,
    /// Every ref that can be peeled is.
    fully_peeled: bool,
}

// === impl PackedRefs ===

impl PackedRefs {
    /// Reads and parses a file; an absent one has no refs.
    pub(crate) fn read(path: &Path) -> Result<Self, RefsError> {
        let failed = |source| RefsError::Io { path: path.to_path_buf(), source };
        let mut text = Vec::new();
        match File::open(path) {
            Ok(file) => {
                let bytes = file.metadata().map_err(failed)?.len().min(FILE_BYTES_MAX);
                text.reserve(usize::try_from(bytes).unwrap_or(0) + 1);
                file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text).map_err(failed)?;
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        if text.len() as u64 > FILE_BYTES_MAX {
            let path = path.to_path_buf();
            return Err(RefsError::TooMany { path, limit: FILE_BYTES_MAX, what: "bytes" });
        }
        Self::parse(text, path)
    }

    /// Parses the text of a file; `path` is for errors.
    pub(crate) fn parse(text: Vec<u8>, path: &Path) -> Result<Self, RefsError> {
        let mut parser = Parser { text: &text, at: 0, line: 0, entries: Vec::new(), path };
        let traits = parser.header();
        // An entry has at least an id, a space, five bytes of name and a line feed.
        parser.entries.reserve(text.len() / 64);
        while parser.at < text.len() {
            parser.entry(traits)?;
        }
        let mut entries = parser.entries;
        let name = |entry: &Entry| &text[entry.name.start as usize..entry.name.end as usize];
        // Whatever the header says: a list that is not sorted would break every lookup.
        if !entries.is_sorted_by(|a, b| name(a) < name(b)) {
            entries.sort_by(|a, b| name(a).cmp(name(b)));
            entries.dedup_by(|later, first| name(later) == name(first));
        }
        Ok(Self { text, entries })
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// All refs, sorted by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = PackedRef<'_>> {
        self.entries.iter().map(|entry| self.view(entry))
    }

    /// The ref of a full name.
    pub(crate) fn get(&self, name: &BStr) -> Option<PackedRef<'_>> {
        let found = self.entries.binary_search_by(|entry| self.name(entry).cmp(name));
        found.ok().map(|at| self.view(&self.entries[at]))
    }

    /// Whether any name begins with `prefix`.
    pub(crate) fn has_prefix(&self, prefix: &str) -> bool {
        self.at_or_after(prefix.into()).is_some_and(|name| name.starts_with(prefix.as_bytes()))
    }

    /// The first name that is `name` or sorts behind it.
    pub(crate) fn at_or_after(&self, name: &BStr) -> Option<&BStr> {
        let at = self.entries.partition_point(|entry| self.name(entry) < name);
        self.entries.get(at).map(|entry| self.name(entry))
    }

    fn name(&self, entry: &Entry) -> &BStr {
        self.text[entry.name.start as usize..entry.name.end as usize].as_bstr()
    }

    fn view(&self, entry: &Entry) -> PackedRef<'_> {
        PackedRef { name: self.name(entry), target: entry.target, peeled: entry.peeled }
    }
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    line: usize,
    entries: Vec<Entry>,
    path: &'a Path,
}

// === impl Parser ===

impl Parser<'_> {
    /// The first line, if it is a header.
    fn header(&mut self) -> Traits {
        let mut traits = Traits::default();
        if self.text.first() != Some(&b'#') {
            return traits;
        }
        let end = self.text.find_byte(b'\n').unwrap_or(self.text.len());
        if let Some(words) = self.text[..end].strip_prefix(b"# pack-refs with:") {
            for word in words.split(|byte| *byte == b' ') {
                match word {
                    b"peeled" => traits.peeled = true,
                    b"fully-peeled" => traits.fully_peeled = true,
                    _ => {}
                }
            }
        }
        self.line = 1;
        self.at = end + 1;
        traits
    }

    fn entry(&mut self, traits: Traits) -> Result<(), RefsError> {
        self.line += 1;
        let start = self.at;
        let rest = &self.text[start..];
        let end = rest.find_byte(b'\n').ok_or_else(|| self.bad("unterminated line"))?;
        let line = &rest[..end];
        self.at = start + end + 1;
        let mut target =
            line.get(..HEX_LEN).and_then(id).ok_or_else(|| self.bad("no object id"))?;
        if line.get(HEX_LEN) != Some(&b' ') {
            return Err(self.bad("no space behind the object id"));
        }
        let name = line.get(HEX_LEN + 1..).unwrap_or_default();
        let peeled_line = self.peeled()?;
        if !name::is_valid(name) {
            // As in git: a broken name has a null id, one that leads elsewhere is refused.
            if !name::is_safe(name) {
                return Err(RefsError::Dangerous(name.into()));
            }
            target = ObjectId::null(gix_hash::Kind::Sha1);
        }
        let is_known = traits.fully_peeled || (traits.peeled && name.starts_with(b"refs/tags/"));
        let peeled = match peeled_line {
            Some(peeled) => Peeled::Known(Some(peeled)),
            None if is_known => Peeled::Known(None),
            None => Peeled::Unknown,
        };
        if self.entries.len() >= REFS_MAX {
            let (path, limit) = (self.path.to_path_buf(), REFS_MAX as u64);
            return Err(RefsError::TooMany { path, limit, what: "refs" });
        }
        let offset = |at: usize| u32::try_from(at).map_err(|_| self.bad("file too large"));
        let name = offset(start + HEX_LEN + 1)?..offset(start + end)?;
        self.entries.push(Entry { name, target, peeled });
        Ok(())
    }

    /// The line `^<id>` that may follow a ref.
    fn peeled(&mut self) -> Result<Option<ObjectId>, RefsError> {
        let Some(rest) = self.text[self.at..].strip_prefix(b"^") else { return Ok(None) };
        self.line += 1;
        let peeled = rest.get(..HEX_LEN).and_then(id).filter(|_| rest.get(HEX_LEN) == Some(&b'\n'));
        let peeled = peeled.ok_or_else(|| self.bad("bad peeled object id"))?;
        self.at += HEX_LEN + 2;
        Ok(Some(peeled))
    }

    fn bad(&self, reason: &'static str) -> RefsError {
        bad(self.path, self.line, reason)
    }
}

fn bad(path: &Path, line: usize, reason: &'static str) -> RefsError {
    RefsError::Packed { path: path.to_path_buf(), line, reason }
}

fn id(hex: &[u8]) -> Option<ObjectId> {
    ObjectId::from_hex(hex).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "1111111111111111111111111111111111111111";
    const TWO: &str = "2222222222222222222222222222222222222222";

    /// `expected`: `name=unknown|plain|<first digit of the peeled id>`, or the error.
    fn check(text: &str, expected: Result<&str, &str>) {
        let text = text.replace("%1", ONE).replace("%2", TWO);
        let result = PackedRefs::parse(text.clone().into_bytes(), Path::new("packed-refs"));
        let shown = result.map_err(|error| error.to_string()).map(|packed| {
            let show = |one: PackedRef<'_>| match one.peeled {
                Peeled::Unknown => format!("{}=unknown", one.name),
                Peeled::Known(None) => format!("{}=plain", one.name),
                Peeled::Known(Some(id)) => format!("{}={}", one.name, id.to_hex_with_len(1)),
            };
            packed.iter().map(show).collect::<Vec<_>>().join(" ")
        });
        let expected = expected.map(str::to_owned).map_err(str::to_owned);
        match (shown, expected) {
            (Err(ours), Err(part)) => assert!(ours.contains(&part), "{text:?}: {ours}"),
            (ours, expected) => assert_eq!(ours, expected, "{text:?}"),
        }
    }

    #[test]
    fn headers_decide_what_is_known() {
        check("", Ok(""));
        check("%1 refs/heads/a\n", Ok("refs/heads/a=unknown"));
        check(
            "# pack-refs with: peeled \n%1 refs/heads/a\n%1 refs/tags/b\n^%2\n%1 refs/tags/c\n",
            Ok("refs/heads/a=unknown refs/tags/b=2 refs/tags/c=plain"),
        );
        check(
            "# pack-refs with: peeled fully-peeled sorted \n%1 refs/heads/a\n",
            Ok("refs/heads/a=plain"),
        );
        check("%1 refs/heads/b\n%2 refs/heads/a\n^%1\n", Ok("refs/heads/a=1 refs/heads/b=unknown"));
    }

    #[test]
    fn garbage_is_an_error() {
        check(
            "# pack-refs with: sorted \n%1 refs/b\n%1 refs/a\n",
            Ok("refs/a=unknown refs/b=unknown"),
        );
        check("%1 refs/heads/a", Err("line 1: unterminated line"));
        check("%1 refs/heads/a\nnonsense\n", Err("line 2: no object id"));
        check("%1\trefs/heads/a\n", Err("line 1: no space"));
        check("%1 refs/heads/a\n^%1x\n", Err("line 2: bad peeled"));
        check("^%1\n", Err("no object id"));
        check(
            "%1 refs/heads/a..b\n%1 refs/heads/c\n",
            Ok("refs/heads/a..b=unknown refs/heads/c=unknown"),
        );
        check("%1 refs/../../etc\n", Err("dangerous"));
    }

    #[test]
    fn lookups_find_every_name() {
        let text: String = (0..2_000).map(|n| format!("{ONE} refs/heads/{n:05}\n")).collect();
        let packed = PackedRefs::parse(text.into_bytes(), Path::new("packed-refs")).unwrap();
        for n in 0..2_000 {
            let name = format!("refs/heads/{n:05}");
            assert_eq!(packed.get(name.as_str().into()).unwrap().name, name.as_str());
        }
        assert!(packed.get("refs/heads/02000".into()).is_none());
    }
}
