//! A node that changes while it runs: its configuration, its certificate, its process.
//!
//! Always true: addresses stay the same.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use gitring_daemon::client::Address;
use gitring_daemon::tls::Trust;

use super::{Node, Plan};
use crate::process;

/// Longest wait for what a signal brings about, on a loaded machine.
const CHANGE_MAX: Duration = Duration::from_secs(60);

/// PEM: who signed both certificates.
const AUTHORITY: &str = include_str!("../tls/authority.pem");

/// A certificate for `localhost` and 127.0.0.1, good until 2126, and its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Certificate {
    /// PEM.
    pub certificate: &'static str,
    /// PEM.
    pub key: &'static str,
}

/// What a node within TLS starts with.
pub const FIRST: Certificate = Certificate {
    certificate: include_str!("../tls/first.pem"),
    key: include_str!("../tls/first-key.pem"),
};
/// What may follow.
pub const SECOND: Certificate = Certificate {
    certificate: include_str!("../tls/second.pem"),
    key: include_str!("../tls/second-key.pem"),
};

// === impl Node ===

impl Node {
    /// Starts a node that also listens for TLS, as [`FIRST`]. In `more`, `FOLDER` is its folder,
    /// and `[tls]` has its certificate already.
    pub fn start_within_tls(more: &str) -> Self {
        let mut plan = Plan { within_tls: true, ..Plan::fresh() };
        plan.more = plan.with_tls(more);
        plan.put(FIRST);
        plan.start()
    }

    /// Where it listens for TLS, trusting the authority of its certificates.
    pub fn tls_address(&self) -> Address {
        let authority = self.file("authority.pem", AUTHORITY);
        let address = Address::Tls {
            host: "localhost".to_owned(),
            port: self.ports.tls.port(),
            trust: Trust::System,
        };
        address.trusting(Trust::authorities(&authority).expect("the authority is a certificate"))
    }

    /// The port that it listens for TLS on.
    pub fn tls_port(&self) -> u16 {
        self.ports.tls.port()
    }

    /// Replaces certificate and key on disk.
    pub fn put_certificate(&self, certificate: Certificate) {
        self.plan.put(certificate);
    }

    /// Writes a file that only its owner may read into the node's folder.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        self.plan.file(name, text)
    }

    /// Replaces the end of the configuration, and tells nobody.
    pub fn configure(&mut self, more: &str) {
        self.plan.more = match self.plan.within_tls {
            true => self.plan.with_tls(more),
            false => more.to_owned(),
        };
        let config = self.plan.folder.path().join("config.toml");
        // At once, as an operator should: a file that is half written would be refused.
        let fresh = config.with_extension("new");
        fs::write(&fresh, self.plan.configuration(self.ports)).expect("a file can be written");
        fs::rename(fresh, config).expect("a name can be replaced");
    }

    /// Sends SIGHUP and waits until the file was read; whether it was taken.
    pub fn reload(&mut self) -> bool {
        let count = |log: &str, words: &str| log.matches(words).count();
        let (taken, refused) = ("configuration reloaded", "configuration not reloaded");
        let log = self.log();
        let before = (count(&log, taken), count(&log, refused));
        process::signal(self.pid(), "HUP");
        process::wait_until("the configuration is read", CHANGE_MAX, || {
            let log = self.log();
            (count(&log, taken), count(&log, refused)) != before
        });
        count(&self.log(), taken) > before.0
    }

    /// Sends SIGUSR2 and waits until another process serves; the process that served before. `None`
    /// if it goes on.
    pub fn hand_over(&mut self) -> Option<u32> {
        let before = self.pid();
        let (done, failed) = ("\"successor\":", "not handed over");
        let log = self.log();
        let counts = (log.matches(done).count(), log.matches(failed).count());
        process::signal(before, "USR2");
        process::wait_until("another process serves", CHANGE_MAX, || {
            let log = self.log();
            (log.matches(done).count(), log.matches(failed).count()) != counts
        });
        let log = self.log();
        if log.matches(done).count() == counts.0 {
            return None;
        }
        let (_, rest) = log.rsplit_once(done)?;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        self.successor = Some(digits.parse().expect("a process has a number"));
        Some(before)
    }

    /// Ends the process that has taken the child's place; what is left to end of its children.
    pub(super) fn end_successor(&self) -> Vec<u32> {
        let Some(pid) = self.successor.filter(|pid| Path::new(&format!("/proc/{pid}")).exists())
        else {
            return Vec::new();
        };
        let children = process::children(pid);
        drop(Command::new("sh").arg("-c").arg(format!("kill -KILL {pid} 2>&-")).status());
        children
    }
}

// === impl Plan ===

impl Plan {
    fn with_tls(&self, more: &str) -> String {
        let folder = self.folder.path().display().to_string();
        let files = "[tls]\ncertificate_path = \"FOLDER/certificate.pem\"\n\
                     key_path = \"FOLDER/key.pem\"\n";
        let more = match more.contains("[tls]\n") {
            true => more.replacen("[tls]\n", files, 1),
            false => format!("{files}{more}"),
        };
        more.replace("FOLDER", &folder)
    }

    fn put(&self, certificate: Certificate) {
        // Two files cannot change at once: who looks in between finds a pair that does not fit.
        self.file("key.pem", certificate.key);
        self.file("certificate.pem", certificate.certificate);
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        let fresh = self.folder.path().join(format!("{name}.new"));
        fs::write(&fresh, text).expect("a file can be written");
        let mode = fs::Permissions::from_mode(0o600);
        fs::set_permissions(&fresh, mode).expect("its mode can be changed");
        fs::rename(fresh, &path).expect("a name can be replaced");
        path
    }
}
