//! Packs of two entries: a blob, and an entry that the fuzzer describes, mostly a delta.
//!
//! Input: one byte for the form of the entry, two for the distance of its base, two that are
//! added to the size it announces, then its content before deflating. A delta to itself is among
//! the forms.

#![no_main]

use std::sync::LazyLock;

use gitring_git::ObjectId;
use gitring_git_fuzz::scratch::{Scratch, ask_and_compare, deflate};
use libfuzzer_sys::fuzz_target;

/// Mostly small, sometimes more than the 64 KiB that a copy of size zero means: which is slower.
const BASE_BYTES: [usize; 2] = [300, 70_000];

const BLOB: u8 = 3;
const OFS_DELTA: u8 = 6;
const REF_DELTA: u8 = 7;

/// The bases, and what they are when deflated.
static BASES: LazyLock<[(Vec<u8>, Vec<u8>); 2]> = LazyLock::new(|| {
    BASE_BYTES.map(|size_bytes| {
        let base: Vec<u8> = (0..size_bytes).map(|at| at as u8).collect();
        let deflated = deflate(&base);
        (base, deflated)
    })
});

static SCRATCH: LazyLock<Scratch> = LazyLock::new(Scratch::default);

fuzz_target!(|data: &[u8]| {
    let [form, distance_high, distance_low, more, less, content @ ..] = data else { return };
    let (base, deflated) = &BASES[usize::from(form >> 4 & 7 == 7)];
    let mut pack = b"PACK\0\0\0\x02\0\0\0\x02".to_vec();
    let base_at = pack.len();
    push_header(&mut pack, BLOB, base.len());
    pack.extend_from_slice(deflated);
    let entry_at = pack.len();
    let announced = (content.len() + usize::from(*more)).saturating_sub(usize::from(*less));
    let kind = if form & 8 == 0 { form & 7 } else { OFS_DELTA };
    push_header(&mut pack, kind, announced);
    match (kind, form >> 4) {
        (OFS_DELTA, 0..8) => push_distance(&mut pack, entry_at - base_at),
        (OFS_DELTA, _) => {
            push_distance(&mut pack, usize::from(*distance_high) << 8 | usize::from(*distance_low));
        }
        // The base, an object that is not there, and seldom the entry itself: that ends after
        // 10,000 steps, which take their time.
        (REF_DELTA, 0..12) => pack.extend_from_slice(id(1).as_slice()),
        (REF_DELTA, 12) => pack.extend_from_slice(id(2).as_slice()),
        (REF_DELTA, _) => pack.extend_from_slice(id(3).as_slice()),
        _ => {}
    }
    pack.extend_from_slice(&deflate(content));
    pack.extend_from_slice(&[0; 20]);
    SCRATCH.write("objects/pack/pack-1.pack", &pack);
    SCRATCH.write("objects/pack/pack-1.idx", &index(&[base_at, entry_at]));
    let store = SCRATCH.store();
    assert_eq!(store.read(&id(1)).expect("whole").expect("there").data, *base);
    ask_and_compare(&store, &id(2));
});

fn id(number: u8) -> ObjectId {
    ObjectId::Sha1([number; 20])
}

/// Kind in three bits, size in four, then seven bits a byte (gitformat-pack).
fn push_header(pack: &mut Vec<u8>, kind: u8, size: usize) {
    let mut byte = kind << 4 | (size & 15) as u8;
    let mut rest = size >> 4;
    while rest > 0 {
        pack.push(byte | 0x80);
        byte = (rest & 0x7f) as u8;
        rest >>= 7;
    }
    pack.push(byte);
}

/// Seven bits a byte, highest first, one added for each that follows (gitformat-pack).
fn push_distance(pack: &mut Vec<u8>, distance: usize) {
    let mut bytes = vec![(distance & 0x7f) as u8];
    let mut rest = distance >> 7;
    while rest > 0 {
        rest -= 1;
        bytes.push(0x80 | (rest & 0x7f) as u8);
        rest >>= 7;
    }
    pack.extend(bytes.iter().rev());
}

/// An index of version 2 for objects 1, 2, … at these offsets.
fn index(offsets: &[usize]) -> Vec<u8> {
    let mut index = b"\xfftOc\0\0\0\x02".to_vec();
    for first in 0..256 {
        index.extend_from_slice(&(first.min(offsets.len()) as u32).to_be_bytes());
    }
    for number in 1..=offsets.len() {
        index.extend_from_slice(id(number as u8).as_slice());
    }
    index.resize(index.len() + 4 * offsets.len(), 0);
    for offset in offsets {
        index.extend_from_slice(&(*offset as u32).to_be_bytes());
    }
    index.resize(index.len() + 40, 0);
    index
}
