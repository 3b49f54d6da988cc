//! Stock clients fetch from us and from stock git; both must end up with the same.
//!
//! Goal: every kind of fetch, in every protocol version, over HTTP and stdio.
//! Method: each scenario runs with the same client commands against stock `git upload-pack`, the
//! gateway and `gitring-node upload-pack`; then refs, HEAD, shallow file, FETCH_HEAD and all
//! objects are compared, and `git fsck` judges the clone.
//!
//! Never here: bytes on the wire; `protocol` compares those.

pub(crate) mod scenarios;

use gitring_tests::client::{Client, Served};
use gitring_tests::git;
use gitring_tests::node::Node;
use gitring_tests::picture::{Picture, fsck};
use gitring_tests::repository::{Kind, Repository};
use gitring_tests::shape;
use gitring_tests::stock_http::StockHttp;

use scenarios::{ALL, SHAPED, Scenario, UNBORN};

/// A node whose storage holds `varied.git`, and `grown.git`, which is the same with later work.
pub(crate) fn node_with(kind: Kind) -> Node {
    let node = Node::start();
    let varied = Repository::create(&node.storage(), "varied", kind);
    varied.allow_everything();
    let grown = varied.copy("grown");
    if kind != Kind::Empty {
        grown.grow(12);
    }
    node
}

/// Runs scenarios against all three servers and reports every difference at once.
fn check(node: &Node, version: u8, scenarios: &[Scenario]) {
    let storage = node.storage();
    let stock_http = StockHttp::start(&storage);
    let mut faults = Vec::new();
    let mut ran = 0;
    for scenario in scenarios.iter().filter(|scenario| scenario.versions.contains(&version)) {
        ran += 1;
        let over_http = (Served::StockHttp(&stock_http), Served::Gateway(node));
        let over_stdio = (Served::Stock(&storage), Served::Stdio(&storage));
        for (stock, ours) in [over_http, over_stdio] {
            if let Err(fault) = compare(scenario, version, stock, ours) {
                faults.push(format!("{} v{version} over {ours}: {fault}", scenario.name));
            }
        }
    }
    assert!(ran > 0, "no scenario for version {version}");
    assert!(faults.is_empty(), "{} faults\n{}\n{}", faults.len(), faults.join("\n"), node.log());
}

/// Runs a scenario with both servers; the error says what differs.
pub(crate) fn compare(
    scenario: &Scenario,
    version: u8,
    stock: Served<'_>,
    ours: Served<'_>,
) -> Result<(), String> {
    let (stock_said, stock) = play(scenario, version, stock)?;
    let (ours_said, ours) = play(scenario, version, ours)?;
    if let Some(difference) = ours.difference(&stock) {
        return Err(difference);
    }
    if ours_said == stock_said {
        return Ok(());
    }
    Err(format!("output differs: ours\n{ours_said}\nstock\n{stock_said}"))
}

/// What a scenario said and left behind. A failing command is an error, not a panic, so that one
/// run shows every scenario that fails.
fn play(scenario: &Scenario, version: u8, served: Served<'_>) -> Result<(String, Picture), String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let client = Client::new(folder.path(), served, version);
    let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let said = (scenario.run)(&client);
        assert_eq!(client.started_server(), served.is_piped(), "who served?");
        fsck(&client.clone_folder());
        (said, Picture::of(&client.clone_folder()))
    }));
    played.map_err(|cause| match cause.downcast::<String>() {
        Ok(message) => *message,
        Err(_) => format!("{}: ended without a message", scenario.name),
    })
}

#[test]
fn every_fetch_in_version_0() {
    check(&node_with(Kind::Varied), 0, ALL);
}

#[test]
fn every_fetch_in_version_1() {
    check(&node_with(Kind::Varied), 1, ALL);
}

#[test]
fn every_fetch_in_version_2() {
    check(&node_with(Kind::Varied), 2, ALL);
}

#[test]
fn heads_that_are_no_branch() {
    for kind in [Kind::DetachedHead, Kind::UnbornHead, Kind::Empty] {
        let node = node_with(kind);
        for version in 0..=2 {
            check(&node, version, UNBORN);
        }
    }
}

#[test]
fn every_shape_on_disk() {
    for shape in shape::ALL {
        eprintln!("{shape:?}");
        let node = node_with(Kind::Varied);
        for name in ["varied", "grown"] {
            let path = node.storage().join(format!("{name}.git"));
            shape.apply(&Repository { path });
        }
        check(&node, 0, SHAPED);
        check(&node, 2, SHAPED);
    }
}

#[test]
fn a_push_is_refused() {
    let node = node_with(Kind::Varied);
    let storage = node.storage();
    let before = git::run(&storage.join("varied.git"), &["for-each-ref"]);
    let client = tempfile::tempdir().expect("a temporary folder");
    git::run(client.path(), &["clone", "-q", &node.url("varied.git"), "c"]);
    let clone = client.path().join("c");
    git::run(&clone, &["commit", "-q", "--allow-empty", "-m", "new"]);
    let output = git::try_run(&clone, &["push", "origin", "HEAD:refs/heads/new"]);
    assert!(!output.status.success(), "{}", git::describe(&["push"], &output));
    assert_eq!(git::run(&storage.join("varied.git"), &["for-each-ref"]), before);
}
