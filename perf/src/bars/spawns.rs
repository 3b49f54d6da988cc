//! How many processes a request starts.
//!
//! Always true: every git that the node starts is counted, whatever it is for.
//!
//! Never here: time.

use gitring_tests::git;
use gitring_tests::node::Node;
use gitring_tests::repository::{Kind, Repository};

use super::Bar;

/// The first clone starts one process; the same clone in another protocol version finds its pack
/// kept. A fetch of nothing and a listing start none.
pub fn measure() -> Vec<Bar> {
    let node = Node::start();
    let repository = Repository::create(&node.storage(), "spawns", Kind::Varied);
    let url = node.url(&repository.relative());
    let client = tempfile::tempdir().expect("a temporary folder");
    let mut bars = Vec::new();
    for version in [0, 2] {
        let setting = format!("protocol.version={version}");
        let name = format!("v{version}");
        let clone = ["-c", &setting, "clone", "-q", "--mirror", &url, &name];
        let fetch = ["-c", &setting, "--git-dir", &name, "fetch", "-q", "origin"];
        let list = ["-c", &setting, "ls-remote", "-q", &url];
        for (what, words, allowed) in [
            ("clone", &clone[..], usize::from(version == 0)),
            ("fetch of nothing", &fetch[..], 0),
            ("ls-remote", &list, 0),
        ] {
            let before = node.children_started();
            git::run(client.path(), words);
            let started = node.children_started() - before;
            bars.push(Bar {
                what: format!("processes started by a {what}, v{version}"),
                figure: started.to_string(),
                limit: format!("exactly {allowed}"),
                noise: "none".to_owned(),
                met: started == allowed,
            });
        }
    }
    bars
}
