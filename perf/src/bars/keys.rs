//! How many packs 48 real git clients make the node build, when all fetch the same news.
//!
//! Plan: a server with 60 commits, two branches and three tags more than its clients have. Each
//! client is a copy of one clone; what differs among them is spread evenly and dealt out by a seed:
//! protocol version 0, 1 and 2; the gateway, and SSH over a sidechannel of Gitaly's; progress or
//! not; tags followed, all, none; negotiators; 0, 1, 5 or 40 commits of their own. They come one
//! after the other, so that a pack is built for each key that was not there, and for no other.
//!
//! Beside it, what stock Gitaly's rule makes of the same clients: the arguments, GIT_PROTOCOL and
//! standard input of `git pack-objects`, as stock git starts it through `uploadpack.packObjectsHook`
//! for clients of the same kind. Its SSH clients talk to `git upload-pack` over a pipe.
//!
//! Always true: a client that does not end with the server's branches fails the bar.
//!
//! Never here: the negotiator `noop`, which asks for everything: that is another pack by nature.

mod client;
mod stock;

use std::fmt::Write;
use std::path::Path;

use gitring_tests::history::Stream;
use gitring_tests::node::Node;
use gitring_tests::random::Random;
use gitring_tests::repository::{Kind, Repository};
use gitring_tests::shell::{Carrier, Shell};
use gitring_tests::{git, metrics};

use super::Bar;
use client::{Client, Door};
use stock::Stock;

const CLIENTS: usize = 48;

/// The bar.
const PACKS_MAX: u64 = 7;

/// Commits that clients have, and those that the server has.
const COMMITS: [usize; 2] = [400, 460];

const SEED: u64 = 48;

/// Measures on a node of its own.
pub fn measure() -> Bar {
    let node = Node::start();
    let storage = node.storage();
    let server = Repository::create(&storage, "news", Kind::Empty);
    server.import(&history(COMMITS[1]));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let old = Repository::create(folder.path(), "old", Kind::Empty);
    old.import(&history(COMMITS[0]));
    for repository in [&server, &old] {
        repository.git(&["repack", "-adq", "--write-bitmap-index"]);
        repository.git(&["pack-refs", "--all"]);
    }
    let base = folder.path().join("base");
    let words = ["clone", "-q", "--no-local", &old.path.to_string_lossy(), "base"];
    git::run(folder.path(), &words);
    let clients = deal(&mut Random::new(SEED));

    let shell = Shell::start(&node, Carrier::Sidechannel);
    let leads = || metrics::sum(&node, "gitring_pack_cache_lookups_total", &[("role", "lead")]);
    let lookups = || metrics::sum(&node, "gitring_pack_cache_lookups_total", &[]);
    let before = (leads(), lookups());
    let mut wrong = String::new();
    for client in &clients {
        let (command, url) = match client.door {
            Door::Http => (git::command(folder.path()), node.url(&server.relative())),
            Door::Ssh => {
                (shell.git(folder.path()), format!("ssh://git@node/{}", server.relative()))
            }
        };
        fetch(client, &base, (command, &url), &server, &mut wrong);
    }
    let (packs, served) = (leads() - before.0, lookups() - before.1);

    let stock = Stock::start(&storage, folder.path());
    for client in &clients {
        let (command, url) = stock.reach(client.door, &server);
        fetch(client, &base, (command, &url), &server, &mut wrong);
    }
    let failed = if wrong.is_empty() { String::new() } else { format!(", **{wrong}**") };
    Bar {
        what: format!("packs built for {CLIENTS} git clients of all sorts, same news"),
        figure: format!(
            "{packs} for {served} fetches; {} by stock Gitaly's rule{failed}",
            stock.keys()
        ),
        limit: format!("≤ {PACKS_MAX}, 4 to 5 wanted"),
        noise: format!("none, seed {SEED}"),
        met: (1..=PACKS_MAX).contains(&packs) && served == CLIENTS as u64 && wrong.is_empty(),
    }
}

/// Each property in equal shares, shuffled apart from the others.
fn deal(random: &mut Random) -> Vec<Client> {
    let versions = shuffled(&[0, 1, 2], random);
    let doors = shuffled(&[Door::Http, Door::Ssh], random);
    let progress = shuffled(&[true, false], random);
    let tags = shuffled(&["", "--tags", "--no-tags"], random);
    let negotiators = shuffled(&["default", "skipping", "consecutive"], random);
    let own_commits = shuffled(&[0, 1, 5, 40], random);
    let client = |number| Client {
        number,
        version: versions[number],
        door: doors[number],
        progress: progress[number],
        tags: tags[number],
        negotiator: negotiators[number],
        own_commits: own_commits[number],
    };
    (0..CLIENTS).map(client).collect()
}

fn shuffled<T: Copy>(values: &[T], random: &mut Random) -> Vec<T> {
    let mut all: Vec<T> = values.iter().copied().cycle().take(CLIENTS).collect();
    (0..CLIENTS).for_each(|at| all.swap(at, at + random.below(CLIENTS - at)));
    all
}

fn fetch(
    client: &Client,
    base: &Path,
    server: (std::process::Command, &str),
    repository: &Repository,
    wrong: &mut String,
) {
    if let Err(why) = client.fetch(base, server, &repository.id("refs/heads/main")) {
        let _ = write!(wrong, "client {}: {why}; ", client.number);
    }
}

/// The first `commits` of a history: a longer one begins with a shorter one.
fn history(commits: usize) -> Vec<u8> {
    let mut s = Stream::new(77);
    let mut tip = s.commit_text("refs/heads/main", &[], "file.txt");
    for n in 1..commits {
        let path = format!("src/{}/{}.txt", n % 7, n % 31);
        tip = match n % 20 {
            10 => {
                let branch = format!("refs/heads/topic/{}", n / 40);
                let side = s.commit_text(&branch, &[tip], "topic.txt");
                s.commit_text("refs/heads/main", &[tip, side], &path)
            }
            _ => s.commit_text("refs/heads/main", &[tip], &path),
        };
        if n % 20 == 15 {
            s.tag(&format!("v{n}"), tip);
        }
    }
    s.finish()
}
