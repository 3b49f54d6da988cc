//! How a repository lies on disk: packs, indexes, loose files, alternates.
//!
//! Always true: a shape changes the storage and never what the repository contains.
//!
//! Never here: contents.

use std::fs;

use crate::git;
use crate::repository::{Kind, Repository};

/// One way to lie on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Every object and every ref in a file of its own.
    Loose,
    /// One pack with a bitmap, packed refs.
    OnePack,
    /// Several packs, the rest loose.
    ManyPacks,
    /// Several packs under a multi-pack index with a bitmap, and a commit-graph chain.
    MultiPackIndex,
    /// One pack and a single commit-graph, refs half packed and half loose over them.
    CommitGraph,
    /// No object of its own: all in another repository, named by a relative path.
    Alternate,
    /// An alternate of an alternate.
    NestedAlternate,
}

/// Every shape.
pub const ALL: [Shape; 7] = [
    Shape::Loose,
    Shape::OnePack,
    Shape::ManyPacks,
    Shape::MultiPackIndex,
    Shape::CommitGraph,
    Shape::Alternate,
    Shape::NestedAlternate,
];

// === impl Shape ===

impl Shape {
    /// Brings a repository into this shape.
    pub fn apply(self, repository: &Repository) {
        match self {
            Self::Loose => unpack(repository),
            Self::OnePack => {
                repository.git(&["repack", "-adq", "--write-bitmap-index"]);
                repository.git(&["pack-refs", "--all"]);
            }
            Self::ManyPacks => many_packs(repository),
            Self::MultiPackIndex => {
                many_packs(repository);
                repository.git(&["repack", "-dq"]);
                repository.git(&["multi-pack-index", "write", "--bitmap"]);
                repository.git(&["commit-graph", "write", "--reachable", "--split"]);
            }
            Self::CommitGraph => {
                repository.git(&["repack", "-adq"]);
                repository.git(&["commit-graph", "write", "--reachable"]);
                repository.git(&["pack-refs", "--all"]);
                repository.git(&["update-ref", "refs/heads/many/00", "main"]);
                repository.git(&["update-ref", "refs/heads/loose-after", "v1^{commit}"]);
                repository.git(&["update-ref", "-d", "refs/heads/many/19"]);
            }
            Self::Alternate => borrow(repository, 1),
            Self::NestedAlternate => borrow(repository, 2),
        }
    }
}

/// Takes every object out of its pack, and every ref out of packed-refs.
fn unpack(repository: &Repository) {
    let packs = repository.path.join("objects/pack");
    for pack in packs_of(repository) {
        let moved = repository.path.join("moved.pack");
        fs::rename(packs.join(format!("{pack}.pack")), &moved).expect("a pack can be moved");
        fs::remove_file(packs.join(format!("{pack}.idx"))).expect("an index can be removed");
        let bytes = fs::read(&moved).expect("a pack can be read");
        git::run_with(&repository.path, &["unpack-objects", "-q"], &bytes);
        fs::remove_file(moved).expect("a pack can be removed");
    }
}

/// Names of the packs without their endings.
fn packs_of(repository: &Repository) -> Vec<String> {
    let entries = fs::read_dir(repository.path.join("objects/pack")).expect("packs can be listed");
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter_map(|name| name.strip_suffix(".pack").map(str::to_owned)).collect()
}

fn many_packs(repository: &Repository) {
    unpack(repository);
    for (have, want) in [("", "v0"), ("^v0", "v1"), ("^v1", "v2")] {
        let revisions = format!("{want}\n{have}\n");
        let base = repository.path.join("objects/pack/pack").to_string_lossy().into_owned();
        let command = ["pack-objects", "-q", "--revs", "--delta-base-offset", &base];
        git::run_with(&repository.path, &command, revisions.as_bytes());
    }
    repository.git(&["prune-packed"]);
}

/// Moves the objects into a repository beside it, `depth` steps away.
fn borrow(repository: &Repository, depth: usize) {
    let storage = repository.path.parent().expect("a repository lies in a storage");
    let mut objects = repository.path.join("objects");
    for step in 0..depth {
        let name = format!("{}-pool{step}", repository.relative().trim_end_matches(".git"));
        let pool = Repository::create(storage, &name, Kind::Empty);
        let lender = pool.path.join("objects");
        fs::remove_dir_all(&lender).expect("an empty object folder can be removed");
        fs::rename(&objects, &lender).expect("objects can be moved");
        for folder in ["info", "pack"] {
            fs::create_dir_all(objects.join(folder)).expect("a folder can be created");
        }
        let line = format!("../../{}/objects\n", pool.relative());
        fs::write(objects.join("info/alternates"), line).expect("alternates can be written");
        objects = lender;
    }
}
