//! Hidden refs compared with what `git upload-pack` advertises.

use bstr::ByteSlice;

use super::*;
use crate::refs::{HideRules, Namespace};

/// Settings and whether they stand under a namespace.
fn check(sandbox: &Sandbox, settings: &[(&str, &str)], namespace: &str) {
    let overrides: Vec<_> = settings
        .iter()
        .map(|(key, value)| ((*key).to_owned(), Some((*value).to_owned())))
        .collect();
    let mut arguments: Vec<String> = Vec::new();
    for (key, value) in settings {
        arguments.extend(["-c".to_owned(), format!("{key}={value}")]);
    }
    let path = sandbox.git_dir.to_str().unwrap();
    arguments.extend(["upload-pack", "--advertise-refs", path].map(str::to_owned));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut command = sandbox.command(&arguments, Path::new("/"));
    if !namespace.is_empty() {
        command.env("GIT_NAMESPACE", namespace);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let told: Vec<String> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.split('\0').next()?.split_once(' '))
        .map(|(_, name)| name.to_owned())
        .filter(|name| name.starts_with("refs/"))
        .collect();
    let snapshot = sandbox.open().snapshot().unwrap();
    let config = snapshot.config.with_overrides(&overrides).unwrap();
    let rules = HideRules::from_config(&config, "uploadpack").unwrap();
    let namespace = Namespace::parse(namespace.as_bytes()).unwrap();
    let ours: Vec<String> = snapshot
        .with_prefix(&namespace.full_name("refs/".into()))
        .iter()
        .filter_map(|one| {
            let full = one.name.as_bstr();
            let name = namespace.strip(full)?;
            (!rules.hides(name, full)).then(|| name.to_string())
        })
        .collect();
    assert_eq!(ours, told, "{settings:?}");
}

#[test]
fn refs_are_hidden_as_git_hides_them() {
    let sandbox = Sandbox::new(2);
    let id = sandbox.commit(1);
    for name in [
        "refs/heads/main",
        "refs/heads/side",
        "refs/heads-up/x",
        "refs/merge-requests/1/head",
        "refs/namespaces/n/refs/heads/main",
        "refs/namespaces/n/refs/keep/x",
    ] {
        sandbox.git(&["update-ref", name, &id]);
    }
    let hide = "transfer.hideRefs";
    let own = "uploadpack.hideRefs";
    for namespace in ["", "n"] {
        for settings in [
            &[][..],
            &[(hide, "refs/heads")],
            &[(hide, "refs/heads/")],
            &[(hide, "refs/heads/main//")],
            &[(hide, "refs/he")],
            &[(hide, "refs")],
            &[(hide, "refs"), (own, "!refs/heads")],
            &[(own, "!refs/heads"), (hide, "refs")],
            &[(hide, "refs/heads"), (hide, "!refs/heads/side")],
            &[(hide, "refs"), (hide, "!refs")],
            &[("receive.hideRefs", "refs/heads")],
            &[("uploadpack.sub.hideRefs", "refs/heads")],
            &[(hide, "^refs/heads")],
            &[(hide, "^refs/namespaces/n/refs/heads")],
            &[(hide, "refs/heads"), (hide, "!^refs/namespaces/n/refs/heads")],
            &[(hide, "")],
            &[(hide, "!")],
        ] {
            check(&sandbox, settings, namespace);
        }
    }
}
