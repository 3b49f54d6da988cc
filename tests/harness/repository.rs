//! Generated bare repositories in a storage folder.
//!
//! Always true: what a repository contains follows from its kind and seed; see [`crate::shape`]
//! for how it lies on disk.
//!
//! Never here: serving them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{git, history};

/// A bare repository on disk.
#[derive(Debug, Clone)]
pub struct Repository {
    /// Its folder.
    pub path: PathBuf,
}

/// What a repository contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// [`history::varied`] with tags of a blob and of a tree; HEAD names `main`.
    Varied,
    /// The same with a detached HEAD.
    DetachedHead,
    /// The same with a HEAD that names a branch which does not exist.
    UnbornHead,
    /// No object and no ref.
    Empty,
}

// === impl Repository ===

impl Repository {
    /// Creates `<storage>/<name>.git`.
    pub fn create(storage: &Path, name: &str, kind: Kind) -> Self {
        let path = storage.join(format!("{name}.git"));
        let text = path.to_string_lossy().into_owned();
        git::run(storage, &["init", "--quiet", "--bare", "--initial-branch=main", &text]);
        let repository = Self { path };
        if kind == Kind::Empty {
            return repository;
        }
        repository.import(&history::varied(11));
        let tree = repository.git(&["rev-parse", "main:src"]);
        repository.git(&["tag", "-a", "-m", "a tree", "tree", &tree]);
        let blob = repository.git(&["rev-parse", "v0:README"]);
        repository.git(&["tag", "-a", "-m", "a blob", "blob", &blob]);
        repository.git(&["update-ref", "refs/blobs/readme", &blob]);
        match kind {
            Kind::DetachedHead => {
                drop(repository.git(&["update-ref", "--no-deref", "HEAD", "v1^{commit}"]))
            }
            Kind::UnbornHead => {
                drop(repository.git(&["symbolic-ref", "HEAD", "refs/heads/unborn"]))
            }
            Kind::Varied | Kind::Empty => {}
        }
        repository
    }

    /// Feeds a stream to `git fast-import`.
    pub fn import(&self, stream: &[u8]) {
        git::run_with(&self.path, &["fast-import", "--quiet", "--done", "--force"], stream);
    }

    /// Adds [`history::continued`] to `main`, `later` and the tags.
    pub fn grow(&self, seed: u64) {
        let main = self.git(&["rev-parse", "main"]);
        self.import(&history::continued(&main, seed));
    }

    /// Allows what servers refuse by default: filters and wants of any object.
    pub fn allow_everything(&self) -> &Self {
        self.set("uploadpack.allowFilter", "true").set("uploadpack.allowAnySHA1InWant", "true")
    }

    /// Sets one configuration value.
    pub fn set(&self, key: &str, value: &str) -> &Self {
        self.git(&["config", key, value]);
        self
    }

    /// Runs git in the repository; see [`git::run`].
    pub fn git(&self, arguments: &[&str]) -> String {
        git::run(&self.path, arguments)
    }

    /// The object id of a revision.
    pub fn id(&self, revision: &str) -> String {
        self.git(&["rev-parse", "--verify", revision])
    }

    /// A copy of the folder under another name beside it.
    pub fn copy(&self, name: &str) -> Self {
        let path = self.path.with_file_name(format!("{name}.git"));
        copy_folder(&self.path, &path);
        Self { path }
    }

    /// The path that a URL of the storage's node ends with.
    pub fn relative(&self) -> String {
        self.path.file_name().expect("a repository has a name").to_string_lossy().into_owned()
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the copy can be created");
    for entry in fs::read_dir(from).expect("the folder can be read") {
        let entry = entry.expect("the folder can be read");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("the file can be copied");
        }
    }
}
