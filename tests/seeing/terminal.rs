//! `gitring-node top`.

use super::top;
use gitring_tests::node::Node;
use gitring_tests::repository::{Kind, Repository};

#[test]
fn top_draws_one_picture_for_scripts() {
    let node = Node::start();
    Repository::create(&node.storage(), "varied", Kind::Varied);
    let clone = std::process::Command::new("git")
        .args(["ls-remote", &node.url("varied.git")])
        .output()
        .expect("git can be started");
    assert!(clone.status.success());
    let address = node.metrics().to_string();
    let config = node.storage().parent().expect("it lies in a folder").join("config.toml");
    for from in [address.as_str(), config.to_str().expect("UTF-8")] {
        let output = top(&[from, "--once"]);
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(output.status.success(), "{text}");
        assert!(text.starts_with("gitring-node ") && !text.contains('\u{1b}'), "{text}");
        for part in ["builds:\n  none\n", "git processes", "top minute:", "default: varied.git"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let output = top(&[from, "--once", "--json"]);
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(output.status.success() && text.lines().count() == 1, "{text}");
        assert!(text.contains("\"service\":\"gitring-node\""), "{text}");
    }
}

#[test]
fn top_says_why_there_is_nothing_to_see() {
    fn check(arguments: &[&str], expected: &str) {
        let output = top(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(expected) && output.stdout.is_empty(), "{arguments:?}: {error}");
    }
    let node = Node::start();
    check(&["127.0.0.1:1", "--once"], "refused");
    check(&["nothing-of-this-name", "--once"], "neither host:port nor a configuration file");
    let gateway = node.gateway().to_string();
    check(&[&gateway, "--once"], "no status was answered, but: HTTP/1");
}
