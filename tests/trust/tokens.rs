//! Several tokens at once.

use gitring_tests::gitaly::{DOORS, Door};
use gitring_tests::metrics;
use gitring_tests::node::Node;
use tonic::Code;

use super::{LET_IN, ask_once, tcp};

/// Goal: each of three tokens opens every door, and its uses are counted under its name alone; the
/// counters of Gitaly are moved as by one token.
#[test]
fn every_token_opens_every_door() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("token");
    std::fs::write(&file, "from a file\n").expect("a file can be written");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&file, mode).expect("its mode can be changed");
    let node = Node::start_with(&format!(
        "[auth]\ntoken = \"the old one\"\n[[auth.tokens]]\nname = \"rails-2026\"\n\
         token = \"the new one\"\n[[auth.tokens]]\nname = \"shell\"\ntoken_file = \"{}\"\n",
        file.display()
    ));
    let tokens =
        [("token", "the old one"), ("rails-2026", "the new one"), ("shell", "from a file")];
    for (place, (_, secret)) in tokens.into_iter().enumerate() {
        for door in DOORS {
            for _ in 0..=place {
                assert_eq!(ask_once(&door.address(&node), door, secret), LET_IN, "{secret}");
            }
        }
    }
    for wrong in ["the old", "the old one the new one", "from a file\n", "rails-2026"] {
        assert_eq!(ask_once(&tcp(&node), Door::Tcp, wrong), Code::PermissionDenied, "{wrong}");
    }
    let uses = |name| metrics::sum(&node, "gitring_auth_token_uses_total", &[("name", name)]);
    assert_eq!(tokens.map(|(name, _)| uses(name)), [4, 8, 12]);
    let judged = |status| {
        let labels = [("enforced", "true"), ("status", status)];
        metrics::sum(&node, "gitaly_authentications_total", &labels)
    };
    assert_eq!([judged("ok"), judged("denied")], [24, 4]);
    let errors = [("version", "v2"), ("error", "wrong hmac signature")];
    assert_eq!(metrics::sum(&node, "gitaly_authentication_errors_total", &errors), 4);
}
