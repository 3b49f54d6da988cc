//! Bytes flipped at random and files made to lie: every object is read, and each answer is an
//! object or a typed error.

use super::fixture::{Fixture, Random};
use crate::ObjectId;
use crate::objects::StoreError;
use std::path::Path;

const ROUNDS: usize = 60;

/// Damages the files called `suffix` in every round, and reads everything.
fn check(suffix: &str, prepare: &[&[&str]]) {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.unwrap().as_nanos() as u64 | 1
    });
    println!("SEED={seed} {suffix}");
    let mut random = Random(seed);
    let fixture = Fixture::with_history(40);
    for command in prepare {
        fixture.git(command);
    }
    let ids: Vec<_> = fixture.expected().into_iter().map(|object| object.id).collect();
    let files = fixture.files(suffix);
    let file = &files[random.below(files.len())];
    let sound = std::fs::read(file).unwrap();
    let mut failures = 0;
    for _ in 0..ROUNDS {
        let mut damaged = sound.clone();
        match random.below(8) {
            0 => damaged.truncate(random.below(sound.len())),
            1 => damaged.extend_from_slice(b"more"),
            // Headers and fan-outs are small, and would seldom be hit.
            2..4 => flip(&mut damaged, &mut random, 40),
            _ => flip(&mut damaged, &mut random, usize::MAX),
        }
        replace(file, &damaged);
        failures += read_all(&fixture, &ids);
    }
    replace(file, &sound);
    assert_eq!(read_all(&fixture, &ids), 0);
    let harmless = suffix.contains("graph") || suffix.contains("multi");
    assert!(failures > 0 || harmless, "no damage was noticed");
}

fn flip(bytes: &mut [u8], random: &mut Random, within: usize) {
    for _ in 0..=random.below(12) {
        let place = random.below(bytes.len().min(within));
        bytes[place] = match random.below(4) {
            0 => 0,
            1 => 0xff,
            _ => bytes[place] ^ (1 << random.below(8)),
        };
    }
}

fn replace(file: &Path, content: &[u8]) {
    std::fs::remove_file(file).unwrap();
    std::fs::write(file, content).unwrap();
}

/// Reads all of `ids` and counts what could not be read.
fn read_all(fixture: &Fixture, ids: &[ObjectId]) -> usize {
    let store = fixture.store();
    let mut failures = 0;
    for id in ids {
        let object = store.read(id);
        failures += usize::from(!matches!(object, Ok(Some(_))));
        // Any answer will do, as long as there is one.
        let _ = (store.kind(id), store.header(id), store.contains(id));
        let _ = (store.commit(id), store.peel(id));
    }
    failures
}

#[test]
fn packs() {
    check(".pack", &[&["repack", "-adfq"]]);
    check(".pack", &[&["-c", "repack.useDeltaBaseOffset=false", "repack", "-adfq"]]);
}

#[test]
fn indexes() {
    check(".idx", &[&["repack", "-adfq"]]);
    check(".idx", &[&["-c", "pack.indexVersion=1", "repack", "-adfq"]]);
}

#[test]
fn multi_pack_indexes() {
    check("multi-pack-index", &[&["multi-pack-index", "write"]]);
}

#[test]
fn commit_graphs() {
    check("commit-graph", &[&["commit-graph", "write", "--reachable"]]);
    check(".graph", &[&["commit-graph", "write", "--reachable", "--split"]]);
    check("commit-graph-chain", &[&["commit-graph", "write", "--reachable", "--split"]]);
}

/// Every single bit of a loose object: what is still read is what was written.
#[test]
fn loose_objects() {
    let fixture = Fixture::empty();
    let mut random = Random(11);
    let content: Vec<u8> = (0..300).map(|_| random.below(64) as u8).collect();
    let id = fixture.git_with(&["hash-object", "-w", "--stdin"], &content);
    let id = ObjectId::from_hex(id.trim_ascii()).unwrap();
    let file = super::super::loose::path(&fixture.objects(), &id);
    let sound = std::fs::read(&file).unwrap();
    let mut noticed = 0;
    for place in 0..sound.len() {
        for bit in 0..8 {
            let mut damaged = sound.clone();
            damaged[place] ^= 1 << bit;
            replace(&file, &damaged);
            noticed += read_all(&fixture, &[id]);
            if let Ok(object) = fixture.store().read(&id) {
                assert_eq!(object.unwrap().data, content, "byte {place} bit {bit}");
            }
        }
        replace(&file, &sound[..place]);
        assert_eq!(read_all(&fixture, &[id]), 1, "cut to {place} bytes");
    }
    assert!(noticed > sound.len() * 7, "{noticed} of {}", sound.len() * 8);
}

/// A pack with one blob and two deltas that are each other's base.
#[test]
fn deltas_in_a_circle() {
    let fixture = Fixture::empty();
    let ids = [ObjectId::Sha1([1; 20]), ObjectId::Sha1([2; 20])];
    // An empty delta from 0 to 0 bytes in a stored block: zlib header, block, Adler-32.
    let delta = [0x78, 0x01, 1, 2, 0, 0xfd, 0xff, 0, 0, 0, 2, 0, 1];
    let mut pack = b"PACK\0\0\0\x02\0\0\0\x02".to_vec();
    let mut offsets = Vec::new();
    for base in [ids[1], ids[0]] {
        offsets.push(pack.len() as u32);
        pack.push(7 << 4 | 2);
        pack.extend_from_slice(base.as_slice());
        pack.extend_from_slice(&delta);
    }
    pack.extend_from_slice(&[9; 20]);
    let mut index = vec![0xff, b't', b'O', b'c', 0, 0, 0, 2];
    for first in 0..256_u32 {
        index.extend_from_slice(&first.min(2).to_be_bytes());
    }
    for id in &ids {
        index.extend_from_slice(id.as_slice());
    }
    index.extend_from_slice(&[0; 8]);
    for offset in offsets {
        index.extend_from_slice(&offset.to_be_bytes());
    }
    index.extend_from_slice(&[9; 40]);
    let base = fixture.objects().join("pack/pack-circle");
    std::fs::write(base.with_extension("pack"), pack).unwrap();
    std::fs::write(base.with_extension("idx"), index).unwrap();
    let store = fixture.store();
    for id in &ids {
        assert!(store.contains(id).unwrap());
        assert!(matches!(store.kind(id), Err(StoreError::Limit { .. })));
        assert!(matches!(store.header(id), Err(StoreError::Limit { .. })));
        assert!(matches!(store.read(id), Err(StoreError::Limit { .. })));
    }
}

/// A loose object that announces more than it holds, or more than there is memory.
#[test]
fn announced_sizes_are_not_believed() {
    for size in ["1", "4000000", "300000000", "18446744073709551615", "99999999999999999999999"] {
        let fixture = Fixture::empty();
        let id = ObjectId::Sha1([0xab; 20]);
        let path = super::super::loose::path(&fixture.objects(), &id);
        let mut file = Vec::new();
        let text = format!("blob {size}\0");
        let mut stream = flate2::write::ZlibEncoder::new(&mut file, flate2::Compression::fast());
        std::io::Write::write_all(&mut stream, text.as_bytes()).unwrap();
        stream.finish().unwrap();
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        std::fs::write(&path, file).unwrap();
        assert!(fixture.store().read(&id).is_err(), "{size}");
    }
}
