//! Real directories, symbolic links that try to lead out, repositories that come and go.

use super::*;
use prometheus::Registry;
use std::os::unix::fs::symlink;
use std::process::Command;

#[expect(clippy::disallowed_methods, reason = "a test waits for its own git")]
pub(super) fn run(command: &mut Command) {
    assert!(command.status().unwrap().success(), "{command:?}");
}

fn init(path: &Path) {
    run(Command::new("git").args(["init", "-q", "--bare"]).arg(path));
}

fn repositories(root: &Path) -> Repositories {
    let config = StorageConfig { name: "default".into(), path: root.to_owned() };
    let storages = Storages::new(&[config]).unwrap();
    let workers = Workers::start(1, &Registry::new()).unwrap();
    Repositories::new(storages, Environment::default(), workers)
}

fn open(repositories: &Repositories, path: &str) -> Result<Arc<Repository>, OpenError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let storage = StorageName::parse("default").unwrap();
    let path = RelativePath::parse(path).unwrap();
    runtime.block_on(repositories.open(&storage, &path)).map(|opened| opened.repository)
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
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (storage, path) = (StorageName::parse("other"), RelativePath::parse("a.git"));
    let error = runtime.block_on(repositories.open(&storage.unwrap(), &path.unwrap())).unwrap_err();
    assert_eq!(error.to_string(), "no storage is named 'other'");
}
