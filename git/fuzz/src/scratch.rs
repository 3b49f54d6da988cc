//! Directories of one process, for files that hold what the fuzzer made.
//!
//! Always true: names begin with `gitring-fuzz-`. libFuzzer ends a process without dropping
//! anything, so what is left behind can be found and removed.
//! Never here: what the files mean.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::ZlibEncoder;
use gitring_git::objects::Store;
use gitring_git::{ObjectId, refs, repository};
use tempfile::TempDir;

/// A bare repository without objects, whose files a target writes.
#[derive(Debug)]
pub struct Scratch {
    dir: TempDir,
}

// === impl Scratch ===

impl Default for Scratch {
    fn default() -> Self {
        let dir = directory();
        for folder in ["objects/pack", "objects/info", "refs/heads"] {
            fs::create_dir_all(dir.path().join(folder)).expect("a directory can be made");
        }
        fs::write(dir.path().join("HEAD"), "ref: refs/heads/main\n").expect("HEAD can be written");
        Self { dir }
    }
}

impl Scratch {
    /// The path of a file of the repository.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file of the repository.
    pub fn write(&self, name: &str, content: &[u8]) {
        fs::write(self.path(name), content).expect("a file can be written");
    }

    /// Reads the repository anew.
    pub fn snapshot(
        &self,
    ) -> Result<std::sync::Arc<repository::Snapshot>, repository::RepositoryError> {
        repository::Repository::open(self.dir.path(), Default::default())?.snapshot()
    }

    /// Opens the objects anew.
    pub fn store(&self) -> Store {
        open_store(&self.path("objects"))
    }
}

/// A temporary directory, in memory where there is one.
pub fn directory() -> TempDir {
    let mut named = tempfile::Builder::new();
    named.prefix("gitring-fuzz-");
    let made = match Path::new("/dev/shm").is_dir() {
        true => named.tempdir_in("/dev/shm"),
        false => named.tempdir(),
    };
    made.expect("a temporary directory can be made")
}

/// Opens the objects below `path`; listing them cannot fail, whatever they hold.
pub fn open_store(path: &Path) -> Store {
    Store::open(path, &Default::default()).expect("the directories are readable")
}

/// Asks a store everything about one object.
pub fn ask_everything(store: &Store, id: &ObjectId) {
    drop((store.contains(id), store.kind(id), store.commit(id), store.peel(id)));
    for error in [store.header(id).err(), store.read(id).err()].into_iter().flatten() {
        assert!(!error.to_string().is_empty());
    }
}

/// The same, where an object has one place: what is told of it must be true of its content.
pub fn ask_and_compare(store: &Store, id: &ObjectId) {
    ask_everything(store, id);
    let Ok(Some(object)) = store.read(id) else { return };
    let header = store.header(id).expect("readable").expect("there");
    assert_eq!((header.kind, header.size_bytes), (object.kind, object.data.len() as u64));
    assert_eq!(store.kind(id).expect("readable"), Some(object.kind));
}

/// Whether a name could stand in a list of refs.
pub fn is_ref_name(name: &[u8]) -> bool {
    refs::is_valid_name(name)
}

/// `content` as zlib has it, hardly compressed: inputs stay readable in what was made of them.
pub fn deflate(content: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::none());
    encoder.write_all(content).expect("a Vec takes every byte");
    encoder.finish().expect("a Vec takes every byte")
}
