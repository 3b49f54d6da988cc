//! pkt-lines and side-band: what framing costs for each line and each MiB.
//!
//! Always true: the same bytes in every run.
//! Never here: sockets.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gitring_git::pkt_line::{self, Decoded};
use gitring_git::sideband::{self, Band, Width};

/// Lines of one round.
const LINES: usize = 1_000;

/// A line as `ls-refs` has it: id, name, line feed.
const LINE: &[u8] = b"7fd1a60b01f91b314f59955a4e4d4e80d8edf11d refs/heads/topic/of-usual-length\n";

fn pkt_lines(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pkt-line, 1,000 lines");
    let mut framed = Vec::new();
    (0..LINES).for_each(|_| pkt_line::push(&mut framed, LINE));
    group.throughput(Throughput::Bytes(framed.len() as u64));
    group.bench_function("decode", |bencher| bencher.iter(|| decode_all(black_box(&framed))));
    let mut out = Vec::with_capacity(framed.len());
    group.bench_function("push", |bencher| {
        bencher.iter(|| {
            out.clear();
            (0..LINES).for_each(|_| pkt_line::push(&mut out, black_box(LINE)));
        });
    });
    group.finish();
    let mut group = criterion.benchmark_group("pkt-line, 1,000 formatted lines");
    group.bench_function("push_text", |bencher| {
        bencher.iter(|| {
            out.clear();
            (0..LINES).for_each(|n| {
                pkt_line::push_text(&mut out, format_args!("ACK {} common\n", black_box(n)));
            });
        });
    });
    group.finish();
}

fn decode_all(mut framed: &[u8]) -> usize {
    let mut packets = 0;
    while let Ok(Decoded::Packet { packet, length_bytes }) = pkt_line::decode(framed) {
        black_box(packet);
        packets += 1;
        framed = &framed[length_bytes..];
    }
    packets
}

fn side_band(criterion: &mut Criterion) {
    let payload = vec![0x5a; 1 << 20];
    let mut group = criterion.benchmark_group("side-band-64k, 1 MiB");
    group.throughput(Throughput::Bytes(payload.len() as u64));
    // What a vectored write needs: headers beside slices of the payload.
    let mut parts = Vec::with_capacity(32);
    group.bench_function("headers in front", |bencher| {
        bencher.iter(|| {
            parts.clear();
            for part in black_box(&payload).chunks(Width::Large.payload_bytes_max()) {
                parts.push((sideband::header(Band::Data, part.len()), part));
            }
            black_box(parts.len())
        });
    });
    let mut out = Vec::with_capacity(payload.len() + 1_024);
    group.bench_function("push, which copies", |bencher| {
        bencher.iter(|| {
            out.clear();
            sideband::push(&mut out, Band::Data, Width::Large, black_box(&payload));
        });
    });
    group.finish();
}

fn settings() -> Criterion {
    let (warm_up, measured) = (Duration::from_millis(500), Duration::from_secs(2));
    Criterion::default().sample_size(50).warm_up_time(warm_up).measurement_time(measured)
}

criterion_group! { name = benches; config = settings(); targets = pkt_lines, side_band }
criterion_main!(benches);
