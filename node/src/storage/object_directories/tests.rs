//! Directories that belong to a repository and directories that do not.

use super::*;
use std::fs;
use std::os::unix::fs::symlink;

/// A repository at `a.git` with a quarantine and an alternate, and others beside it.
#[expect(clippy::disallowed_methods, reason = "a test makes directories")]
fn world() -> (tempfile::TempDir, PathBuf) {
    let world = tempfile::tempdir().unwrap();
    let root = world.path().canonicalize().unwrap();
    for path in ["a.git/objects/tmp_objdir-incoming-x/pack", "a.git/objects/info"] {
        fs::create_dir_all(root.join(path)).unwrap();
    }
    for path in ["pool.git/objects", "b.git/objects", "a.git-more/objects", "nested.git/objects"] {
        fs::create_dir_all(root.join(path).join("info")).unwrap();
    }
    let objects = root.join("a.git/objects");
    fs::write(objects.join("info/alternates"), "../../pool.git/objects\n").unwrap();
    let pool = root.join("pool.git/objects/info/alternates");
    fs::write(pool, "../../nested.git/objects\n").unwrap();
    symlink(root.join("b.git/objects"), objects.join("out")).unwrap();
    symlink("tmp_objdir-incoming-x", objects.join("in")).unwrap();
    let repository = root.join("a.git");
    (world, repository)
}

/// What `own` and `alternates` lead to, relative to where the repositories are; or which refusal.
fn check(own: &str, alternates: &[&str], expected: Result<&[&str], &str>) {
    let (_world, repository) = world();
    let alternates = alternates.iter().map(|path| (*path).to_owned()).collect();
    let directories = ObjectDirectories { own: own.to_owned(), alternates };
    let root = repository.parent().unwrap();
    let found = directories.confine(&repository).map(|found| {
        let all = found.own.into_iter().chain(found.alternates);
        let relative = all.map(|path| path.strip_prefix(root).unwrap().to_owned());
        relative.collect::<Vec<_>>()
    });
    let found = found.map_err(|error| error.to_string());
    let expected = expected.map(|paths| paths.iter().map(PathBuf::from).collect());
    assert_eq!(found, expected.map_err(str::to_owned), "{directories:?}");
}

#[test]
fn directories_of_the_repository_are_taken_and_no_others() {
    let (quarantine, objects) = ("objects/tmp_objdir-incoming-x", "objects");
    check("", &[], Ok(&[]));
    check(objects, &[], Ok(&["a.git/objects"]));
    check(quarantine, &[objects], Ok(&["a.git/objects/tmp_objdir-incoming-x", "a.git/objects"]));
    check("objects/in", &[], Ok(&["a.git/objects/tmp_objdir-incoming-x"]));
    check("", &["", quarantine, "gone"], Ok(&["a.git/objects/tmp_objdir-incoming-x"]));
    check("", &["../pool.git/objects"], Ok(&["pool.git/objects"]));
    check("", &["../nested.git/objects"], Ok(&["nested.git/objects"]));
    let outside =
        |path: &str| format!("object directory does not belong to the repository: {path:?}");
    for path in ["../a.git/objects", "objects/../objects", "objects/out", ".", "objects/.."] {
        check(path, &[], Err(&outside(path)));
    }
    for path in ["../b.git/objects", "objects/out", "..", ".", "../a.git-more/objects"] {
        check("", &[path], Err(&outside(path)));
    }
    check("/etc", &[], Err("object directory is absolute: \"/etc\""));
    check("", &["/etc"], Err("object directory is absolute: \"/etc\""));
    check("gone", &[], Err("object directory does not exist: \"gone\""));
    check("HEAD/x", &[], Err("object directory does not exist: \"HEAD/x\""));
    check("a\0b", &[], Err("object directory is no path: \"a\\0b\""));
    check("", &[objects; 65], Err("more than 64 alternate object directories"));
}

#[test]
fn git_reads_back_what_it_is_told() {
    let check = |path: &str, expected: &str| assert_eq!(listed(OsStr::new(path)), expected);
    check("/a b/objects", "/a b/objects");
    check("/a:b/objects", "\"/a:b/objects\"");
    check("/a\"\\b", "\"/a\\\"\\\\b\"");
}
