//! Side-band: what is sent on three bands in turn arrives on each as it was sent.
//!
//! Input: pieces of one byte that names the band, one that says how often the content is repeated,
//! one for its length, and the content. The first byte of all is the width.

#![no_main]

use gitring_git::pkt_line::{self, Decoded, Packet};
use gitring_git::sideband::{self, Band, Width};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&first, mut rest)) = data.split_first() else { return };
    let width = if first & 1 == 0 { Width::Small } else { Width::Large };
    let mut sent = [const { Vec::new() }; 3];
    let mut framed = Vec::new();
    while let [band, repeats, length, content @ ..] = rest {
        let (content, behind) = content.split_at(content.len().min(usize::from(*length)));
        let payload = content.repeat(usize::from(*repeats) * 8);
        let band = [Band::Data, Band::Progress, Band::Error][usize::from(band % 3)];
        sideband::push(&mut framed, band, width, &payload);
        sent[band as usize - 1].extend_from_slice(&payload);
        rest = behind;
    }
    assert_eq!(received(&framed, width), sent);
});

/// What a client makes of the stream.
fn received(mut framed: &[u8], width: Width) -> [Vec<u8>; 3] {
    let mut received = [const { Vec::new() }; 3];
    while !framed.is_empty() {
        let Ok(Decoded::Packet { packet: Packet::Data(data), length_bytes }) =
            pkt_line::decode(framed)
        else {
            panic!("no data packet of {} bytes", framed.len());
        };
        let (band, payload) = data.split_first().expect("a band");
        assert!(!payload.is_empty() && payload.len() <= width.payload_bytes_max());
        received[usize::from(*band) - 1].extend_from_slice(payload);
        framed = &framed[length_bytes..];
    }
    received
}
