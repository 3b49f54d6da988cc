//! Stock git over smart HTTP: `git http-backend` behind a CGI server of our own.
//!
//! The client behaves differently over HTTP and over a pipe (tag following while deepening in
//! version 0, for one), so what the gateway gives is compared with stock git over HTTP.
//!
//! Always true:
//! - One request per connection and one process per request.
//! - Dropping the server ends its accept thread; requests under way end with their clients.
//!
//! Never here: requests that wait for `100 Continue`; git sends none.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::git;

/// A running server over one folder of repositories.
#[derive(Debug)]
pub struct StockHttp {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

/// What is served, and how.
#[derive(Debug, Clone)]
struct Site {
    storage: PathBuf,
    /// `key=value`
    settings: Vec<String>,
}

/// The parts of a request that CGI passes on (RFC 3875, section 4.1).
struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

// === impl StockHttp ===

impl StockHttp {
    /// Serves the repositories below `storage`.
    pub fn start(storage: &Path) -> Self {
        Self::start_with(storage, &[])
    }

    /// The same with configuration that repositories cannot set, as `key`, `value`.
    pub fn start_with(storage: &Path, settings: &[(&str, &str)]) -> Self {
        let settings = settings.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let stop = Arc::new(AtomicBool::new(false));
        let (site, stopped) = (Site { storage: storage.to_owned(), settings }, Arc::clone(&stop));
        let accepting = std::thread::spawn(move || accept(&listener, &site, &stopped));
        Self { address, stop, accepting: Some(accepting) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a repository of the storage.
    pub fn url(&self, relative: &str) -> String {
        format!("http://{}/{relative}", self.address)
    }
}

impl Drop for StockHttp {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // The accept thread looks at the flag behind every connection: give it one.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            drop(accepting.join());
        }
    }
}

fn accept(listener: &TcpListener, site: &Site, stop: &AtomicBool) {
    for stream in listener.incoming().flatten() {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let site = site.clone();
        // A client that goes away ends its own request only.
        std::thread::spawn(move || drop(serve(stream, &site)));
    }
}

fn serve(mut stream: TcpStream, site: &Site) -> std::io::Result<()> {
    let request = read_request(&mut BufReader::new(stream.try_clone()?))?;
    let output = git::feed(backend(&request, site), &request.body);
    let end = output.stdout.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.ok_or_else(|| std::io::Error::other("http-backend wrote no head"))?;
    let head = String::from_utf8_lossy(&output.stdout[..end]);
    let (mut status, mut fields) = ("200 OK", String::new());
    for line in head.lines() {
        match line.strip_prefix("Status: ") {
            Some(other) => status = other,
            None => fields.push_str(&format!("{line}\r\n")),
        }
    }
    let body = &output.stdout[end + 4..];
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\n{fields}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(body)
}

fn read_request(stream: &mut impl BufRead) -> std::io::Result<Request> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut request = Request { method, target, headers, body: Vec::new() };
    if request.header("transfer-encoding") == "chunked" {
        request.body = read_chunks(stream)?;
        return Ok(request);
    }
    let length: u64 = request.header("content-length").parse().unwrap_or(0);
    stream.take(length).read_to_end(&mut request.body)?;
    Ok(request)
}

/// A body in chunks (RFC 9112, section 7.1), without trailers.
fn read_chunks(stream: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let length = u64::from_str_radix(line.trim_end(), 16).map_err(std::io::Error::other)?;
        stream.by_ref().take(length).read_to_end(&mut body)?;
        stream.read_line(&mut String::new())?;
        if length == 0 {
            return Ok(body);
        }
    }
}

fn backend(request: &Request, site: &Site) -> Command {
    let mut command = Command::new(git::program());
    git::close_environment(&mut command);
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    command.args(site.settings.iter().flat_map(|setting| ["-c", setting])).arg("http-backend");
    command.env("GIT_PROJECT_ROOT", &site.storage).env("GIT_HTTP_EXPORT_ALL", "1");
    command.env("PATH_INFO", path).env("QUERY_STRING", query);
    command.env("REQUEST_METHOD", &request.method).env("REMOTE_ADDR", "127.0.0.1");
    command.env("CONTENT_LENGTH", request.body.len().to_string());
    command.env("CONTENT_TYPE", request.header("content-type"));
    command.env("HTTP_CONTENT_ENCODING", request.header("content-encoding"));
    command.env("GIT_PROTOCOL", request.header("git-protocol"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

// === impl Request ===

impl Request {
    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value)
    }
}
