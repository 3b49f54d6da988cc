//! `cache explain`: two requests in canonical form, and the first difference in words.
//!
//! ```text
//!   log line, or a key in the cache ──► Parts ─────────────┐
//!   body of a fetch ──► machine, desk ──► PackRequest ─────┴──► first difference
//! ```
//!
//! Always true: a body is judged by the machine that serves fetches, under the defaults of the
//! server and the repository's configuration; the node's own `[[git.config]]` is not looked at.
//! Never here: how keys are made.

use super::entries;
use clap::Args;
use gitring_git::history::Cancel;
use gitring_git::pack_request::{PackRequest, Parts, fingerprint};
use gitring_git::pkt_line::{self, Decoded};
use gitring_git::repository::{Environment, Repository};
use gitring_git::upload_pack::{
    Answer, Desk, Event, Failure, Mode, Next, Server, Settings, UploadPack, Version,
};
use gitring_node::rpc::defaults;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// What `cache explain` takes.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A file with the body of a fetch or with a log line, a log line itself, or a key of the cache
    first: String,
    /// The same of another fetch
    second: String,
    /// The repository that bodies ask
    #[arg(long, value_name = "DIR")]
    repository: Option<PathBuf>,
}

/// Two fetches, compared.
#[derive(Debug)]
pub(super) struct Explained {
    sides: [Side; 2],
    difference: Option<String>,
}

/// One fetch, as far as it is known.
#[derive(Debug)]
struct Side {
    parts: Parts,
    request: Option<Box<PackRequest>>,
}

/// Compares what the arguments name.
pub(super) fn explain(asked: &Arguments, cache: Option<&Path>) -> Result<Explained, String> {
    let repository = asked.repository.as_deref();
    let side = |text: &str| Side::read(text, repository, cache);
    let sides = [side(&asked.first)?, side(&asked.second)?];
    let [one, two] = &sides;
    let difference = match (&one.request, &two.request) {
        (Some(one), Some(two)) => fingerprint::first_difference(one, two),
        _ => one.parts.first_difference(&two.parts),
    };
    Ok(Explained { sides, difference })
}

// === impl Side ===

#[expect(clippy::disallowed_methods, reason = "a tool has no reactor")]
impl Side {
    fn read(text: &str, repository: Option<&Path>, cache: Option<&Path>) -> Result<Self, String> {
        if let Some(parts) = parts_in(text) {
            return Ok(Self { parts, request: None });
        }
        if let Ok(bytes) = std::fs::read(text) {
            if let Some(parts) = parts_in(&String::from_utf8_lossy(&bytes)) {
                return Ok(Self { parts, request: None });
            }
            let repository = repository.ok_or("a fetch's body needs --repository DIR")?;
            let request = request_of(&bytes, repository).map_err(|why| format!("{text}: {why}"))?;
            let key = request.key().ok_or("this pack is never shared: its filter names a ref")?;
            return Ok(Self { parts: key.parts().clone(), request: Some(request) });
        }
        let cache = cache.ok_or_else(|| {
            format!("'{text}' is no log line and no file; a key needs --config FILE or --dir DIR")
        })?;
        let entries = entries(cache)?;
        let entry = entries.iter().find(|entry| entry.stored.key.to_string() == text);
        let entry = entry.ok_or_else(|| format!("'{text}' is no log line, no file and no key"))?;
        let parts = entry.request.parse().map_err(|error| format!("{text}: {error}"))?;
        Ok(Self { parts, request: None })
    }
}

/// The fingerprint in a log line of either format.
fn parts_in(text: &str) -> Option<Parts> {
    let store = text.find(" store=")?;
    let start =
        text[..store].rfind(|byte: char| !byte.is_ascii_alphanumeric()).map_or(0, |at| at + 1);
    let tags = store + text[store..].find(" tags=")? + " tags=".len();
    let is_value = |byte: char| byte.is_ascii_hexdigit() || byte == ':';
    let end = text[tags..].find(|byte| !is_value(byte)).map_or(text.len(), |at| tags + at);
    text[start..end].parse().ok()
}

/// What the body of a fetch asks of `directory`, as the node would read it.
fn request_of(body: &[u8], directory: &Path) -> Result<Box<PackRequest>, String> {
    let chain = |error: &(dyn std::error::Error + 'static)| gitring_daemon::log::chain(error);
    let environment = Environment { defaults: defaults::all(), ..Environment::default() };
    let repository =
        Repository::enter(directory, false, environment).map_err(|error| chain(&error))?;
    let snapshot = repository.snapshot().map_err(|error| chain(&error))?;
    let settings = Settings::from_config(&snapshot.config).map_err(|error| error.to_string())?;
    let server = Server {
        agent: gitring_node::rpc::agent(),
        namespace: gitring_git::refs::Namespace::default(),
        explain_errors: true,
    };
    let is_v2 = body.get(4..).is_some_and(|line| line.starts_with(b"command="));
    let version = if is_v2 { Version::V2 } else { Version::V0 };
    let mut desk = Desk::new(snapshot, server.clone(), settings.clone(), true, Cancel::default());
    let mut machine = UploadPack::new(version, Mode::Stateless, server, settings);
    let mut rest = body;
    let mut step = machine.on(Event::Start);
    loop {
        step = match step.next {
            Next::Read => match pkt_line::decode(rest).map_err(|error| error.to_string())? {
                Decoded::Packet { packet, length_bytes } => {
                    rest = &rest[length_bytes..];
                    machine.on(Event::Packet(packet))
                }
                Decoded::Incomplete { .. } => machine.on(Event::End),
            },
            Next::Ask(question) => {
                let answer: Answer = desk.answer(question).map_err(|error| chain(&error))?;
                machine.on(Event::Answer(Box::new(answer)))
            }
            Next::ServePack(request, _) => return Ok(request),
            Next::Fallback { reason, .. } => {
                return Err(format!("git upload-pack serves it ({})", reason.label()));
            }
            Next::Done => return Err("it ends before a pack: negotiation goes on".to_owned()),
            Next::Fail(Failure::Refused(why)) => return Err(format!("it is refused: {why}")),
            Next::Fail(failure) => return Err(failure.to_string()),
        };
    }
}

// === impl Explained ===

impl Explained {
    pub(super) fn text(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.sides.iter().map(|side| side.parts.to_string()).collect();
        lines.push(match &self.difference {
            Some(difference) => difference.clone(),
            None => "the same pack".to_owned(),
        });
        lines
    }

    pub(super) fn json(&self) -> Value {
        let [first, second] = &self.sides;
        json!({
            "first": first.parts.to_string(),
            "second": second.parts.to_string(),
            "same": self.difference.is_none(),
            "difference": self.difference,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_found_in_log_lines() {
        let parts = "v1 store=fd00:12:17a wants=2:3f9a01c2 haves=0 shallow=- edges=0 filter=- thin=0 \
                     ofs=1 tags=0";
        let check = |line: String, expected: bool| {
            let found = parts_in(&line).map(|found| found.to_string());
            assert_eq!(found.as_deref(), expected.then_some(parts), "{line}");
        };
        check(parts.to_owned(), true);
        check(format!("level=info request=\"{parts}\" msg=\"served bytes\""), true);
        check(format!("{{\"request\":\"{parts}\",\"bytes\":7}}"), true);
        check(parts.replace(" thin=0", ""), false);
        check("level=info msg=\"served bytes\"".to_owned(), false);
    }
}
