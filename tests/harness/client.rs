//! A stock git client with one clone: its folder, its URLs, how it reaches its server.
//!
//! Always true: the same commands go to every server; only URL and upload-pack differ.
//!
//! Never here: which commands; tests and measurements know those.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use crate::git;
use crate::node::Node;
use crate::stdio::Server;
use crate::stock_http::StockHttp;

/// How a client reaches a server.
#[derive(Debug, Clone, Copy)]
pub enum Served<'a> {
    /// Stock git on `file://`.
    Stock(&'a Path),
    /// Stock git over HTTP.
    StockHttp(&'a StockHttp),
    /// Our gateway.
    Gateway(&'a Node),
    /// `gitring-node upload-pack` on `file://`.
    Stdio(&'a Path),
}

/// A client with an empty folder.
#[derive(Debug)]
pub struct Client<'a> {
    folder: &'a Path,
    served: Served<'a>,
    version: u8,
}

// === impl Client ===

impl<'a> Client<'a> {
    /// A client that works in an empty folder.
    pub fn new(folder: &'a Path, served: Served<'a>, version: u8) -> Self {
        Self { folder, served, version }
    }

    /// Whether a server was started by the client itself.
    pub fn started_server(&self) -> bool {
        self.folder.join("started").exists()
    }

    /// User and system time of the servers that the client has started so far, exact to 1 ms.
    pub fn server_cpu_time(&self) -> Duration {
        let times = fs::read_to_string(self.folder.join("started")).unwrap_or_default();
        let seconds = times.split_whitespace().filter_map(|word| word.parse::<f64>().ok());
        Duration::from_secs_f64(seconds.sum())
    }

    /// The URL of a repository by its name.
    pub fn url(&self, name: &str) -> String {
        format!("{}{name}.git", self.base())
    }

    /// What all URLs of the server begin with.
    fn base(&self) -> String {
        match self.served {
            Served::Stock(storage) | Served::Stdio(storage) => {
                format!("file://{}/", storage.display())
            }
            Served::StockHttp(server) => server.url(""),
            Served::Gateway(node) => node.url(""),
        }
    }

    /// The folder of the clone that scenarios make.
    pub fn clone_folder(&self) -> PathBuf {
        self.folder.join("clone")
    }

    /// `git clone <options> <url of name> clone`
    pub fn clone_of(&self, name: &str, options: &[&str]) {
        let url = self.url(name);
        // `git clone` does not look at remote.origin.uploadpack.
        let upload_pack = self.served.script(self.folder, "upload-pack");
        let upload_pack = upload_pack.map(|line| format!("--upload-pack={line}"));
        let options = [options, &upload_pack.iter().map(String::as_str).collect::<Vec<_>>()];
        let words = [&["clone", "-q"], options[0], options[1], &[&url, "clone"]].concat();
        self.expect(self.folder, &words);
    }

    /// Runs git in the clone and returns what it printed, without our URL.
    pub fn git(&self, words: &[&str]) -> String {
        self.expect(&self.clone_folder(), words)
    }

    /// Points the clone's `origin` at another repository of the storage.
    pub fn turn_to(&self, name: &str) {
        self.git(&["remote", "set-url", "origin", &self.url(name)]);
    }

    /// Runs git beside the clone.
    pub fn outside(&self, words: &[&str]) -> String {
        self.expect(self.folder, words)
    }

    fn expect(&self, folder: &Path, words: &[&str]) -> String {
        let output = self.run(folder, words);
        assert!(output.status.success(), "{}", git::describe(words, &output));
        String::from_utf8_lossy(&output.stdout).replace(&self.base(), "")
    }

    fn run(&self, folder: &Path, words: &[&str]) -> Output {
        let mut settings = vec![
            format!("protocol.version={}", self.version),
            "maintenance.auto=false".to_owned(),
            "gc.auto=0".to_owned(),
            // Packs stay packs, whatever the transport: their sizes are compared.
            "fetch.unpackLimit=1".to_owned(),
            // One body with a length per request: `StockHttp` reads no chunks.
            "http.postBuffer=100m".to_owned(),
        ];
        if let Some(line) = self.served.script(self.folder, "upload-pack") {
            settings.push(format!("remote.origin.uploadpack={line}"));
        }
        let mut command = git::command(folder);
        command
            .args(settings.iter().flat_map(|setting| ["-c", setting]))
            .args(words)
            .output()
            .expect("git can be started")
    }
}

// === impl Served ===

impl Served<'_> {
    /// Whether clients start the server themselves, on a pipe.
    pub fn is_piped(self) -> bool {
        matches!(self, Self::Stock(_) | Self::Stdio(_))
    }

    /// The line for the shell with which a client starts `service` itself. It leaves its user and
    /// system time, as bash measures them for its children, as a line in `started`.
    pub fn script(self, folder: &Path, service: &str) -> Option<String> {
        let server = match self {
            Self::Stock(_) => Server::Stock,
            Self::Stdio(_) => Server::Ours,
            Self::StockHttp(_) | Self::Gateway(_) => return None,
        };
        let script = folder.join(service);
        // Descriptor 3 keeps the server's own errors apart from what `time` prints.
        let text = format!(
            "TIMEFORMAT='%3U %3S'\n\
             {{ time {} \"$@\" 2>&3; }} 3>&2 2>>'{}'\n",
            server.shell_line(service),
            folder.join("started").display()
        );
        fs::write(&script, text).expect("the script can be written");
        // Not executed itself: a file still open for writing in a forked sibling would be busy.
        Some(format!("bash '{}'", script.display()))
    }
}

impl fmt::Display for Served<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stock(_) => "stock",
            Self::StockHttp(_) => "stock over HTTP",
            Self::Gateway(_) => "the gateway",
            Self::Stdio(_) => "stdio",
        })
    }
}
