//! Server CPU of a full clone against the `git pack-objects` that it needs in any case.
//!
//! Always true: the reference gets the same wants and flags, and a reader that drops everything.
//!
//! Never here: builders other than the child; where the node copies packs itself, the figure is
//! simply smaller.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use gitring_tests::git;
use gitring_tests::http;
use gitring_tests::node::Node;
use gitring_tests::process;
use gitring_tests::repository::Repository;

use super::Bar;
use crate::series::Series;

/// Alternating pairs.
const PAIRS: usize = 9;

/// The bar: framing, copying and HTTP cost at most 15 % more than the pack alone.
const RATIO_MAX: f64 = 1.15;

/// Measures with the repository at `relative` in the node's storage.
pub fn measure(node: &Node, repository: &Repository) -> Bar {
    let wants = wants(repository);
    let body = request(&wants);
    let (mut ours, mut stock) = (Series::default(), Series::default());
    let mut bytes = (0, 0);
    // The first pair warms the page cache and counts for nothing.
    for pair in 0..=PAIRS {
        let before = process::cpu_time(node.pid());
        let mut stream = http::open_upload_pack(node.gateway(), &repository.relative(), &body);
        bytes.0 = http::drain(&mut stream, Duration::ZERO, || false);
        let reaped = || process::children(node.pid()).is_empty();
        process::wait_until("the node reaps its child", Duration::from_secs(5), reaped);
        let our_seconds = (process::cpu_time(node.pid()) - before).as_secs_f64();
        let before = process::own_children_cpu_time();
        bytes.1 = pack_objects(repository, &wants);
        let stock_seconds = (process::own_children_cpu_time() - before).as_secs_f64();
        if pair > 0 {
            ours.push(our_seconds);
            stock.push(stock_seconds);
        }
    }
    let ratio = ours.ratios(&stock).median();
    let (low, high) = stock.spread();
    Bar {
        what: format!("full clone of {} MB, server CPU against pack-objects", bytes.1 / 1_000_000),
        figure: format!("{ratio:.3} ({:.2} s / {:.2} s)", ours.median(), stock.median()),
        limit: format!("{RATIO_MAX}"),
        noise: format!("pack-objects {low:.2}–{high:.2} s"),
        // An answer shorter than the pack is no clone, however cheap.
        met: ratio <= RATIO_MAX && bytes.0 >= bytes.1,
    }
}

/// The v2 request of a clone that wants everything.
pub fn request(wants: &[String]) -> Vec<u8> {
    let options = ["thin-pack", "no-progress", "ofs-delta"];
    let mut lines = vec!["command=fetch".to_owned(), "object-format=sha1".to_owned()];
    lines.push("delim".to_owned());
    lines.extend(options.map(str::to_owned));
    lines.extend(wants.iter().map(|id| format!("want {id}")));
    lines.extend(["done", "flush"].map(str::to_owned));
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    gitring_tests::pktline::request(&lines)
}

/// Ids of all heads and tags, as a clone asks for them.
pub fn wants(repository: &Repository) -> Vec<String> {
    let format = ["for-each-ref", "--format=%(objectname)", "refs/heads", "refs/tags"];
    let mut ids: Vec<String> = repository.git(&format).lines().map(str::to_owned).collect();
    ids.sort();
    ids.dedup();
    ids
}

/// The reference: upload-pack's own child with upload-pack's flags, drained.
fn pack_objects(repository: &Repository, wants: &[String]) -> u64 {
    let mut command = git::command(&PathBuf::from(&repository.path));
    command.args(["pack-objects", "--revs", "--thin", "--stdout", "-q", "--delta-base-offset"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("git can be started");
    let revisions = format!("{}\n--not\n\n", wants.join("\n"));
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    stdin.write_all(revisions.as_bytes()).expect("pack-objects reads its revisions");
    drop(stdin);
    let (mut buffer, mut total) = (vec![0; 1 << 20], 0);
    let mut stdout = child.stdout.take().expect("stdout is a pipe");
    while let Ok(read @ 1..) = stdout.read(&mut buffer) {
        total += read as u64;
    }
    assert!(child.wait().expect("a child can be waited for").success(), "pack-objects");
    total
}
