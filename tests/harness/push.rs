//! Pushes as calls: `SSHReceivePack` and `PostReceivePack`, piece by piece.
//!
//! Always true: the pusher is `user-1`, who is `alice`, and pushes to `project-1`.
//!
//! Never here: what a stock client does with the answer; [`crate::shell`] and
//! [`crate::workhorse`] carry those.

use std::path::Path;
use std::process::Stdio;

use bytes::Bytes;
use gitring_daemon::client::Client;
use gitring_proto::gitaly::smart_http_service_client::SmartHttpServiceClient;
use gitring_proto::gitaly::ssh_service_client::SshServiceClient;
use gitring_proto::gitaly::{
    PostReceivePackRequest, PostReceivePackResponse, SshReceivePackRequest, SshReceivePackResponse,
};
use tokio::sync::mpsc;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming};

use crate::git;
use crate::gitaly::named;
use crate::pktline;
use crate::voter::in_transaction;

/// Forty zeros: a ref that is not there.
pub const ZERO: &str = "0000000000000000000000000000000000000000";

/// What a client of today asks for besides.
pub const CAPABILITIES: &str = "report-status side-band-64k delete-refs ofs-delta";

/// Which method carries a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `SSHReceivePack`
    Ssh,
    /// `PostReceivePack`
    Http,
}

/// A push under way.
#[derive(Debug)]
pub struct Push {
    requests: Option<mpsc::Sender<Piece>>,
    replies: Replies,
}

/// A push that has ended.
#[derive(Debug)]
pub struct Pushed {
    /// What went to the client.
    pub stdout: Vec<u8>,
    /// Over SSH.
    pub stderr: String,
    /// The last message of SSH, where something failed.
    pub exit_status: Option<i32>,
    /// How the call ended.
    pub reply: Result<(), Status>,
}

#[derive(Debug)]
struct Piece(Bytes);

#[derive(Debug)]
enum Replies {
    Ssh(Streaming<SshReceivePackResponse>),
    Http(Streaming<PostReceivePackResponse>),
}

/// The first message over SSH.
pub fn first_of_ssh(relative_path: &str) -> SshReceivePackRequest {
    let mut repository = named(relative_path);
    if let Some(repository) = &mut repository {
        repository.gl_project_path = "group/project".to_owned();
    }
    SshReceivePackRequest {
        repository,
        gl_id: "user-1".to_owned(),
        gl_repository: "project-1".to_owned(),
        gl_username: "alice".to_owned(),
        ..Default::default()
    }
}

/// The first message over HTTP.
pub fn first_of_http(relative_path: &str) -> PostReceivePackRequest {
    let first = first_of_ssh(relative_path);
    PostReceivePackRequest {
        repository: first.repository,
        gl_id: first.gl_id,
        gl_repository: first.gl_repository,
        gl_username: first.gl_username,
        ..Default::default()
    }
}

/// The commands of a push, `old new name` each, and the flush behind them.
pub fn commands(lines: &[&str], capabilities: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let tail = if at == 0 { format!("\0 {capabilities}") } else { String::new() };
        bytes.extend(pktline::data(format!("{line}{tail}")));
    }
    bytes.extend_from_slice(pktline::FLUSH);
    bytes
}

/// A pack of what the revisions name, as `git rev-list` takes them, from `repository`.
pub fn pack(repository: &Path, revisions: &[&str]) -> Vec<u8> {
    let mut command = git::command(repository);
    command.args(["pack-objects", "--stdout", "--revs", "--thin", "-q"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = git::feed(command, (revisions.join("\n") + "\n").as_bytes());
    assert!(output.status.success(), "{}", git::describe(&["pack-objects"], &output));
    output.stdout
}

// === impl Push ===

impl Push {
    /// Begins a call. `transaction` says whether it is part of one, and whether as the primary.
    pub async fn begin(
        client: &Client,
        method: Method,
        relative_path: &str,
        transaction: Option<bool>,
    ) -> Result<Self, Status> {
        let (requests, receiver) = mpsc::channel(4);
        let (first_of_ssh, first_of_http) =
            (first_of_ssh(relative_path), first_of_http(relative_path));
        let replies = match method {
            Method::Ssh => {
                let message = |Piece(stdin)| SshReceivePackRequest { stdin, ..Default::default() };
                let stream = stream(first_of_ssh, receiver, message);
                let mut ssh = SshServiceClient::new(client.clone());
                let reply = ssh.ssh_receive_pack(request(stream, transaction)).await?;
                Replies::Ssh(reply.into_inner())
            }
            Method::Http => {
                let message = |Piece(data)| PostReceivePackRequest { data, ..Default::default() };
                let stream = stream(first_of_http, receiver, message);
                let mut http = SmartHttpServiceClient::new(client.clone());
                let reply = http.post_receive_pack(request(stream, transaction)).await?;
                Replies::Http(reply.into_inner())
            }
        };
        Ok(Self { requests: Some(requests), replies })
    }

    /// Sends bytes of the client; nobody minds if the call has ended.
    pub async fn send(&mut self, bytes: &[u8]) {
        if let Some(requests) = &self.requests {
            for piece in bytes.chunks(64 << 10) {
                drop(requests.send(Piece(Bytes::copy_from_slice(piece))).await);
            }
        }
    }

    /// The client has said all.
    pub fn finish_writing(&mut self) {
        self.requests = None;
    }

    /// The next bytes of standard output and error, and the exit status; `None` at the end.
    pub async fn read(&mut self) -> Result<Option<(Bytes, Bytes, Option<i32>)>, Status> {
        Ok(match &mut self.replies {
            Replies::Ssh(replies) => replies.message().await?.map(|reply| {
                (reply.stdout, reply.stderr, reply.exit_status.map(|status| status.value))
            }),
            Replies::Http(replies) => {
                replies.message().await?.map(|reply| (reply.data, Bytes::new(), None))
            }
        })
    }

    /// Reads until the client sees this text.
    ///
    /// # Panics
    /// If the call ends before.
    pub async fn read_until(&mut self, text: &str) {
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains(text) {
            match self.read().await {
                Ok(Some((stdout, stderr, _))) => {
                    seen.extend_from_slice(&stdout);
                    seen.extend_from_slice(&stderr);
                }
                other => panic!("no {text:?} in {} before {other:?}", seen.escape_ascii()),
            }
        }
    }

    /// Reads to the end, with the client's side open or not.
    pub async fn end(mut self) -> Pushed {
        let (mut stdout, mut stderr, mut exit_status) = (Vec::new(), Vec::new(), None);
        let reply = loop {
            match self.read().await {
                Ok(Some((out, err, status))) => {
                    stdout.extend_from_slice(&out);
                    stderr.extend_from_slice(&err);
                    exit_status = status.or(exit_status);
                }
                Ok(None) => break Ok(()),
                Err(status) => break Err(status),
            }
        };
        let stderr = String::from_utf8_lossy(&stderr).into_owned();
        Pushed { stdout, stderr, exit_status, reply }
    }

    /// A whole push of these bytes.
    pub async fn whole(
        client: &Client,
        method: Method,
        relative_path: &str,
        bytes: &[u8],
    ) -> Pushed {
        let mut push = match Self::begin(client, method, relative_path, None).await {
            Ok(push) => push,
            Err(status) => return Pushed::refused(status),
        };
        push.send(bytes).await;
        push.finish_writing();
        push.end().await
    }
}

fn request<S>(stream: S, transaction: Option<bool>) -> Request<S> {
    match transaction {
        Some(is_primary) => in_transaction(stream, is_primary),
        None => Request::new(stream),
    }
}

/// A first message and what follows.
fn stream<M: Send + 'static>(
    first: M,
    mut pieces: mpsc::Receiver<Piece>,
    message: impl Fn(Piece) -> M + Send + 'static,
) -> ReceiverStream<M> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::task::spawn_local(async move {
        let mut next = Some(first);
        while let Some(this) = next.take() {
            if sender.send(this).await.is_err() {
                return;
            }
            tokio::select! {
                piece = pieces.recv() => next = piece.map(&message),
                () = sender.closed() => {}
            }
        }
    });
    ReceiverStream::new(receiver)
}

// === impl Pushed ===

impl Pushed {
    fn refused(status: Status) -> Self {
        Self { stdout: Vec::new(), stderr: String::new(), exit_status: None, reply: Err(status) }
    }

    /// What stands in the bands: text for the pusher, and the report's lines.
    pub fn told(&self) -> (String, Vec<String>) {
        let (mut text, mut report) = (Vec::new(), Vec::new());
        for packet in pktline::parse(&self.stdout) {
            let pktline::Packet::Data(payload) = packet else { continue };
            match payload.split_first() {
                Some((2, words)) => text.extend_from_slice(words),
                Some((1, bytes)) => report.extend_from_slice(bytes),
                Some(_) | None => {}
            }
        }
        let lines = pktline::parse(&report).into_iter().filter_map(|packet| {
            let pktline::Packet::Data(line) = packet else { return None };
            Some(String::from_utf8_lossy(&line).trim_end().to_owned())
        });
        (String::from_utf8_lossy(&text).into_owned(), lines.collect())
    }
}
