//! Workhorse's part: stock git clients that push over HTTP, carried by `InfoRefsReceivePack` and
//! `PostReceivePack`.
//!
//! Always true: one request a connection; dropping the value ends its listener.
//!
//! Never here: chunked requests: clients buffer more than tests push.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gitring_daemon::client::Address;
use gitring_proto::gitaly::InfoRefsRequest;
use gitring_proto::gitaly::smart_http_service_client::SmartHttpServiceClient;
use tonic::Status;

use crate::git;
use crate::gitaly::{Door, dial, named, run};
use crate::node::Node;
use crate::push::{Method, Push};

/// A running server.
#[derive(Debug)]
pub struct Workhorse {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
}

/// What a client asks.
struct Asked {
    target: String,
    git_protocol: String,
    body: Vec<u8>,
}

// === impl Workhorse ===

impl Workhorse {
    /// Carries pushes to `node` by this door.
    pub fn start(node: &Node, door: Door) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let ended = Arc::new(AtomicBool::new(false));
        let (stop, node) = (Arc::clone(&ended), door.address(node));
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let node = node.clone();
                std::thread::spawn(move || drop(serve(stream, &node, door)));
            }
        });
        Self { address, ended }
    }

    /// A git client in `folder` whose `origin` of [`Self::url`] is reached over HTTP.
    pub fn git(&self, folder: &Path) -> Command {
        let mut command = git::command(folder);
        command.args(["-c", "http.postBuffer=64m"]);
        command
    }

    /// Where a repository is.
    pub fn url(&self, relative_path: &str) -> String {
        format!("http://{}/{relative_path}", self.address)
    }
}

impl Drop for Workhorse {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
    }
}

fn serve(stream: TcpStream, node: &Address, door: Door) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let Asked { target, git_protocol, body } = read(&mut reader)?;
    let path = target.trim_start_matches('/');
    let (answered, kind) = match path.split_once("/info/refs") {
        Some((path, _)) => (run(info_refs(node, door, path, git_protocol)), "advertisement"),
        None => {
            let path = path.trim_end_matches("/git-receive-pack");
            (run(receive(node, door, path, &body)), "result")
        }
    };
    let (status, body) = match answered {
        Ok(body) => ("200 OK", body),
        Err(status) => ("500 Failed", status.to_string().into_bytes()),
    };
    let kind = format!("application/x-git-receive-pack-{kind}");
    let (head, length) = (format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n"), body.len());
    let mut stream = stream;
    write!(stream, "{head}Content-Length: {length}\r\nConnection: close\r\n\r\n")?;
    stream.write_all(&body)
}

async fn info_refs(
    node: &Address,
    door: Door,
    path: &str,
    git_protocol: String,
) -> Result<Vec<u8>, Status> {
    let client = dial(node, door, "").await;
    let message = InfoRefsRequest { repository: named(path), git_protocol, ..Default::default() };
    let mut http = SmartHttpServiceClient::new(client);
    let mut replies = http.info_refs_receive_pack(message).await?.into_inner();
    let mut body = Vec::new();
    while let Some(reply) = replies.message().await? {
        body.extend_from_slice(&reply.data);
    }
    Ok(body)
}

async fn receive(node: &Address, door: Door, path: &str, body: &[u8]) -> Result<Vec<u8>, Status> {
    let client = dial(node, door, "").await;
    let pushed = Push::whole(&client, Method::Http, path, body).await;
    pushed.reply.map(|()| pushed.stdout)
}

fn read(reader: &mut impl BufRead) -> io::Result<Asked> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let header = |name: &str| {
        let lines = lines.iter().filter_map(|line| line.split_once(": "));
        let mut found = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.to_owned())
    };
    let target = lines.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
    let length = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let git_protocol = header("git-protocol").unwrap_or_default();
    Ok(Asked { target: target.to_owned(), git_protocol, body })
}
