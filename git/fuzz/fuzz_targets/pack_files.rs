//! Files that git wrote, damaged: pack, pack index, multi-pack index, commit-graph.
//!
//! Input: one byte for the file and the quarter of the objects that is asked for (its high bit: the
//! rest replaces the file), then edits of two bytes for the place, one for the length, and the bytes;
//! an edit of length zero cuts the file there.
//!
//! Answers are not compared: a header is told without inflating, so that a damaged offset shows only
//! when the object is read, which then may find it in another place.

#![no_main]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use gitring_git::ObjectId;
use gitring_git_fuzz::scratch::{ask_everything, directory, open_store};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

struct Seed {
    objects: PathBuf,
    file: PathBuf,
    whole: Vec<u8>,
    ids: Vec<ObjectId>,
}

static SEEDS: LazyLock<(TempDir, Vec<Seed>)> = LazyLock::new(|| {
    let dir = directory();
    let one = repository(&dir, "one", 6);
    git(&one, &["repack", "-adfq"], "");
    git(&one, &["commit-graph", "write", "--reachable"], "");
    let two = repository(&dir, "two", 3);
    git(&two, &["repack", "-adfq"], "");
    git(&two, &["fast-import", "--quiet"], &stream("refs/heads/more", 7));
    git(&two, &["repack", "-dfq"], "");
    git(&two, &["multi-pack-index", "write"], "");
    let seeds = [
        (&one, "pack", "pack"),
        (&one, "pack", "idx"),
        (&one, "info", "commit-graph"),
        (&two, "pack", "multi-pack-index"),
    ];
    let seeds = seeds.map(|(repository, folder, ending)| seed(repository, folder, ending));
    (dir, seeds.into())
});

fuzz_target!(|data: &[u8]| {
    let Some((&which, mut edits)) = data.split_first() else { return };
    let seed = &SEEDS.1[usize::from(which & 3)];
    let mut content = seed.whole.clone();
    if which & 0x80 != 0 {
        content = edits.to_vec();
    } else {
        while let [high, low, length, rest @ ..] = edits {
            let at = (usize::from(*high) << 8 | usize::from(*low)) % (content.len() + 1);
            if *length == 0 {
                content.truncate(at);
            }
            let length =
                usize::from(length % 16).min(rest.len()).min(content.len() - at.min(content.len()));
            content[at..at + length].copy_from_slice(&rest[..length]);
            edits = &rest[length..];
        }
    }
    // In place: a directory that changes all the time would be listed for every object.
    fs::write(&seed.file, &content).expect("a file can be written");
    let store = open_store(&seed.objects);
    let part = usize::from(which >> 2 & 3);
    seed.ids.iter().skip(part).step_by(4).for_each(|id| ask_everything(&store, id));
    fs::write(&seed.file, &seed.whole).expect("a file can be written");
});

fn repository(dir: &TempDir, name: &str, commits: usize) -> PathBuf {
    let path = dir.path().join(name);
    git(dir.path(), &["init", "--quiet", "--bare", name], "");
    git(&path, &["fast-import", "--quiet"], &stream("refs/heads/main", commits));
    path
}

/// A branch of commits that change two files in turn, and an annotated tag of its tip.
fn stream(branch: &str, commits: usize) -> String {
    let mut stream = String::new();
    let by = "a <a@example.com> 1700000000 +0000\ndata 1\nx\n";
    for n in 0..commits {
        let text = format!("{branch} {n}\n").repeat(40);
        let file = n % 2;
        stream += &format!("commit {branch}\ncommitter {by}M 100644 inline file{file}.txt\n");
        stream += &format!("data {}\n{text}\n", text.len());
    }
    stream + &format!("tag v{commits}\nfrom {branch}\ntagger {by}")
}

/// Runs git without the machine's configuration; its output.
fn git(directory: &Path, arguments: &[&str], input: &str) -> String {
    let mut child = Command::new("git")
        .args(arguments)
        .current_dir(directory)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("git can be started");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(input.as_bytes()).expect("git reads all of it");
    drop(stdin);
    let output = child.wait_with_output().expect("git ends");
    assert!(output.status.success(), "git {arguments:?}");
    String::from_utf8(output.stdout).expect("hex digits")
}

fn seed(repository: &Path, folder: &str, ending: &str) -> Seed {
    let objects = repository.join("objects");
    let entries = fs::read_dir(objects.join(folder)).expect("a folder of git's");
    let mut paths = entries.map(|entry| entry.expect("an entry").path());
    let file = paths
        .find(|path| path.to_string_lossy().ends_with(ending))
        .unwrap_or_else(|| panic!("no {ending}"));
    let list = ["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"];
    let listed = git(repository, &list, "");
    let ids = listed.lines().map(|id| ObjectId::from_hex(id.as_bytes()).expect("an id")).collect();
    // git makes its files read-only.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("a file of ours");
    let whole = fs::read(&file).expect("a file of git's");
    Seed { objects, file, whole, ids }
}
