//! Pushes byte by byte, as no stock client makes them.
//!
//! Always true: what is noted of an answer does not depend on how it was cut into packets. Over
//! HTTP, how a server ends a conversation that it refuses is its own affair; report and progress
//! are not.
//!
//! Never here: a git client.

use std::fs;
use std::process::Stdio;

use gitring_tests::client::Served;
use gitring_tests::git;
use gitring_tests::http::{self, Answer};
use gitring_tests::pktline::{self, FLUSH, Packet, readable};
use gitring_tests::stdio::Server;

use super::scene::Scene;

/// What clients say behind the first command.
pub(crate) const USUAL: &str = "report-status-v2 side-band-64k object-format=sha1 agent=git/2.39";
/// No object.
pub(crate) const NULL: &str = "0000000000000000000000000000000000000000";

/// Then git's words for what is missing are those of a walk that failed at it; ours name it.
const INCOMPLETE: &str = "missing necessary objects";

/// Commands, the first with capabilities, and the flush behind them.
pub(crate) fn commands(capabilities: &str, commands: &[&str]) -> Vec<u8> {
    let mut body = Vec::new();
    for (at, command) in commands.iter().enumerate() {
        let line = match at {
            0 => format!("{command}\0 {capabilities}"),
            _ => (*command).to_owned(),
        };
        body.extend(pktline::data(line));
    }
    body.extend_from_slice(FLUSH);
    body
}

/// A pack of exactly these objects of the clone.
pub(crate) fn pack(scene: &Scene<'_>, objects: &[&str]) -> Vec<u8> {
    let mut command = git::command(&scene.clone_folder());
    command.args(["pack-objects", "-q", "--stdout"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    git::feed(command, (objects.join("\n") + "\n").as_bytes()).stdout
}

/// Sends one request for `server.git` and notes what came back.
pub(crate) fn send(scene: &Scene<'_>, body: &[u8]) {
    let headers = [("Content-Type", "application/x-git-receive-pack-request")];
    if let Some(answer) = post(scene, &headers, body) {
        let is_served = answer.status == 200;
        scene.say(&shown(if is_served { &answer.body } else { b"" }));
        return;
    }
    let server = match scene.served() {
        Served::Stdio(_) => Server::Ours,
        Served::Stock(_) | Served::StockHttp(_) | Served::Gateway(_) => Server::Stock,
    };
    let mut command = server.command_of("receive-pack");
    command.arg("--stateless-rpc").arg(scene.server().path);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = git::feed(command, body);
    fs::write(scene.started(), "").expect("a mark can be left");
    let (shown, code) = (shown(&output.stdout), output.status.code());
    let stderr = String::from_utf8_lossy(&output.stderr);
    let stderr = if shown.contains(INCOMPLETE) { "" } else { &stderr };
    scene.say(&format!("{code:?}\n{shown}--\n{stderr}"));
}

/// Sends one request over HTTP; `None` if the server does not listen there.
pub(crate) fn post(scene: &Scene<'_>, headers: &[(&str, &str)], body: &[u8]) -> Option<Answer> {
    let address = match scene.served() {
        Served::StockHttp(server) => server.address(),
        Served::Gateway(node) => node.gateway(),
        Served::Stock(_) | Served::Stdio(_) => return None,
    };
    let url = scene.url("server");
    let path = url.splitn(4, '/').nth(3).expect("a URL has a path");
    Some(http::send(address, "POST", &format!("/{path}/git-receive-pack"), headers, body))
}

/// Report and progress of an answer, each joined.
pub(crate) fn shown(body: &[u8]) -> String {
    let (mut report, mut progress, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for packet in pktline::parse(body) {
        match packet {
            Packet::Data(data) if data.first() == Some(&1) => report.extend_from_slice(&data[1..]),
            Packet::Data(data) if data.first() == Some(&2) => {
                progress.extend_from_slice(&data[1..]);
            }
            Packet::Data(data) if data.first() == Some(&3) || data.starts_with(b"ERR ") => {}
            Packet::Data(data) => bare.push(String::from_utf8_lossy(&data).into_owned()),
            Packet::Flush | Packet::Delimiter | Packet::ResponseEnd => {}
            Packet::Raw(rest) => bare.push(format!("raw {}", rest.escape_ascii())),
        }
    }
    let progress = String::from_utf8_lossy(&progress).into_owned();
    let report = format!("{:?}", readable(&report));
    let progress = match report.contains(INCOMPLETE) {
        true => format!("says why: {}\n", !progress.is_empty()),
        false => progress,
    };
    format!("report {report}\nbare {bare:?}\nprogress\n{progress}")
}
