//! Real directories, symbolic links that try to lead out, repositories that come and go.

use super::*;
use prometheus::Registry;
use std::os::unix::fs::symlink;
use std::process::Command;

#[expect(clippy::disallowed_methods, reason = "a test waits for its own git")]
pub(super) fn run(command: &mut Command) {
    assert!(command.status().unwrap().success(), "{command:?}");
}

pub(super) fn init(path: &Path) {
    run(Command::new("git").args(["init", "-q", "--bare"]).arg(path));
}

pub(super) const NAME: &str = "default";

pub(super) fn repositories(root: &Path) -> Repositories {
    let config = StorageConfig { name: NAME.into(), path: root.to_owned() };
    let storages = Storages::new(&[config]).unwrap();
    let workers = Workers::start(1, &Registry::new()).unwrap();
    let writing = Writing::start(1, &Registry::new(), true).unwrap();
    Repositories::new(storages, Environment::default(), workers, writing)
}

pub(super) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Paths of everything below `path`, sorted; links are not followed.
#[expect(clippy::disallowed_methods, reason = "a test looks at files")]
pub(super) fn names_below(path: &Path) -> Vec<String> {
    let (mut names, mut pending) = (Vec::new(), vec![path.to_owned()]);
    while let Some(directory) = pending.pop() {
        // Whoever looks while others remove meets what is gone already.
        let Ok(entries) = std::fs::read_dir(directory) else { continue };
        for entry in entries.map(Result::unwrap) {
            let name = entry.path().strip_prefix(path).unwrap().to_str().unwrap().to_owned();
            names.push(name);
            if entry.file_type().unwrap().is_dir() {
                pending.push(entry.path());
            }
        }
    }
    names.sort();
    names
}

fn open(repositories: &Repositories, path: &str) -> Result<Arc<Repository>, OpenError> {
    let storage = StorageName::parse(NAME).unwrap();
    let path = RelativePath::parse(path).unwrap();
    runtime().block_on(repositories.open(&storage, &path)).map(|opened| opened.repository)
}

fn check(repositories: &Repositories, path: &str, expected: &str) {
    let found = match open(repositories, path) {
        Ok(repository) => repository.git_dir().file_name().unwrap().to_string_lossy().into_owned(),
        Err(error) => error.to_string(),
    };
    assert_eq!(found, expected, "{path}");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test prepares directories")]
fn nothing_outside_of_the_storage_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let (root, outside) = (dir.path().join("storage"), dir.path().join("outside"));
    init(&root.join("group/real.git"));
    init(&outside.join("secret.git"));
    symlink("real.git", root.join("group/alias.git")).unwrap();
    symlink("../outside", root.join("parent")).unwrap();
    symlink(outside.join("secret.git"), root.join("stolen.git")).unwrap();
    symlink("..", root.join("up")).unwrap();
    symlink(".", root.join("self")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    std::fs::create_dir(root.join("empty")).unwrap();
    std::fs::write(root.join("file"), "").unwrap();
    let repositories = repositories(&root);
    check(&repositories, "group/real.git", "real.git");
    check(&repositories, "group/alias.git", "real.git");
    check(&repositories, "self/group/real.git", "real.git");
    check(&repositories, "stolen.git", "the path leads out of its storage");
    check(&repositories, "parent/secret.git", "the path leads out of its storage");
    check(&repositories, "up/outside/secret.git", "the path leads out of its storage");
    check(&repositories, "up", "the path leads out of its storage");
    check(&repositories, "self", "the path leads out of its storage");
    check(&repositories, "missing.git", "no such repository");
    check(&repositories, "file/below", "no such repository");
    check(&repositories, &"n".repeat(300), "no such repository");
    check(&repositories, "loop", "look up the repository");
    check(&repositories, "empty", "not a git repository");
    check(&repositories, "file", "not a git repository");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test deletes a directory")]
fn a_repository_created_again_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.git");
    let repositories = repositories(dir.path());
    init(&path);
    let first = open(&repositories, "a.git").unwrap();
    assert!(Arc::ptr_eq(&first, &open(&repositories, "a.git").unwrap()));
    std::fs::remove_dir_all(&path).unwrap();
    check(&repositories, "a.git", "no such repository");
    init(&path);
    assert!(!Arc::ptr_eq(&first, &open(&repositories, "a.git").unwrap()));
}

#[test]
fn unknown_storages_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let repositories = repositories(dir.path());
    let (storage, path) = (StorageName::parse("other"), RelativePath::parse("a.git"));
    let error =
        runtime().block_on(repositories.open(&storage.unwrap(), &path.unwrap())).unwrap_err();
    assert_eq!(error.to_string(), "no storage is named 'other'");
}

/// Expected values: what Gitaly's RepositoryExists answers, links out of the storage aside.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test prepares directories")]
fn a_repository_exists_if_it_has_objects_refs_and_head() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("storage");
    for name in ["a.git", "no-head.git", "no-refs.git", "no-objects.git", "broken-head.git"] {
        init(&root.join(name));
    }
    init(&dir.path().join("secret.git"));
    std::fs::remove_file(root.join("no-head.git/HEAD")).unwrap();
    std::fs::remove_dir_all(root.join("no-refs.git/refs")).unwrap();
    std::fs::remove_dir_all(root.join("no-objects.git/objects")).unwrap();
    std::fs::write(root.join("broken-head.git/HEAD"), "").unwrap();
    init(&root.join("linked-head.git"));
    std::fs::rename(root.join("linked-head.git/HEAD"), root.join("linked-head.git/H")).unwrap();
    symlink("H", root.join("linked-head.git/HEAD")).unwrap();
    symlink("a.git", root.join("alias.git")).unwrap();
    symlink(dir.path().join("secret.git"), root.join("stolen.git")).unwrap();
    let repositories = repositories(&root);
    let check = |path: &str, expected: Result<bool, &str>, missing: Option<&str>| {
        let storage = StorageName::parse(NAME).unwrap();
        let relative = RelativePath::clean(path).unwrap();
        let found = runtime().block_on(repositories.exists(&storage, &relative));
        let found = found.map_err(|error| error.to_string());
        assert_eq!(found, expected.map_err(str::to_owned), "{path}");
        if let Err(OpenError::NotARepository { missing: found }) = open(&repositories, path) {
            assert_eq!(found, missing, "{path}");
        }
    };
    check("a.git", Ok(true), None);
    check("alias.git", Ok(true), None);
    check("linked-head.git", Ok(true), None);
    check("broken-head.git", Ok(true), None);
    check("no-head.git", Ok(false), Some("HEAD"));
    check("no-refs.git", Ok(false), Some("refs"));
    check("no-objects.git", Ok(false), Some("objects"));
    check("a.git/HEAD", Ok(false), None);
    check("a.git/HEAD/x", Ok(false), None);
    check("missing.git", Ok(false), None);
    check("stolen.git", Err("the path leads out of its storage"), None);
    // An unmounted disk is no proof that a repository does not exist.
    std::fs::rename(&root, dir.path().join("elsewhere")).unwrap();
    check("a.git", Err("storage does not exist"), None);
}

/// Goal: a path that turns into a link while it is open leads to what the link leads to.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test moves directories")]
fn links_are_followed_anew_each_time() {
    let dir = tempfile::tempdir().unwrap();
    let (root, outside) = (dir.path().join("storage"), dir.path().join("outside.git"));
    init(&root.join("a.git"));
    init(&root.join("b.git"));
    let repositories = repositories(&root);
    check(&repositories, "a.git", "a.git");
    std::fs::rename(root.join("a.git"), &outside).unwrap();
    symlink(&outside, root.join("a.git")).unwrap();
    check(&repositories, "a.git", "the path leads out of its storage");
    std::fs::remove_file(root.join("a.git")).unwrap();
    symlink("b.git", root.join("a.git")).unwrap();
    check(&repositories, "a.git", "b.git");
    std::fs::rename(root.join("b.git"), root.join("c.git")).unwrap();
    std::fs::remove_file(root.join("a.git")).unwrap();
    symlink("c.git", root.join("a.git")).unwrap();
    check(&repositories, "a.git", "c.git");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test writes files")]
fn sizes_formats_and_disks_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let repositories = repositories(dir.path());
    let storage = StorageName::parse(NAME).unwrap();
    let path = RelativePath::parse("a.git").unwrap();
    init(&dir.path().join("a.git"));
    let before = runtime().block_on(repositories.size_kib(&storage, &path)).unwrap();
    std::fs::create_dir_all(dir.path().join("a.git/objects/00/11")).unwrap();
    for number in 0..2000 {
        let file = dir.path().join("a.git/objects/00/11").join(number.to_string());
        std::fs::write(file, [0; 512]).unwrap();
    }
    symlink("/", dir.path().join("a.git/link")).unwrap();
    let after = runtime().block_on(repositories.size_kib(&storage, &path)).unwrap();
    assert_eq!(after - before, 1000, "{before} {after}");
    repositories.storages().identify();
    let status = runtime().block_on(repositories.statuses()).unwrap().remove(0);
    assert!(status.is_readable && status.is_writeable && status.filesystem_id.len() == 36);
    assert_eq!(names_below(dir.path()).iter().filter(|name| name.contains("test")).count(), 0);
    let disk = runtime().block_on(repositories.disks()).unwrap().remove(0);
    assert!(disk.available_bytes > 0 && disk.used_bytes > 0, "{disk:?}");
    let format = |path: &str| {
        let path = RelativePath::parse(path).unwrap();
        runtime().block_on(repositories.object_format(&storage, &path)).unwrap()
    };
    assert_eq!(format("a.git"), Some(ObjectFormat::Sha1));
    let mut init = Command::new("git");
    init.args(["init", "-q", "--bare", "--object-format=sha256"]);
    run(init.arg(dir.path().join("long.git")));
    assert_eq!(format("long.git"), Some(ObjectFormat::Sha256));
    std::fs::write(dir.path().join("long.git/config"), "[core]\nrepositoryformatversion=9\n")
        .unwrap();
    assert_eq!(format("long.git"), None);
}

/// Goal: what is answered without a worker is what stands at the path, and one proof serves all
/// who came before it.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test moves directories and waits")]
fn what_is_answered_at_once_stands_there() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("a.git"), dir.path().join("b.git"));
    init(&first);
    init(&second);
    let repositories = repositories(dir.path());
    let (storage, path) =
        (StorageName::parse(NAME).unwrap(), RelativePath::parse("a.git").unwrap());
    let glances = Glances::default();
    let glance = || repositories.at_once(&glances, &storage, &path, Opened::clone);
    let ask = || runtime().block_on(glance());
    let is_proven = || {
        (0..50).any(|_| {
            open(&repositories, "a.git").unwrap();
            std::thread::sleep(std::time::Duration::from_millis(10));
            ask().is_some()
        })
    };
    assert!(ask().is_none(), "nothing is open yet");
    if !is_proven() {
        eprintln!("nothing is proven at once on this file system or kernel");
        return;
    }
    let both = runtime().block_on(async { tokio::join!(glance(), glance()) });
    let (Some(one), Some(other)) = both else { panic!("was proven a moment ago") };
    assert!(Arc::ptr_eq(&one.snapshot, &other.snapshot));
    let id = gitring_git::ObjectId::from_hex(&[b'1'; 40]).unwrap();
    let work = |opened: &Opened| opened.snapshot.store.contains(&id).is_ok();
    assert!(runtime().block_on(repositories.at_once(&glances, &storage, &path, work)).is_none());
    std::fs::rename(&first, dir.path().join("away.git")).unwrap();
    assert!(ask().is_none(), "it is gone");
    std::fs::rename(&second, &first).unwrap();
    assert!(ask().is_none(), "it is another one");
    assert!(is_proven());
    std::fs::write(first.join("config"), "[core]\nbare = true\n").unwrap();
    assert!(ask().is_none(), "its configuration was edited");
    std::fs::remove_dir_all(&first).unwrap();
    symlink("away.git", &first).unwrap();
    assert!(ask().is_none(), "it is a link");
}
