//! The log's sample, from which other budgets and ages can be replayed.

use std::collections::{BTreeMap, BTreeSet};

use gitring_tests::metrics;
use gitring_tests::node::Node;
use gitring_tests::process::wait_until;
use gitring_tests::repository::{Kind, Repository};

use super::clients::{clone_of, over_gateway};
use super::{Roles, SETTLE_MAX, assert_healthy, served_keys};

/// A line of the sample: its fields, in words.
type Line = BTreeMap<String, String>;

/// The lines of the sample, in order. No value in them has a comma or a quote.
fn sample(node: &Node) -> Vec<Line> {
    let log = node.log();
    let lines = log.lines().filter(|line| line.contains("\"pack cache sample\""));
    let field = |field: &str| {
        let (name, value) = field.split_once(':')?;
        Some((name.trim_matches('"').to_owned(), value.trim_matches('"').to_owned()))
    };
    let fields =
        |line: &str| line.trim_matches(['{', '}']).split(',').filter_map(field).collect::<Line>();
    lines.map(fields).collect()
}

/// Goal: whatever happens to a sampled key is in the log, with sizes and ages.
/// Method: every key is sampled; a pack that is led, joined, hit and gets too old.
#[test]
fn a_key_from_beginning_to_end() {
    let mut node = Node::start_with(
        "[pack_objects_cache]\nmin_occurrences = 0\nmax_age = \"4s\"\nlog_one_key_in = 1\n",
    );
    let repository = Repository::create(&node.storage(), "varied", Kind::Varied);
    let input = clone_of(&repository, &[]);
    let held = node.hold_packs();
    std::thread::scope(|scope| {
        let two = [(), ()].map(|()| scope.spawn(|| over_gateway(&node, "varied.git", &input)));
        wait_until("one waits for the other", SETTLE_MAX, || Roles::of(&node).joins == 1);
        drop(held);
        for client in two {
            assert!(client.join().expect("a client does not panic").is_whole);
        }
    });
    let finished = || sample(&node).iter().any(|line| line["event"] == "finished");
    wait_until("it is finished", SETTLE_MAX, finished);
    assert!(over_gateway(&node, "varied.git", &input).is_whole);
    let evicted = || metrics::sum(&node, "gitring_pack_cache_evictions_total", &[]);
    wait_until("it has become too old", SETTLE_MAX, || evicted() == 1);
    let has_gone = || sample(&node).iter().any(|line| line["event"] == "evicted");
    wait_until("that is in the log", SETTLE_MAX, has_gone);
    let lines = sample(&node);
    let mut events: Vec<&str> = lines.iter().map(|line| &*line["event"]).collect();
    events.sort_unstable();
    let expected = ["evicted", "finished", "hit", "join", "lead", "served", "served", "served"];
    assert_eq!(events, expected, "{lines:#?}");
    let keys: BTreeSet<&String> = lines.iter().map(|line| &line["cache_key"]).collect();
    let sizes: BTreeSet<&String> = lines.iter().filter_map(|line| line.get("bytes")).collect();
    assert_eq!((keys.len(), sizes.len()), (1, 1), "{lines:#?}");
    for line in &lines {
        let has = |field| line.contains_key(field);
        let event = &*line["event"];
        assert_eq!(has("age_ms"), ["hit", "join", "evicted"].contains(&event), "{line:?}");
        assert_eq!(has("bytes"), !["lead", "join"].contains(&event), "{line:?}");
        assert_eq!(has("cause"), event == "evicted", "{line:?}");
        assert_eq!(has("role"), event == "served", "{line:?}");
    }
    let gone = lines.iter().find(|line| line["event"] == "evicted").expect("it was counted");
    assert_eq!(gone["cause"], "max_age");
    assert!(gone["age_ms"].parse::<u64>().is_ok_and(|age| age >= 4_000), "{gone:?}");
    assert_healthy(&mut node);
}

/// Goal: a key is sampled or not by its bytes alone.
#[test]
fn one_key_in_so_many() {
    fn check(table: &str, one_key_in: u32) {
        let mut node = Node::start_with(table);
        let repository = Repository::create(&node.storage(), "varied", Kind::Varied);
        // Filters of the same effect are different packs.
        for limit in 1..=60 {
            let input = clone_of(&repository, &[&format!("filter blob:limit={limit}000000")]);
            assert!(over_gateway(&node, "varied.git", &input).is_whole);
        }
        let is_sampled = |key: &String| {
            let number = u32::from_str_radix(&key[..8], 16).expect("keys are hexadecimal");
            one_key_in > 0 && number.is_multiple_of(one_key_in)
        };
        let served = || served_keys(&node).into_iter().collect::<BTreeSet<String>>();
        wait_until("all are in the log", SETTLE_MAX, || served().len() == 60);
        let sampled = served().into_iter().filter(is_sampled);
        // lead, finished and served of each
        let expected: BTreeMap<String, usize> = sampled.map(|key| (key, 3)).collect();
        let found = || {
            let mut found: BTreeMap<String, usize> = BTreeMap::new();
            for line in sample(&node) {
                *found.entry(line["cache_key"].clone()).or_default() += 1;
            }
            found
        };
        wait_until("it is as it should be", SETTLE_MAX, || found() == expected);
        assert_healthy(&mut node);
    }
    check("", 16);
    check("[pack_objects_cache]\nmin_occurrences = 0\nlog_one_key_in = 3\n", 3);
    check("[pack_objects_cache]\nmin_occurrences = 0\nlog_one_key_in = 0\n", 0);
}
