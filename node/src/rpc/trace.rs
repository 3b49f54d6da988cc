//! What git's own environment variables trace of a drop-in: packets (`GIT_TRACE_PACKET`) and one
//! event of trace2 (`GIT_TRACE2_EVENT`; git, ENVIRONMENT VARIABLES; api-trace2, "Event Format").
//!
//! Always true: a line is appended with one write; one that cannot be written is lost and nothing
//! else.
//! Never here: git's other events and targets; spans of a server's calls (`daemon::otlp`).

use gitring_daemon::log::timestamp;
use gitring_git::pkt_line::{self, Decoded, Packet};
use gitring_git::upload_pack::arguments::Needs;
use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Where traces go.
#[derive(Debug)]
pub struct Trace {
    packets: Option<Target>,
    events: Option<Target>,
    /// `GIT_TRACE_BARE`: lines without time and place.
    is_bare: bool,
}

#[derive(Debug)]
enum Target {
    Stderr,
    File(PathBuf),
}

/// What is told of a fetch beside its arguments.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// Objects that both sides have.
    pub haves: usize,
    /// Objects that are wanted, those of `want-ref` included.
    pub wants: usize,
}

// === impl Trace ===

impl Trace {
    /// What the environment asks for, if it asks for anything; `variable` yields one variable.
    pub fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        let target = |name: &str| Target::parse(&variable(name)?);
        let (packets, events) = (target("GIT_TRACE_PACKET"), target("GIT_TRACE2_EVENT"));
        let is_bare = variable("GIT_TRACE_BARE").is_some_and(|value| value == "1");
        (packets.is_some() || events.is_some()).then_some(Self { packets, events, is_bare })
    }

    /// A packet of the client.
    pub fn received(&self, packet: Packet<'_>) {
        self.packet('<', packet);
    }

    /// Packets of ours.
    pub fn sent(&self, mut framed: &[u8]) {
        while self.packets.is_some()
            && let Ok(Decoded::Packet { packet, length_bytes }) = pkt_line::decode(framed)
        {
            self.packet('>', packet);
            framed = &framed[length_bytes..];
        }
    }

    /// The event `fetch-info`, with the fields that git gives it.
    pub fn fetch_info(&self, needs: &Needs, found: Found) {
        if let Some(target) = &self.events {
            target.put(&fetch_info(
                needs,
                found,
                &timestamp(SystemTime::now()),
                std::process::id(),
            ));
        }
    }

    fn packet(&self, direction: char, packet: Packet<'_>) {
        let Some(target) = &self.packets else { return };
        let text = match packet {
            Packet::Data(payload) => printable(pkt_line::chomp(payload)),
            Packet::Flush => "0000".to_owned(),
            Packet::Delimiter => "0001".to_owned(),
            Packet::ResponseEnd => "0002".to_owned(),
        };
        let time = match self.is_bare {
            true => String::new(),
            // As git has it: the time of the day, then the place, padded.
            false => format!("{:<40}", &timestamp(SystemTime::now())[11..23]),
        };
        target.put(&format!("{time}packet:  upload-pack{direction} {text}\n"));
    }
}

// === impl Target ===

impl Target {
    fn parse(value: &OsStr) -> Option<Self> {
        if value == "1" || value == "2" || value == "true" {
            return Some(Self::Stderr);
        }
        let file = Path::new(value);
        file.is_absolute().then(|| Self::File(file.to_owned()))
    }

    #[expect(clippy::disallowed_methods, reason = "a process of one fetch, one line")]
    fn put(&self, line: &str) {
        let _ = match self {
            Self::Stderr => io::stderr().write_all(line.as_bytes()),
            Self::File(path) => {
                let file = OpenOptions::new().append(true).create(true).open(path);
                file.and_then(|mut file| file.write_all(line.as_bytes()))
            }
        };
    }
}

/// Everything but printable ASCII as an octal escape, as git writes it.
fn printable(payload: &[u8]) -> String {
    let mut text = String::with_capacity(payload.len());
    for byte in payload {
        match byte {
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => text.push_str(&format!("\\{byte:o}")),
        }
    }
    text
}

fn fetch_info(needs: &Needs, found: Found, time: &str, pid: u32) -> String {
    // Names of filters are fixed words: nothing in the line needs quoting.
    let filter = needs.filter.as_ref();
    let filter = filter.map_or("null".to_owned(), |filter| format!("\"{}\"", filter.config_name()));
    format!(
        "{{\"event\":\"data_json\",\"sid\":\"gitring-P{pid:08x}\",\"thread\":\"main\",\
         \"time\":\"{time}\",\"repo\":1,\"nesting\":1,\"category\":\"upload-pack\",\
         \"key\":\"fetch-info\",\"value\":{{\"haves\":{},\"wants\":{},\"want-refs\":{},\
         \"depth\":{},\"shallows\":{},\"deepen-since\":{},\"deepen-not\":{},\
         \"deepen-relative\":{},\"filter\":{filter}}}}}\n",
        found.haves,
        found.wants,
        needs.want_refs.len(),
        needs.depth.commits,
        needs.shallows.len(),
        needs.depth.since.is_some(),
        needs.depth.not.len(),
        needs.relative,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_one_line_of_text() {
        assert_eq!(printable(b"1 HEAD\0multi_ack \xc3"), "1 HEAD\\0multi_ack \\303");
    }

    #[test]
    fn a_fetch_is_one_line() {
        let needs = Needs { relative: true, ..Needs::default() };
        let line = fetch_info(&needs, Found { haves: 2, wants: 1 }, "T", 7);
        assert_eq!(
            line,
            "{\"event\":\"data_json\",\"sid\":\"gitring-P00000007\",\"thread\":\"main\",\
             \"time\":\"T\",\"repo\":1,\"nesting\":1,\"category\":\"upload-pack\",\
             \"key\":\"fetch-info\",\"value\":{\"haves\":2,\"wants\":1,\"want-refs\":0,\
             \"depth\":0,\"shallows\":0,\"deepen-since\":false,\"deepen-not\":0,\
             \"deepen-relative\":true,\"filter\":null}}\n"
        );
    }
}
