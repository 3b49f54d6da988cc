//! Server CPU of small fetches whose packs the node has kept.
//!
//! Plan: what CI asks for after its first clone: the last 20 first-parent steps of the default
//! branch (about 0.5 MB of git's own history), and a clone of depth 1 (13 MB of it). Each pack is
//! built before anything counts; then four clients, each with a connection of its own over TCP,
//! ask again and again. The bar grows with the answer: a fixed part, and a part per byte.
//!
//! Always true: every request is judged like a first one: refs, objects and key.
//!
//! Never here: full clones; see [`super::hit`].

use gitring_tests::gitaly::Door;
use gitring_tests::node::Node;
use gitring_tests::pktline;
use gitring_tests::repository::Repository;

use super::{Bar, hit};
use crate::load::herd::Fetch;
use crate::series::Series;

/// Rounds that count.
const ROUNDS: usize = 5;

const AT_ONCE: usize = 4;

/// What a round of one figure should move, since a tick of the clock is 10 ms.
const BYTES_PER_ROUND: u64 = 1 << 30;

/// Requests of one client in one round, at most.
const TIMES_MAX: u64 = 250;

/// The bar: a fixed part, and a part per GiB of the answer.
const CPU_MS_FIXED_MAX: f64 = 0.6;
const CPU_S_PER_GIB_MAX: f64 = 0.25;

/// First-parent steps of the incremental fetch.
const STEPS_BACK: usize = 20;

/// Measures with a repository in the node's storage.
pub fn measure(node: &Node, repository: &Repository) -> Vec<Bar> {
    let want = format!("want {}", repository.id("HEAD"));
    let have = format!("have {}", repository.id(&format!("HEAD~{STEPS_BACK}")));
    let cases = [("the last 20 steps", have.as_str()), ("depth 1", "deepen 1")];
    cases.map(|(what, line)| bar(node, repository, what, &[&want, line])).into()
}

fn bar(node: &Node, repository: &Repository, what: &str, asked: &[&str]) -> Bar {
    let head = ["command=fetch", "object-format=sha1", "delim"];
    let options = ["thin-pack", "no-progress", "ofs-delta"];
    let lines = [&head[..], &options, asked, &["done", "flush"]].concat();
    let fetch = Fetch::new(&repository.relative(), pktline::request(&lines));
    // The pack is built, then both reactors have seen it.
    let (_, first) = hit::clones(node, &fetch, Door::Mux, (1, 1));
    hit::clones(node, &fetch, Door::Mux, (AT_ONCE, 2));
    let answer_bytes = first.answer_bytes.map_or(0, |(least, _)| least);
    let requests = BYTES_PER_ROUND / answer_bytes.max(1);
    let times = (requests / AT_ONCE as u64).clamp(1, TIMES_MAX) as usize;
    let (mut cpu, mut rates) = (Series::default(), Series::default());
    let (mut failures, before) = (first.failures, hit::children(node));
    for _ in 0..ROUNDS {
        let began = std::time::Instant::now();
        let (used, sum) = hit::clones(node, &fetch, Door::Mux, (AT_ONCE, times));
        rates.push(sum.whole as f64 / began.elapsed().as_secs_f64());
        cpu.push(used.as_secs_f64() * 1e3 / sum.whole.max(1) as f64);
        if sum.failures.0 > 0 {
            failures = sum.failures;
        }
    }
    let spawned = hit::children(node) - before;
    let gib = answer_bytes as f64 / (1u64 << 30) as f64;
    let limit = CPU_MS_FIXED_MAX + CPU_S_PER_GIB_MAX * 1e3 * gib;
    let (least, most) = cpu.spread();
    let (failed, why) = &failures;
    let failed = if *failed > 0 { format!(", **{failed} failed: {why}**") } else { String::new() };
    Bar {
        what: format!(
            "hit, {what}, {:.2} MB, Tcp, {AT_ONCE} at once, server CPU each",
            answer_bytes as f64 / 1e6
        ),
        figure: format!(
            "{:.3} ms; {:.0}/s, {spawned} processes{failed}",
            cpu.median(),
            rates.median()
        ),
        limit: format!("≤ {limit:.2} ms, no process"),
        noise: format!("{least:.3}–{most:.3} ms"),
        met: cpu.median() <= limit && spawned == 0 && failures.0 == 0,
    }
}
