//! Secrets, and where they must not be found.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use gitring_tests::gitaly::{Door, call, dial, metadata, run};
use gitring_tests::gitlab::{Gitlab, Listens};
use gitring_tests::http;
use gitring_tests::metrics;
use gitring_tests::node::{FIRST, Node};
use gitring_tests::process::{children, wait_until};
use gitring_tests::repository::{Kind, Repository};
use gitring_tests::{git, node};

use super::{METHOD, heavy, tcp};

/// In every secret of the test, and nowhere else.
const MARK: &str = "s3cr3t";

fn marked(name: &str) -> String {
    format!("{name}-{MARK}")
}

/// The middle of the key, as PEM has it.
fn key_mark() -> &'static str {
    FIRST.key.lines().nth(1).expect("PEM has lines")
}

/// Goal: with a secret in every place that may hold one, and failures of every kind driven, neither
/// log nor metrics, nor what clients are told, nor the environment or arguments of any child holds
/// one.
#[test]
fn secrets_are_nowhere_to_be_found() {
    let gitlab = Gitlab::friendly(&Listens::Mutual);
    let key = FIRST.key.replace('\n', "\\n");
    let config = |folder: &str, more: &str| {
        format!(
            "receive_pack = true\n\
             [auth]\ntoken = \"{}\"\n\
             [[auth.tokens]]\nname = \"filed\"\ntoken_file = \"{folder}/token\"\n\
             [tls]\ncertificate_path = \"{folder}/certificate.pem\"\nkey = \"{key}\"\n\
             [gitlab]\nurl = \"{}\"\nsecret = \"{}\"\n\
             [gitlab.http-settings]\nuser = \"u\"\npassword = \"{}\"\n\
             [hooks]\ncustom_hooks_dir = \"{folder}/hooks\"\n{more}",
            marked("token"),
            gitlab.url(),
            marked("gitlab"),
            marked("password"),
        )
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = folder.path().display().to_string();
    write(&folder.path().join("token"), &marked("filed"), 0o600);
    write(&folder.path().join("certificate.pem"), FIRST.certificate, 0o644);
    let hooks = folder.path().join("hooks/pre-receive.d");
    fs::create_dir_all(&hooks).expect("a folder can be made");
    write(&hooks.join("look"), &format!("#!/bin/sh\nenv >'{at}/environment'\nexit 1\n"), 0o755);
    let mut node = Node::start_with(&config(&at, ""));
    let mut found = refusals(&node);
    // Children, while they work.
    let (_heavy, body) = heavy(&node);
    let held = node.hold_packs();
    let stream = http::open_upload_pack(node.gateway(), "heavy.git", &body);
    wait_until("a child works", Duration::from_secs(30), || !children(node.pid()).is_empty());
    found.extend(look_at_children(node.pid()));
    drop(held);
    drop(stream);
    // GitLab refuses the connection, and the hook the push.
    Repository::create(&node.storage(), "target", Kind::Empty);
    let work = tempfile::tempdir().expect("a temporary folder");
    git::run(work.path(), &["init", "-q", "-b", "main", "."]);
    git::run(work.path(), &["commit", "-q", "--allow-empty", "-m", "one"]);
    let pushed = git::try_run(work.path(), &["push", &node.url("target.git"), "HEAD:main"]);
    found.push(git::describe(&["push"], &pushed));

    for wrong in [
        format!("[timeout]\nupload_pack_negotiation = \"{MARK}"),
        format!("[auth.tokens]\ntoken = [\"{}\"]\n", marked("typed")),
        format!("[[auth.tokens]]\nname = \"x\"\ntoken = \"{}\"\n", marked("token")),
        format!("[[auth.tokens]]\nname = \"x\"\ntoken_file = \"{at}/certificate.pem\"\n"),
    ] {
        node.configure(&config(&at, &wrong));
        assert!(!node.reload(), "{wrong}");
        assert_eq!(node.hand_over(), None, "{wrong}");
    }
    let broken = config(&at, "").replace(&key, &format!("{}{MARK}", &key[..key.len() / 2]));
    node.configure(&broken);
    node.reload();
    node.configure(&config(&at, "[logging.x]\n"));
    assert!(node.hand_over().is_some(), "{}", node.log());
    found.extend(look_at_children(node.pid()));
    found.push(fs::read_to_string(folder.path().join("environment")).unwrap_or_default());
    found.push(metrics::text(&node));
    found.push(node.log());
    for text in found {
        let text = text.replace(&format!("upload_pack_negotiation = \"{MARK}"), "");
        assert!(!text.contains(MARK) && !text.contains(key_mark()), "{text}");
    }
}

/// What strangers and others are told by calls that fail.
fn refusals(node: &Node) -> Vec<String> {
    let mut found = Vec::new();
    for token in ["", "stranger", &*marked("token"), &marked("filed")] {
        for door in [Door::Tcp, Door::Mux] {
            let told = run(async {
                let client = dial(&tcp(node), door, token).await;
                call(&client, METHOD, metadata(&[]), b"").await.expect_err("no repository is named")
            });
            found.push(format!("{told:?}"));
        }
    }
    found
}

fn write(path: &std::path::Path, text: &str, mode: u32) {
    fs::write(path, text).expect("a file can be written");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its mode can be changed");
}

/// Arguments and environments of everything that a process has started.
fn look_at_children(pid: u32) -> Vec<String> {
    let mut found = Vec::new();
    for child in children(pid) {
        for file in ["environ", "cmdline"] {
            let text = fs::read(format!("/proc/{child}/{file}")).unwrap_or_default();
            found.push(String::from_utf8_lossy(&text).replace('\0', "\n"));
        }
        found.extend(look_at_children(child));
    }
    found
}

/// Goal: files of secrets that others may read stop the start where they are ours, with the command
/// that helps, and are remarked upon where GitLab's own installation has them so.
#[test]
fn permissions_of_secrets() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = folder.path().display().to_string();
    fs::create_dir(folder.path().join("storage")).expect("a fresh folder is empty");
    for name in ["token", "key.pem", "shared"] {
        let text = if name == "key.pem" { FIRST.key } else { MARK };
        write(&folder.path().join(name), text, 0o600);
    }
    write(&folder.path().join("certificate.pem"), FIRST.certificate, 0o644);
    let config = folder.path().join("config.toml");
    // A listener that cannot be had ends the node once the configuration was taken.
    let text = format!(
        "listen_addr = \"192.0.2.1:1\"\ntls_listen_addr = \"192.0.2.1:2\"\n\
         runtime_dir = \"{at}\"\n[[storage]]\nname = \"default\"\npath = \"{at}/storage\"\n\
         [[auth.tokens]]\nname = \"a\"\ntoken_file = \"{at}/token\"\n\
         [tls]\ncertificate_path = \"{at}/certificate.pem\"\nkey_path = \"{at}/key.pem\"\n\
         [gitlab]\nurl = \"http://127.0.0.1:9\"\nsecret_file = \"{at}/shared\"\n"
    );
    write(&config, &text, 0o640);
    let check = |file: &str, mode: u32, is_taken: bool, words: &str| {
        let path = folder.path().join(file);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode is changed");
        let ended = Command::new(node::program()).arg(&config).output().expect("it can be started");
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(if is_taken { 1 } else { 78 }), "{file}: {said}");
        assert!(said.contains(words) && !said.contains(MARK), "{file} {mode:o}: {said}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a mode is changed");
        said
    };
    let quiet = check("token", 0o600, true, "listen on 192.0.2.1:1");
    assert!(!quiet.contains("chmod"), "{quiet}");
    check("token", 0o604, false, "auth.tokens.token_file: ");
    check("token", 0o644, false, "(mode 0644)");
    check("token", 0o660, false, "run chmod 6");
    check("key.pem", 0o644, true, "tls.key_path: ");
    check("key.pem", 0o666, false, "tls.key_path: ");
    check("shared", 0o644, true, "gitlab.secret_file: ");
    check("shared", 0o622, false, "gitlab.secret_file: ");
}
