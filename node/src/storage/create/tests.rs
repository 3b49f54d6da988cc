//! git as the oracle, several creators at once, and creators that are killed.

use crate::storage::tests::{NAME, names_below, repositories, run, runtime};
use crate::storage::{
    CreateError, CreateOptions, ObjectFormat, PlaceError, RelativePath, Repositories, StorageName,
};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const CRASH_ROOT: &str = "GITRING_TEST_CRASH_ROOT";
/// Where the child begins.
const CRASH_ROUND: &str = "GITRING_TEST_CRASH_ROUND";
/// A file that tells that the child has begun.
const STARTED: &str = "started";

fn options(object_format: ObjectFormat, default_branch: &str) -> CreateOptions {
    CreateOptions { object_format, default_branch: default_branch.into() }
}

fn create(
    repositories: &Repositories,
    path: &str,
    options: CreateOptions,
) -> Result<(), CreateError> {
    let storage = StorageName::parse(NAME).unwrap();
    let path = RelativePath::clean(path).unwrap();
    runtime().block_on(repositories.create(&storage, &path, options))
}

/// Mode and content of everything below `path`; directories have no content.
#[expect(clippy::disallowed_methods, reason = "a test looks at files")]
fn tree(path: &Path) -> BTreeMap<String, (u32, Vec<u8>)> {
    let describe = |name: &String| {
        let path = path.join(name);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        (mode, if path.is_dir() { Vec::new() } else { fs::read(&path).unwrap() })
    };
    names_below(path).into_iter().map(|name| (name.clone(), describe(&name))).collect()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test looks at files")]
fn a_new_repository_is_what_git_init_makes() {
    let dir = tempfile::tempdir().unwrap();
    let repositories = repositories(dir.path());
    let check = |format: ObjectFormat, name: &str, branch: &str| {
        let path = dir.path().join(format!("a/{name}/{branch}.git"));
        create(&repositories, &format!("a/{name}/{branch}.git"), options(format, branch)).unwrap();
        let expected = dir.path().join("git").join(name).join(branch);
        let mut init = Command::new("git");
        init.args(["-c", "init.templateDir=", "-c", "init.defaultBranch=main", "init", "-q"]);
        init.args(["--bare", "--object-format", name]).arg(&expected);
        if !branch.is_empty() {
            init.args(["--initial-branch", branch]);
        }
        run(&mut init);
        let mut found = tree(&path);
        let stamp = found.remove(".gitaly-full-repack-timestamp").unwrap();
        assert_eq!(stamp, (0o100_600, Vec::new()), "{name} {branch}");
        assert_eq!(found, tree(&expected), "{name} {branch}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        run(Command::new("git").arg("-C").arg(&path).args(["fsck", "--strict"]));
    };
    check(ObjectFormat::Sha1, "sha1", "");
    check(ObjectFormat::Sha1, "sha1", "trunk");
    check(ObjectFormat::Sha1, "sha1", "ü/-x");
    check(ObjectFormat::Sha256, "sha256", "");
    check(ObjectFormat::Sha256, "sha256", "trunk");
    let left = names_below(&dir.path().join("+gitaly"));
    assert_eq!(left, ["tmp"], "nothing is left behind");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test prepares files")]
fn what_is_refused_leaves_nothing_behind() {
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let at = |name: &str| dir.path().join(name);
    let repositories = repositories(dir.path());
    create(&repositories, "group/a.git", options(ObjectFormat::Sha1, "")).unwrap();
    fs::create_dir(at("empty")).unwrap();
    fs::write(at("file"), "").unwrap();
    fs::write(at("held.git.lock"), "").unwrap();
    symlink("nowhere", at("dangling")).unwrap();
    symlink(outside.path(), at("out")).unwrap();
    symlink("group", at("inside")).unwrap();
    symlink("+gitaly", at("internal")).unwrap();
    let before = names_below(dir.path());
    let check = |path: &str, branch: &str, expected: &str| {
        let error = create(&repositories, path, options(ObjectFormat::Sha1, branch)).unwrap_err();
        assert_eq!(error.to_string(), expected, "{path} {branch}");
        assert_eq!(names_below(dir.path()), before, "{path} {branch}");
        assert!(names_below(outside.path()).is_empty(), "{path}");
    };
    check("group/a.git", "", "repository exists already");
    check("group//./a.git/", "", "repository exists already");
    check("inside/a.git", "", "repository exists already");
    check("empty", "", "repository exists already");
    check("file", "", "repository exists already");
    check("dangling", "", "repository exists already");
    check("held.git", "", "the repository is locked");
    check("out/a.git", "", "the path leads out of its storage");
    check("out/b/a.git", "", "the path leads out of its storage");
    check("+gitaly/a.git", "", "the path is reserved for the server");
    check("+gitaly", "", "the path is reserved for the server");
    check("internal/tmp/a.git", "", "the path is reserved for the server");
    check("file/a.git", "", "look for the repository");
    check("dangling/a.git", "", "create the directories above");
    check("new.git", "a..b", "invalid initial branch name: 'a..b'");
    check("new.git", "x.lock", "invalid initial branch name: 'x.lock'");
    create(&repositories, "inside/b.git", options(ObjectFormat::Sha1, "")).unwrap();
    assert!(at("group/b.git/HEAD").exists(), "links inside of the storage are followed");
    let (storage, path) = (StorageName::parse("other"), RelativePath::parse("a.git"));
    let options = options(ObjectFormat::Sha1, "");
    let created = repositories.create(storage.as_ref().unwrap(), path.as_ref().unwrap(), options);
    let error = runtime().block_on(created).unwrap_err();
    assert!(matches!(error, CreateError::Place(PlaceError::UnknownStorage(_))), "{error:?}");
}

/// Goal: of several creators one wins, and whoever looks meanwhile sees nothing or a repository.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test looks at files")]
fn one_creator_wins_and_nobody_sees_half_a_repository() {
    let dir = tempfile::tempdir().unwrap();
    let path = |round: u32| format!("@hashed/{}/{round}.git", round % 3);
    let is_over = AtomicBool::new(false);
    let (mut won, mut seen) = (0, 0);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut seen = 0;
            while !is_over.load(Ordering::Relaxed) {
                for round in 0..20 {
                    let path = dir.path().join(path(round));
                    if path.symlink_metadata().is_ok() {
                        assert_eq!(names_below(&path).len(), 9, "{path:?}");
                        seen += 1;
                    }
                }
            }
            seen
        });
        let creators: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    // A node of its own each: the lock has to work between processes.
                    let repositories = repositories(dir.path());
                    let create = |round| match create(
                        &repositories,
                        &path(round),
                        options(ObjectFormat::Sha1, ""),
                    ) {
                        Ok(()) => 1,
                        Err(CreateError::Exists | CreateError::Locked) => 0,
                        Err(error) => panic!("{error:?}"),
                    };
                    (0..20).map(create).sum::<u32>()
                })
            })
            .collect();
        won = creators.into_iter().map(|creator| creator.join().unwrap()).sum();
        is_over.store(true, Ordering::Relaxed);
        seen = watcher.join().unwrap();
    });
    assert_eq!(won, 20);
    assert!(seen > 0, "the watcher saw none");
}

/// Creates one repository after another, and removes every other one again, until it is killed.
/// Runs only as a child of the next test.
#[test]
#[ignore = "the other half of the_killed_leave_nothing_that_clients_see"]
#[expect(clippy::disallowed_methods, reason = "a test may wait for the disk")]
fn create_and_remove_until_killed() {
    let Some(root) = std::env::var_os(CRASH_ROOT) else { return };
    let repositories = repositories(Path::new(&root));
    let path = |round: u64| format!("@hashed/{}/{}/{round}.git", round % 2, round % 7);
    fs::write(Path::new(&root).join(STARTED), "").unwrap();
    // Each goes on a little behind where the last one began, however slow the disk is.
    let first: u64 = std::env::var(CRASH_ROUND).unwrap().parse().unwrap();
    for round in first.. {
        match create(&repositories, &path(round), options(ObjectFormat::Sha1, "")) {
            Ok(()) | Err(CreateError::Exists) => {}
            Err(error) => panic!("{error:?}"),
        }
        let (storage, path) = (StorageName::parse(NAME), RelativePath::parse(&path(round)));
        if round % 2 == 0 {
            let removed = repositories.remove(storage.as_ref().unwrap(), path.as_ref().unwrap());
            runtime().block_on(removed).unwrap();
        }
    }
}

/// Goal: who is killed at any moment of creating or removing leaves whole repositories, and paths
/// that can be created and removed.
/// Method: children that create and remove a sequence of repositories, each killed after a random
/// time; what the last one was at is found by the next, stale locks included.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test kills its own child")]
fn the_killed_leave_nothing_that_clients_see() {
    let dir = tempfile::tempdir().unwrap();
    let mut seed = u64::from(std::process::id());
    println!("seed {seed}");
    let test = "storage::create::tests::create_and_remove_until_killed";
    let mut locks_left = 0;
    for round in 0.. {
        // On a busy machine it takes more rounds to get anywhere.
        if round >= 30 && whole(dir.path()).len() > 3 || round == 200 {
            break;
        }
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact", "--ignored", "--test-threads=1"])
            .env(CRASH_ROOT, dir.path())
            .env(CRASH_ROUND, round.to_string())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // How long a process takes to start is the machine's business.
        let deadline = Instant::now() + Duration::from_secs(20);
        while fs::remove_file(dir.path().join(STARTED)).is_err() {
            assert!(Instant::now() < deadline, "the child did not start");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros((seed >> 33) % 100_000));
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9), "it was still creating");
        locks_left += visible(dir.path()).iter().filter(|path| path.ends_with(".lock")).count();
    }
    let repositories = repositories(dir.path());
    let whole = whole(dir.path());
    println!("{} repositories, {locks_left} locks left", whole.len());
    assert!(whole.len() > 3, "{whole:?}");
    for path in whole {
        assert_eq!(names_below(&dir.path().join(&path)).len(), 9, "{path}");
        let (storage, path) = (StorageName::parse(NAME), RelativePath::parse(&path));
        runtime().block_on(repositories.open(&storage.unwrap(), &path.unwrap())).unwrap();
    }
    runtime().block_on(repositories.sweep());
    let left = names_below(&dir.path().join("+gitaly/tmp"));
    assert!(!left.iter().any(|path| path.contains("+removed-") && path.contains('/')), "{left:?}");
}

/// Repositories that clients see.
fn whole(root: &Path) -> Vec<String> {
    visible(root).into_iter().filter(|path| path.ends_with(".git")).collect()
}

/// Paths in the storage of what is no directory of hashes and no part of a repository.
fn visible(root: &Path) -> Vec<String> {
    let is_visible = |name: &String| name.starts_with('@') && name.split('/').count() == 4;
    names_below(root).into_iter().filter(is_visible).collect()
}
