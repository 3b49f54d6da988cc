//! pkt-lines as tests write and read them (gitprotocol-common, "pkt-line Format").
//!
//! Always true: nothing is repaired. Bytes that are no pkt-line stay visible as such.
//!
//! Never here: the node's own framing; a test must not trust what it tests.

/// A flush packet.
pub const FLUSH: &[u8] = b"0000";
/// A delimiter packet.
pub const DELIMITER: &[u8] = b"0001";

/// One packet of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// `0000`
    Flush,
    /// `0001`
    Delimiter,
    /// `0002`
    ResponseEnd,
    /// Payload of a data packet.
    Data(Vec<u8>),
    /// The rest of the stream, which is no packet: a raw pack, or a fault.
    Raw(Vec<u8>),
}

/// One data packet.
pub fn data(payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut packet = format!("{:04x}", payload.len() + 4).into_bytes();
    packet.extend_from_slice(payload);
    packet
}

/// A request from words: `flush`, `delim`, or a line of text which gets its line feed.
pub fn request(lines: &[&str]) -> Vec<u8> {
    let packets = lines.iter().map(|line| match *line {
        "flush" => FLUSH.to_vec(),
        "delim" => DELIMITER.to_vec(),
        line => data(format!("{line}\n")),
    });
    packets.flatten().collect()
}

/// Splits an answer into its packets.
pub fn parse(mut bytes: &[u8]) -> Vec<Packet> {
    let mut packets = Vec::new();
    while !bytes.is_empty() {
        let length = bytes.get(..4).and_then(|head| std::str::from_utf8(head).ok());
        let length = length.and_then(|head| usize::from_str_radix(head, 16).ok());
        let (packet, used) = match length {
            Some(0) => (Packet::Flush, 4),
            Some(1) => (Packet::Delimiter, 4),
            Some(2) => (Packet::ResponseEnd, 4),
            Some(length) if (4..=bytes.len()).contains(&length) => {
                (Packet::Data(bytes[4..length].to_vec()), length)
            }
            _ => (Packet::Raw(bytes.to_vec()), bytes.len()),
        };
        packets.push(packet);
        bytes = &bytes[used..];
    }
    packets
}

/// An answer as readable lines: what comparisons print when they fail.
///
/// Agent and session id are replaced, and pack data is shortened to `PACK`, since two runs of
/// pack-objects may differ in their bytes.
pub fn readable(bytes: &[u8]) -> Vec<String> {
    let packets = parse(bytes).into_iter().filter_map(|packet| match packet {
        Packet::Flush => Some("flush".to_owned()),
        Packet::Delimiter => Some("delim".to_owned()),
        Packet::ResponseEnd => Some("response-end".to_owned()),
        Packet::Data(payload) => readable_payload(&payload),
        Packet::Raw(bytes) if bytes.starts_with(b"PACK") => Some("PACK".to_owned()),
        Packet::Raw(bytes) => Some(format!("raw {}", bytes.escape_ascii())),
    });
    let mut lines: Vec<String> = packets.collect();
    // How a pack is cut into packets is the sender's choice.
    lines.dedup_by(|later, earlier| later == "PACK" && earlier == "PACK");
    lines
}

fn readable_payload(payload: &[u8]) -> Option<String> {
    match payload.first() {
        Some(1) => Some("PACK".to_owned()),
        // Progress is text for people, cut anywhere.
        Some(2) => None,
        // git 2.39 sends the NUL behind its text as well.
        Some(3) => {
            let text = payload.strip_suffix(b"\0").unwrap_or(payload);
            Some(text.escape_ascii().to_string())
        }
        _ => {
            let text = payload.escape_ascii().to_string();
            // Always there in git 2.39; since 2.41 where `transfer.advertiseObjectInfo` says so.
            if text == "object-info\\n" {
                return None;
            }
            // Tells capabilities where there are no refs; git says so since 2.42.
            if text.contains(" capabilities^{}\\x00") {
                return None;
            }
            let words = text.split(' ').map(|word| {
                let known = ["agent=", "session-id="].iter().find(|key| word.starts_with(**key));
                known.map_or(word.to_owned(), |key| {
                    format!("{key}*{}", if word.ends_with("\\n") { "\\n" } else { "" })
                })
            });
            Some(words.collect::<Vec<_>>().join(" "))
        }
    }
}
