//! What a client asks for in a fetch: Gitaly's `PackfileNegotiationStatistics`.
//!
//! Counted as Gitaly counts: by packets in the order of protocol version 0, of which version 2 is
//! understood as far as its lines look alike; nothing is counted after `done`, or after a line
//! that makes no sense. How far the client is is seen behind such a line too.
//!
//! Always true: holds one packet at most.
//! Never here: I/O.

use gitring_git::pkt_line::{self, Decoded, Packet};
use gitring_proto::gitaly::PackfileNegotiationStatistics;
use prometheus::IntCounterVec;

/// Watches what a client sends.
#[derive(Debug, Default)]
pub(super) struct Negotiation {
    counted: PackfileNegotiationStatistics,
    has_capabilities: bool,
    has_flushed: bool,
    /// A line made no sense: nothing is counted any more.
    is_senseless: bool,
    /// A packet that has come in part.
    piece: Vec<u8>,
    state: State,
}

/// How far the client's packets are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Reading,
    Done,
    /// There is no telling where the next packet begins.
    Broken,
}

// === impl Negotiation ===

impl Negotiation {
    /// Looks at the next bytes of the client.
    pub(super) fn observe(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.state == State::Reading {
            if self.piece.is_empty() {
                match pkt_line::decode(bytes) {
                    Ok(Decoded::Packet { packet, length_bytes }) => {
                        self.packet(packet);
                        bytes = &bytes[length_bytes..];
                    }
                    Ok(Decoded::Incomplete { .. }) => {
                        self.piece.extend_from_slice(bytes);
                        return;
                    }
                    Err(_) => self.state = State::Broken,
                }
            } else {
                bytes = self.fill_piece(bytes);
            }
        }
    }

    /// Adds to the packet in part; returns what belongs to the next ones.
    fn fill_piece<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let missing_bytes = match pkt_line::decode(&self.piece) {
            Ok(Decoded::Incomplete { missing_bytes }) => missing_bytes.min(bytes.len()),
            Ok(Decoded::Packet { .. }) | Err(_) => 0,
        };
        self.piece.extend_from_slice(&bytes[..missing_bytes]);
        let piece = std::mem::take(&mut self.piece);
        match pkt_line::decode(&piece) {
            Ok(Decoded::Packet { packet, .. }) => self.packet(packet),
            Ok(Decoded::Incomplete { .. }) => self.piece = piece,
            Err(_) => self.state = State::Broken,
        }
        &bytes[missing_bytes..]
    }

    fn packet(&mut self, packet: Packet<'_>) {
        let line = match packet {
            Packet::Data(data) => data.strip_suffix(b"\n").unwrap_or(data),
            Packet::Flush | Packet::Delimiter | Packet::ResponseEnd => &[],
        };
        self.has_flushed |= packet == Packet::Flush;
        if line.split(|byte| *byte == b' ').next() == Some(b"done") {
            self.state = State::Done;
        }
        if !self.is_senseless {
            self.count_line(line);
        }
    }

    fn count_line(&mut self, line: &[u8]) {
        self.counted.payload_size += i64::try_from(line.len()).unwrap_or(0);
        let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let sound = match words[0] {
            b"want" => self.want(&words),
            b"shallow" => count(&mut self.counted.shallows, &words),
            b"have" => count(&mut self.counted.haves, &words),
            b"deepen" | b"deepen-since" | b"deepen-not" => {
                self.counted.deepen = String::from_utf8_lossy(line).into_owned();
                words.len() == 2
            }
            b"filter" => {
                self.counted.filter = String::from_utf8_lossy(words.last().unwrap_or(&line)).into();
                words.len() == 2
            }
            // Gitaly stops before it counts this packet.
            b"done" => return,
            _ => true,
        };
        if sound {
            self.counted.packets += 1;
        } else {
            self.is_senseless = true;
        }
    }

    fn want(&mut self, words: &[&[u8]]) -> bool {
        if words.len() < 2 || (words.len() > 2 && self.has_capabilities) {
            return false;
        }
        self.counted.wants += 1;
        if words.len() > 2 {
            self.has_capabilities = true;
            let text = |word: &&[u8]| String::from_utf8_lossy(word).into_owned();
            self.counted.caps = words[2..].iter().map(text).collect();
        }
        true
    }

    /// Whether the client has said `done`: it will not negotiate any more.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether the client has sent a flush packet.
    pub(super) fn has_flushed(&self) -> bool {
        self.has_flushed
    }

    /// Whether the client has asked for a part of the history only.
    pub(super) fn has_deepened(&self) -> bool {
        !self.counted.deepen.is_empty()
    }

    /// What was counted, as far as it made sense.
    pub(super) fn counted(&self) -> PackfileNegotiationStatistics {
        self.counted.clone()
    }

    /// What was counted; nothing where no object was wanted, as with `ls-refs`.
    pub(super) fn statistics(&self) -> PackfileNegotiationStatistics {
        let is_sound = !self.is_senseless && self.state != State::Broken;
        if self.counted.wants == 0 || !is_sound {
            return PackfileNegotiationStatistics::default();
        }
        self.counted()
    }

    /// Counts what the fetch used.
    pub(super) fn count(&self, metric: &IntCounterVec) {
        let statistics = self.statistics();
        if statistics.wants == 0 {
            return;
        }
        let used = [
            ("deepen", !statistics.deepen.is_empty()),
            ("filter", !statistics.filter.is_empty()),
            ("have", statistics.haves > 0),
            ("total", true),
        ];
        for (feature, _) in used.into_iter().filter(|(_, used)| *used) {
            metric.with_label_values(&[feature]).inc();
        }
    }
}

fn count(counter: &mut i64, words: &[&[u8]]) -> bool {
    let sound = words.len() == 2;
    *counter += i64::from(sound);
    sound
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: &[&str], expected: PackfileNegotiationStatistics) {
        let mut body = Vec::new();
        for line in lines {
            match *line {
                "flush" => body.extend_from_slice(b"0000"),
                "delim" => body.extend_from_slice(b"0001"),
                line => pkt_line::push(&mut body, line.as_bytes()),
            }
        }
        for piece_bytes in [1, 3, 50, body.len()] {
            let mut negotiation = Negotiation::default();
            body.chunks(piece_bytes).for_each(|piece| negotiation.observe(piece));
            assert_eq!(negotiation.statistics(), expected, "{lines:?} by {piece_bytes}");
        }
    }

    #[test]
    fn packets_are_counted_as_gitaly_counts_them() {
        let expected = PackfileNegotiationStatistics {
            payload_size: 22 + 7 + 9 + 8 + 16 + 6,
            packets: 7,
            caps: vec!["side-band".into(), "ofs-delta".into()],
            wants: 2,
            haves: 1,
            shallows: 1,
            deepen: "deepen 3".into(),
            filter: "blob:none".into(),
        };
        let lines = [
            "want 1 side-band ofs-delta",
            "want 22",
            "shallow 1\n",
            "deepen 3\n",
            "filter blob:none",
            "flush",
            "have 1",
            "done\n",
            "have 2",
        ];
        let payload_size: usize = lines[..7]
            .iter()
            .filter(|line| **line != "flush")
            .map(|line| line.trim_end().len())
            .sum();
        let payload_size = payload_size as i64 + "done".len() as i64;
        check(&lines, PackfileNegotiationStatistics { payload_size, ..expected });
        let nothing = PackfileNegotiationStatistics::default();
        check(&["command=ls-refs", "delim", "peel", "flush"], nothing.clone());
        check(&["want 1 a", "want 2 b", "done"], nothing.clone());
        check(&["want 1", "have", "done"], nothing);
    }

    fn check_done(lines: &[u8], expected: bool) {
        for piece_bytes in [1, 3, 50] {
            let mut negotiation = Negotiation::default();
            lines.chunks(piece_bytes).for_each(|piece| negotiation.observe(piece));
            let text = String::from_utf8_lossy(lines);
            assert_eq!(negotiation.is_done(), expected, "{text:?} by {piece_bytes}");
        }
    }

    #[test]
    fn who_is_done_is_done_whatever_was_said_before() {
        check_done(b"000awant 10000", false);
        check_done(b"000awant 100000009done\n", true);
        check_done(b"000awant 10008have0009done\n", true);
        check_done(b"000awant 10008have0000", false);
        // Where a packet begins is unknown behind such a length.
        check_done(b"000awant 1zzzz0009done\n", false);
    }
}
