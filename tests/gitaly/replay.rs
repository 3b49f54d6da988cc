//! Recorded conversations of Gitaly with its Go client, the node in Gitaly's place.
//!
//! Goal: a stock client's bytes get the answers that it got from Gitaly.
//! Method: the repositories are rebuilt from what Gitaly sent; the client's frames are sent again,
//! streams of the server translated by the number of their sidechannel. Gitaly also opened a stream
//! for calls of its own at once; the node does that when it has something to call, so the client's
//! frames on it are left out.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use gitring_tests::git;
use gitring_tests::http2;
use gitring_tests::node::Node;
use gitring_tests::pktline::{Packet, parse, readable};
use gitring_tests::repository::{Kind, Repository};
use gitring_tests::yamux::{self, Connection, FIN, Frame, GRPC, header};

/// The stream on which Gitaly makes calls of its own.
const CALLS_OF_GITALY: u32 = 2;
const MAGIC: &[u8] = b"sidechannel";
/// The magic and a number of eight bytes.
const OPENING_BYTES: usize = 19;

/// What one end has said, put together.
#[derive(Debug, Default)]
struct Said {
    /// By stream of the mux.
    streams: BTreeMap<u32, Vec<u8>>,
    /// Streams that were finished.
    finished: Vec<u32>,
}

/// A recording: who speaks, what.
struct Recording(Vec<(bool, Frame)>);

// === impl Recording ===

impl Recording {
    fn read(name: &str) -> Self {
        let bytes = fs::read(captures().join(name)).expect("the recording is there");
        let mut rest = &bytes[..];
        let (mut client, mut server, mut frames) = (Vec::new(), Vec::new(), Vec::new());
        while let Some((head, behind)) = rest.split_first_chunk::<9>() {
            let length = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) as usize;
            let from_client = head[0] == b'>';
            let said = if from_client { &mut client } else { &mut server };
            said.extend_from_slice(&behind[..length]);
            if from_client && said.starts_with(b"backchannel") {
                said.drain(..b"backchannel".len());
            }
            while let Some((frame, length)) = whole_frame(said) {
                said.drain(..length);
                frames.push((from_client, frame));
            }
            rest = &behind[length..];
        }
        Self(frames)
    }

    /// What Gitaly said.
    fn gitaly(&self) -> Said {
        let mut said = Said::default();
        self.0
            .iter()
            .filter(|(from_client, _)| !from_client)
            .for_each(|(_, frame)| said.add(frame));
        said
    }
}

fn whole_frame(bytes: &[u8]) -> Option<(Frame, usize)> {
    let mut rest = bytes;
    match yamux::read(&mut rest) {
        Ok(Some(frame)) => Some((frame, bytes.len() - rest.len())),
        Ok(None) | Err(_) => None,
    }
}

// === impl Said ===

impl Said {
    fn add(&mut self, frame: &Frame) {
        self.streams.entry(frame.id).or_default().extend_from_slice(&frame.data);
        if frame.flags & FIN != 0 {
            self.finished.push(frame.id);
        }
    }

    /// Streams that carry sidechannels, by the numbers that the client gave them.
    fn sidechannels(&self) -> BTreeMap<u64, u32> {
        let opened = self.streams.iter().filter(|(_, bytes)| bytes.starts_with(MAGIC));
        let numbered = opened.filter_map(|(id, bytes)| {
            let number = bytes.get(MAGIC.len()..OPENING_BYTES)?.try_into().ok()?;
            Some((u64::from_be_bytes(number), *id))
        });
        numbered.collect()
    }

    /// What a sidechannel carried; of an SSH one, what its outer packets carried.
    fn carried(&self, stream: u32, is_ssh: bool) -> Vec<u8> {
        let bytes = &self.streams[&stream][OPENING_BYTES..];
        if !is_ssh {
            return bytes.to_vec();
        }
        let inner = parse(bytes).into_iter().map(|packet| {
            let Packet::Data(payload) = packet else { panic!("no data packet: {packet:?}") };
            payload.strip_prefix(&[1]).expect("a packet of band 1").to_vec()
        });
        inner.collect::<Vec<_>>().concat()
    }

    /// Messages of the calls, by stream of HTTP/2, and how many calls have ended.
    fn replies(&self) -> (BTreeMap<u32, Vec<u8>>, usize) {
        let mut bytes = self.streams.get(&GRPC).cloned().unwrap_or_default();
        let (mut replies, mut ended) = (BTreeMap::<u32, Vec<u8>>::new(), 0);
        while let Some(frame) = http2::split(&mut bytes) {
            if frame.kind == http2::DATA {
                replies.entry(frame.stream).or_default().extend_from_slice(&frame.payload);
            }
            if frame.kind == http2::HEADERS {
                ended += usize::from(frame.flags & http2::END_STREAM != 0);
            }
        }
        (replies, ended)
    }
}

fn captures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/wire/captures")
}

/// The pack in an answer.
fn pack(answer: &[u8]) -> Vec<u8> {
    let data = parse(answer).into_iter().filter_map(|packet| {
        let Packet::Data(payload) = packet else { return None };
        payload.strip_prefix(&[1]).map(<[u8]>::to_vec)
    });
    data.collect::<Vec<_>>().concat()
}

/// The objects of a pack, as git finds them in a copy of the repository.
fn objects(repository: &Repository, pack: &[u8]) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    git::run(folder.path(), &["init", "-q", "--bare", "."]);
    let alternates = format!("{}/objects\n", repository.path.display());
    fs::write(folder.path().join("objects/info/alternates"), alternates).expect("writable");
    let said =
        git::run_with(folder.path(), &["index-pack", "--strict", "--stdin", "--fix-thin"], pack);
    let name = said.split_whitespace().last().expect("the name of the pack");
    let index = fs::read(folder.path().join(format!("objects/pack/pack-{name}.idx")));
    let listed = git::run_with(folder.path(), &["show-index"], &index.expect("an index"));
    let mut ids: Vec<_> = listed.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    ids.sort_unstable();
    ids.join("\n")
}

/// `small.git` and `gen.git` as Gitaly had them, from what it sent.
fn rebuild(node: &Node) -> Repository {
    let fetched = |name| {
        let said = Recording::read(name).gitaly();
        let stream = *said.sidechannels().values().next().expect("a sidechannel");
        said.carried(stream, false)
    };
    let small = Repository::create(&node.storage(), "small", Kind::Empty);
    let index_pack = ["index-pack", "--strict", "--stdin"];
    git::run_with(&small.path, &index_pack, &pack(&fetched("http-fetch.cap")));
    for packet in parse(&fetched("http-ls-refs.cap")) {
        let Packet::Data(line) = packet else { continue };
        let line = String::from_utf8(line).expect("refs of ASCII");
        let words: Vec<_> = line.trim_end().split(' ').collect();
        if words[1] != "HEAD" {
            small.git(&["update-ref", words[1], words[0]]);
        }
    }
    let large = Repository::create(&node.storage(), "gen", Kind::Empty);
    git::run_with(&large.path, &index_pack, &pack(&fetched("http-fetch-large.cap")));
    small
}

/// Says to the node what the client said to Gitaly; the node's half of the conversation.
fn converse(node: &Node, recording: &Recording) -> Said {
    let gitaly = recording.gitaly();
    let numbers: BTreeMap<u32, u64> =
        gitaly.sidechannels().into_iter().map(|(number, id)| (id, number)).collect();
    let calls = gitaly.replies().1;
    let mut connection = Connection::open(node.gitaly_address());
    let mut said = Said::default();
    for (from_client, frame) in &recording.0 {
        if !from_client || frame.id == CALLS_OF_GITALY {
            continue;
        }
        let id = match numbers.get(&frame.id) {
            None => frame.id,
            Some(number) => loop {
                if let Some(id) = said.sidechannels().get(number) {
                    break *id;
                }
                said.add(&connection.receive().expect("the node opens the stream"));
            },
        };
        // The client finished its sidechannels when it had read them.
        if frame.flags & FIN != 0 {
            while !said.finished.contains(&id) {
                said.add(&connection.receive().expect("the node finishes the stream"));
            }
        }
        connection.send(&header(0, frame.kind, frame.flags, id, frame.length));
        connection.send(&frame.data);
    }
    while said.replies().1 < calls {
        said.add(&connection.receive().expect("the node answers the calls"));
    }
    said
}

fn check(node: &Node, repository: &Repository, name: &str) {
    let recording = Recording::read(name);
    let (theirs, ours) = (recording.gitaly(), converse(node, &recording));
    assert_eq!(ours.replies(), theirs.replies(), "{name}");
    let numbers = |said: &Said| said.sidechannels().into_keys().collect::<Vec<_>>();
    assert_eq!(numbers(&ours), numbers(&theirs), "{name}");
    for (number, stream) in ours.sidechannels() {
        let is_ssh = name.starts_with("ssh");
        let ours = ours.carried(stream, is_ssh);
        let theirs = theirs.carried(theirs.sidechannels()[&number], is_ssh);
        assert_eq!(readable(&ours), readable(&theirs), "{name}");
        let (ours, theirs) = (pack(&ours), pack(&theirs));
        if !theirs.is_empty() {
            assert_eq!(ours[..12], theirs[..12], "{name}: the header of the pack");
            assert_eq!(objects(repository, &ours), objects(repository, &theirs), "{name}");
        }
    }
    // What the node opens are sidechannels; none is left open.
    let opened = ours.streams.keys().filter(|id| **id % 2 == 0 && **id > 0).count();
    assert_eq!(opened, ours.finished.iter().filter(|id| **id % 2 == 0).count(), "{name}");
    assert_eq!(opened, numbers(&ours).len(), "{name}");
}

#[test]
fn recorded_clients_get_the_recorded_answers() {
    let node = Node::start();
    let small = rebuild(&node);
    for name in [
        "repository-exists.cap",
        "http-ls-refs.cap",
        "http-fetch.cap",
        "http-fetch-large.cap",
        "http-fetch-two-at-once.cap",
        "ssh-fetch.cap",
    ] {
        check(&node, &small, name);
    }
}
