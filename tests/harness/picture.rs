//! What a client holds after a fetch, in words of git that two clients can be compared by.
//!
//! Always true: two clients with equal pictures hold the same refs, boundary and objects.
//!
//! Never here: how packs were delivered; deltas and packs may differ.

use std::fs;
use std::path::Path;

use crate::git;

/// Refs, HEAD, shallow boundary and objects of a client.
#[derive(Debug, PartialEq, Eq)]
pub struct Picture {
    /// `HEAD` as it stands in its file.
    pub head: String,
    /// `<object id> <ref>` per ref, sorted by name.
    pub refs: String,
    /// The shallow file, sorted.
    pub shallow: Vec<String>,
    /// `<object id> <type> <size>` of every object in the client's own store, sorted.
    pub objects: Vec<String>,
    /// FETCH_HEAD without the URLs.
    pub fetched: Vec<String>,
}

// === impl Picture ===

impl Picture {
    /// Reads a client's folder, bare or not.
    pub fn of(client: &Path) -> Self {
        let folder = git::run(client, &["rev-parse", "--absolute-git-dir"]);
        let folder = Path::new(&folder);
        let batch = ["cat-file", "--batch-all-objects", "--batch-check", "--unordered"];
        Self {
            head: fs::read_to_string(folder.join("HEAD")).expect("a clone has a HEAD"),
            refs: git::run(
                client,
                &["for-each-ref", "--format=%(objectname) %(refname) %(symref)"],
            ),
            shallow: sorted(&fs::read_to_string(folder.join("shallow")).unwrap_or_default()),
            objects: sorted(&git::run(client, &batch)),
            fetched: fetched(&folder.join("FETCH_HEAD")),
        }
    }

    /// The first difference in words, `None` where both are equal.
    pub fn difference(&self, stock: &Self) -> Option<String> {
        if self == stock {
            return None;
        }
        let parts = [
            ("HEAD", vec![self.head.clone()], vec![stock.head.clone()]),
            ("refs", sorted(&self.refs), sorted(&stock.refs)),
            ("shallow", self.shallow.clone(), stock.shallow.clone()),
            ("objects", self.objects.clone(), stock.objects.clone()),
            ("FETCH_HEAD", self.fetched.clone(), stock.fetched.clone()),
        ];
        let (name, ours, stock) = parts.into_iter().find(|(_, ours, stock)| ours != stock)?;
        let extra: Vec<_> = ours.iter().filter(|row| !stock.contains(row)).take(5).collect();
        let lost: Vec<_> = stock.iter().filter(|row| !ours.contains(row)).take(5).collect();
        Some(format!("{name} differ: only ours {extra:?}, only stock {lost:?}"))
    }
}

/// Asks git whether everything that the client's refs reach is there and whole.
///
/// # Panics
/// If `git fsck` finds a fault.
pub fn fsck(client: &Path) {
    git::run(client, &["fsck", "--full", "--strict", "--no-progress", "--no-dangling"]);
}

fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Lines of FETCH_HEAD up to the words `of <url>`.
fn fetched(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut lines: Vec<String> = text
        .lines()
        .map(|line| match line.rsplit_once(" of ") {
            Some((kept, _)) => kept.to_owned(),
            None => line.split('\t').take(2).collect::<Vec<_>>().join(" "),
        })
        .collect();
    lines.sort();
    lines
}
