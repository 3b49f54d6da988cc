//! A random request in the words of version 0 or 2.
//!
//! Always true: every line is one that clients may send; combinations may be senseless.
//! Never here: what is answered.

use std::collections::HashSet;
use std::fmt;

use gitring_tests::pktline::request;
use gitring_tests::random::Random;

use super::world::World;

const FILTERS: [&str; 12] = [
    "blob:none",
    "blob:limit=100",
    "blob:limit=1k",
    "tree:0",
    "tree:1",
    "tree:2",
    "object:type=commit",
    "object:type=tree",
    "object:type=blob",
    "object:type=tag",
    "combine:blob:limit=200+tree:3",
    "combine:tree:2+combine:blob:none%2bobject:type=tree",
];

/// What v0 clients say behind their first want.
const FEATURES: [&str; 4] =
    ["", " multi_ack", " multi_ack_detailed", " multi_ack_detailed no-done"];

/// A request.
pub(super) struct Ask {
    v2: bool,
    stateless: bool,
    /// Tags of the commits in the pack come along.
    pub(super) include_tag: bool,
    lines: Vec<String>,
}

// === impl Ask ===

impl Ask {
    /// Any request to `world`.
    pub(super) fn random(world: &World, random: &mut Random) -> Self {
        let v2 = random.below(3) > 0;
        let stateless = random.below(2) == 0;
        let mut ask = Self { v2, stateless, include_tag: random.below(3) == 0, lines: Vec::new() };
        if v2 {
            ask.v2_lines(world, random);
        } else {
            ask.v0_lines(world, random);
        }
        ask
    }

    /// Options of `upload-pack`.
    pub(super) fn options(&self) -> &'static [&'static str] {
        if self.stateless { &["--stateless-rpc"] } else { &[] }
    }

    /// The value of `GIT_PROTOCOL`.
    pub(super) fn protocol(&self) -> &'static str {
        if self.v2 { "version=2" } else { "" }
    }

    /// Whether acknowledgments are those of version 2.
    pub(super) fn is_v2(&self) -> bool {
        self.v2
    }

    /// The request on the wire.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let lines: Vec<&str> = self.lines.iter().map(String::as_str).collect();
        request(&lines)
    }

    /// What the client says it has, where it has all that this reaches: nothing about it is shallow
    /// or partial.
    pub(super) fn whole_haves(&self) -> Option<Vec<&str>> {
        let is_partial = |line: &String| {
            ["shallow ", "deepen", "filter "].iter().any(|word| line.starts_with(word))
        };
        if self.lines.iter().any(is_partial) {
            return None;
        }
        Some(self.lines.iter().filter_map(|line| line.strip_prefix("have ")).collect())
    }

    fn push(&mut self, line: impl Into<String>) {
        self.lines.push(line.into());
    }

    fn v2_lines(&mut self, world: &World, random: &mut Random) {
        ["command=fetch", "object-format=sha1", "delim", "no-progress", "ofs-delta"]
            .into_iter()
            .for_each(|line| self.push(line));
        if self.include_tag {
            self.push("include-tag");
        }
        if random.below(2) == 0 {
            self.push("thin-pack");
        }
        for want in wants(world, random) {
            self.push(format!("want {want}"));
        }
        if self.boundary(world, random) && random.below(3) == 0 && world.relative {
            self.push("deepen-relative");
        }
        if random.below(4) == 0 {
            self.push(format!("filter {}", FILTERS[random.below(FILTERS.len())]));
        }
        for have in haves(world, random) {
            self.push(format!("have {have}"));
        }
        if random.below(3) > 0 {
            self.push("done");
        }
        self.push("flush");
        if !self.stateless {
            self.push("flush");
        }
    }

    fn v0_lines(&mut self, world: &World, random: &mut Random) {
        let filter = (random.below(4) == 0).then(|| FILTERS[random.below(FILTERS.len())]);
        let dialect = random.below(FEATURES.len());
        let dialect = FEATURES[if world.hidden { 0 } else { dialect }];
        let mut features = format!("{dialect} side-band-64k no-progress ofs-delta");
        for (on, word) in [
            (self.include_tag, " include-tag"),
            (random.below(2) == 0, " thin-pack"),
            (filter.is_some(), " filter"),
            (random.below(3) == 0 && world.relative, " deepen-relative"),
        ] {
            features.push_str(if on { word } else { "" });
        }
        for (number, want) in wants(world, random).into_iter().enumerate() {
            self.push(format!("want {want}{}", if number == 0 { &features } else { "" }));
        }
        if !world.graph {
            self.boundary(world, random);
        }
        if let Some(filter) = filter {
            self.push(format!("filter {filter}"));
        }
        self.push("flush");
        for have in haves(world, random) {
            self.push(format!("have {have}"));
            if random.below(4) == 0 {
                self.push("flush");
            }
        }
        self.push(if self.stateless && random.below(3) == 0 { "flush" } else { "done" });
    }

    /// Lines about what is shallow; true where a depth is among them.
    fn boundary(&mut self, world: &World, random: &mut Random) -> bool {
        if random.below(2) == 0 {
            return false;
        }
        for _ in 0..random.below(4) {
            let commit = commit(world, random);
            self.push(format!("shallow {commit}"));
        }
        match random.below(6) {
            0 => return false,
            1 => self.push("deepen 2147483647"),
            2 | 3 => {
                let depth = 1 + random.below(8);
                self.push(format!("deepen {depth}"));
                return true;
            }
            4 => {
                let since = 1_600_001_000 + random.below(world.seconds as usize + 60);
                self.push(format!("deepen-since {since}"));
            }
            _ => {
                for _ in 0..=random.below(2) {
                    let name = world.names[random.below(world.names.len())];
                    self.push(format!("deepen-not {name}"));
                }
                if random.below(4) == 0 {
                    let since = 1_600_001_000 + random.below(world.seconds as usize + 60);
                    self.push(format!("deepen-since {since}"));
                }
            }
        }
        false
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?} {:?}", self.protocol(), self.options())?;
        self.lines.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

fn commit(world: &World, random: &mut Random) -> String {
    world.commits[random.below(world.commits.len())].clone()
}

fn wants(world: &World, random: &mut Random) -> Vec<String> {
    let want = |random: &mut Random| match random.below(10) {
        0..=4 => world.commits[world.commits.len() - 1].clone(),
        5..=7 => commit(world, random),
        8 => world.tags[random.below(world.tags.len())].clone(),
        _ => match random.below(4) {
            0 => world.others[random.below(world.others.len())].clone(),
            _ => commit(world, random),
        },
    };
    (0..=random.below(3)).map(|_| want(random)).collect()
}

fn haves(world: &World, random: &mut Random) -> Vec<String> {
    if random.below(3) == 0 {
        return Vec::new();
    }
    let have = |random: &mut Random| match random.below(12) {
        0 => "00000000000000000000000000000000deadbeef".to_owned(),
        1 => world.tags[random.below(world.tags.len())].clone(),
        2 => world.others[random.below(world.others.len())].clone(),
        _ => commit(world, random),
    };
    let mut haves: Vec<String> = (0..random.below(5)).map(|_| have(random)).collect();
    // Older versions of git count what is no commit as often as it is named.
    let mut seen = HashSet::new();
    haves.retain(|id| world.parents.contains_key(id) || seen.insert(id.clone()));
    haves
}
