//! The machine against written conversations: packets in, packets out.
//!
//! Goal: every row of the protocol that decides by what the client says. Method: one `converse`
//! drives a machine; what a push would do is printed. `stock` plays whole pushes beside git's own.

mod advertised;
mod driver;
mod settings;
mod stock;

use bstr::BStr;
use bytes::Bytes;

use super::*;
use crate::config::Config;
use crate::pkt_line::{self, Decoded};

const OLD: &str = "1111111111111111111111111111111111111111";
const NEW: &str = "2222222222222222222222222222222222222222";
const NULL: &str = "0000000000000000000000000000000000000000";

/// Config in one line: `receive.denydeletes=true transfer.unpacklimit=1`.
fn config(text: &str) -> Config {
    let overrides: Vec<_> = text
        .split_whitespace()
        .map(|pair| pair.split_once('=').unwrap())
        .map(|(key, value)| (key.to_owned(), Some(value.to_owned())))
        .collect();
    Config::default().with_overrides(&overrides).unwrap()
}

fn server() -> Server {
    Server { agent: "gitring/test".into(), namespace: Default::default(), explain_errors: true }
}

/// Packets in brackets; `0000` for a flush.
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
    assert!(rest.is_empty(), "{rest:?} is no packet");
    shown
}

fn told(request: &PushRequest) -> String {
    let mut told = String::from("PUSH");
    for command in request.commands.iter() {
        told += &format!(" {}", command.name);
    }
    for option in &request.push_options {
        told += &format!(" o={option}");
    }
    told += &format!(" shallow={}", request.shallow.len());
    for (on, word) in [
        (request.atomic, " atomic"),
        (request.quiet, " quiet"),
        (request.has_pack(), " pack"),
        (request.sideband.is_some(), " bands"),
    ] {
        told += if on { word } else { "" };
    }
    told + &format!(" {:?} ", request.report)
}

/// `client` are payloads, but for `0000` and `0001`; every ref but `refs/heads/bad` is done.
fn converse(mut machine: ReceivePack, client: &[&str]) -> String {
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
                Some(line) => machine.on(Event::Packet(Packet::Data(line.as_bytes()))),
            },
            Next::Ask(Question::Advertise { capabilities }) => {
                let mut lines = Vec::new();
                pkt_line::push_text(&mut lines, format_args!("refs {capabilities}\n"));
                machine.on(Event::Answer(Box::new(Answer::Lines(Bytes::from(lines)))))
            }
            Next::Receive(mut request) => {
                out += &told(&request);
                let bad = request.commands.iter_mut().filter(|one| one.name == "refs/heads/bad");
                bad.for_each(|command| command.state.refuse("non-fast-forward"));
                machine.on(Event::Received(Outcome::of(*request)))
            }
            Next::PostReceive => machine.on(Event::Finished),
            Next::Fallback { reason, request } => {
                assert!(request.is_empty());
                return out + &format!("FALLBACK {reason}");
            }
            Next::Done => return out + " DONE",
            Next::Fail(failure) => return out + &format!(" FAIL {failure}"),
        };
    }
}

fn check(settings: &str, client: &[&str], expected: &str) {
    let settings = Settings::from_config(&config(settings)).unwrap();
    let machine = ReceivePack::new(Version::V0, Mode::Stateless, server(), settings);
    assert_eq!(converse(machine, client), expected, "{client:?}");
}

/// `<old> <new> <rest>`
fn line(old: &str, new: &str, rest: &str) -> String {
    format!("{old} {new} {rest}")
}

#[test]
fn capabilities_follow_the_configuration() {
    let check = |version, mode, text: &str, expected: &str| {
        let settings = Settings::from_config(&config(text)).unwrap();
        let machine = ReceivePack::new(version, mode, server(), settings);
        assert_eq!(converse(machine, &["0000"]), expected, "{text}");
    };
    let all = "refs report-status report-status-v2 delete-refs side-band-64k quiet atomic ofs-delta \
               object-format=sha1 agent=gitring/test";
    check(Version::V0, Mode::Advertise, "", &format!("[{all}] DONE"));
    check(Version::V1, Mode::Advertise, "", &format!("[version 1][{all}] DONE"));
    check(Version::V2, Mode::Advertise, "", &format!("[{all}] DONE"));
    check(Version::V1, Mode::Stateful, "", &format!("[version 1][{all}] DONE"));
    check(Version::V1, Mode::Stateless, "", " DONE");
    check(
        Version::V0,
        Mode::Advertise,
        "receive.advertiseatomic=false repack.usedeltabaseoffset=0 \
         receive.advertisepushoptions=true",
        "[refs report-status report-status-v2 delete-refs side-band-64k quiet push-options \
         object-format=sha1 agent=gitring/test] DONE",
    );
}

#[test]
fn commands_become_a_push() {
    let update = line(OLD, NEW, "refs/heads/main");
    check("", &[&update, "0000"], "PUSH refs/heads/main shallow=0 pack None  DONE");
    let update = |features: &str| line(OLD, NEW, &format!("refs/heads/main\0{features}\n"));
    let done = "[unpack ok][ok refs/heads/main]0000";
    let expected = format!("PUSH refs/heads/main shallow=0 pack V1 {done} DONE");
    check("", &[&update(" report-status agent=git/2.39"), "0000"], &expected);
    let expected = format!("PUSH refs/heads/main shallow=0 quiet pack V2 {done} DONE");
    check("", &[&update("report-status report-status-v2 quiet"), "0000"], &expected);
    // Known by whole words only, with a value or without.
    let expected = "PUSH refs/heads/main shallow=0 atomic pack None  DONE";
    check("", &[&update("no-report-status quietly atomic=1"), "0000"], expected);
    // Not offered, so not taken.
    let expected = "PUSH refs/heads/main shallow=0 pack None  DONE";
    let settings = "receive.advertiseatomic=false";
    check(settings, &[&update("atomic push-options"), "0000"], expected);
    // A deletion has no pack; any packet that is no line ends the commands.
    let delete = line(OLD, NULL, "refs/heads/main\0report-status");
    let expected = format!("PUSH refs/heads/main shallow=0 V1 {done} DONE");
    check("", &[&delete, "0001"], &expected);
}

#[test]
fn reports_are_told_as_asked_for() {
    let good = line(OLD, NEW, "refs/heads/main\0report-status side-band-64k");
    let bad = line(OLD, NEW, "refs/heads/bad");
    check(
        "",
        &[&good, &bad, "0000"],
        "PUSH refs/heads/main refs/heads/bad shallow=0 pack bands V1 \
         [\u{1}000eunpack ok\n0017ok refs/heads/main\n0027ng refs/heads/bad non-fast-forward\n0000]\
         0000 DONE",
    );
}

#[test]
fn push_options_follow_the_commands() {
    let settings = "receive.advertisepushoptions=true";
    let update = line(OLD, NEW, "refs/heads/main\0push-options object-format=sha1");
    check(
        settings,
        &[&update, "0000", "ci.skip\n", "", "0000"],
        "PUSH refs/heads/main o=ci.skip o= shallow=0 pack None  DONE",
    );
    let gone = " FAIL the remote end hung up unexpectedly";
    check(settings, &[&update, "0000", "ci.skip"], gone);
}

#[test]
fn shallow_lines_stand_anywhere() {
    let update = line(OLD, NEW, "refs/heads/main");
    let shallow = format!("shallow {OLD}");
    check(
        "",
        &[&shallow, &update, &shallow, "0000"],
        "PUSH refs/heads/main shallow=2 pack None  DONE",
    );
    check("", &[&shallow, "0000"], " DONE");
    check(
        "",
        &["shallow 123"],
        "[ERR protocol error: expected shallow sha, got '123'] FAIL protocol error: expected \
         shallow sha, got '123'",
    );
}

#[test]
fn what_is_no_command_ends_the_conversation() {
    let refused = |line: &str| {
        let message = format!("protocol error: expected old/new/ref, got '{line}'");
        check("", &[line], &format!("[ERR {message}] FAIL {message}"));
    };
    refused("");
    refused("push-cert");
    refused("hello");
    refused(&line(OLD, "22", "refs/heads/main"));
    refused(&format!("{OLD} {NEW}"));
    refused(&format!("{OLD}  {NEW} refs/heads/main"));
    let format = line(OLD, NEW, "refs/heads/main\0object-format=sha256 quiet");
    let message = "error: unsupported object format 'sha256 quiet'";
    check("", &[&format, "0000"], &format!("[ERR {message}] FAIL {message}"));
    check("", &[], " FAIL the remote end hung up unexpectedly");
    check("", &["ERR no\n"], " FAIL remote error: no");
    // Once bands are known, the band for errors is used.
    let first = line(OLD, NEW, "refs/heads/main\0side-band-64k");
    check(
        "",
        &[&first, "hello"],
        "[\u{3}protocol error: expected old/new/ref, got 'hello'] FAIL protocol error: expected \
         old/new/ref, got 'hello'",
    );
}

#[test]
fn lists_have_limits() {
    let settings = Settings::from_config(&config("")).unwrap();
    let mut request = PushRequest::default();
    let line = line(OLD, NEW, &format!("refs/{}", "x".repeat(65_000)));
    let error = loop {
        if let Err(error) = request.take_line(line.as_bytes(), &settings) {
            break error;
        }
    };
    assert_eq!(error, "more than 1000000 commands or 134217728 bytes of names");
    let error = loop {
        if let Err(error) = request.take_option(b"option") {
            break error;
        }
    };
    assert_eq!(error, "more than 10000 push options or 1048576 bytes of them");
}

/// Goal: no sequence of lines makes a machine panic or run on without reading. Method: seeded
/// conversations out of words that mean something; a failure names its seed.
#[test]
fn no_conversation_breaks_a_machine() {
    let update = line(OLD, NEW, "refs/heads/main\0report-status side-band-64k push-options");
    let delete = line(OLD, NULL, "refs/heads/bad");
    let shallow = format!("shallow {NEW}");
    let words = [
        "0000",
        "0001",
        &update,
        &delete,
        &shallow,
        "ERR x",
        "junk",
        "",
        "push-cert",
        "\0",
        " \0=",
    ];
    for seed in 1..=2_000_u64 {
        let mut random = crate::objects::tests::fixture::Random(seed * 0x9e37_79b9 + 3);
        let version = [Version::V0, Version::V1, Version::V2][random.below(3)];
        let mode = [Mode::Stateless, Mode::Stateful][random.below(2)];
        let client: Vec<&str> =
            (0..random.below(9)).map(|_| words[random.below(words.len())]).collect();
        let settings = config("receive.advertisepushoptions=true");
        let settings = Settings::from_config(&settings).unwrap();
        let out = converse(ReceivePack::new(version, mode, server(), settings), &client);
        assert!(!out.contains(" in "), "seed {seed}: {client:?} gave {out}");
    }
}
