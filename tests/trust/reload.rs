//! SIGHUP, under load.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use gitring_tests::gitaly::{Door, dial, run};
use gitring_tests::metrics;
use gitring_tests::node::{FIRST, Node, SECOND};
use gitring_tests::process::wait_until;
use tonic::Code;

use super::{LET_IN, ask, ask_on, ask_once, tcp, wait_for_more};

const OLD: &str = "[auth]\ntoken = \"old\"\n";
const BOTH: &str = "[auth]\ntoken = \"old\"\n[[auth.tokens]]\nname = \"new\"\ntoken = \"new\"\n";
const NEW: &str = "[[auth.tokens]]\nname = \"new\"\ntoken = \"new\"\n";

/// Goal: a token is added, everybody turns to it, the old one is removed, certificates are renewed
/// on the way: of the clients that know what they should, not one call fails, over TCP, TLS or a
/// mux, with connections that last and with fresh ones.
#[test]
fn rotation_under_load() {
    let mut node = Node::start_within_tls(OLD);
    let doors =
        [(tcp(&node), Door::Tcp), (node.tls_address(), Door::Tcp), (node.tls_address(), Door::Mux)];
    let (old_ended, new_ended) = (AtomicBool::new(false), AtomicBool::new(false));
    let (old_asked, new_asked) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for (address, door) in &doors {
            scope.spawn(|| ask_on(address, *door, "old", &old_ended, &old_asked));
        }
        wait_for_more(&old_asked, 10);
        node.configure(BOTH);
        assert!(node.reload(), "{}", node.log());
        for (address, door) in &doors {
            scope.spawn(|| ask_on(address, *door, "new", &new_ended, &new_asked));
        }
        for certificate in [SECOND, FIRST, SECOND] {
            node.put_certificate(certificate);
            assert!(node.reload(), "{}", node.log());
            wait_for_more(&old_asked, 5);
            wait_for_more(&new_asked, 5);
        }
        old_ended.store(true, Ordering::Relaxed);
        wait_for_more(&new_asked, 20);
        node.configure(NEW);
        assert!(node.reload(), "{}", node.log());
        wait_for_more(&new_asked, 10);
        new_ended.store(true, Ordering::Relaxed);
    });
    assert_eq!(ask_once(&tcp(&node), Door::Tcp, "old"), Code::PermissionDenied);
    let text = metrics::text(&node);
    assert!(!text.contains("token_uses_total{name=\"token\"}"), "its series went with it: {text}");
}

/// Goal: what a connection may do is judged with each of its calls, by the file that counts then.
#[test]
fn a_connection_outlives_its_token() {
    let mut node = Node::start_with(OLD);
    let address = tcp(&node);
    run(async {
        let client = dial(&address, Door::Mux, "old").await;
        let code = async || {
            let answer = gitring_tests::gitaly::call(
                &client,
                super::METHOD,
                gitring_tests::gitaly::metadata(&[]),
                b"",
            );
            answer.await.expect_err("no repository is named").code()
        };
        assert_eq!(code().await, LET_IN);
        node.configure(NEW);
        assert!(node.reload());
        assert_eq!(code().await, Code::PermissionDenied);
        assert_eq!(ask(&address, Door::Mux, "new").await, LET_IN);
    });
}

/// Goal: a file with anything wrong in it changes nothing at all, and the log says what and where.
#[test]
fn a_bad_file_changes_nothing() {
    let mut node = Node::start_within_tls(OLD);
    let address = tcp(&node);
    let successful = |node: &Node| metrics::sum(node, "gitring_config_last_reload_successful", &[]);
    let mut check = |more: &str, words: &str| {
        node.configure(more);
        assert!(!node.reload(), "{more}");
        let log = node.log();
        assert!(log.contains(words), "{words}: {log}");
        assert_eq!(successful(&node), 0);
        assert_eq!(ask_once(&address, Door::Tcp, "old"), LET_IN, "{more}");
        assert_eq!(ask_once(&address, Door::Tcp, "new"), Code::PermissionDenied, "{more}");
        node.configure(OLD);
        assert!(node.reload());
        assert_eq!(successful(&node), 1);
    };
    check("[auth]\ntoken = 5\n", "auth.token: is of type integer, allowed: a string");
    check(
        &format!("{BOTH}[timeout]\nupload_pack_negotiation = \"x\"\n"),
        "timeout.upload_pack_neg",
    );
    check(&format!("{BOTH}[\n"), "config.toml:");
    check("[tls]\nmin_version = \"TLS 1.1\"\n[auth]\ntoken = \"new\"\n", "is no version, allowed");
    check("[[auth.tokens]]\nname = \"a b\"\ntoken = \"x\"\n", "cannot be a label");
    check("[[auth.tokens]]\nname = \"a\"\n", "is missing, and so is token_file");
    check(&format!("{NEW}{NEW}"), "'new' is taken");
    check("[auth]\ntoken = \"new\"\ninsecure = true\n", "is true, and there are tokens");
    // What would let everybody in has to say so.
    check("", "there is no token any more");
    check("[auth]\ntoken = \"\"\n", "there is no token any more");
    check("[[auth.tokens]]\nname = \"a\"\ntoken_file = \"FOLDER/none\"\n", "No such file");
    node.file("token", "new");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(node.file("token", "new"), open).expect("a mode can be changed");
    let mut check = |more: &str, words: &str| {
        node.configure(more);
        assert!(!node.reload() && node.log().contains(words), "{words}: {}", node.log());
        assert_eq!(ask_once(&address, Door::Tcp, "old"), LET_IN);
    };
    check("[[auth.tokens]]\nname = \"a\"\ntoken_file = \"FOLDER/token\"\n", "run chmod 6");
    node.put_certificate(gitring_tests::node::Certificate { key: SECOND.key, ..FIRST });
    node.configure(BOTH);
    assert!(!node.reload());
    assert_eq!(ask_once(&address, Door::Tcp, "new"), Code::PermissionDenied);
}

/// Goal: a node is opened to everybody only by a file that says so, and says `transitioning` as in
/// Gitaly; keys that count at the next start are named, and values are not.
#[test]
fn what_a_file_may_say() {
    let mut node = Node::start_with(OLD);
    let address = tcp(&node);
    node.configure("[auth]\ntoken = \"old\"\ntransitioning = true\n");
    assert!(node.reload());
    assert_eq!(ask_once(&address, Door::Tcp, "stranger"), LET_IN);
    node.configure("[auth]\ninsecure = true\n");
    assert!(node.reload());
    assert_eq!(ask_once(&address, Door::Tcp, ""), LET_IN);
    node.configure(&format!("{NEW}[runtime]\nworkers = 3\n[hooks]\nwithout_gitlab = \"deny\"\n"));
    assert!(node.reload());
    assert_eq!(ask_once(&address, Door::Tcp, ""), Code::Unauthenticated);
    let log = node.log();
    assert!(log.contains("\"keys\":\"hooks.without_gitlab, runtime.workers\""), "{log}");
    assert!(!log.contains("deny"), "{log}");
}

/// Goal: a renewed pair is taken without a signal, and half of one is not.
#[test]
fn renewed_certificates_are_picked_up() {
    let node = Node::start_within_tls("");
    node.put_certificate(SECOND);
    let taken = || node.log().contains("renewed certificate taken");
    wait_until("the new pair is taken", Duration::from_secs(30), taken);
    assert_eq!(ask_once(&node.tls_address(), Door::Tcp, ""), LET_IN);
    let renewals = |result| {
        metrics::sum(&node, "gitring_tls_certificate_renewals_total", &[("result", result)])
    };
    assert_eq!([renewals("taken"), renewals("refused")], [1, 0]);
    node.put_certificate(gitring_tests::node::Certificate { key: FIRST.key, ..SECOND });
    let warned = || node.log().contains("renewed certificate not taken");
    wait_until("a pair that does not fit is named", Duration::from_secs(60), warned);
    assert_eq!([renewals("taken"), renewals("refused")], [1, 1]);
    assert_eq!(ask_once(&node.tls_address(), Door::Tcp, ""), LET_IN);
}
