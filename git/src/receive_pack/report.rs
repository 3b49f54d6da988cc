//! What a client is told of its push: `report-status` and `report-status-v2` (gitprotocol-pack,
//! "Report Status").
//!
//! Always true: a report is whole packets; a reason takes one line and is cut where no packet
//! would hold it.
//! Never here: why something was refused. The options of version 2 belong to `proc-receive`, which
//! is not served here, so both versions are alike.

use bstr::{BStr, BString};

use super::{Outcome, Report};
use crate::pkt_line::{self, FLUSH};
use crate::sideband::{self, Band};

/// The report, multiplexed where the client asked for that; nothing where it wants none.
pub(super) fn report(Outcome { unpack, request }: &Outcome) -> Vec<u8> {
    if request.report == Report::None {
        return Vec::new();
    }
    let mut lines = Vec::new();
    match unpack {
        Ok(()) => pkt_line::push(&mut lines, b"unpack ok\n"),
        Err(reason) => push(&mut lines, "unpack", None, Some(reason)),
    }
    for command in request.commands.iter() {
        let refused = match unpack {
            Ok(()) => command.state.refused,
            // Nothing else was done (git: "unpacker error").
            Err(_) => Some("unpacker error"),
        };
        match refused {
            None => push(&mut lines, "ok", Some(command.name), None),
            Some(reason) => push(&mut lines, "ng", Some(command.name), Some(reason)),
        }
    }
    lines.extend_from_slice(FLUSH);
    let Some(width) = request.sideband else { return lines };
    let mut framed = Vec::with_capacity(lines.len() + lines.len() / 64 + 16);
    sideband::push(&mut framed, Band::Data, width, &lines);
    framed
}

fn push(lines: &mut Vec<u8>, word: &str, name: Option<&BStr>, reason: Option<&str>) {
    let mut line = BString::from(word);
    if let Some(name) = name {
        line.push(b' ');
        line.extend_from_slice(name);
    }
    if let Some(reason) = reason {
        line.push(b' ');
        line.extend(reason.bytes().map(|byte| if byte == b'\n' { b' ' } else { byte }));
    }
    line.truncate(pkt_line::PAYLOAD_BYTES_MAX - 1);
    line.push(b'\n');
    pkt_line::push(lines, &line);
}
