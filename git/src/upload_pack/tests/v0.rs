//! Conversations in v0 and v1.

use super::*;

fn check_v0(mode: Mode, ready_at: usize, client: &[&str], expected: &str) {
    let machine = UploadPack::new(Version::V0, mode, server(), settings(""));
    let actual = converse(machine, World::new(&[1, 2, 3], ready_at), client);
    let actual = actual.split_once("gitring/test]").map_or(&actual[..], |(_, rest)| rest);
    assert_eq!(actual, expected, "{client:?}");
}

#[test]
fn v0_acknowledges_in_three_dialects() {
    let stateful = |features: &str, lines: &[&'static str]| {
        let mut client = vec![format!("want 1 {features}"), "0000".to_owned()];
        client.extend(lines.iter().map(|line| (*line).to_owned()));
        client
    };
    let check = |features: &str, ready_at: usize, lines: &[&'static str], expected: &str| {
        let client = stateful(features, lines);
        let client: Vec<&str> = client.iter().map(String::as_str).collect();
        check_v0(Mode::Stateful, ready_at, &client, expected);
    };
    check("", 9, &["done"], "[NAK]PACK None true DONE");
    check("", 9, &["have 2", "have 3", "0000", "done"], "[ACK 2]PACK None true DONE");
    check("", 9, &["have 9", "0000", "have 2", "done"], "[NAK][ACK 2]PACK None true DONE");
    check(
        "multi_ack side-band",
        9,
        &["have 2", "have 9", "0000", "have 3", "done"],
        "[ACK 2 continue][NAK][ACK 3 continue][ACK 3]PACK Some(Small) true DONE",
    );
    check(
        "multi_ack",
        1,
        &["have 2", "have 9", "0000", "done"],
        "[ACK 2 continue][ACK 9 continue][NAK][ACK 2]PACK None true DONE",
    );
    check(
        "multi_ack_detailed side-band-64k no-progress",
        1,
        &["have 2", "0000", "have 9", "done"],
        "[ACK 2 common][ACK 2 ready][NAK][ACK 9 ready][ACK 2]PACK Some(Large) false DONE",
    );
    check("", 9, &["foo"], " FAIL git upload-pack: expected SHA1 list, got 'foo'");
    check("", 9, &["have 2"], " FAIL the remote end hung up unexpectedly");
}

#[test]
fn v0_stateless_ends_a_round_at_its_flush() {
    let want = "want 1 multi_ack_detailed no-done side-band-64k";
    check_v0(Mode::Stateless, 9, &[want, "0000", "have 2", "0000"], "[ACK 2 common][NAK] DONE");
    check_v0(
        Mode::Stateless,
        1,
        &[want, "0000", "have 2", "0000"],
        "[ACK 2 common][ACK 2 ready][NAK][ACK 2]PACK Some(Large) true DONE",
    );
    check_v0(Mode::Stateless, 1, &[want, "deepen 1", "0000"], "[shallow 7][unshallow 8]0000 DONE");
    check_v0(
        Mode::Stateless,
        1,
        &["want 5", "0000"],
        "[ERR upload-pack: not our ref 5] FAIL upload-pack: not our ref 5",
    );
}

#[test]
fn v0_wants_are_parsed_with_their_features() {
    check_v0(Mode::Stateful, 1, &["0000"], " DONE");
    check_v0(Mode::Stateful, 1, &[], " FAIL the remote end hung up unexpectedly");
    check_v0(
        Mode::Stateful,
        1,
        &["want 12"],
        " FAIL git upload-pack: protocol error, expected to get object ID, not 'want 12'",
    );
    check_v0(
        Mode::Stateful,
        1,
        &["want 1 filter", "filter blob:none"],
        " FAIL git upload-pack: filtering capability not negotiated",
    );
    let machine = UploadPack::new(Version::V1, Mode::Advertise, server(), settings(""));
    assert_eq!(
        converse(machine, World::new(&[], 0), &[]),
        "[version 1][refs multi_ack thin-pack side-band side-band-64k ofs-delta shallow \
         deepen-since deepen-not deepen-relative no-progress include-tag multi_ack_detailed \
         no-done{symrefs} object-format=sha1 agent=gitring/test] DONE"
    );
}
