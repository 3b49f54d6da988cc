//! gitlab-shell's part: stock git clients through the SSH methods.

use std::path::Path;
use std::process::Output;

use gitring_tests::git;
use gitring_tests::history;
use gitring_tests::metrics;
use gitring_tests::picture::fsck;
use gitring_tests::repository::{Kind, Repository};
use gitring_tests::shell::{Carrier, Shell};

use super::node_with_varied;

/// A packet of an outer side-band-64k that is full: one inner packet of 65,515 bytes in it.
const FULL_PACKET_BYTES: usize = 65_520;

const CARRIERS: [Carrier; 2] = [Carrier::Sidechannel, Carrier::Messages];

fn git(shell: &Shell, folder: &Path, words: &[&str]) -> Output {
    shell.git(folder).args(words).output().expect("git can be started")
}

fn expect(shell: &Shell, folder: &Path, words: &[&str]) {
    let output = git(shell, folder, words);
    assert!(output.status.success(), "{}\n{:#?}", git::describe(words, &output), shell.visits());
}

/// Clones with options, fetches what was added meanwhile, and looks at every visit.
fn check(carrier: Carrier, version: u8, options: &[&str]) {
    let (node, repository) = node_with_varied("");
    let shell = Shell::start(&node, carrier);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let version = format!("protocol.version={version}");
    let clone = ["-c", &version, "clone", "-q"];
    let url = "ssh://git@node/varied.git";
    expect(&shell, folder.path(), &[&clone[..], options, &[url, "c"]].concat());
    let cloned = folder.path().join("c");
    fsck(&cloned);
    repository.grow(5);
    expect(&shell, &cloned, &["-c", &version, "fetch", "-q", "origin"]);
    fsck(&cloned);
    let what = format!("{carrier:?} {version} {options:?}");
    assert_eq!(git::run(&cloned, &["rev-parse", "origin/main"]), repository.id("main"), "{what}");
    let visits = shell.visits();
    assert!(visits.len() >= 2, "{what}: {visits:#?}");
    for visit in visits {
        assert_eq!(visit.command, "git-upload-pack '/varied.git'", "{what}");
        assert_eq!((visit.failure, visit.exit_status.unwrap_or(0)), (None, 0), "{what}");
        if carrier == Carrier::Sidechannel {
            let counted = visit.counted.expect("statistics are always there");
            assert!(counted.wants > 0 && counted.packets > counted.wants, "{what}: {counted:?}");
        }
    }
    let label = [(
        "git_protocol",
        ["v0", "v1", "v2"]
            [usize::from(version.ends_with('1')) + 2 * usize::from(version.ends_with('2'))],
    )];
    assert!(metrics::sum(&node, "gitaly_git_protocol_requests_total", &label) >= 2, "{what}");
}

#[test]
fn clones_and_fetches_in_every_version() {
    for carrier in CARRIERS {
        for version in 0..=2 {
            check(carrier, version, &[]);
        }
    }
}

#[test]
fn shallow_and_partial_clones() {
    for carrier in CARRIERS {
        check(carrier, 2, &["--depth=2", "--no-single-branch"]);
        check(carrier, 0, &["--depth=1", "--no-single-branch"]);
        check(carrier, 2, &["--filter=blob:none"]);
    }
}

/// One inner packet fills one outer packet, so that none is cut in two.
#[test]
fn outer_packets_are_full() {
    let (node, _) = node_with_varied("");
    let heavy = Repository::create(&node.storage(), "heavy", Kind::Empty);
    heavy.import(&history::heavy(60));
    let shell = Shell::start(&node, Carrier::Sidechannel);
    let folder = tempfile::tempdir().expect("a temporary folder");
    for version in ["0", "2"] {
        let version = format!("protocol.version={version}");
        let url = "ssh://git@node/heavy.git";
        drop(std::fs::remove_dir_all(folder.path().join("c.git")));
        expect(&shell, folder.path(), &["-c", &version, "clone", "-q", "--bare", url, "c.git"]);
        let visits = shell.visits();
        let visit = visits.last().expect("one visit");
        let bytes: usize = visit.packets.iter().sum();
        let longest = visit.packets.iter().max().copied();
        let full = visit.packets.iter().filter(|length| **length == FULL_PACKET_BYTES).count();
        assert!(bytes > 1_500_000, "{version}: {bytes}");
        assert_eq!((visit.cut, longest), (0, Some(FULL_PACKET_BYTES)), "{version}");
        // What is written at once ends with a packet that is not.
        assert!(full * FULL_PACKET_BYTES * 2 > bytes, "{version}: {:?}", visit.packets);
    }
}

#[test]
fn archives() {
    let (node, repository) = node_with_varied("");
    let shell = Shell::start(&node, Carrier::Messages);
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (format, path) in [("tar", ""), ("zip", ""), ("tar", "src")] {
        let format = format!("--format={format}");
        let mut words = vec!["archive", &*format, "--remote=ssh://git@node/varied.git", "main"];
        words.extend(Some(path).filter(|path| !path.is_empty()));
        let output = git(&shell, folder.path(), &words);
        assert!(output.status.success(), "{}", git::describe(&words, &output));
        words.remove(2);
        let expected = git::try_run(&repository.path, &words);
        assert!(output.stdout == expected.stdout, "{words:?}: {} bytes", output.stdout.len());
        let visit = shell.visits().pop().expect("one visit");
        assert_eq!((visit.exit_status, visit.failure), (Some(0), None), "{words:?}");
    }
    assert_eq!(node.children_started(), 3, "{}", node.children_log());
    let words = ["archive", "--remote=ssh://git@node/varied.git", "nothing"];
    let output = git(&shell, folder.path(), &words);
    assert!(!output.status.success(), "{}", git::describe(&words, &output));
}

#[test]
fn repositories_that_are_not_there() {
    let (node, _) = node_with_varied("");
    for carrier in CARRIERS {
        let shell = Shell::start(&node, carrier);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let words = ["ls-remote", "ssh://git@node/nothing.git"];
        let output = git(&shell, folder.path(), &words);
        assert!(!output.status.success(), "{}", git::describe(&words, &output));
        let visit = shell.visits().pop().expect("one visit");
        let failure = visit.failure.expect("the method failed");
        assert!(failure.contains("repository not found"), "{carrier:?}: {failure}");
    }
}

/// Nobody starts a child where the node itself can serve.
#[test]
fn fetches_are_served_in_process() {
    let (node, repository) = node_with_varied("");
    repository.git(&["repack", "-adq", "--write-bitmap-index"]);
    for carrier in CARRIERS {
        let shell = Shell::start(&node, carrier);
        let folder = tempfile::tempdir().expect("a temporary folder");
        expect(&shell, folder.path(), &["ls-remote", "-q", "ssh://git@node/varied.git"]);
        expect(&shell, folder.path(), &["clone", "-q", "ssh://git@node/varied.git", "c"]);
    }
    let log = node.children_log();
    let served = log.lines().filter(|line| line.contains("upload-pack")).count();
    assert_eq!(served, 0, "{log}");
}
