//! Two sessions back to back under random interleavings: every byte arrives, in order, within the
//! windows, and both ends forget every stream.

use super::{LIMITS, take};
use crate::yamux::*;
use bytes::BytesMut;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// xorshift64*: enough to shuffle events.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }
}

/// What one half of a stream carries: byte `i` of it is a function of the seed.
#[derive(Debug, Clone, Default)]
struct Half {
    length: usize,
    sent: usize,
    finished: bool,
    received: usize,
    ended: bool,
}

fn byte(id: u32, from_client: bool, position: usize) -> u8 {
    (position as u32).wrapping_mul(31).wrapping_add(id * 7 + u32::from(from_client)) as u8
}

struct End {
    session: Session,
    out: Outgoing,
    wire: VecDeque<u8>,
    input: BytesMut,
    handles: HashMap<u32, StreamId>,
}

struct Model {
    ends: [End; 2],
    /// By id: what the client sends, what the server sends.
    halves: HashMap<u32, [Half; 2]>,
    to_open: u64,
    random: Random,
}

impl Model {
    fn new(seed: u64) -> Self {
        let limits = Limits { backlog_max: 64, accepted_streams_max: 64, ..LIMITS };
        let end = |role| End {
            session: Session::new(role, limits),
            out: Outgoing::default(),
            wire: VecDeque::new(),
            input: BytesMut::new(),
            handles: HashMap::new(),
        };
        Self {
            ends: [end(Role::Client), end(Role::Server)],
            halves: HashMap::new(),
            to_open: 12,
            random: Random(seed),
        }
    }

    fn open(&mut self, side: usize) {
        if self.to_open > 0
            && let Ok(stream) = self.ends[side].session.open()
        {
            self.to_open -= 1;
            self.ends[side].handles.insert(stream.0, stream);
            let halves = [(); 2].map(|()| Half {
                length: [0, 1, 5000, 300_000, 900_000][self.random.below(5) as usize],
                ..Half::default()
            });
            self.halves.insert(stream.0, halves);
        }
    }

    fn accept(&mut self, side: usize) {
        if let Some(stream) = self.ends[side].session.accept() {
            self.ends[side].handles.insert(stream.0, stream);
        }
    }

    fn write(&mut self, side: usize, stream: StreamId) {
        let half = &mut self.halves.get_mut(&stream.0).unwrap()[side];
        let session = &mut self.ends[side].session;
        if half.sent == half.length {
            session.finish(stream);
            half.finished = true;
            return;
        }
        let wanted = (1 + self.random.below(200_000) as usize).min(half.length - half.sent);
        let data: Vec<u8> =
            (half.sent..half.sent + wanted).map(|at| byte(stream.0, side == 0, at)).collect();
        half.sent += if self.random.below(2) == 0 {
            session.send_copy(stream, &data).unwrap()
        } else {
            session.send(stream, &mut Bytes::from(data)).unwrap()
        };
    }

    fn read(&mut self, side: usize, stream: StreamId) {
        let half = &mut self.halves.get_mut(&stream.0).unwrap()[1 - side];
        match self.ends[side].session.read(stream).unwrap() {
            Read::Data(data) => {
                for read in data {
                    assert_eq!(read, byte(stream.0, side == 1, half.received));
                    half.received += 1;
                }
            }
            Read::End => {
                assert_eq!(half.received, half.length);
                half.ended = true;
            }
            Read::Pending => {}
        }
    }

    fn release(&mut self, side: usize, stream: StreamId) {
        let halves = &self.halves[&stream.0];
        let finished = self.ends[side].session.finished(stream).unwrap();
        if finished && halves[side].finished && halves[1 - side].ended {
            self.ends[side].session.release(stream);
            self.ends[side].handles.remove(&stream.0);
        }
    }

    /// Some bytes from one side's socket to the other's.
    fn carry(&mut self, side: usize) {
        let end = &mut self.ends[side];
        if end.wire.is_empty() {
            end.session.transmit(&mut end.out, 1 + self.random.below(300_000) as usize);
            end.wire.extend(take(&mut end.out));
        }
        let moved =
            (1 + self.random.below(READ_BUFFER_BYTES_MAX as u64) as usize).min(end.wire.len());
        let bytes: Vec<u8> = end.wire.drain(..moved).collect();
        let other = &mut self.ends[1 - side];
        other.input.extend_from_slice(&bytes);
        other.session.receive(&mut other.input, Duration::ZERO).unwrap();
        while other.session.next_event().is_some() {}
    }

    fn step(&mut self) {
        let side = self.random.below(2) as usize;
        let action = self.random.below(6);
        match action {
            0 => self.open(side),
            1 => self.accept(side),
            2 => self.carry(side),
            _ => {
                let mut streams: Vec<StreamId> =
                    self.ends[side].handles.values().copied().collect();
                streams.sort();
                if streams.is_empty() {
                    return;
                }
                let stream = streams[self.random.below(streams.len() as u64) as usize];
                match action {
                    3 => self.write_unless_finished(side, stream),
                    4 => self.read(side, stream),
                    _ => self.release(side, stream),
                }
            }
        }
    }

    fn write_unless_finished(&mut self, side: usize, stream: StreamId) {
        if !self.halves[&stream.0][side].finished {
            self.write(side, stream);
        }
    }

    fn done(&self) -> bool {
        self.to_open == 0 && self.ends.iter().all(|end| end.session.streams() == 0)
    }
}

#[test]
fn every_byte_arrives_in_order_and_both_ends_finish() {
    for seed in 1..=8 {
        let mut model = Model::new(seed * 0x9e37_79b9);
        let mut steps = 0;
        while !model.done() {
            model.step();
            steps += 1;
            assert!(steps < 2_000_000, "seed {seed} does not end");
        }
        assert_eq!(model.halves.len(), 12, "seed {seed}");
    }
}
