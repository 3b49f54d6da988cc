//! Which repository a path leads to, and whether its owner is trusted.

use super::*;
use crate::repository::Ownership;

#[test]
fn paths_lead_where_git_upload_pack_goes() {
    let sandbox = Sandbox::new(1);
    let root = sandbox.git_dir.parent().unwrap().to_path_buf();
    let id = sandbox.commit(1);
    for (name, bare) in [("both", false), ("both.git", true), ("plain", false), ("w.git", false)] {
        let mut arguments = vec!["init", "-q", "-b", "main", name];
        arguments.extend(bare.then_some("--bare"));
        sandbox.run(&arguments, &root);
    }
    std::fs::create_dir(root.join("linked")).unwrap();
    std::fs::write(root.join("linked/.git"), "gitdir: ../repository.git\n").unwrap();
    std::fs::write(root.join("file"), "gitdir: repository.git\n").unwrap();
    std::fs::create_dir(root.join("bad")).unwrap();
    std::fs::write(root.join("bad/.git"), "gitdir: ../nowhere\n").unwrap();
    std::fs::create_dir(root.join("empty")).unwrap();
    for git_dir in ["both/.git", "both.git", "plain/.git", "w.git/.git"] {
        let name = format!("refs/heads/of-{}", git_dir.replace(['/', '.'], "-"));
        let store = root.join(git_dir).join("objects/info/alternates");
        std::fs::write(store, format!("{}/objects\n", sandbox.git_dir.display())).unwrap();
        sandbox.run(&["--git-dir", git_dir, "update-ref", &name, &id], &root);
    }
    for path in [
        "both",
        "both.git",
        "both/",
        "both/.git",
        "plain",
        "plain/.git",
        "w",
        "w.git",
        "linked",
        "linked/.git",
        "file",
        "bad",
        "empty",
        "absent",
        "repository",
        "repository.git///",
    ] {
        for strict in [false, true] {
            check_entered(&sandbox, &root.join(path), strict);
        }
    }
}

fn check_entered(sandbox: &Sandbox, path: &Path, strict: bool) {
    let mut arguments = vec!["upload-pack", "--advertise-refs"];
    arguments.push(if strict { "--strict" } else { "--no-strict" });
    arguments.push(path.to_str().unwrap());
    let output = sandbox.command(&arguments, Path::new("/")).output().unwrap();
    let ours = Repository::enter(path, strict, Environment::default());
    let case = format!("{path:?}, strict {strict}: {output:?}");
    assert_eq!(ours.is_ok(), output.status.success(), "{case}: {ours:?}");
    let Ok(repository) = ours else { return };
    let snapshot = repository.snapshot().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    for one in snapshot.refs.iter() {
        assert!(told.contains(&format!(" {}", one.name)), "{case}: {}", one.name);
    }
    assert!(!snapshot.refs.is_empty());
}

#[test]
fn a_stranger_is_trusted_only_by_protected_configuration() {
    let sandbox = Sandbox::new(1);
    let root = sandbox.git_dir.parent().unwrap().to_path_buf();
    let path = sandbox.git_dir.to_str().unwrap().to_owned();
    let global = root.join("global");
    let check = |text: &str| {
        std::fs::write(&global, text).unwrap();
        let output = sandbox
            .command(&["upload-pack", "--advertise-refs", &path], Path::new("/"))
            .env("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
            .env("GIT_CONFIG_GLOBAL", &global)
            .output()
            .unwrap();
        let environment = Environment {
            config_files: vec![global.clone()],
            ownership: Ownership::Checked { sudo_uid: None, assume_different: true },
            home: Some(root.clone()),
            ..Environment::default()
        };
        let ours = Repository::enter(&sandbox.git_dir, false, environment);
        assert_eq!(ours.is_ok(), output.status.success(), "{text}: {output:?} {ours:?}");
        if let Err(error) = ours {
            let message = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(message.contains(&error.to_string()), "{message} {error}");
        }
    };
    check("");
    check("[safe]\ndirectory = *\n");
    check(&format!("[safe]\ndirectory = {path}\n"));
    check(&format!("[safe]\ndirectory = {path}\ndirectory =\n"));
    check("[safe]\ndirectory = /elsewhere\n");
    check("[safe]\ndirectory = ~/repository.git\n");
    sandbox.git(&["config", "safe.directory", "*"]);
    check("");
}

#[test]
fn an_owner_trusts_itself_and_root_its_sudoer() {
    let sandbox = Sandbox::new(1);
    let check = |path: &Path, expected: bool| {
        let ownership = Ownership::Checked { sudo_uid: None, assume_different: false };
        let environment = Environment { ownership, ..Environment::default() };
        assert_eq!(Repository::open(path, environment).is_ok(), expected, "{path:?}");
    };
    check(&sandbox.git_dir, true);
    // Only root can give a directory away.
    if std::os::unix::fs::chown(&sandbox.git_dir, Some(12_345), None).is_ok() {
        check(&sandbox.git_dir, false);
        let ownership = Ownership::Checked { sudo_uid: Some(12_345), assume_different: false };
        let environment = Environment { ownership, ..Environment::default() };
        assert!(Repository::open(&sandbox.git_dir, environment).is_ok());
    }
}
