//! What is removed, what is not, and what the sweep finds.

use crate::storage::tests::{NAME, init, names_below, repositories, runtime};
use crate::storage::{
    CreateError, CreateOptions, ObjectFormat, RelativePath, RemoveError, Repositories, StorageName,
};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, SystemTime};

fn remove(repositories: &Repositories, path: &str) -> Result<(), RemoveError> {
    let storage = StorageName::parse(NAME).unwrap();
    let path = RelativePath::clean(path).unwrap();
    runtime().block_on(repositories.remove(&storage, &path))
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test prepares files")]
fn what_is_removed_is_gone_and_nothing_else() {
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let at = |name: &str| dir.path().join(name);
    let repositories = repositories(dir.path());
    let long = format!("{}.git", "n".repeat(240));
    for name in ["a.git", "group/linked.git", &long, "held.git", "damaged.git"] {
        init(&at(name));
    }
    fs::write(outside.path().join("kept"), "").unwrap();
    symlink(outside.path(), at("a.git/objects/link")).unwrap();
    symlink(outside.path(), at("out")).unwrap();
    symlink("group/linked.git", at("alias.git")).unwrap();
    symlink("+gitaly", at("internal")).unwrap();
    fs::remove_file(at("damaged.git/HEAD")).unwrap();
    fs::write(at("held.git.lock"), "").unwrap();
    for number in 0..3000 {
        fs::write(at("a.git/objects").join(number.to_string()), "x").unwrap();
    }
    fs::create_dir_all(at("a.git/refs/heads/a/b/c")).unwrap();
    fs::set_permissions(at("a.git/refs/heads/a/b"), Permissions::from_mode(0o000)).unwrap();
    let check = |path: &str, expected: &str| {
        let found =
            remove(&repositories, path).map_or_else(|error| error.to_string(), |()| "ok".into());
        assert_eq!(found, expected, "{path}");
    };
    check("a.git", "ok");
    check("a.git", "repository does not exist");
    check("alias.git", "ok");
    check(&long, "ok");
    check("damaged.git", "ok");
    check("held.git", "repository is already locked");
    check("missing/a.git", "repository does not exist");
    check("out/kept", "the path leads out of its storage");
    check("+gitaly", "the path is reserved for the server");
    check("internal/tmp", "the path is reserved for the server");
    check("out", "ok");
    assert!(outside.path().join("kept").exists());
    assert!(at("group/linked.git/HEAD").exists() && at("held.git/HEAD").exists());
    assert_eq!(names_below(&at("+gitaly")), ["tmp"]);
}

/// Goal: creations and removals of one path happen one after the other.
/// Method: three nodes on one storage create and remove at random; each path must have been created
/// as often as removed, or once more if it exists.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test looks at files")]
fn creators_and_removers_take_turns() {
    let dir = tempfile::tempdir().unwrap();
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let balances: [AtomicI32; 3] = Default::default();
    std::thread::scope(|scope| {
        for node in 0..3 {
            let (dir, balances) = (&dir, &balances);
            scope.spawn(move || {
                let repositories = repositories(dir.path());
                let mut random = seed ^ node;
                for _ in 0..60 {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let which = (random >> 40) % 3;
                    let change =
                        change(&repositories, &format!("a/{which}.git"), random >> 63 == 0);
                    balances[which as usize].fetch_add(change, Ordering::SeqCst);
                }
            });
        }
    });
    for (which, balance) in balances.into_iter().enumerate() {
        let path = dir.path().join(format!("a/{which}.git"));
        assert_eq!(balance.into_inner(), i32::from(path.join("HEAD").exists()), "{which}");
        assert!(!path.with_extension("git.lock").exists(), "{which}");
    }
    assert_eq!(names_below(&dir.path().join("+gitaly")), ["tmp"]);
}

/// How many repositories more there are.
fn change(repositories: &Repositories, path: &str, is_creation: bool) -> i32 {
    if !is_creation {
        return match remove(repositories, path) {
            Ok(()) => -1,
            Err(RemoveError::NotFound | RemoveError::Raced | RemoveError::Locked) => 0,
            Err(error) => panic!("{error:?}"),
        };
    }
    let storage = StorageName::parse(NAME).unwrap();
    let path = RelativePath::clean(path).unwrap();
    let options = CreateOptions { object_format: ObjectFormat::Sha1, default_branch: Vec::new() };
    match runtime().block_on(repositories.create(&storage, &path, options)) {
        Ok(()) => 1,
        Err(CreateError::Exists | CreateError::Locked) => 0,
        Err(error) => panic!("{error:?}"),
    }
}

/// Goal: a repository that vanishes under its readers is an error of theirs, nothing worse.
#[test]
fn an_open_repository_can_be_removed() {
    let dir = tempfile::tempdir().unwrap();
    let repositories = repositories(dir.path());
    init(&dir.path().join("a.git"));
    let (storage, path) =
        (StorageName::parse(NAME).unwrap(), RelativePath::parse("a.git").unwrap());
    let opened = runtime().block_on(repositories.open(&storage, &path)).unwrap();
    remove(&repositories, "a.git").unwrap();
    assert!(opened.repository.snapshot().is_err());
    assert!(!runtime().block_on(repositories.exists(&storage, &path)).unwrap());
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test prepares files")]
fn the_sweep_takes_what_is_abandoned() {
    let dir = tempfile::tempdir().unwrap();
    let scratch = dir.path().join("+gitaly/tmp");
    let repositories = repositories(dir.path());
    runtime().block_on(repositories.sweep());
    let make = |name: &str, inner: &str, days: u64| {
        fs::create_dir_all(scratch.join(name).join(inner)).unwrap();
        let at = SystemTime::now() - Duration::from_secs(days * 24 * 3600 + 60);
        File::open(scratch.join(name)).unwrap().set_modified(at).unwrap();
    };
    make("repo-new", "objects", 6);
    make("repo-old", "objects", 7);
    make("a.git+removed-1", "repo/objects", 0);
    make("a.git+removed-2", "", 0);
    make("a.git+removed-3", "", 8);
    fs::write(scratch.join("file"), "").unwrap();
    let old = SystemTime::now() - Duration::from_secs(8 * 24 * 3600);
    File::create(scratch.join("old-file")).unwrap().set_modified(old).unwrap();
    symlink(dir.path(), scratch.join("link")).unwrap();
    runtime().block_on(repositories.sweep());
    let left = ["a.git+removed-2", "file", "link", "repo-new", "repo-new/objects"];
    assert_eq!(names_below(Path::new(&scratch)), left);
}
