//! `ls-refs` with all its arguments (gitprotocol-v2, "ls-refs").
//!
//! Always true: every combination of peel, symrefs and unborn meets every kind of prefix.
//!
//! Never here: v0 advertisements.

use gitring_tests::pktline::{self, request};
use gitring_tests::repository::Kind;
use gitring_tests::stdio::Call;

use super::{Fixture, Pair};

const PREFIXES: [&[&str]; 9] = [
    &[],
    &["ref-prefix HEAD"],
    &["ref-prefix refs/heads/"],
    &["ref-prefix refs/heads/main"],
    &["ref-prefix refs/tags/v", "ref-prefix refs/heads/topic/"],
    &["ref-prefix refs/heads/m", "ref-prefix refs/heads/many/0", "ref-prefix refs/heads/m"],
    &["ref-prefix refs/none/"],
    &["ref-prefix H", "ref-prefix refs"],
    &["ref-prefix "],
];

fn listing(flags: usize, prefixes: &[&str]) -> Vec<String> {
    let mut lines = vec!["command=ls-refs", "agent=test/1", "object-format=sha1", "delim"];
    let names = ["peel", "symrefs", "unborn"].into_iter().enumerate();
    lines.extend(names.filter(|(bit, _)| flags & (1 << bit) != 0).map(|(_, name)| name));
    lines.extend(prefixes);
    lines.push("flush");
    lines.into_iter().map(str::to_owned).collect()
}

fn check_all(fixture: &Fixture) {
    for flags in 0..8 {
        for prefixes in PREFIXES {
            let lines = listing(flags, prefixes);
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            fixture.check_v2(&lines);
        }
    }
}

#[test]
fn every_combination_of_arguments() {
    for kind in [Kind::Varied, Kind::DetachedHead, Kind::UnbornHead, Kind::Empty] {
        check_all(&Fixture::new(kind));
    }
}

#[test]
fn hidden_refs_stay_hidden() {
    let rules: [&[&str]; 5] = [
        &["refs/heads/many"],
        &["refs/heads", "!refs/heads/main"],
        &["HEAD"],
        &["refs/tags", "!refs/tags/v1", "refs/tags/v1"],
        &["^refs/heads/topic"],
    ];
    for hidden in rules {
        let fixture = Fixture::new(Kind::Varied);
        for rule in hidden {
            fixture.repository.git(&["config", "--add", "transfer.hideRefs", rule]);
        }
        for flags in [0, 7] {
            for prefixes in PREFIXES {
                let lines = listing(flags, prefixes);
                let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
                fixture.check_v2(&lines);
            }
        }
        fixture.check(&Call::advertise(""), b"");
    }
}

#[test]
fn a_namespace_is_a_repository_of_its_own() {
    let fixture = Fixture::new(Kind::Varied);
    let main = fixture.id("main");
    for name in ["refs/heads/inner", "refs/tags/inner"] {
        let full = format!("refs/namespaces/a/refs/namespaces/b/{name}");
        fixture.repository.git(&["update-ref", &full, &main]);
    }
    let head = "refs/namespaces/a/refs/namespaces/b/HEAD";
    let target = "refs/namespaces/a/refs/namespaces/b/refs/heads/inner";
    fixture.repository.git(&["symbolic-ref", head, target]);
    for namespace in ["a/b", "a", "none", ""] {
        let environment = [("GIT_NAMESPACE", namespace)];
        for flags in [0, 7] {
            for prefixes in PREFIXES {
                let lines = listing(flags, prefixes);
                let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
                let call = Call { environment: &environment, ..Call::stateless("version=2") };
                fixture.check(&call, &request(&lines));
            }
        }
        fixture.check(&Call { environment: &environment, ..Call::advertise("") }, b"");
    }
}

/// Beyond 65,535 prefixes git lists everything: prefixes are hints.
#[test]
fn too_many_prefixes_mean_all() {
    let fixture = Fixture::new(Kind::Varied);
    for count in [65_535, 65_536, 65_537] {
        let mut input = request(&["command=ls-refs", "object-format=sha1", "delim"]);
        for n in 0..count {
            input.extend(pktline::data(format!("ref-prefix refs/none/{n}\n")));
        }
        input.extend(pktline::FLUSH);
        fixture.check(&Call::stateless("version=2"), &input);
    }
}

#[test]
fn several_commands_in_one_connection() {
    let fixture = Fixture::new(Kind::Varied);
    let one = ["command=ls-refs", "object-format=sha1", "delim", "ref-prefix HEAD", "flush"];
    let two = ["command=ls-refs", "object-format=sha1", "delim", "peel", "flush"];
    let lines = [&one[..], &two, &one, &["flush"]].concat();
    fixture.check(&Call::stateful("version=2"), &request(&lines));
    // Without the closing flush the connection simply ends.
    fixture.check(&Call::stateful("version=2"), &request(&lines[..lines.len() - 1]));
    fixture.check_v2(&["flush"]);
}

#[test]
fn the_gateway_lists_the_same() {
    let pair = Pair::new(Kind::Varied);
    for flags in [0, 3, 7] {
        for prefixes in PREFIXES {
            let lines = listing(flags, prefixes);
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            pair.check_post(2, &request(&lines));
        }
    }
}
