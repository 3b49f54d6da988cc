//! What a push leaves in a server's repository, in words that two repositories can be compared by.
//!
//! Always true:
//! - Two repositories with equal remains hold the same refs, objects, logs and files, in equally
//!   many packs and loose files. Only of what no ref leads to, ours may hold less: stock git keeps
//!   the objects of what it refuses behind `pre-receive`.
//! - What no push may leave behind is a panic: locks, temporary files, quarantines, `.keep` files.
//!
//! Never here: the deltas in packs; the times in logs.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gitring_tests::git;

/// What the node keeps for itself in a repository.
const ROOM: &str = "gitring";

/// A server answers before it removes what it has refused.
const REMOVAL_MAX: Duration = Duration::from_secs(10);

/// What is in the repositories of a server.
#[derive(Debug, Default)]
pub(crate) struct Remains {
    /// Everything that refs lead to, and files beside objects.
    lines: Vec<String>,
    /// Every object.
    objects: Vec<String>,
    /// Numbers of loose files and packs.
    counts: Vec<String>,
}

// === impl Remains ===

impl Remains {
    /// Adds a repository of the folder `room`. `is_piped` if no server lives on.
    pub(crate) fn add(&mut self, repository: &Path, room: &Path, is_piped: bool) {
        let place = room.to_string_lossy().into_owned();
        let name = repository.file_name().unwrap_or_default();
        self.lines.push(format!("# {}", name.to_string_lossy()));
        self.lines.extend(of(repository, is_piped).iter().map(|line| line.replace(&place, "")));
        let batch = ["cat-file", "--batch-all-objects", "--batch-check", "--unordered"];
        self.objects.extend(sorted(repository, &batch));
        let counts = sorted(repository, &["count-objects", "-v"]);
        let counts = counts.iter().filter(|line| !line.contains("size"));
        self.counts.extend(counts.map(|line| line.replace(&place, "")));
    }

    /// The first differences of ours, `None` where there are none.
    pub(crate) fn difference(&self, ours: &Self) -> Option<String> {
        let mut kinds = vec![(&ours.lines, &self.lines)];
        let alien = ours.objects.iter().any(|object| !self.objects.contains(object));
        if alien {
            kinds.push((&ours.objects, &self.objects));
        }
        if ours.objects.len() == self.objects.len() {
            kinds.push((&ours.counts, &self.counts));
        }
        let (ours, stock) = kinds.into_iter().find(|(ours, stock)| ours != stock)?;
        let extra: Vec<_> = ours.iter().filter(|line| !stock.contains(line)).take(5).collect();
        let lost: Vec<_> = stock.iter().filter(|line| !ours.contains(line)).take(5).collect();
        Some(format!("the server differs: only ours {extra:#?}, only stock {lost:#?}"))
    }
}

/// Lines of what git prints, sorted.
fn sorted(folder: &Path, command: &[&str]) -> Vec<String> {
    let output = git::try_run(folder, command);
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn of(repository: &Path, is_piped: bool) -> Vec<String> {
    let folder = git::run(repository, &["rev-parse", "--absolute-git-dir"]);
    let folder = Path::new(&folder);
    let mut lines = vec![format!("HEAD {}", text(&folder.join("HEAD")).trim())];
    let format = "--format=ref %(objectname) %(refname) %(symref)";
    let reachable = ["rev-list", "--objects", "--all", "--no-object-names"];
    for command in [&["for-each-ref", format][..], &reachable] {
        lines.extend(sorted(folder, command));
    }
    let fsck = git::try_run(folder, &["fsck", "--full", "--strict", "--no-dangling"]);
    lines.push(format!("fsck {:?}", fsck.status.code()));
    lines.extend(String::from_utf8_lossy(&fsck.stderr).lines().map(str::to_owned));
    let files = settled(folder, is_piped);
    for file in files {
        lines.extend(line_of(folder, &file, is_piped));
    }
    lines
}

/// A text in which every quarantine has the same name.
pub(crate) fn without_quarantine(text: &str) -> String {
    // git names what is below "." of a folder that it has gone into.
    let text = text.replace("/./", "/");
    let mut pieces = text.split("tmp_objdir-incoming-");
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let rest = piece.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '-');
        out.push_str(&format!("<quarantine>{rest}"));
    }
    out
}

/// What is said of one file of the git directory.
fn line_of(folder: &Path, file: &Path, is_piped: bool) -> Vec<String> {
    let name = file.to_string_lossy();
    let last = file.file_name().unwrap_or_default().to_string_lossy();
    let is_litter = last.starts_with("tmp_") || last.ends_with(".lock") || last.ends_with(".keep");
    assert!(!is_litter && !name.contains("tmp_objdir"), "left behind: {name}");
    // Refs are compared as git reads them; many at once may be packed from the beginning.
    if name.starts_with("refs/") || name == "packed-refs" {
        return Vec::new();
    }
    if name.starts_with("objects/") && !name.starts_with("objects/info/") {
        return Vec::new();
    }
    if name.starts_with("logs/") {
        let log = text(&folder.join(file));
        return log.lines().map(|line| format!("{name}: {}", entry(line, is_piped))).collect();
    }
    if file.starts_with(ROOM) {
        // A server that goes on holds its session; a program that has ended holds none.
        assert!(last.ends_with(".session") && !is_piped, "left behind: {name}");
        return Vec::new();
    }
    vec![format!("file {name}")]
}

/// A line of a log without the time; over HTTP, each server names the pusher differently.
fn entry(line: &str, is_piped: bool) -> String {
    let (front, message) = line.split_once('\t').unwrap_or((line, ""));
    let words =
        if is_piped { front.rsplit_once('>').unwrap_or((front, "")).0 } else { &front[..81] };
    format!("{words}\t{message}")
}

/// All files, once a server that lives on has removed what was refused.
fn settled(folder: &Path, is_piped: bool) -> Vec<PathBuf> {
    let start = Instant::now();
    loop {
        let mut files = Vec::new();
        list(folder, Path::new(""), &mut files);
        let is_clean = !files.iter().any(|file| file.to_string_lossy().contains("tmp_objdir"));
        if is_clean || is_piped || start.elapsed() > REMOVAL_MAX {
            files.sort();
            return files;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn list(root: &Path, below: &Path, files: &mut Vec<PathBuf>) {
    // What is being removed may be gone by now.
    for entry in fs::read_dir(root.join(below)).into_iter().flatten().flatten() {
        let path = below.join(entry.file_name());
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        // Of an empty folder that should be gone, its name tells.
        files.extend(path.to_string_lossy().contains("tmp_").then(|| path.clone()));
        match is_folder {
            true => list(root, &path, files),
            false => files.push(path),
        }
    }
}
