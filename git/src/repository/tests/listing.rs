//! What a snapshot lists.

use std::os::unix::fs::symlink;

use super::*;
use crate::refs::{Head, Namespace};

#[test]
fn refs_are_those_that_git_tells() {
    let sandbox = Sandbox::new(4);
    let (one, two) = (sandbox.commit(1), sandbox.commit(2));
    let repository = sandbox.open();
    check_as_git(&sandbox, &repository, "unborn HEAD");
    for (name, id) in [("main", &one), ("a/deep/one", &two), ("a.b", &one), ("a-b", &one)] {
        sandbox.git(&["update-ref", &format!("refs/heads/{name}"), id]);
    }
    sandbox.git(&["tag", "-a", "-m", "t", "v1", &one]);
    sandbox.git(&["tag", "light", &two]);
    sandbox.git(&["tag", "-a", "-m", "t", "nested", "v1"]);
    check_as_git(&sandbox, &repository, "loose");
    sandbox.git(&["pack-refs", "--all", "--prune"]);
    check_as_git(&sandbox, &repository, "packed");
    sandbox.git(&["update-ref", "refs/heads/main", &two]);
    sandbox.git(&["tag", "-f", "-a", "-m", "t2", "v1", &two]);
    sandbox.git(&["update-ref", "-d", "refs/heads/a-b"]);
    check_as_git(&sandbox, &repository, "loose over packed");
    sandbox.git(&["symbolic-ref", "refs/remotes/origin/HEAD", "refs/heads/a/deep/one"]);
    sandbox.git(&["symbolic-ref", "refs/remotes/origin/chain", "refs/remotes/origin/HEAD"]);
    sandbox.git(&["symbolic-ref", "refs/remotes/origin/nowhere", "refs/heads/none"]);
    sandbox.git(&["symbolic-ref", "refs/remotes/origin/loop", "refs/remotes/origin/loop2"]);
    sandbox.git(&["symbolic-ref", "refs/remotes/origin/loop2", "refs/remotes/origin/loop"]);
    sandbox.git(&["symbolic-ref", "refs/remotes/origin/top", "HEAD"]);
    check_as_git(&sandbox, &repository, "symbolic");
    sandbox.git(&["update-ref", "--no-deref", "HEAD", &one]);
    check_as_git(&sandbox, &repository, "detached");
}

#[test]
fn chains_of_symbolic_refs_end_where_git_ends_them() {
    let sandbox = Sandbox::new(1);
    sandbox.write("refs/heads/s0", &format!("{}\n", sandbox.commit(1)));
    for n in 1..=7 {
        sandbox.write(&format!("refs/heads/s{n}"), &format!("ref: refs/heads/s{}\n", n - 1));
    }
    for n in 1..=7 {
        sandbox.write("HEAD", &format!("ref: refs/heads/s{n}\n"));
        check_as_git(&sandbox, &sandbox.open(), &format!("HEAD to s{n}"));
    }
}

#[test]
fn broken_refs_are_told_as_git_tells_them() {
    let sandbox = Sandbox::new(2);
    let id = sandbox.commit(1);
    sandbox.git(&["update-ref", "refs/heads/main", &id]);
    sandbox.git(&["update-ref", "refs/heads/over", &id]);
    sandbox.git(&["pack-refs", "--all"]);
    let missing = "1234567890123456789012345678901234567890";
    for (path, text) in [
        ("refs/heads/empty", ""),
        ("refs/heads/garbage", "garbage\n"),
        ("refs/heads/short", &id[..39]),
        ("refs/heads/long", &format!("{id}0\n")),
        ("refs/heads/more", &format!("{id} more\n")),
        ("refs/heads/bare", &id),
        ("refs/heads/crlf", &format!("{id}\r\n")),
        ("refs/heads/upper", &id.to_uppercase()),
        ("refs/heads/missing", &format!("{missing}\n")),
        ("refs/heads/null", "0000000000000000000000000000000000000000\n"),
        ("refs/heads/over", "broken over packed"),
        ("refs/heads/x.lock", &format!("{id}\n")),
        ("refs/heads/.hidden", &format!("{id}\n")),
        ("refs/heads/bad..name", &format!("{id}\n")),
        ("refs/heads/ends.", &format!("{id}\n")),
        ("refs/heads/dir./fine", &format!("{id}\n")),
        ("refs/heads/dir.lock/fine", &format!("{id}\n")),
        ("refs/heads/@", &format!("{id}\n")),
        ("refs/heads/sym", "ref:   refs/heads/main  \n"),
        ("refs/heads/symbad", "ref: refs/heads/..\n"),
        ("refs/heads/symempty", "ref:\n"),
        ("refs/toplevel", &format!("{id}\n")),
    ] {
        sandbox.write(path, text);
    }
    symlink("refs/heads/main", sandbox.git_dir.join("refs/heads/link-to-name")).unwrap();
    symlink("bare", sandbox.git_dir.join("refs/heads/link-to-file")).unwrap();
    symlink("../keep", sandbox.git_dir.join("refs/heads/link-to-directory")).unwrap();
    let packed = sandbox.git_dir.join("packed-refs");
    let text = std::fs::read_to_string(&packed).unwrap();
    std::fs::write(&packed, text + &format!("{missing} refs/zzz/gone\n{id} refs/zzz/bad..\n"))
        .unwrap();
    let repository = sandbox.open();
    check_as_git(&sandbox, &repository, "broken refs");
    settle();
    let before = repository.snapshot().unwrap();
    let after = repository.snapshot().unwrap();
    assert!(!Arc::ptr_eq(&before, &after), "with a broken ref nothing is trusted");
    sandbox.write("packed-refs", "nonsense\n");
    assert!(matches!(repository.snapshot(), Err(RepositoryError::Refs(RefsError::Packed { .. }))));
}

#[test]
fn a_linked_worktree_has_its_own_head_and_some_refs() {
    let sandbox = Sandbox::new(2);
    let id = sandbox.commit(1);
    sandbox.git(&["update-ref", "refs/heads/main", &id]);
    sandbox.git(&["update-ref", "refs/bisect/shared", &id]);
    sandbox.git(&["worktree", "add", "-q", "--detach", "../tree", &sandbox.commit(2)]);
    let tree = sandbox.git_dir.parent().unwrap().join("tree");
    sandbox.run(&["update-ref", "refs/bisect/own", &id], &tree);
    sandbox.run(&["update-ref", "refs/worktree/own", &id], &tree);
    let repository = Repository::enter(&tree, false, Environment::default()).unwrap();
    let snapshot = repository.snapshot().unwrap();
    let (refs, head) = told_by_git(&sandbox, &tree);
    assert_eq!(shown(&snapshot), refs);
    assert_eq!(shown_head(&snapshot.head), head);
    assert!(snapshot.find("refs/bisect/own".into()).is_some());
    assert!(snapshot.find("refs/bisect/shared".into()).is_none());
    check_as_git(&sandbox, &sandbox.open(), "the main worktree");
}

#[test]
fn namespaces_have_refs_and_a_head() {
    let sandbox = Sandbox::new(2);
    let id = sandbox.commit(1);
    let space = "refs/namespaces/a/refs/namespaces/b/";
    sandbox.git(&["update-ref", &format!("{space}refs/heads/main"), &id]);
    sandbox.git(&["symbolic-ref", &format!("{space}HEAD"), &format!("{space}refs/heads/main")]);
    sandbox.git(&["symbolic-ref", "refs/namespaces/c/HEAD", "refs/namespaces/c/refs/heads/x"]);
    let snapshot = sandbox.open().snapshot().unwrap();
    let namespace = Namespace::parse(b"a//b/").unwrap();
    assert_eq!(namespace.prefix(), space);
    let names: Vec<_> = snapshot
        .with_prefix(&namespace.full_name("refs/".into()))
        .iter()
        .map(|one| &one.name)
        .collect();
    assert_eq!(names, [&format!("{space}refs/heads/main")]);
    let target = format!("{space}refs/heads/main").into();
    let id = crate::ObjectId::from_hex(id.as_bytes()).ok();
    assert_eq!(snapshot.head_of(&namespace), Head::Symbolic { target, id });
    let target = "refs/namespaces/c/refs/heads/x".into();
    let unborn = snapshot.head_of(&Namespace::parse(b"c").unwrap());
    assert_eq!(unborn, Head::Symbolic { target, id: None });
    assert_eq!(snapshot.head_of(&Namespace::parse(b"d").unwrap()), Head::Missing);
    assert!(Namespace::parse(b"a..b").is_err() && Namespace::parse(b"/").is_err());
}

#[test]
fn reasons_for_a_git_child_are_found() {
    let check = |path: &str, text: &str, expected: Option<Unsupported>| {
        let sandbox = Sandbox::new(1);
        sandbox.write(path, text);
        let snapshot = sandbox.open().snapshot().unwrap();
        assert_eq!(snapshot.unsupported, expected, "{path}: {text}");
    };
    let config = |more: &str| format!("[core]\nrepositoryformatversion = 1\nbare = true\n{more}");
    check("info/exclude", "", None);
    check("shallow", "1234567890123456789012345678901234567890\n", Some(Unsupported::Shallow));
    check("info/grafts", "1234567890123456789012345678901234567890\n", Some(Unsupported::Grafts));
    check("config", &config("[remote \"o\"]\npromisor = true\n"), Some(Unsupported::Promisor));
    check("config", &config("[remote \"o\"]\npromisor = false\n"), None);
    check("config", &config("[extensions]\nnew = 1\n"), Some(Unsupported::UnknownExtension));
    check(
        "config",
        &config("[includeIf \"onbranch:x\"]\npath = y\n"),
        Some(Unsupported::UnevaluatedInclude),
    );
}

#[test]
fn a_sha256_repository_is_known_as_one() {
    let root = tempfile::tempdir().unwrap();
    let git_dir = root.path().join("r.git");
    let init = Command::new("git")
        .args(["init", "-q", "--bare", "--object-format=sha256"])
        .arg(&git_dir)
        .output();
    assert!(init.unwrap().status.success());
    let repository = Repository::open(&git_dir, Environment::default()).unwrap();
    let snapshot = repository.snapshot().unwrap();
    assert_eq!(snapshot.unsupported, Some(Unsupported::Sha256));
    assert!(snapshot.refs.is_empty());
}

#[test]
fn worktree_configuration_counts_only_where_enabled() {
    let sandbox = Sandbox::new(1);
    sandbox.write("config.worktree", "[a]\nb = worktree\n");
    assert_eq!(sandbox.open().snapshot().unwrap().config.string("a.b"), None);
    sandbox.git(&["config", "extensions.worktreeConfig", "true"]);
    let repository = sandbox.open();
    let listed = repository.snapshot().unwrap().config.clone();
    assert_eq!(listed.string("a.b"), Some("worktree".into()));
    let ours: Vec<_> = listed
        .entries()
        .map(|(key, value)| value.map_or(key.to_string(), |value| format!("{key}={value}")))
        .collect();
    assert_eq!(ours.join("\n"), sandbox.git(&["config", "--list"]));
}
