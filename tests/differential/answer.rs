//! An answer taken apart, so that two of them compare.
//!
//! Always true: order counts, except of boundary lines and inside packs.
//! Never here: which side is right.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Output, Stdio};

use gitring_tests::git;
use gitring_tests::pktline::{Packet, parse};

use super::ask::Ask;
use super::world::World;

/// What a server said.
pub(super) struct Answer {
    lines: Vec<String>,
    /// Everything of band 1.
    pack: Vec<u8>,
    success: bool,
    said: String,
}

// === impl Answer ===

impl Answer {
    /// Takes apart what an upload-pack wrote.
    pub(super) fn new(world: &World, ask: &Ask, output: Output) -> Self {
        let (mut lines, mut pack) = (Vec::new(), Vec::new());
        let mut advertised = ask.options().is_empty();
        for packet in parse(&output.stdout) {
            match packet {
                // What a stateful server says first is not compared here.
                _ if advertised => advertised = packet != Packet::Flush,
                Packet::Data(payload) if payload.first() == Some(&1) => {
                    pack.extend_from_slice(&payload[1..]);
                }
                Packet::Data(payload) if payload.first() == Some(&2) => {}
                Packet::Data(payload) => lines.push(payload.escape_ascii().to_string()),
                Packet::Flush => lines.push("flush".to_owned()),
                Packet::Delimiter => lines.push("delim".to_owned()),
                Packet::ResponseEnd => lines.push("response-end".to_owned()),
                Packet::Raw(bytes) => lines.push(format!("raw {}", bytes.escape_ascii())),
            }
        }
        lines.chunk_by_mut(|one, next| is_boundary(one) && is_boundary(next)).for_each(<[_]>::sort);
        // git names a commit twice that it meets by two ways.
        lines.dedup_by(|next, one| is_boundary(one) && one == next);
        if ask.is_v2() {
            drop_implied(world, &mut lines);
        }
        if !output.status.success() {
            // git may have said half of it before it dies; we know before.
            lines.retain(|line| line.starts_with("ERR "));
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Self { lines, pack, success: output.status.success(), said }
    }

    /// What differs, in words.
    pub(super) fn difference(&self, stock: &Self, world: &World, ask: &Ask) -> Option<String> {
        if self.lines != stock.lines || self.success != stock.success {
            return Some(format!(
                "ours  {} {:#?}\n{}\nstock {} {:#?}\n{}",
                self.success, self.lines, self.said, stock.success, stock.lines, stock.said
            ));
        }
        if self.pack == stock.pack {
            return None;
        }
        let (ours, stock) = (objects(world, &self.pack), objects(world, &stock.pack));
        let describe = |ids: Vec<&String>| {
            let lines: String = ids.into_iter().map(|id| format!("{id}\n")).collect();
            let path = &world.repository.path;
            git::run_with(path, &["cat-file", "--batch-check"], lines.as_bytes())
        };
        let extra: Vec<&String> = ours.difference(&stock).collect();
        let mut lost: Vec<&String> = stock.difference(&ours).collect();
        if let Some(haves) = ask.whole_haves().filter(|_| !lost.is_empty()) {
            // Where clocks ran backwards git sends what the client has.
            let had = reached(world, &haves);
            lost.retain(|id| !had.contains(*id));
        }
        (!extra.is_empty() || !lost.is_empty())
            .then(|| format!("only ours:\n{}\nonly stock:\n{}", describe(extra), describe(lost)))
    }
}

fn is_boundary(line: &str) -> bool {
    line.starts_with("shallow ") || line.starts_with("unshallow ")
}

/// Drops acknowledgments of what an earlier one implies. Older versions of git give them.
fn drop_implied(world: &World, lines: &mut Vec<String>) {
    let mut implied: HashSet<String> = HashSet::new();
    lines.retain(|line| {
        let Some(id) = line.strip_prefix("ACK ").and_then(|rest| rest.get(..40)) else {
            return true;
        };
        let new = implied.insert(id.to_owned());
        implied.extend(world.parents.get(id).into_iter().flatten().cloned());
        new
    });
}

/// The ids of all objects that those reach, which may be unknown here.
fn reached(world: &World, ids: &[&str]) -> BTreeSet<String> {
    let lines: String = ids.iter().map(|id| format!("{id}\n")).collect();
    let words = ["rev-list", "--objects", "--ignore-missing", "--stdin"];
    let listed = git::run_with(&world.repository.path, &words, lines.as_bytes());
    listed.lines().filter_map(|line| line.get(..40)).map(str::to_owned).collect()
}

/// The ids of the objects in a pack that may lack bases which the repository has.
fn objects(world: &World, pack: &[u8]) -> BTreeSet<String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path();
    git::run(path, &["init", "--quiet", "--bare", "."]);
    let own = world.repository.path.join("objects");
    fs::write(path.join("objects/info/alternates"), format!("{}\n", own.display()))
        .expect("alternates can be written");
    let said = git::run_with(path, &["index-pack", "--stdin", "--fix-thin"], pack);
    let name = said.split_whitespace().last().expect("index-pack names the pack").to_owned();
    let index = path.join(format!("objects/pack/pack-{name}.idx"));
    let index = show_index(path, &index);
    // Bases are put behind what was sent, in front of the checksum.
    let end = pack.len() - 20;
    let sent = index.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let offset: usize = words.next()?.parse().ok()?;
        (offset < end).then(|| words.next().map(str::to_owned)).flatten()
    });
    sent.collect()
}

fn show_index(folder: &Path, index: &Path) -> String {
    let mut command = git::command(folder);
    command.arg("show-index").stdin(File::open(index).expect("an index was written"));
    let output = command.stdout(Stdio::piped()).output().expect("git can be started");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
