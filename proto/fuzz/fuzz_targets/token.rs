//! Headers: nothing that we have not signed is accepted, and what we signed is for its time.

#![no_main]

use std::sync::LazyLock;

use gitring_proto::token::{Credentials, Refused, Secret, VALIDITY_S, sign};
use libfuzzer_sys::fuzz_target;

const NOW: i64 = 1_700_000_000;

static SECRET: LazyLock<Secret> = LazyLock::new(|| Secret::new(b"gitring").expect("not empty"));

fuzz_target!(|data: &[u8]| {
    if let Ok(credentials) = Credentials::parse(data) {
        let verified = credentials.verify(&SECRET, NOW);
        assert!(verified.is_err() || is_ours(data), "{data:?}");
    }
    if let Some((times, tail)) = data.split_first_chunk::<16>() {
        let (issued, now) = times.split_at(8);
        let number = |bytes: &[u8]| i64::from_be_bytes(bytes.try_into().expect("half of 16"));
        check_signed(number(issued), number(now), tail);
    }
});

/// Nobody forges a signature: what is accepted says the same as what we would have sent.
fn is_ours(header: &[u8]) -> bool {
    let mut issued = NOW - VALIDITY_S..=NOW + VALIDITY_S;
    issued.any(|issued| sign(&SECRET, issued).as_bytes().eq_ignore_ascii_case(header))
}

/// A header of ours at any time, then with `tail` written over its end.
fn check_signed(issued: i64, now: i64, tail: &[u8]) {
    let mut header = sign(&SECRET, issued).into_bytes();
    let verified = Credentials::parse(&header).expect("signed by us").verify(&SECRET, now);
    let expected = match i128::from(now) - i128::from(issued) {
        31.. => Err(Refused::TooOld),
        ..=-31 => Err(Refused::TooNew),
        _ => Ok(()),
    };
    assert_eq!(verified, expected);
    let original = header.clone();
    let start = header.len().saturating_sub(tail.len());
    let end = header.len();
    header[start..end].copy_from_slice(&tail[..end - start]);
    let changed = !header.eq_ignore_ascii_case(&original);
    if let Ok(credentials) = Credentials::parse(&header) {
        assert!(!changed || credentials.verify(&SECRET, issued).is_err());
    }
}
