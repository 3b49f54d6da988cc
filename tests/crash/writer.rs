//! One who moves a pair of refs, and knows what was acknowledged.
//!
//! Always true: both refs of a pair are moved by one atomic request; between two lives of the node at
//! most one request was not answered.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gitring_daemon::client::Client;
use gitring_proto::gitaly::UpdateReferencesRequest;
use gitring_proto::gitaly::ref_service_client::RefServiceClient;
use gitring_proto::gitaly::update_references_request::Update;
use gitring_tests::gitaly::{Door, named, run};
use gitring_tests::http;
use gitring_tests::node::Node;
use gitring_tests::pktline::{FLUSH, data};
use tonic::codegen::tokio_stream;

use super::chain::{Chain, EVERYBODYS_IDS};

/// No object.
pub(crate) const ZERO: &str = "0000000000000000000000000000000000000000";
const REPOSITORY: &str = "r.git";
/// What the report says where a lock was not to be had in time.
const LATE: &str = "atomic transaction failed";
/// A pack of nothing, which git clients send where everything is there.
const EMPTY_PACK: &[u8] = b"PACK\x00\x00\x00\x02\x00\x00\x00\x00\x02\x9d\x08\x82\x3b\xd8\xa8\xea\xb5\x10\xad\x6a\xc7\x5c\x82\x3c\xfd\x3e\xd3\x1e";
/// Longest wait for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// By what way refs are moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Means {
    /// Atomic pushes over the gateway.
    Push,
    /// `UpdateReferences`.
    Update,
}

/// Where a pair stands: a commit of a chain, or of everybody's; `None` where there is no such ref.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stand {
    id: String,
    place: Option<usize>,
}

/// One writer.
#[derive(Debug)]
pub(crate) struct Writer {
    number: usize,
    means: Means,
    /// As the last acknowledgement has it.
    stand: Stand,
    /// Where the request that was not answered leads.
    under_way: Option<Stand>,
    /// Whether another ref holds what it pushes.
    is_kept: bool,
    acknowledged: u64,
    finished_by_themselves: u64,
}

// === impl Writer ===

impl Writer {
    /// A writer whose refs do not exist yet.
    pub(crate) fn new(number: usize, means: Means) -> Self {
        let stand = Stand { id: ZERO.to_owned(), place: None };
        Self {
            number,
            means,
            stand,
            under_way: None,
            is_kept: false,
            acknowledged: 0,
            finished_by_themselves: 0,
        }
    }

    pub(crate) fn number(&self) -> usize {
        self.number
    }

    /// Requests that were acknowledged.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Requests that were done though nobody was told.
    pub(crate) fn finished_by_themselves(&self) -> u64 {
        self.finished_by_themselves
    }

    /// Moves its refs until the node has ended.
    pub(crate) fn write(&mut self, node: &Node, chain: Option<&Chain>, ended: &AtomicBool) {
        match (self.means, chain) {
            (Means::Push, Some(chain)) => self.push(node, chain, ended),
            (Means::Push, None) => panic!("writer {} has nothing to push", self.number),
            (Means::Update, _) => self.update(node, ended),
        }
    }

    fn push(&mut self, node: &Node, chain: &Chain, ended: &AtomicBool) {
        let server = node.gateway();
        while !ended.load(Ordering::Relaxed) {
            let place = chain.next(self.stand.place);
            let link = chain.link(place);
            // What is pushed again stays reachable: git's upkeep, several at once, loses the rest.
            if link.is_none() && !self.is_kept {
                let kept = format!("refs/heads/kept-{}", self.number);
                let Ok(is_kept) = move_ref(server, &kept, ZERO, &self.stand.id) else { return };
                self.is_kept = is_kept;
                continue;
            }
            let new = link.map_or(ZERO, |link| &link.id);
            let [one, two] = self.refs().map(|name| format!("{} {new} {name}", self.stand.id));
            let mut body = data(format!("{one}\0report-status atomic"));
            body.extend(data(two));
            body.extend_from_slice(FLUSH);
            body.extend_from_slice(link.map_or(b"", |link| &link.pack));
            self.under_way = Some(Stand { id: new.to_owned(), place });
            let Ok(answer) = post(server, &body) else { return };
            let says = |line: String| {
                answer.body.windows(line.len()).any(|found| found == line.as_bytes())
            };
            if self.refs().iter().all(|name| says(format!("ok {name}\n"))) {
                self.acknowledge();
            } else if answer.complete {
                // Somebody holds the lock of packed-refs, which deletions need, for too long.
                let is_late = |name: &String| says(format!("ng {name} {LATE}\n"));
                assert!(self.refs().iter().all(is_late), "{answer:?}\n{}", node.log());
                self.under_way = None;
            } else {
                return;
            }
        }
    }

    fn update(&mut self, node: &Node, ended: &AtomicBool) {
        run(async {
            let Ok(client) = Client::connect(&Door::Tcp.address(node), b"").await else { return };
            let mut refs = RefServiceClient::new(client);
            while !ended.load(Ordering::Relaxed) {
                let next = self.stand.place.map_or(0, |place| place + 1);
                let new = EVERYBODYS_IDS.get(next).copied().unwrap_or(ZERO);
                let place = EVERYBODYS_IDS.get(next).map(|_| next);
                self.under_way = Some(Stand { id: new.to_owned(), place });
                let updates = self.refs().map(|name| Update {
                    old_object_id: self.stand.id.clone().into(),
                    new_object_id: new.into(),
                    reference: name.into(),
                });
                let message = UpdateReferencesRequest {
                    repository: named(REPOSITORY),
                    updates: updates.into(),
                };
                match refs.update_references(tokio_stream::once(message)).await {
                    Ok(_) => self.acknowledge(),
                    Err(_) => return,
                }
            }
        });
    }

    fn acknowledge(&mut self) {
        if let Some(stand) = self.under_way.take() {
            self.stand = stand;
            self.acknowledged += 1;
        }
    }

    fn refs(&self) -> [String; 2] {
        ["a", "b"].map(|name| format!("refs/heads/writer-{}/{name}", self.number))
    }

    /// Where both refs stand, as the node says.
    pub(crate) fn look(&self, node: &Node) -> [String; 2] {
        let told = http::info_refs(node.gateway(), REPOSITORY, 0);
        let told = String::from_utf8_lossy(&told.body).into_owned();
        self.refs().map(|name| {
            let found = told.lines().find_map(|line| {
                let (before, found) = line.split_once(' ')?;
                let found = found.split('\0').next()?;
                (found == name).then(|| before[before.len() - ZERO.len()..].to_owned())
            });
            found.unwrap_or_else(|| ZERO.to_owned())
        })
    }

    /// Compares that with what it knows, and goes on from there.
    pub(crate) fn judge(&mut self, [one, two]: [String; 2]) -> Result<(), String> {
        let (number, means) = (self.number, self.means);
        if one != two {
            return Err(format!("writer {number} ({means:?}): half a change: {one}, {two}"));
        }
        let under_way = self.under_way.take();
        match under_way {
            _ if one == self.stand.id => {}
            Some(stand) if one == stand.id => {
                self.stand = stand;
                self.finished_by_themselves += 1;
            }
            under_way => {
                let known = &self.stand;
                return Err(format!(
                    "writer {number} ({means:?}) stands at {one}, but {known:?} was acknowledged, \
                     {under_way:?} under way"
                ));
            }
        }
        Ok(())
    }
}

/// Moves a ref to an object that is there, by a push; whether it was moved.
pub(crate) fn move_ref(
    server: SocketAddr,
    name: &str,
    old: &str,
    new: &str,
) -> Result<bool, String> {
    let mut body = data(format!("{old} {new} {name}\0report-status"));
    body.extend_from_slice(FLUSH);
    if new != ZERO {
        body.extend_from_slice(EMPTY_PACK);
    }
    let answer = post(server, &body).map_err(|error| error.to_string())?;
    let says = |line: String| answer.body.windows(line.len()).any(|at| at == line.as_bytes());
    match () {
        () if says(format!("ok {name}\n")) => Ok(true),
        () if says(format!("ng {name} ")) => Ok(false),
        () => Err(format!("{answer:?}")),
    }
}

fn post(server: SocketAddr, body: &[u8]) -> io::Result<http::Answer> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    let head = format!(
        "POST /{REPOSITORY}/git-receive-pack HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\
         Content-Type: application/x-git-receive-pack-request\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    http::read_answer(&mut stream)
}
