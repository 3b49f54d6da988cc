//! `gitring-node check`: what it prints, where, and how it ends, as `gitaly check` does.

use std::fs;
use std::process::{Command, Output};

use gitring_tests::git;
use gitring_tests::gitlab::{AUTHORITY, Gitlab, Listens, Reply, SECRET};
use gitring_tests::node;

/// Runs it with a configuration that ends with `more`.
fn check(more: &str) -> Output {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = |name: &str| folder.path().join(name);
    fs::write(file("authority.pem"), AUTHORITY).expect("a file can be written");
    fs::write(file("secret"), format!(" {SECRET}\n")).expect("a file can be written");
    let path = folder.path().display().to_string();
    let text = format!("listen_addr = ':0'\n[[storage]]\nname = 'default'\npath = 'DIR'\n{more}");
    fs::write(file("config.toml"), text.replace("DIR", &path)).expect("a file can be written");
    let mut command = Command::new(node::program());
    git::close_environment(&mut command);
    command.arg("check").arg(file("config.toml")).output().expect("the node can be started")
}

/// Status, standard output, and how standard error begins.
fn expect(more: &str, status: i32, stdout: &str, stderr: &str) {
    let output = check(more);
    assert_eq!(output.status.code(), Some(status), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), stdout);
    let found = String::from_utf8_lossy(&output.stderr);
    assert!(found.starts_with(stderr) && found.is_empty() == stderr.is_empty(), "{found}");
}

const WORKS: &str = "Checking GitLab API access: OK\nGitLab version: 16.7.0\n\
                     GitLab revision: 6bbe6e9\nGitLab Api version: v4\n\
                     Redis reachable for GitLab: true\nOK\n";
const FAILS: &str = "Checking GitLab API access: FAILED\n";

#[test]
fn a_gitlab_that_answers() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let socket = Listens::Unix(folder.path().join("socket"));
    for listens in [Listens::Tcp, Listens::Tls, socket] {
        let gitlab = Gitlab::friendly(&listens);
        let inline = gitlab.toml() + "[gitlab.http-settings]\nca_file = 'DIR/authority.pem'\n";
        expect(&inline, 0, WORKS, "");
        let file = format!("secret = '{SECRET}'");
        expect(&inline.replace(&file, "secret_file = 'DIR/secret'"), 0, WORKS, "");
        assert_eq!(gitlab.endpoints(), ["check", "check"]);
    }
}

#[test]
fn a_gitlab_that_does_not() {
    let said = "gitring-node: HTTP GET to GitLab endpoint /check failed: ";
    let refusing = Gitlab::start(&Listens::Tcp, |_| Reply::Json(401, String::new()));
    expect(&refusing.toml(), 1, FAILS, &format!("{said}Internal API error (401)"));
    let strange = Gitlab::friendly(&Listens::Tls);
    expect(&strange.toml(), 1, FAILS, &format!("{said}Internal API unreachable: connect: "));
    let gone = Gitlab::friendly(&Listens::Tcp).toml();
    expect(&gone, 1, FAILS, &format!("{said}Internal API unreachable: connect: "));
    expect("", 1, FAILS, "gitring-node: gitlab.url is not set");
    let missing = "[gitlab]\nurl = 'http://localhost'\nsecret_file = '/none'\n";
    expect(missing, 1, FAILS, "gitring-node: reading secret file: open /none: No such file");
}

#[test]
fn a_configuration_that_is_wrong() {
    let said = "gitring-node: loading configuration ";
    expect("[gitlab]\nurl = 'nowhere'\n", 1, "", said);
    let mut command = Command::new(node::program());
    let output = command.arg("check").output().expect("the node can be started");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}
