//! Server CPU of a full clone whose pack the node has kept.
//!
//! Plan: one repository, one request, its pack built before anything counts. Then rounds, each of
//! which takes every figure once, so that what the machine does meanwhile meets all of them:
//! - clones over sidechannels, on a unix socket and on TCP, one and four at once, each client with
//!   a connection of its own: CPU of the node and of children that it has reaped;
//! - one `git upload-pack --stateless-rpc` that gets the same request;
//! - the cheapest plain send of the cache's own file (see [`super::plain_send`]) over the same kind
//!   of socket, to as many readers.
//!
//! Always true: the clients are threads of this process, and their CPU time is in no figure, but
//! they share the cores; an answer that is not whole fails its bar.
//!
//! Never here: wall time as a bar; the clients decide that.

mod cell;

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use gitring_tests::gitaly::Door;
use gitring_tests::node::Node;
use gitring_tests::repository::Repository;
use gitring_tests::stdio::Server;
use gitring_tests::{metrics, process};

use super::plain_send::{Socket, Source};
use super::{Bar, clone_cpu};
use crate::load::herd::visit::Summary;
use crate::load::herd::{Fetch, Herd, Reader};
use crate::series::Series;
use cell::Cell;

/// Rounds that count, behind one that does not.
const ROUNDS: usize = 5;

/// Clones of one figure, over all clients: a tick of the clock is 10 ms.
const CLONES: usize = 8;

const AT_ONCE: [usize; 2] = [1, 4];

/// Doors, and their bars in CPU seconds per GiB.
const DOORS: [(Door, Socket, f64); 2] =
    [(Door::UnixMux, Socket::Unix, 0.20), (Door::Mux, Socket::Tcp, 0.25)];

/// Measures with a repository in the node's storage.
pub fn measure(node: &Node, repository: &Repository) -> Vec<Bar> {
    let body = clone_cpu::request(&clone_cpu::wants(repository));
    let fetch = Fetch::new(&repository.relative(), body.clone());
    let (_, first) = clones(node, &fetch, DOORS[0].0, (1, 1));
    let source = Source::open(&kept_file(node)).expect("the cache's file can be read");
    let cells = DOORS.iter().flat_map(|door| AT_ONCE.map(|at_once| Cell::new(door, at_once)));
    let mut cells: Vec<Cell> = cells.collect();
    let mut stock = Series::default();
    let before = children(node);
    for round in 0..=ROUNDS {
        let counts = round > 0;
        let seconds = upload_pack(repository, &body);
        if counts {
            stock.push(seconds);
        }
        cells.iter_mut().for_each(|cell| cell.measure(node, &fetch, &source, counts));
    }
    let spawned = children(node) - before;
    let mut bars = vec![Bar {
        what: format!("processes started by {} hits", (ROUNDS + 1) * CLONES * cells.len()),
        figure: spawned.to_string(),
        limit: "0".to_owned(),
        noise: "none".to_owned(),
        met: spawned == 0,
    }];
    let answer_bytes = first.answer_bytes.map_or(0, |(least, _)| least);
    for cell in &cells {
        bars.push(cell.cpu_bar(&stock, answer_bytes));
        bars.push(cell.plain_bar());
    }
    bars
}

/// Full clones, `(at once, each)`: CPU of the node, and what the clients met.
pub(super) fn clones(
    node: &Node,
    fetch: &Fetch,
    door: Door,
    (at_once, times): (usize, usize),
) -> (Duration, Summary) {
    let herd = Herd {
        address: door.address(node),
        fetch,
        threads: at_once.min(2),
        connections: at_once,
        readers: vec![Reader::Fast; at_once],
        times,
        slow_stay: Duration::ZERO,
    };
    let before = process::cpu_time(node.pid());
    let visits = herd.run().expect("the node accepts");
    let used = process::cpu_time(node.pid()) - before;
    (used, Summary::of(&visits))
}

/// Processes that the node says it has started.
pub(super) fn children(node: &Node) -> u64 {
    metrics::sum(node, "gitring_children_spawned_total", &[])
}

/// The largest file that the cache keeps.
fn kept_file(node: &Node) -> PathBuf {
    let mut folders = vec![node.storage().join("+gitaly/PackObjectsCache")];
    let mut largest = (0, PathBuf::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                largest = largest.max((metadata.len(), entry.path()));
            }
        }
    }
    largest.1
}

/// The same request to stock git, drained: its CPU in seconds.
fn upload_pack(repository: &Repository, body: &[u8]) -> f64 {
    let before = process::own_children_cpu_time();
    let mut command = Server::Stock.command();
    command.arg("--stateless-rpc").arg(Path::new(&repository.path));
    command.env("GIT_PROTOCOL", "version=2").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("git can be started");
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    stdin.write_all(body).expect("upload-pack reads its request");
    drop(stdin);
    let mut stdout = child.stdout.take().expect("stdout is a pipe");
    let mut buffer = vec![0; 1 << 20];
    while let Ok(1..) = stdout.read(&mut buffer) {}
    assert!(child.wait().expect("a child can be waited for").success(), "upload-pack");
    (process::own_children_cpu_time() - before).as_secs_f64()
}
