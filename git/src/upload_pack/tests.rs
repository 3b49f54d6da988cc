//! The machines against written conversations: packets in, packets out, answers by table.
//!
//! Goal: every row of the protocol that decides by what the client says. Method: one `converse`
//! drives a machine with a small world in which objects `1`, `2`, … exist.

mod v0;

use std::collections::HashSet;

use bstr::BStr;

use super::boundary::Boundary;
use super::question::{Acknowledgments, FetchAnswer, HaveAnswer, HavesAnswer};
use super::*;
use crate::ObjectId;
use crate::config::Config;
use crate::pkt_line::Decoded;

/// What exists, and from how many common objects on every want reaches one.
struct World {
    exists: &'static [u8],
    ready_at: usize,
    common: HashSet<ObjectId>,
}

fn id(digit: u8) -> ObjectId {
    ObjectId::from_hex(&[b'0' + digit; 40]).unwrap()
}

impl World {
    fn new(exists: &'static [u8], ready_at: usize) -> Self {
        Self { exists, ready_at, common: HashSet::new() }
    }

    fn has(&self, wanted: &ObjectId) -> bool {
        self.exists.iter().any(|digit| id(*digit) == *wanted)
    }

    fn have(&mut self, have: ObjectId) -> HaveAnswer {
        if self.has(&have) {
            self.common.insert(have);
            return HaveAnswer::Known { id: have, common: self.common.len() };
        }
        HaveAnswer::Unknown { id: have, ready: self.common.len() >= self.ready_at }
    }

    fn answer(&mut self, question: Question) -> Answer {
        match question {
            Question::Advertise { capabilities } => {
                let mut lines = Vec::new();
                pkt_line::push_text(&mut lines, format_args!("refs {capabilities}\n"));
                Answer::Lines(lines.into())
            }
            Question::LsRefs(arguments) => {
                let mut lines = Vec::new();
                pkt_line::push_text(&mut lines, format_args!("{arguments:?}\n"));
                Answer::Lines(lines.into())
            }
            Question::ObjectInfo(arguments) => {
                let mut lines = Vec::new();
                pkt_line::push_text(&mut lines, format_args!("{arguments:?}\n"));
                Answer::Lines(lines.into())
            }
            Question::Boundary(needs) => match needs.wants.iter().find(|want| !self.has(want)) {
                Some(want) => Answer::Refused(format!("upload-pack: not our ref {want}")),
                None => Answer::Boundary(
                    needs
                        .depth
                        .any()
                        .then(|| Boundary { shallow: vec![id(7)], unshallow: vec![id(8)] }),
                ),
            },
            Question::Haves { ids, judge_end, .. } => Answer::Haves(HavesAnswer {
                haves: ids.into_iter().map(|id| self.have(id)).collect(),
                ready_at_end: judge_end && self.common.len() >= self.ready_at,
            }),
            Question::Pack => Answer::Pack(Box::default()),
            Question::Tags(_) => Answer::Tags(Vec::new()),
            Question::Fetch(fetch) => {
                let common: Vec<_> = fetch.haves.into_iter().filter(|id| self.has(id)).collect();
                let ready = !fetch.wait_for_done && common.len() >= self.ready_at;
                let talks = !common.is_empty() && !fetch.done;
                Answer::Fetch(Box::new(FetchAnswer {
                    pack: (!talks || ready).then(PackRequest::default),
                    acknowledgments: talks.then_some(Acknowledgments { common, ready }),
                    ..FetchAnswer::default()
                }))
            }
        }
    }
}

/// Config in one line: `uploadpack.allowfilter=true uploadpack.allowrefinwant=true`.
fn settings(config: &str) -> Settings {
    let overrides: Vec<_> = config
        .split_whitespace()
        .map(|pair| pair.split_once('=').unwrap())
        .map(|(key, value)| (key.to_owned(), Some(value.to_owned())))
        .collect();
    Settings::from_config(&Config::default().with_overrides(&overrides).unwrap()).unwrap()
}

/// What of a machine's output a table shows: packets in brackets, ids as their digit.
fn shown(sent: &[u8]) -> String {
    let (mut rest, mut shown) = (sent, String::new());
    while let Ok(Decoded::Packet { packet, length_bytes }) = pkt_line::decode(rest) {
        shown += &match packet {
            Packet::Data(payload) => format!("[{}]", BStr::new(pkt_line::chomp(payload))),
            Packet::Flush => "0000".to_owned(),
            Packet::Delimiter => "0001".to_owned(),
            Packet::ResponseEnd => "0002".to_owned(),
        };
        rest = &rest[length_bytes..];
    }
    shown
}

fn digits(mut text: String) -> String {
    for digit in 1..=9 {
        text = text.replace(&id(digit).to_string(), &digit.to_string());
    }
    text
}

/// `client` is what the client sends: words are lines with digits for ids, `0000` and `0001`
/// stand for themselves; its end closes the stream.
fn converse(machine: UploadPack, world: World, client: &[&str]) -> String {
    digits(play(machine, world, client))
}

fn play(mut machine: UploadPack, mut world: World, client: &[&str]) -> String {
    let mut lines = client.iter();
    let mut out = String::new();
    let mut step = machine.on(Event::Start);
    loop {
        out += &shown(&step.send);
        step = match step.next {
            Next::Read => match lines.next() {
                None => machine.on(Event::End),
                Some(&"0000") => machine.on(Event::Packet(Packet::Flush)),
                Some(&"0001") => machine.on(Event::Packet(Packet::Delimiter)),
                Some(line) => machine.on(Event::Packet(Packet::Data(spelled(line).as_bytes()))),
            },
            Next::Ask(question) => machine.on(Event::Answer(Box::new(world.answer(question)))),
            Next::ServePack(_, delivery) => {
                out += &format!("PACK {:?} {}", delivery.sideband, delivery.progress);
                machine.on(Event::Served)
            }
            Next::Fallback { reason, request } => {
                return out + &format!("FALLBACK {reason} {}", BStr::new(&request));
            }
            Next::Done => return out + " DONE",
            Next::Fail(failure) => return out + &format!(" FAIL {failure}"),
        };
    }
}

/// `want 3 thin-pack` with the digit spelled out.
fn spelled(line: &str) -> String {
    let spell = |word: &str| match word.parse::<u8>() {
        Ok(digit) if word.len() == 1 => id(digit).to_string(),
        Ok(_) | Err(_) => word.to_owned(),
    };
    let named = ["want ", "have ", "shallow ", "oid "].iter().any(|verb| line.starts_with(verb));
    if !named {
        return format!("{line}\n");
    }
    line.split(' ').map(spell).collect::<Vec<_>>().join(" ") + "\n"
}

fn server() -> Server {
    Server { agent: "gitring/test".into(), namespace: Default::default(), explain_errors: false }
}

fn check_v2(config: &str, ready_at: usize, client: &[&str], expected: &str) {
    let machine = UploadPack::new(Version::V2, Mode::Stateless, server(), settings(config));
    assert_eq!(converse(machine, World::new(&[1, 2, 3], ready_at), client), expected, "{client:?}");
}

#[test]
fn v2_capabilities_follow_the_configuration() {
    let check = |config: &str, expected: &str| {
        let machine = UploadPack::new(Version::V2, Mode::Advertise, server(), settings(config));
        assert_eq!(converse(machine, World::new(&[], 0), &[]), expected);
    };
    check(
        "",
        "[version 2][agent=gitring/test][ls-refs=unborn][fetch=shallow wait-for-done]\
         [server-option][object-format=sha1]0000 DONE",
    );
    check(
        "uploadpack.allowfilter=true uploadpack.allowrefinwant=1 lsrefs.unborn=allow \
         transfer.advertiseobjectinfo=yes",
        "[version 2][agent=gitring/test][ls-refs][fetch=shallow wait-for-done filter ref-in-want]\
         [server-option][object-format=sha1][object-info]0000 DONE",
    );
    check("transfer.advertisesid=true", "FALLBACK session-id ");
}

#[test]
fn v2_keys_are_known_or_fatal() {
    check_v2("", 0, &[], " DONE");
    check_v2("", 0, &["0000"], " DONE");
    check_v2("", 0, &["agent=git/2", "0000"], " FAIL no command requested");
    check_v2("", 0, &["command=foo", "0000"], " FAIL invalid command 'foo'");
    check_v2("", 0, &["command=ls-refs=x", "0000"], " FAIL invalid command 'ls-refs=x'");
    check_v2("", 0, &["command=object-info", "0000"], " FAIL invalid command 'object-info'");
    check_v2("", 0, &["foobar", "command=fetch", "0000"], " FAIL unknown capability 'foobar'");
    check_v2(
        "",
        0,
        &["command=ls-refs", "command=fetch"],
        " FAIL command 'fetch' requested after already requesting command 'ls-refs'",
    );
    check_v2(
        "",
        0,
        &["command=fetch", "object-format=sha256", "0001"],
        " FAIL mismatched object format: server sha1; client sha256",
    );
    check_v2("", 0, &["command=fetch", "object-format=md5"], " FAIL unknown object format 'md5'");
    check_v2("", 0, &["command=fetch", "0001"], " FAIL the remote end hung up unexpectedly");
    check_v2("", 0, &["ERR no"], " FAIL remote error: no");
}

#[test]
fn v2_ls_refs_takes_its_arguments() {
    check_v2(
        "",
        0,
        &["command=ls-refs", "0001", "peel", "symrefs", "unborn", "ref-prefix refs/h", "0000"],
        "[LsRefs { peel: true, symrefs: true, unborn: true, prefixes: [\"refs/h\"] }] DONE",
    );
    check_v2(
        "lsrefs.unborn=ignore",
        0,
        &["command=ls-refs", "0001", "unborn", "0000"],
        "[LsRefs { peel: false, symrefs: false, unborn: false, prefixes: [] }] DONE",
    );
    check_v2("", 0, &["command=ls-refs", "0001", "foo"], " FAIL unexpected line: 'foo'");
    check_v2(
        "",
        0,
        &["command=ls-refs", "0001", "0001"],
        " FAIL expected flush after ls-refs arguments",
    );
    let prefixes: Vec<String> = (0..65_537).map(|index| format!("ref-prefix r{index}")).collect();
    let mut client = vec!["command=ls-refs", "0001"];
    client.extend(prefixes.iter().map(String::as_str));
    client.push("0000");
    let all = "[LsRefs { peel: false, symrefs: false, unborn: false, prefixes: [] }] DONE";
    check_v2("", 0, &client, all);
}

#[test]
fn v2_fetch_negotiates() {
    let fetch =
        |arguments: &[&'static str]| [&["command=fetch", "0001"], arguments, &["0000"]].concat();
    check_v2("", 1, &fetch(&[]), " DONE");
    check_v2("", 1, &fetch(&["want 1"]), "[packfile]PACK Some(Large) true DONE");
    check_v2("", 1, &fetch(&["want 1", "no-progress"]), "[packfile]PACK Some(Large) false DONE");
    check_v2("", 9, &fetch(&["want 1", "have 2"]), "[acknowledgments][ACK 2]0000 DONE");
    check_v2(
        "",
        1,
        &fetch(&["want 1", "have 2"]),
        "[acknowledgments][ACK 2][ready]0001[packfile]PACK Some(Large) true DONE",
    );
    check_v2("", 1, &fetch(&["want 1", "have 2", "done"]), "[packfile]PACK Some(Large) true DONE");
    check_v2("", 1, &fetch(&["wait-for-done", "have 2"]), "[acknowledgments][ACK 2]0000 DONE");
    check_v2(
        "",
        1,
        &fetch(&["want abc"]),
        " FAIL git upload-pack: protocol error, expected to get oid, not 'want abc'",
    );
    check_v2("", 1, &fetch(&["filter blob:none"]), " FAIL unexpected line: 'filter blob:none'");
    check_v2("", 1, &fetch(&["sideband-all"]), " FAIL unexpected line: 'sideband-all'");
    check_v2("", 1, &fetch(&["deepen 0"]), " FAIL Invalid deepen: deepen 0");
    check_v2("", 1, &fetch(&["deepen -1"]), " FAIL Invalid deepen: deepen -1");
    check_v2("", 1, &fetch(&["deepen-since x"]), " FAIL Invalid deepen-since: deepen-since x");
}

#[test]
fn v2_filters_are_checked() {
    let allow = "uploadpack.allowfilter=true";
    let fetch = |filter: &'static str| ["command=fetch", "0001", "want 1", filter, "0000"];
    let pack = "[packfile]PACK Some(Large) true DONE";
    check_v2(allow, 1, &fetch("filter blob:none"), pack);
    check_v2(allow, 1, &fetch("filter blub"), " FAIL invalid filter-spec 'blub'");
    check_v2(
        "uploadpack.allowfilter=true uploadpackfilter.allow=false",
        1,
        &fetch("filter blob:none"),
        "[ERR filter 'blob:none' not supported] FAIL filter 'blob:none' not supported",
    );
    check_v2(
        "uploadpack.allowfilter=true uploadpackfilter.tree.maxdepth=1",
        1,
        &fetch("filter combine:blob:none+tree:2"),
        "[ERR tree filter allows max depth 1, but got 2] \
         FAIL tree filter allows max depth 1, but got 2",
    );
}

#[test]
fn v2_leaves_what_only_git_offers_to_a_child() {
    let config = "uploadpack.allowsidebandall=true";
    check_v2(
        config,
        1,
        &["command=fetch", "0001", "want 1", "0000"],
        "[packfile]PACK Some(Large) true DONE",
    );
    let machine = UploadPack::new(Version::V2, Mode::Stateless, server(), settings(config));
    let client = ["command=fetch", "0001", "sideband-all", "0000"];
    assert_eq!(
        converse(machine, World::new(&[1], 0), &client),
        "FALLBACK sideband-all 0012command=fetch\n00010011sideband-all\n0000"
    );
}

/// Goal: no sequence of lines makes a machine panic or run on without reading. Method: 2,000
/// seeded conversations out of words that mean something; a failure names its seed.
#[test]
fn no_conversation_breaks_a_machine() {
    const WORDS: &[&str] = &[
        "0000",
        "0001",
        "command=fetch",
        "command=ls-refs",
        "command=object-info",
        "want 1",
        "want 2 multi_ack side-band",
        "want 1 multi_ack_detailed no-done filter",
        "want 9",
        "have 2",
        "have 3",
        "have 9",
        "done",
        "deepen 2",
        "deepen-since 5",
        "deepen-not a",
        "shallow 3",
        "filter tree:1",
        "peel",
        "ref-prefix r",
        "oid 1",
        "size",
        "wait-for-done",
        "agent=x",
        "object-format=sha1",
        "sideband-all",
        "packfile-uris https",
        "ERR x",
        "junk",
    ];
    let config = "uploadpack.allowfilter=true transfer.advertiseobjectinfo=true";
    for seed in 1..=2_000_u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as usize
        };
        let version = [Version::V0, Version::V1, Version::V2][random(3)];
        let mode = [Mode::Stateless, Mode::Stateful][random(2)];
        let client: Vec<&str> = (0..random(24)).map(|_| WORDS[random(WORDS.len())]).collect();
        let machine = UploadPack::new(version, mode, server(), settings(config));
        let out = converse(machine, World::new(&[1, 2, 3], 1 + random(3)), &client);
        assert!(!out.contains(" in "), "seed {seed}: {client:?} gave {out}");
    }
}
