//! Every way git stores objects: kind, size, content and parents are what git says.

use super::fixture::{Expected, Fixture, git_in};
use crate::ObjectId;
use crate::objects::{Commit, Header, Kind, Store, StoreOptions, parse};
use std::collections::HashMap;

/// Compares all of the store's answers for `expected` with git's.
fn check(store: &Store, expected: &[Expected]) {
    for Expected { id, kind, data } in expected {
        let header = Header { kind: *kind, size_bytes: data.len() as u64 };
        assert!(store.contains(id).unwrap(), "{id}");
        assert_eq!(store.kind(id).unwrap(), Some(*kind), "{id}");
        assert_eq!(store.header(id).unwrap(), Some(header), "{id}");
        let object = store.read(id).unwrap().unwrap();
        assert!(object.kind == *kind && object.data == *data, "{id} differs");
        if *kind == Kind::Commit {
            let commit = store.commit(id).unwrap().unwrap();
            let parsed = parse::commit(data).unwrap();
            assert_eq!(Commit { generation: None, ..commit }, parsed, "{id}");
        }
    }
    let absent = ObjectId::Sha1([7; 20]);
    assert!(!store.contains(&absent).unwrap());
    assert_eq!(store.header(&absent).unwrap(), None);
    assert_eq!(store.read(&absent).unwrap(), None);
    assert_eq!(store.commit(&absent).unwrap(), None);
}

fn check_after(commands: &[&[&str]]) {
    let fixture = Fixture::with_history(120);
    fixture.import("other", 2, 40);
    fixture.import("third", 3, 40);
    for command in commands {
        fixture.git(command);
    }
    check(&fixture.store(), &fixture.expected());
}

#[test]
fn several_packs_and_loose_tags() {
    check_after(&[]);
}

#[test]
fn one_pack_with_long_chains() {
    check_after(&[&["repack", "-adfq", "--depth=50", "--window=50"]]);
}

#[test]
fn deltas_by_reference() {
    check_after(&[&["-c", "repack.useDeltaBaseOffset=false", "repack", "-adfq", "--depth=50"]]);
}

#[test]
fn index_of_version_one() {
    check_after(&[&["-c", "pack.indexVersion=1", "repack", "-adfq"]]);
}

#[test]
fn index_with_large_offsets() {
    check_after(&[&["repack", "-adfq"]]);
    let fixture = Fixture::with_history(60);
    fixture.git(&["repack", "-adfq"]);
    let pack = fixture.files(".pack").remove(0);
    std::fs::remove_file(pack.with_extension("idx")).unwrap();
    // Every offset from 0x100 on goes to the table of 64-bit ones.
    fixture.git(&["index-pack", "--index-version=2,0x100", pack.to_str().unwrap()]);
    check(&fixture.store(), &fixture.expected());
}

#[test]
fn multi_pack_index() {
    check_after(&[&["multi-pack-index", "write"]]);
    check_after(&[&["repack", "-dq"], &["multi-pack-index", "write", "--bitmap"]]);
}

#[test]
fn multi_pack_index_that_names_packs_long_gone() {
    let fixture = Fixture::with_history(40);
    fixture.git(&["multi-pack-index", "write"]);
    let midx = fixture.files("multi-pack-index").remove(0);
    let kept = std::fs::read(&midx).unwrap();
    fixture.import("other", 2, 40);
    fixture.git(&["repack", "-adfq"]);
    std::fs::write(&midx, kept).unwrap();
    check(&fixture.store(), &fixture.expected());
}

#[test]
fn commit_graphs() {
    check_after(&[&["commit-graph", "write", "--reachable"]]);
    let fixture = Fixture::with_history(120);
    let split = ["commit-graph", "write", "--reachable", "--split=no-merge"];
    for seed in 2..5 {
        fixture.git(&split);
        fixture.import(&format!("branch{seed}"), seed, 30);
    }
    fixture.git(&split);
    fixture.import("not-in-the-graph", 9, 30);
    assert!(fixture.files(".graph").len() > 2);
    check(&fixture.store(), &fixture.expected());
}

#[test]
fn generations_are_one_more_than_the_highest_parent() {
    let fixture = Fixture::with_history(120);
    fixture.git(&["commit-graph", "write", "--reachable"]);
    let store = fixture.store();
    let list = fixture.git(&["rev-list", "--reverse", "--topo-order", "--all"]);
    let mut levels: HashMap<ObjectId, u32> = HashMap::new();
    for line in list.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let id = ObjectId::from_hex(line).unwrap();
        let commit = store.commit(&id).unwrap().unwrap();
        let level = 1 + commit.parents.iter().map(|parent| levels[parent]).max().unwrap_or(0);
        assert_eq!(commit.generation, Some(level));
        levels.insert(id, level);
    }
    let off = StoreOptions { commit_graph: false, ..StoreOptions::default() };
    let without = Store::open(&fixture.objects(), &off).unwrap();
    assert_eq!(without.commit(&fixture.id("main")).unwrap().unwrap().generation, None);
}

#[test]
fn a_graph_is_no_proof_that_a_commit_exists() {
    let fixture = Fixture::with_history(10);
    let tip = fixture.id("main");
    fixture.git(&["commit-graph", "write", "--reachable"]);
    for pack in fixture.files(".idx").into_iter().chain(fixture.files(".pack")) {
        std::fs::remove_file(pack).unwrap();
    }
    let store = fixture.store();
    assert!(!store.contains(&tip).unwrap());
    assert_eq!(store.header(&tip).unwrap(), None);
}

#[test]
fn loose_only() {
    let fixture = Fixture::with_history(40);
    let packs = fixture.files(".pack");
    for pack in &packs {
        let content = std::fs::read(pack).unwrap();
        for file in [pack.clone(), pack.with_extension("idx")] {
            std::fs::remove_file(file).unwrap();
        }
        fixture.git_with(&["unpack-objects", "-q"], &content);
    }
    assert!(fixture.files(".pack").is_empty());
    check(&fixture.store(), &fixture.expected());
}

#[test]
fn alternates_nested_relative_quoted_and_circular() {
    let (fork, pool, base) =
        (Fixture::with_history(10), Fixture::with_history(20), Fixture::with_history(30));
    pool.import("pool", 5, 10);
    base.import("base", 6, 10);
    base.git(&["repack", "-adfq"]);
    let link = |from: &Fixture, text: String| {
        std::fs::write(from.objects().join("info/alternates"), text).unwrap();
    };
    let pool_name = pool.dir.path().file_name().unwrap().to_str().unwrap();
    link(&fork, format!("# comment\n\n/does/not/exist\n../../{pool_name}/objects\n"));
    link(&pool, format!("\"{}\"\n", base.objects().display()));
    link(&base, format!("{}\n", fork.objects().display()));
    let store = fork.store();
    check(&store, &fork.expected());
    assert!(store.contains(&base.id("base")).unwrap());
    let files: Vec<_> = store.depends_on().iter().map(|(path, _)| path.clone()).collect();
    assert_eq!(
        files,
        [
            fork.objects().join("info/alternates"),
            "/does/not/exist".into(),
            pool.objects().join("info/alternates"),
            base.objects().join("info/alternates"),
        ]
    );
}

#[test]
fn alternates_as_deep_as_git_follows_them() {
    let levels: Vec<_> = (0..9).map(|_| Fixture::empty()).collect();
    let mut blobs = Vec::new();
    for (number, level) in levels.iter().enumerate() {
        let text = format!("level {number}");
        let id = level.git_with(&["hash-object", "-w", "--stdin"], text.as_bytes());
        blobs.push(ObjectId::from_hex(id.trim_ascii()).unwrap());
        if let Some(next) = levels.get(number + 1) {
            let line = format!("{}\n", next.objects().display());
            std::fs::write(level.objects().join("info/alternates"), line).unwrap();
        }
    }
    let store = levels[0].store();
    let known: Vec<_> = levels[0].expected().into_iter().map(|object| object.id).collect();
    for blob in &blobs {
        assert_eq!(store.contains(blob).unwrap(), known.contains(blob), "{blob}");
    }
}

#[test]
fn directories_given_by_the_caller() {
    let (own, other) = (Fixture::with_history(5), Fixture::empty());
    other.import("other", 4, 5);
    let options = StoreOptions { alternates: vec![other.objects()], ..StoreOptions::default() };
    let store = Store::open(&own.objects(), &options).unwrap();
    check(&store, &other.expected());
    check(&store, &own.expected());
}

#[test]
fn tags_are_peeled_to_the_first_object_that_is_none() {
    let fixture = Fixture::with_history(5);
    let store = fixture.store();
    for (tag, target) in [("outer", "main"), ("inner", "main"), ("of-blob", "main:big")] {
        assert_eq!(store.peel(&fixture.id(tag)).unwrap(), Some(fixture.id(target)), "{tag}");
        assert_eq!(store.peel(&fixture.id(target)).unwrap(), None, "{target}");
    }
    let text =
        format!("object {}\ntype commit\ntag x\ntagger C <c@e> 1 +0000\n\nx\n", "7".repeat(40));
    let arguments = ["hash-object", "-t", "tag", "-w", "--stdin"];
    let dangling = git_in(fixture.dir.path(), &arguments, text.as_bytes());
    let dangling = ObjectId::from_hex(dangling.trim_ascii()).unwrap();
    assert!(store.peel(&dangling).is_err());
    assert!(store.commit(&dangling).is_err());
}

#[test]
fn the_empty_tree_is_always_there() {
    let fixture = Fixture::empty();
    let id = ObjectId::empty_tree(gix_hash::Kind::Sha1);
    let store = fixture.store();
    fixture.git(&["cat-file", "-e", &id.to_string()]);
    assert!(store.contains(&id).unwrap());
    assert_eq!(store.header(&id).unwrap(), Some(Header { kind: Kind::Tree, size_bytes: 0 }));
    assert_eq!(store.read(&id).unwrap().map(|object| object.data.len()), Some(0));
}
