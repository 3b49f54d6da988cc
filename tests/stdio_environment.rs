//! `gitring-node upload-pack` obeys the environment as `git upload-pack` does.
//!
//! Goal: a drop-in: every variable and file that changes git's answer changes ours alike.
//! Method: the same call with the same environment to both; answers are compared.
//!
//! Never here: the node as a service, which closes its environment.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use gitring_tests::git;
use gitring_tests::pktline::{FLUSH, readable, request};
use gitring_tests::repository::{Kind, Repository};
use gitring_tests::stdio::{Call, Server};

const LIST: &[&str] =
    &["command=ls-refs", "object-format=sha1", "delim", "peel", "symrefs", "flush"];

/// Compares v0 advertisements, v2 capabilities and a listing under one environment.
fn check(path: &Path, options: &[&str], environment: &[(&str, &str)]) {
    let list = request(LIST);
    let stateless: Vec<&str> = [options, &["--stateless-rpc"]].concat();
    let rows: [(&[&str], &str, &[u8]); 3] =
        [(options, "", FLUSH), (options, "version=2", FLUSH), (&stateless, "version=2", &list)];
    for (options, protocol, input) in rows {
        let call = Call { options, protocol, environment };
        let ours = Server::Ours.converse(path, &call, input);
        let stock = Server::Stock.converse(path, &call, input);
        let said = String::from_utf8_lossy(&ours.stderr).into_owned();
        assert_eq!(readable(&ours.stdout), readable(&stock.stdout), "{call:?}\n{said}");
        assert_eq!(ours.status.success(), stock.status.success(), "{call:?}\n{said}");
    }
}

fn repository() -> (tempfile::TempDir, Repository) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let repository = Repository::create(folder.path(), "varied", Kind::Varied);
    (folder, repository)
}

#[test]
fn configuration_from_variables() {
    let (_folder, repository) = repository();
    let rows: &[&[(&str, &str)]] = &[
        &[("GIT_CONFIG_PARAMETERS", "'transfer.hideRefs=refs/tags'")],
        &[("GIT_CONFIG_PARAMETERS", "'transfer.hideRefs'='refs/heads/many'")],
        &[(
            "GIT_CONFIG_PARAMETERS",
            "'transfer.hideRefs'='refs/heads' 'transfer.hideRefs'='!refs/heads/main'",
        )],
        &[("GIT_CONFIG_PARAMETERS", "'uploadpack.allowFilter'")],
        &[
            ("GIT_CONFIG_COUNT", "2"),
            ("GIT_CONFIG_KEY_1", "uploadpack.hideRefs"),
            ("GIT_CONFIG_VALUE_1", "refs/heads/topic"),
        ],
        &[
            ("GIT_CONFIG_COUNT", "2"),
            ("GIT_CONFIG_KEY_1", "transfer.hideRefs"),
            ("GIT_CONFIG_VALUE_1", "!refs/tags/v1"),
            ("GIT_CONFIG_PARAMETERS", "'transfer.hideRefs'='refs/tags'"),
        ],
    ];
    for environment in rows {
        check(&repository.path, &[], environment);
    }
}

/// git has sent its first capabilities when it comes upon these; we refuse before.
#[test]
fn settings_that_make_no_sense() {
    let (_folder, repository) = repository();
    let parameters = "GIT_CONFIG_PARAMETERS";
    for (name, value, complaint) in [
        (parameters, "'uploadpack.allowFilter'='nonsense'", "uploadpack.allowfilter"),
        (parameters, "broken", "bogus format in GIT_CONFIG_PARAMETERS"),
        ("GIT_CONFIG_COUNT", "2", "missing config key GIT_CONFIG_KEY_1"),
        ("GIT_CONFIG_COUNT", "nonsense", "bogus count in GIT_CONFIG_COUNT"),
    ] {
        let environment = [(name, value)];
        let call = Call { environment: &environment, ..Call::stateful("version=2") };
        for server in [Server::Ours, Server::Stock] {
            let answer = server.converse(&repository.path, &call, b"0000");
            let said = String::from_utf8_lossy(&answer.stderr).into_owned();
            assert!(!answer.status.success() && said.contains(complaint), "{said}");
        }
    }
}

#[test]
fn configuration_from_files() {
    let (folder, repository) = repository();
    repository.set("transfer.hideRefs", "!refs/heads/many/00");
    let home = folder.path().join("home");
    fs::create_dir_all(home.join(".config/git")).unwrap();
    let hide = |what: &str| format!("[transfer]\n\thideRefs = {what}\n[include]\n\tpath = more\n");
    fs::write(home.join(".gitconfig"), hide("refs/heads/many")).unwrap();
    fs::write(home.join("more"), "[uploadpack]\n\tallowFilter\n").unwrap();
    fs::write(home.join(".config/git/config"), hide("refs/heads/topic")).unwrap();
    let system = home.join("system");
    fs::write(&system, hide("refs/tags")).unwrap();
    let (home, system) = (home.to_str().unwrap(), system.to_str().unwrap());
    check(&repository.path, &[], &[("HOME", home)]);
    check(&repository.path, &[], &[("XDG_CONFIG_HOME", &format!("{home}/.config"))]);
    check(&repository.path, &[], &[("GIT_CONFIG_SYSTEM", system), ("GIT_CONFIG_NOSYSTEM", "0")]);
    check(&repository.path, &[], &[("GIT_CONFIG_GLOBAL", system), ("HOME", home)]);
}

#[test]
fn namespaces() {
    let (_folder, repository) = repository();
    repository.git(&["update-ref", "refs/namespaces/a/refs/heads/inner", "main"]);
    repository.git(&["update-ref", "refs/namespaces/a/refs/namespaces/b/refs/tags/x", "main"]);
    for namespace in ["a", "a/b", "a//b", "none", "", ".."] {
        check(&repository.path, &[], &[("GIT_NAMESPACE", namespace)]);
    }
    let hide = ("GIT_CONFIG_PARAMETERS", "'transfer.hideRefs'='refs/heads'");
    check(&repository.path, &[], &[("GIT_NAMESPACE", "a"), hide]);
}

/// Objects in a quarantine folder with the repository's own as alternate, as hooks see them.
#[test]
fn object_directories() {
    let (folder, repository) = repository();
    let other = Repository::create(folder.path(), "other", Kind::Empty);
    let own = repository.path.join("objects").to_string_lossy().into_owned();
    let quarantine = other.path.join("objects").to_string_lossy().into_owned();
    let environment = [
        ("GIT_OBJECT_DIRECTORY", quarantine.as_str()),
        ("GIT_ALTERNATE_OBJECT_DIRECTORIES", own.as_str()),
    ];
    // A commit that only the quarantine holds.
    let tree = repository.id("main^{tree}");
    let mut command = git::command(&repository.path);
    command.envs(environment).args(["commit-tree", "-p", "main", "-m", "new", &tree]);
    let new = String::from_utf8_lossy(&command.output().unwrap().stdout).trim().to_owned();
    check(&repository.path, &[], &environment);
    let want = format!("want {new}");
    let body = request(&["command=fetch", "object-format=sha1", "delim", &want, "done", "flush"]);
    for environment in [&environment[..], &environment[1..], &environment[..1], &[]] {
        let call = Call { environment, ..Call::stateless("version=2") };
        let ours = Server::Ours.converse(&repository.path, &call, &body);
        let stock = Server::Stock.converse(&repository.path, &call, &body);
        assert_eq!(readable(&ours.stdout), readable(&stock.stdout), "{environment:?}");
        assert_eq!(ours.status.success(), stock.status.success(), "{environment:?}");
    }
}

/// A fetch of everything under one environment, started in `folder`: whether a pack came.
fn fetches(server: Server, folder: &Path, id: &str, environment: &[(&str, &str)]) -> bool {
    let want = format!("want {id}");
    let lines = ["command=fetch", "object-format=sha1", "delim", "no-progress", &want, "done"];
    let body = request(&[&lines[..], &["flush"]].concat());
    let mut command = server.command();
    command.args(["--stateless-rpc", "varied.git"]).current_dir(folder);
    command.env("GIT_PROTOCOL", "version=2").envs(environment.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = git::feed(command, &body);
    readable(&output.stdout) == ["packfile\\n", "PACK", "flush"] && output.status.success()
}

/// Whoever may write to a repository may not thereby run programs on the server.
#[test]
fn a_hook_around_pack_objects_from_protected_configuration_only() {
    let (folder, repository) = repository();
    let (folder, id) = (folder.path(), repository.id("main"));
    let hook = |value| {
        [
            ("GIT_CONFIG_COUNT", "1"),
            ("GIT_CONFIG_KEY_0", "uploadpack.packObjectsHook"),
            ("GIT_CONFIG_VALUE_0", value),
        ]
    };
    for server in [Server::Ours, Server::Stock] {
        assert!(fetches(server, folder, &id, &hook("env")), "{server:?}");
        assert!(!fetches(server, folder, &id, &hook("false")), "{server:?}");
    }
    repository.set("uploadpack.packObjectsHook", "false");
    for server in [Server::Ours, Server::Stock] {
        assert!(fetches(server, folder, &id, &[]), "{server:?}");
        assert!(fetches(server, folder, &id, &hook("env")), "{server:?}");
    }
}

/// What was found through the caller's path is not looked for again by a child.
#[test]
fn bare_repositories_that_are_named_explicitly() {
    let (folder, repository) = repository();
    let environment = [
        ("GIT_CONFIG_COUNT", "1"),
        ("GIT_CONFIG_KEY_0", "safe.bareRepository"),
        ("GIT_CONFIG_VALUE_0", "explicit"),
        ("GIT_DIR", "/nonexistent"),
    ];
    for server in [Server::Ours, Server::Stock] {
        let id = repository.id("main");
        assert!(fetches(server, folder.path(), &id, &environment), "{server:?}");
    }
}

/// git looks for what has a relative name from within the repository.
#[test]
fn relative_names() {
    let (folder, repository) = repository();
    let (folder, id) = (folder.path(), repository.id("main"));
    fs::rename(repository.path.join("objects"), folder.join("elsewhere")).unwrap();
    fs::create_dir_all(repository.path.join("objects")).unwrap();
    let alternates = ("GIT_ALTERNATE_OBJECT_DIRECTORIES", "../elsewhere");
    for server in [Server::Ours, Server::Stock] {
        assert!(fetches(server, folder, &id, &[alternates]), "{server:?}");
        assert!(!fetches(server, folder, &id, &[]), "{server:?}");
    }
}

/// How a folder is named: with and without `.git`, with `--strict`, as a work tree, not at all.
#[test]
fn ways_to_name_a_repository() {
    let (folder, repository) = repository();
    let work = folder.path().join("work");
    let path = repository.path.to_string_lossy().into_owned();
    git::run(folder.path(), &["clone", "-q", &path, "work"]);
    let without_suffix = folder.path().join("varied");
    let rows = [
        repository.path.clone(),
        without_suffix,
        work.clone(),
        work.join(".git"),
        folder.path().join("none"),
        folder.path().to_owned(),
    ];
    for path in rows {
        for options in [&[][..], &["--strict"], &["--no-strict"], &["--timeout=5"]] {
            check(&path, options, &[]);
        }
    }
    check(&repository.path, &["--nonsense"], &[]);
}
