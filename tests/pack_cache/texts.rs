//! What a client that wants to see progress reads in band 2, and one that does not.

use gitring_tests::git;
use gitring_tests::gitaly::run;
use gitring_tests::node::Node;
use gitring_tests::process::wait_until;
use gitring_tests::repository::{Kind, Repository};
use tokio::task::JoinSet;

use super::clients::{Fetching, Got, clone_of, over_gateway, over_sidechannel};
use super::{Roles, SETTLE_MAX, assert_healthy, default_directory, heavy, wait_for_kept};

/// Four clients that come while the pack is held up: who led, then who joined.
fn together(node: &Node, inputs: [&[u8]; 4]) -> Vec<Got> {
    let held = node.hold_packs();
    run(async {
        let mut clients = Vec::new();
        for input in inputs {
            let before = Roles::of(node).total();
            clients.push(Fetching::begin(node, "heavy.git", input, &[]).await);
            while Roles::of(node).total() == before {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        }
        drop(held);
        let mut all = JoinSet::new();
        for (at, client) in clients.into_iter().enumerate() {
            all.spawn_local(async move { (at, client.finish().await) });
        }
        let mut all = all.join_all().await;
        all.sort_by_key(|(at, _)| *at);
        all.into_iter().map(|(_, got)| got).collect()
    })
}

#[test]
fn who_joins_reads_that_a_pack_is_built_and_for_how_many() {
    let mut node = Node::start();
    let repository = heavy(&node, 60);
    let loud = clone_of(&repository, &[]);
    let quiet = clone_of(&repository, &["no-progress"]);
    let all = together(&node, [&loud, &loud, &quiet, &loud]);
    let objects = "Total ";
    for (at, joined) in [(0, None), (1, Some(2)), (2, None), (3, Some(4))] {
        let got = &all[at];
        assert!(got.is_whole, "{at}: {got:?}");
        let told = got.said.contains("being built");
        assert_eq!(told, joined.is_some(), "{at}: {:?}", got.said);
        if let Some(clients) = joined {
            let number = format!(" {clients} clients");
            assert!(got.said.contains(&number), "{at}: {:?}", got.said);
        }
        // git's own progress is everybody's who wants it.
        assert_eq!(got.said.contains(objects), at != 2, "{at}: {:?}", got.said);
    }
    assert_eq!(all[2].said, "", "who wants no progress sees none");
    // From now on it is there.
    wait_for_kept(&default_directory(&node), 1);
    for get in [over_gateway, over_sidechannel] {
        let got = get(&node, "heavy.git", &loud);
        assert!(got.is_whole && got.said.contains("from the cache"), "{got:?}");
        assert!(got.said.ends_with('\n'), "{got:?}");
        let got = get(&node, "heavy.git", &quiet);
        assert!(got.is_whole && got.said.is_empty(), "{got:?}");
    }
    assert_eq!(Roles::of(&node), Roles { leads: 1, joins: 3, hits: 4 });
    assert_healthy(&mut node);
}

/// Whose progress it is does not matter: a leader without any leaves others without git's lines.
#[test]
fn a_leader_without_progress() {
    let mut node = Node::start();
    let repository = heavy(&node, 60);
    let loud = clone_of(&repository, &[]);
    let quiet = clone_of(&repository, &["no-progress"]);
    let all = together(&node, [&quiet, &loud, &quiet, &loud]);
    for (at, got) in all.iter().enumerate() {
        assert!(got.is_whole, "{at}: {got:?}");
        assert_eq!(got.said.contains("being built"), at % 2 == 1, "{at}: {got:?}");
        assert!(at % 2 == 1 || got.said.is_empty(), "{at}: {got:?}");
    }
    assert_healthy(&mut node);
}

/// A stock client shows it as lines of the remote.
#[test]
fn stock_clients_show_it() {
    let mut node = Node::start();
    Repository::create(&node.storage(), "varied", Kind::Varied);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = node.url("varied.git");
    for (version, name) in [("0", "a"), ("2", "b"), ("1", "c")] {
        let version = format!("protocol.version={version}");
        let words = ["-c", &version, "clone", "--progress", "--bare", &url, name];
        let output = git::try_run(folder.path(), &words);
        assert!(output.status.success(), "{}", git::describe(&words, &output));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        // git's own first lines may be lost to a client that comes to hear them late.
        assert!(said.contains("remote: Total "), "{said}");
        let hit = said
            .lines()
            .any(|line| line.starts_with("remote: Total ") && line.contains("from the cache"));
        assert_eq!(hit, name != "a", "{said}");
        let words = ["-c", &version, "clone", "--quiet", "--bare", &url, &format!("{name}-quiet")];
        let output = git::try_run(folder.path(), &words);
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    }
    wait_until("the node is at rest", SETTLE_MAX, || Roles::of(&node).hits == 5);
    assert_healthy(&mut node);
}
