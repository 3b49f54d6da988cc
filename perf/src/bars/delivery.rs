//! Ways to deliver a cached pack over the mux, side by side.
//!
//! Plan: a file of packs goes to clients that speak our mux with the windows of the stock client
//! (256 KiB, half of it granted at a time), in packets of side-band-64k, over a unix socket with the
//! node's send buffer and over TCP. A thread for each client sends, as much at once as the window is open:
//! - *mapped*: one vectored write of headers and of a map of the file;
//! - *sendfile*: sendfile(2) for the part of each packet, behind its header with MSG_MORE;
//! - *splice*: headers and pages of the file into a pipe, and out of it into the socket.
//!
//! To wait until more of the window is open, and so wake and be woken less often, is no way: a client
//! that has read half of it grants that, and need not grant the rest before it has read as much again.
//!
//! Rounds take every method once. Only the CPU time of the sending threads is counted. No bar is
//! held to these figures: they tell why the node sends as it does.
//!
//! Always true: a client counts what it was given; what is not whole fails the row.
//!
//! Never here: gRPC, lookups, pages that are not in memory.

mod client;
mod sender;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use gitring_tests::repository::Repository;

use super::Bar;
use super::plain_send::{Socket, Source};
use crate::series::Series;
use sender::{Method, Sender};

/// Rounds that count, behind one that does not.
const ROUNDS: usize = 5;

const AT_ONCE: [usize; 2] = [1, 4];

/// Deliveries of one figure, over all clients.
const DELIVERIES: usize = 4;

/// Measures with the largest pack of a repository.
pub fn measure(repository: &Repository) -> Vec<Bar> {
    let source = Source::open(&largest_pack(repository)).expect("a pack can be read");
    let cells = [Socket::Unix, Socket::Tcp].into_iter();
    let cells: Vec<_> = cells.flat_map(|socket| AT_ONCE.map(|at_once| (socket, at_once))).collect();
    cells.into_iter().map(|(socket, at_once)| bar(&source, socket, at_once)).collect()
}

fn bar(source: &Source, socket: Socket, at_once: usize) -> Bar {
    let mut all = Method::ALL.map(|method| (method, Series::default()));
    let mut failure = None;
    for round in 0..=ROUNDS {
        for (method, series) in &mut all {
            match deliver(source, socket, *method, at_once) {
                Ok(seconds) if round > 0 => series.push(seconds),
                Ok(_) => {}
                Err(error) => failure = Some(error),
            }
        }
    }
    let each = |show: &dyn Fn(&Series) -> String| {
        let row = all.iter().map(|(method, series)| format!("{} {}", method.name(), show(series)));
        row.collect::<Vec<String>>().join(", ")
    };
    let spread = |series: &Series| {
        let (least, most) = series.spread();
        format!("{least:.3}–{most:.3}")
    };
    let failed = failure.as_ref().map(|error| format!("; **failed: {error}**"));
    Bar {
        what: format!("delivery over the mux, {socket:?}, {at_once} at once, CPU s per GiB"),
        figure: each(&|series| format!("{:.3}", series.median())) + &failed.unwrap_or_default(),
        limit: "none".to_owned(),
        noise: each(&spread),
        met: failure.is_none(),
    }
}

/// CPU seconds per GiB of those who send.
fn deliver(source: &Source, socket: Socket, method: Method, at_once: usize) -> io::Result<f64> {
    let times = DELIVERIES / at_once;
    let used: io::Result<Vec<Duration>> = std::thread::scope(|scope| {
        let pairs = (0..at_once).map(|_| socket.pair_as_the_node());
        let start = |(ours, theirs)| {
            let framed_bytes = sender::framed_bytes(source.bytes());
            let reading = scope.spawn(move || client::read(theirs, framed_bytes, times));
            let sending = scope.spawn(move || Sender::new(ours, source, method).send(times));
            (reading, sending)
        };
        let pairs: io::Result<Vec<_>> = pairs.collect();
        let running: Vec<_> = pairs?.into_iter().map(start).collect();
        let panicked = |_| io::Error::other("a thread panicked");
        let join = |(reading, sending): (
            std::thread::ScopedJoinHandle<'_, io::Result<()>>,
            std::thread::ScopedJoinHandle<'_, io::Result<Duration>>,
        )| {
            let used = sending.join().map_err(panicked)?;
            reading.join().map_err(panicked)??;
            used
        };
        running.into_iter().map(join).collect()
    });
    let seconds: f64 = used?.iter().map(Duration::as_secs_f64).sum();
    Ok(seconds / (source.bytes() as f64 * (times * at_once) as f64 / (1u64 << 30) as f64))
}

fn largest_pack(repository: &Repository) -> PathBuf {
    let folder = repository.path.join("objects/pack");
    let packs = fs::read_dir(folder).into_iter().flatten().flatten();
    let packs = packs.filter(|entry| entry.path().extension().is_some_and(|ext| ext == "pack"));
    let sized = packs.filter_map(|entry| Some((entry.metadata().ok()?.len(), entry.path())));
    sized.max().map(|(_, path)| path).unwrap_or_default()
}
