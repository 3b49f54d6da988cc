//! Negotiation: ACK dialects of v0 and v1, sections of v2's fetch.
//!
//! Always true: all input is sent at once, so what a server answers depends on order alone.
//!
//! Never here: the packs behind the dialogue, beyond that they begin.

use gitring_tests::git;
use gitring_tests::pktline::request;
use gitring_tests::repository::Kind;
use gitring_tests::stdio::Call;

use super::{Fixture, Pair};

/// An object id that no repository has.
const MISSING: &str = "00000000000000000000000000000000deadbeef";

/// Input in words, with names in braces replaced by object ids.
fn ids(fixture: &Fixture, lines: &[&str]) -> Vec<String> {
    let names = ["main", "main~2", "main~4", "main~9", "v0", "v9", "topic/5", "orphan", "many/00"];
    let replace = |line: &&str| {
        let line = line.replace("{missing}", MISSING);
        names.iter().fold(line, |line, name| {
            let placeholder = format!("{{{name}}}");
            if line.contains(&placeholder) {
                line.replace(&placeholder, &fixture.id(name))
            } else {
                line
            }
        })
    };
    lines.iter().map(replace).collect()
}

fn check(fixture: &Fixture, call: &Call<'_>, lines: &[&str]) {
    let lines = ids(fixture, lines);
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    fixture.check(call, &request(&lines));
}

/// What clients offer behind their wants, in rounds ended by a flush.
const OFFERS: [&[&str]; 8] = [
    &["done"],
    &["have {missing}", "flush", "done"],
    &["have {main~4}", "have {main~9}", "flush", "done"],
    &["have {missing}", "have {main~2}", "have {missing}", "flush", "have {v0}", "flush", "done"],
    &["have {main}", "flush", "done"],
    &["have {orphan}", "flush", "have {topic/5}", "have {main~9}", "flush", "done"],
    &["have {main~4}", "flush"],
    &["flush", "flush", "done"],
];

#[test]
fn every_dialect_of_version_0() {
    let fixture = Fixture::new(Kind::Varied);
    let dialects = ["", " multi_ack", " multi_ack_detailed", " multi_ack_detailed no-done"];
    let bands = ["", " side-band", " side-band-64k", " side-band-64k no-progress"];
    for (number, offer) in OFFERS.iter().enumerate() {
        for dialect in dialects {
            let band = bands[number % bands.len()];
            let want = format!("want {{main}}{dialect}{band} ofs-delta thin-pack agent=test/1");
            let lines = [&[want.as_str(), "want {v9}", "flush"], *offer].concat();
            for protocol in ["", "version=1"] {
                check(&fixture, &Call::stateful(protocol), &lines);
                check(&fixture, &Call::stateless(protocol), &lines);
            }
        }
    }
}

#[test]
fn shallow_in_version_0() {
    let fixture = Fixture::new(Kind::Varied);
    let requests: [&[&str]; 8] = [
        &["deepen 1", "flush", "done"],
        &["deepen 3", "flush", "have {main~9}", "flush", "done"],
        &["shallow {main~4}", "deepen 9", "flush", "have {main~4}", "flush", "done"],
        &["shallow {main~4}", "flush", "have {main~4}", "flush", "done"],
        &["deepen-since 1600001500", "flush", "done"],
        &["deepen-not refs/tags/v0", "flush", "done"],
        &["shallow {main~2}", "deepen 2", "flush", "done"],
        &["shallow {main~4}", "deepen 2147483647", "flush", "have {main~4}", "flush", "done"],
    ];
    let want = "want {main} multi_ack_detailed side-band-64k no-progress ofs-delta";
    let relative = format!("{want} deepen-relative");
    for lines in requests {
        // With merges, git 2.39 draws a relative boundary that is not reachable. Later ones measure
        // the client's depth first, and so do we.
        let measured = ["deepen 9", "deepen 2"].iter().any(|depth| lines.contains(depth));
        let relative = Some(&relative).filter(|_| !measured);
        for want in [Some(want), relative.map(String::as_str)].into_iter().flatten() {
            let lines = [&[want], lines].concat();
            check(&fixture, &Call::stateful(""), &lines);
            check(&fixture, &Call::stateless(""), &lines);
        }
    }
}

/// A ref that leads nowhere is no reason to refuse what others reach.
#[test]
fn a_tag_of_nothing_beside_a_want_below_the_tips() {
    let fixture = Fixture::new(Kind::Varied);
    fixture.repository.set("uploadpack.allowAnySHA1InWant", "false");
    let tag = format!("object {MISSING}\ntype commit\ntag x\ntagger A <a@example.com> 1 +0000\n\n");
    let write = ["hash-object", "-t", "tag", "-w", "--stdin"];
    let id = git::run_with(&fixture.repository.path, &write, tag.as_bytes());
    fixture.repository.git(&["update-ref", "refs/tags/hollow", &id]);
    let want = "want {main~2} multi_ack_detailed side-band-64k no-progress ofs-delta";
    for lines in [&[want, "flush", "done"][..], &[want, "flush", "have {main~9}", "flush"]] {
        check(&fixture, &Call::stateless(""), lines);
    }
}

const FETCHES: &[&[&str]] = &[
    &["want {main}", "done"],
    &["no-progress", "want {main}", "want {v9}", "done"],
    &["want {main}", "have {missing}"],
    &["want {main}", "have {main~4}"],
    &["want {main}", "have {main~4}", "have {missing}", "have {main~9}"],
    &["want {main}", "have {main~4}", "done"],
    &["want {main}", "want {orphan}", "have {main~4}"],
    &["want {main}", "have {main}"],
    &["want {main}", "have {missing}", "done"],
    &["want {v9}", "include-tag", "have {main~2}", "done"],
    &["have {main~4}", "wait-for-done"],
    &["want {main}", "wait-for-done", "have {main~4}"],
    &["want {main}", "wait-for-done", "have {main~4}", "done"],
    &["have {main~4}"],
    &["have {main~4}", "done"],
    &[],
    &["done"],
    &["thin-pack", "ofs-delta", "want {main}", "have {main~2}", "done"],
    &["want {main}", "deepen 1", "done"],
    &["want {main}", "deepen 2", "have {main~9}"],
    &["want {main}", "shallow {main~4}", "deepen 3", "have {main~4}", "done"],
    &["want {main}", "shallow {main~1}", "deepen 2", "deepen-relative", "have {main~1}", "done"],
    &["want {main}", "shallow {main~4}", "have {main~4}", "done"],
    &["want {main}", "deepen-since 1600001500", "done"],
    &["want {main}", "deepen-not refs/tags/v0", "deepen-not topic/5", "done"],
    &["want {main}", "deepen 2147483647", "shallow {main~2}", "done"],
    &["want {main}", "filter blob:none", "done"],
    &["want {main}", "filter blob:limit=1k", "deepen 2", "done"],
    &["want {main}", "filter combine:blob:none+tree:2", "done"],
    &["want-ref refs/heads/main", "done"],
    &["want-ref refs/heads/main", "want-ref refs/heads/topic/5", "have {main~4}", "done"],
    &["want-ref refs/heads/main", "have {main~4}"],
    &["want-ref refs/heads/main", "want {orphan}", "deepen 1", "done"],
    &["want-ref refs/heads/none", "done"],
    &["want-ref refs/tags/light", "done"],
];

#[test]
fn every_section_of_a_fetch() {
    let fixture = Fixture::new(Kind::Varied);
    fixture.repository.set("uploadpack.allowRefInWant", "true");
    fixture.repository.set("transfer.hideRefs", "refs/tags/light");
    for arguments in FETCHES {
        let head = ["command=fetch", "agent=test/1", "object-format=sha1", "delim"];
        let lines = [&head[..], arguments, &["flush"]].concat();
        check(&fixture, &Call::stateless("version=2"), &lines);
        check(&fixture, &Call::stateful("version=2"), &[&lines[..], &["flush"]].concat());
    }
}

#[test]
fn sizes_of_objects() {
    let fixture = Fixture::new(Kind::Varied);
    fixture.repository.set("transfer.advertiseObjectInfo", "true");
    let head = ["command=object-info", "object-format=sha1", "delim"];
    // Without `size`, git 2.39 answers by what its memory held before.
    let requests: [&[&str]; 4] = [
        &["size", "oid {main}", "oid {v9}", "flush"],
        &["size", "flush"],
        &["size", "oid {missing}", "flush"],
        &["size", "oid short", "flush"],
    ];
    for lines in requests {
        check(&fixture, &Call::stateless("version=2"), &[&head[..], lines].concat());
    }
}

#[test]
fn the_gateway_negotiates_the_same() {
    let pair = Pair::new(Kind::Varied);
    let (main, before) = (pair.repository.id("main"), pair.repository.id("main~4"));
    let (want, have) = (format!("want {main}"), format!("have {before}"));
    for end in [&["flush"][..], &["done", "flush"]] {
        let lines = ["command=fetch", "object-format=sha1", "delim", "no-progress", &want, &have];
        pair.check_post(2, &request(&[&lines[..], end].concat()));
    }
    for dialect in ["multi_ack_detailed no-done side-band-64k", "multi_ack", "side-band"] {
        let want = format!("want {main} {dialect} no-progress ofs-delta");
        for end in [&["flush"][..], &["done"]] {
            let body = request(&[&[&want, "flush", &have], end].concat());
            pair.check_post(0, &body);
            pair.check_post(1, &body);
        }
    }
}
