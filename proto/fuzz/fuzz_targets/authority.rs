//! What a client sends, through the filter: the same length, the same bytes however it comes, and
//! nothing left to change. In Huffman's code any byte may change, by a bit or two.

#![no_main]

use gitring_proto::authority::Filter;
use libfuzzer_sys::fuzz_target;

/// Passes `sent` in pieces of `piece_bytes`.
fn pass(sent: &[u8], piece_bytes: usize) -> Vec<u8> {
    let (mut filter, mut held, mut passed) = (Filter::default(), Vec::new(), Vec::new());
    for piece in sent.chunks(piece_bytes) {
        held.extend_from_slice(piece);
        let ready = filter.look(&mut held);
        passed.extend(held.drain(..ready));
    }
    passed.extend(held);
    passed
}

fuzz_target!(|data: (u8, &[u8])| {
    let (piece_bytes, frames) = data;
    let sent = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", frames].concat();
    let whole = pass(&sent, sent.len());
    assert_eq!(whole, pass(&sent, usize::from(piece_bytes).max(1)));
    assert_eq!(whole.len(), sent.len());
    assert_eq!(pass(&whole, whole.len()), whole);
    let changed = sent.iter().zip(&whole).filter(|(before, after)| before != after);
    for (before, after) in changed {
        let is_plain = matches!((before, after), (b'%', b'-') | (b'@', b'$'));
        assert!(is_plain || (before ^ after).count_ones() <= 4, "{before} {after}");
    }
});
