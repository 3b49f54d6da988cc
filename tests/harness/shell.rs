//! gitlab-shell's part: a stock git client that fetches and pushes through the SSH methods of a
//! node.
//!
//! ```text
//!   git ── GIT_SSH_COMMAND: a script ── two sockets ── a thread of the test ── gRPC ── node
//! ```
//!
//! Always true: the client's bytes pass unchanged; the outer packets of a sidechannel are opened
//! here, as gitlab-shell opens them, and their lengths are kept.
//!
//! Never here: a real SSH connection.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use gitring_daemon::client::{Address, Client};
use gitring_proto::gitaly::ssh_service_client::SshServiceClient;
use gitring_proto::gitaly::{
    PackfileNegotiationStatistics, SshUploadArchiveRequest, SshUploadPackRequest,
    SshUploadPackWithSidechannelRequest,
};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::tokio_stream::{Stream, StreamExt};
use tonic::{Request, Status};

use crate::gitaly::{Door, dial, named};
use crate::node::Node;
use crate::pktline::{self, Packet};
use crate::process::wait_until;
use crate::push::{Method, Push};
use crate::{git, gitaly};

/// Bytes of the client in one message.
const PIECE_BYTES: usize = 32 * 1024;

/// Which methods carry the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// `SSHUploadPackWithSidechannel`, over a mux.
    Sidechannel,
    /// `SSHUploadPack` and `SSHUploadArchive`.
    Messages,
}

/// What happened to one client.
#[derive(Debug, Default, Clone)]
pub struct Visit {
    /// `git-upload-pack '/varied.git'`
    pub command: String,
    /// The client's `GIT_PROTOCOL`.
    pub protocol: String,
    /// Lengths of the outer packets of a sidechannel, headers included.
    pub packets: Vec<usize>,
    /// How many of them end within an inner packet.
    pub cut: usize,
    /// What the server said on standard error.
    pub stderr: String,
    /// What the method counted; absent if it failed, or counts nothing.
    pub counted: Option<PackfileNegotiationStatistics>,
    /// Why the method failed.
    pub failure: Option<String>,
    /// The exit status in the last message of a stream.
    pub exit_status: Option<i32>,
}

/// A thread that serves the clients of one test.
#[derive(Debug)]
pub struct Shell {
    folder: TempDir,
    log: Arc<Mutex<Log>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// What the thread has done.
#[derive(Debug, Default)]
struct Log {
    /// Clients that have come and were not served to the end.
    present: usize,
    visits: Vec<Visit>,
}

/// Both directions of a client: two sockets, since a shell cannot close half of one.
struct Ends {
    input: BufReader<TcpStream>,
    output: TcpStream,
}

/// What one message of a stream says.
struct Said {
    stdout: Bytes,
    stderr: Bytes,
    exit_status: Option<i32>,
}

// === impl Shell ===

impl Shell {
    /// Serves clients from the storage of `node`.
    pub fn start(node: &Node, carrier: Carrier) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let address = Door::Mux.address(node);
        let log = Arc::new(Mutex::new(Log::default()));
        let (stop, stopped) = oneshot::channel();
        let (kept, script) = (Arc::clone(&log), folder.path().join("ssh"));
        let (ready, started) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            LocalSet::new().block_on(&runtime.expect("a runtime can be built"), async {
                let doors = [listen().await, listen().await];
                write_script(&script, &doors);
                ready.send(()).expect("the test waits");
                tokio::select! {
                    () = serve(&address, carrier, &doors, &kept) => {}
                    _ = stopped => {}
                }
            });
        });
        started.recv().expect("the thread has begun");
        Self { folder, log, stop: Some(stop), thread: Some(thread) }
    }

    /// A git client in `folder` that reaches `ssh://git@node/<repository>` through the node.
    pub fn git(&self, folder: &Path) -> Command {
        let mut command = git::command(folder);
        let script = self.folder.path().join("ssh");
        command.env("GIT_SSH_COMMAND", format!("bash '{}'", script.display()));
        command.env("GIT_SSH_VARIANT", "ssh");
        command
    }

    /// What happened since the last call, once nobody is being served.
    pub fn visits(&self) -> Vec<Visit> {
        let log = || self.log.lock().expect("no visit panics with the lock");
        wait_until("the last visit ends", gitaly::WAIT_MAX, || log().present == 0);
        std::mem::take(&mut log().visits)
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a port is free")
}

/// What git starts in place of ssh: its last argument is the command.
fn write_script(path: &Path, doors: &[TcpListener; 2]) {
    let [up, down] =
        doors.each_ref().map(|door| door.local_addr().expect("a listener has an address").port());
    let text = format!(
        "exec 3<>/dev/tcp/127.0.0.1/{up}\n\
         printf '%s|%s\\n' \"$GIT_PROTOCOL\" \"${{@: -1}}\" >&3\n\
         exec 4<>/dev/tcp/127.0.0.1/{down} 5<&0\n\
         cat <&5 >&3 4>&- 5>&- &\n\
         exec cat <&4 3>&- 4>&- 5>&-\n"
    );
    fs::write(path, text).expect("the script can be written");
}

/// One client after the other, as git starts them.
async fn serve(
    address: &Address,
    carrier: Carrier,
    [up, down]: &[TcpListener; 2],
    log: &Mutex<Log>,
) {
    let log = || log.lock().expect("no visit panics with the lock");
    while let Ok((input, _)) = up.accept().await {
        log().present += 1;
        let Ok((output, _)) = down.accept().await else { return };
        let ends = Ends { input: BufReader::new(input), output };
        let visit = receive(address, carrier, ends).await.expect("a client can be served");
        let mut log = log();
        log.present -= 1;
        log.visits.push(visit);
    }
}

async fn receive(address: &Address, carrier: Carrier, mut ends: Ends) -> io::Result<Visit> {
    let mut line = String::new();
    ends.input.read_line(&mut line).await?;
    let (protocol, command) = line.trim_end().split_once('|').unwrap_or_default();
    let mut visit =
        Visit { command: command.to_owned(), protocol: protocol.to_owned(), ..Visit::default() };
    let client = dial(address, Door::Mux, "").await;
    let is_archive = command.starts_with("git-upload-archive");
    let failed = match carrier {
        _ if command.starts_with("git-receive-pack") => {
            receive_pack(&client, ends, &mut visit).await
        }
        _ if is_archive => archive(&client, ends, &mut visit).await,
        Carrier::Messages => messages(&client, ends, &mut visit).await,
        Carrier::Sidechannel => sidechannel(&client, ends, &mut visit).await,
    };
    visit.failure = failed.err().map(|status| status.to_string());
    Ok(visit)
}

async fn sidechannel(client: &Client, mut ends: Ends, visit: &mut Visit) -> Result<(), Status> {
    let waiter = client.sidechannel().expect("the connection is a mux");
    let mut request = Request::new(SshUploadPackWithSidechannelRequest {
        repository: named(visit.path()),
        git_protocol: visit.protocol.clone(),
        ..Default::default()
    });
    waiter.announce(request.metadata_mut());
    let mut ssh = SshServiceClient::new(client.clone());
    let talking = async {
        let accepted = waiter.accept(gitaly::WAIT_MAX).await;
        let mut end = accepted.map_err(|error| Status::unknown(error.to_string()))?;
        let broke = |error: &dyn std::error::Error| Status::unknown(error.to_string());
        let (mut held, mut piece, mut listens) = (Vec::new(), vec![0; PIECE_BYTES], true);
        loop {
            tokio::select! {
                read = ends.input.read(&mut piece), if listens => match read {
                    Ok(0) | Err(_) => {
                        listens = false;
                        end.finish_writing().await.map_err(|error| broke(&error))?;
                    }
                    Ok(length) => {
                        let bytes = Bytes::copy_from_slice(&piece[..length]);
                        end.write(bytes).await.map_err(|error| broke(&error))?;
                    }
                },
                read = end.read() => match read.map_err(|error| broke(&error))? {
                    Some(bytes) => {
                        held.extend_from_slice(&bytes);
                        let stdout = visit.unwrap(&mut held);
                        // A client may leave before it has read everything.
                        drop(ends.output.write_all(&stdout).await);
                    }
                    None => break,
                },
            }
        }
        assert!(held.is_empty(), "half a packet at the end: {}", held.escape_ascii());
        drop(ends);
        end.close().await.map_err(|error| broke(&error))
    };
    let reply = {
        let mut calling = std::pin::pin!(ssh.ssh_upload_pack_with_sidechannel(request));
        let mut talking = std::pin::pin!(talking);
        let (reply, talked) = tokio::select! {
            // A call that is refused opens no sidechannel.
            reply = &mut calling => (reply?, talking.await),
            talked = &mut talking => (calling.await?, talked),
        };
        talked?;
        reply
    };
    visit.counted = reply.into_inner().packfile_negotiation_statistics;
    Ok(())
}

async fn messages(client: &Client, ends: Ends, visit: &mut Visit) -> Result<(), Status> {
    let first = SshUploadPackRequest {
        repository: named(visit.path()),
        git_protocol: visit.protocol.clone(),
        ..Default::default()
    };
    let Ends { input, output } = ends;
    let requests =
        requests(input, first, |stdin| SshUploadPackRequest { stdin, ..Default::default() });
    let mut ssh = SshServiceClient::new(client.clone());
    let replies = ssh.ssh_upload_pack(requests).await?.into_inner();
    let replies = replies.map(|reply| {
        reply.map(|reply| Said {
            stdout: reply.stdout,
            stderr: reply.stderr,
            exit_status: reply.exit_status.map(|status| status.value),
        })
    });
    relay(replies, output, visit).await
}

async fn receive_pack(client: &Client, mut ends: Ends, visit: &mut Visit) -> Result<(), Status> {
    let mut push = Push::begin(client, Method::Ssh, visit.path(), None).await?;
    let (mut piece, mut listens) = (vec![0; PIECE_BYTES], true);
    loop {
        tokio::select! {
            read = ends.input.read(&mut piece), if listens => match read {
                Ok(length @ 1..) => push.send(&piece[..length]).await,
                Ok(0) | Err(_) => {
                    listens = false;
                    push.finish_writing();
                }
            },
            read = push.read() => {
                let Some((stdout, stderr, exit_status)) = read? else { return Ok(()) };
                visit.stderr.push_str(&String::from_utf8_lossy(&stderr));
                visit.exit_status = exit_status.or(visit.exit_status);
                drop(ends.output.write_all(&stdout).await);
            }
        }
    }
}

async fn archive(client: &Client, ends: Ends, visit: &mut Visit) -> Result<(), Status> {
    let repository = named(visit.path());
    let first = SshUploadArchiveRequest { repository, ..Default::default() };
    let Ends { input, output } = ends;
    let requests =
        requests(input, first, |stdin| SshUploadArchiveRequest { stdin, ..Default::default() });
    let mut ssh = SshServiceClient::new(client.clone());
    let replies = ssh.ssh_upload_archive(requests).await?.into_inner();
    let replies = replies.map(|reply| {
        reply.map(|reply| Said {
            stdout: reply.stdout,
            stderr: reply.stderr,
            exit_status: reply.exit_status.map(|status| status.value),
        })
    });
    relay(replies, output, visit).await
}

/// The client's bytes behind a first message.
fn requests<M: Send + 'static>(
    mut input: BufReader<TcpStream>,
    first: M,
    message: impl Fn(Bytes) -> M + 'static,
) -> impl Stream<Item = M> + Send + 'static {
    let (sender, receiver) = mpsc::channel(4);
    tokio::task::spawn_local(async move {
        let mut piece = vec![0; PIECE_BYTES];
        let mut next = Some(first);
        while let Some(this) = next.take() {
            if sender.send(this).await.is_err() {
                return;
            }
            if let Ok(length @ 1..) = input.read(&mut piece).await {
                next = Some(message(Bytes::copy_from_slice(&piece[..length])));
            }
        }
    });
    ReceiverStream::new(receiver)
}

async fn relay(
    mut replies: impl Stream<Item = Result<Said, Status>> + Unpin,
    mut output: TcpStream,
    visit: &mut Visit,
) -> Result<(), Status> {
    while let Some(reply) = replies.next().await {
        let Said { stdout, stderr, exit_status } = reply?;
        visit.stderr.push_str(&String::from_utf8_lossy(&stderr));
        visit.exit_status = exit_status.or(visit.exit_status);
        drop(output.write_all(&stdout).await);
    }
    Ok(())
}

// === impl Visit ===

impl Visit {
    /// The repository in the command.
    fn path(&self) -> &str {
        self.command.split('\'').nth(1).unwrap_or_default().trim_start_matches('/')
    }

    /// Opens whole outer packets: band 1 is returned, band 2 kept.
    fn unwrap(&mut self, held: &mut Vec<u8>) -> Vec<u8> {
        let mut stdout = Vec::new();
        while let Some(head) = held.get(..4) {
            let text = String::from_utf8_lossy(head).into_owned();
            let length = usize::from_str_radix(&text, 16).expect("an outer packet has a length");
            let Some(packet) = held.get(4..length) else { break };
            match packet.split_first() {
                Some((1, payload)) => {
                    let is_cut = |packet: &Packet| matches!(packet, Packet::Raw(_));
                    self.cut += usize::from(pktline::parse(payload).iter().any(is_cut));
                    stdout.extend_from_slice(payload);
                }
                Some((2, payload)) => self.stderr.push_str(&String::from_utf8_lossy(payload)),
                other => panic!("a packet of no band: {other:?}"),
            }
            self.packets.push(length);
            held.drain(..length);
        }
        stdout
    }
}
