//! Commits to push: each with a pack that holds what it adds to the one before.

use std::process::Stdio;

use gitring_tests::git;
use gitring_tests::history::Stream;
use gitring_tests::repository::{Kind, Repository};

/// Refs that updates move between: two commits that everybody has.
pub(crate) const EVERYBODYS: &[u8] = b"\
commit refs/heads/base
committer A <a@example.com> 1600000000 +0000
data 3
one
commit refs/heads/other
committer A <a@example.com> 1600000060 +0000
data 3
two
done
";

/// Their ids.
pub(crate) const EVERYBODYS_IDS: [&str; 2] =
    ["4d89c6b561c360b32a25a7ee32cac69d73d2ef94", "3ccdf9183d2643006bc5ce695db2822288413859"];

/// A line of commits.
#[derive(Debug)]
pub(crate) struct Chain {
    links: Vec<Link>,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Link {
    /// Its id.
    pub(crate) id: String,
    /// What it adds to the one before, as a pack.
    pub(crate) pack: Vec<u8>,
}

// === impl Chain ===

impl Chain {
    /// `commits` of their own, unlike those of other numbers.
    pub(crate) fn new(number: usize, commits: usize) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let repository = Repository::create(folder.path(), "chain", Kind::Empty);
        let mut history = Stream::new(number as u64 + 1);
        let mut parents = Vec::new();
        for at in 0..commits {
            parents = vec![history.commit_text("main", &parents, &format!("file-{}", at % 7))];
        }
        repository.import(&history.finish());
        let ids = repository.git(&["rev-list", "--reverse", "main"]);
        let mut before = String::new();
        let mut links = Vec::new();
        for id in ids.lines() {
            let wanted = format!("{id}\n{before}");
            let words = ["pack-objects", "--revs", "--stdout", "-q"];
            let mut command = git::command(&folder.path().join("chain.git"));
            command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
            let packed = git::feed(command, wanted.as_bytes());
            assert!(packed.status.success(), "{packed:?}");
            links.push(Link { id: id.to_owned(), pack: packed.stdout });
            before = format!("^{id}\n");
        }
        Self { links }
    }

    /// The commit at a place; none before the first.
    pub(crate) fn link(&self, place: Option<usize>) -> Option<&Link> {
        self.links.get(place?)
    }

    /// The place behind `place`; behind the last one none, from where it begins again.
    pub(crate) fn next(&self, place: Option<usize>) -> Option<usize> {
        let next = place.map_or(0, |place| place + 1);
        (next < self.links.len()).then_some(next)
    }
}
