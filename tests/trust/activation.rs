//! Started as a service manager starts services: with sockets that listen already, and with one
//! that wants to be told.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use gitring_daemon::client::Address;
use gitring_tests::git;
use gitring_tests::gitaly::Door;
use gitring_tests::node;
use gitring_tests::process::signal;

use super::{LET_IN, ask_once};

/// Puts the sockets where a service manager does, and becomes the node. A shell knows its number
/// before it is another program, which is what `LISTEN_PID` wants.
const LAUNCHER: &str = "exec 3<&0 4<&1 </dev/null >&2; \
    LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=gitaly.socket:door exec \"$@\"";

struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn told(manager: &UnixDatagram) -> String {
    let mut buffer = [0; 256];
    let length = manager.recv(&mut buffer).expect("the node says something");
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

/// Goal: clients that connected before the node was there are answered; the manager hears of the
/// start, of a reload, of the successor (from the process that it knows) and of the end; the file
/// of its socket stays.
#[test]
fn sockets_of_a_service_manager() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    let (tcp, unix) = (
        TcpListener::bind("127.0.0.1:0").expect("a port is free"),
        UnixListener::bind(at("gitaly.socket")).expect("a path is free"),
    );
    let address = tcp.local_addr().expect("a bound socket has an address");
    let manager = UnixDatagram::bind(at("notify")).expect("a path is free");
    manager.set_read_timeout(Some(Duration::from_secs(60))).expect("a time is set");
    std::fs::create_dir(at("storage")).expect("a fresh folder is empty");
    let config = format!(
        "listen_addr = \"{address}\"\nsocket_path = \"{0}/gitaly.socket\"\n\
         runtime_dir = \"{0}\"\ngraceful_restart_timeout = \"5s\"\n\
         [[storage]]\nname = \"default\"\npath = \"{0}/storage\"\n",
        folder.path().display()
    );
    std::fs::write(at("config.toml"), config).expect("a file can be written");
    // In the backlog since before the node.
    let early = std::net::TcpStream::connect(address).expect("somebody listens");
    let log = std::fs::File::create(at("log")).expect("a file can be made");
    let mut command = Command::new("sh");
    git::close_environment(&mut command);
    let started = command
        .args(["-c", LAUNCHER, "sh"])
        .arg(node::program())
        .args(["serve".into(), at("config.toml")])
        .env("NOTIFY_SOCKET", at("notify"))
        .env("GITALY_PID_FILE", at("pid"))
        .stdin(Stdio::from(OwnedFd::from(unix)))
        .stdout(Stdio::from(OwnedFd::from(tcp)))
        .stderr(log)
        .spawn();
    // It holds the sockets, too.
    drop(command);
    let mut service = Service(started.expect("sh can be started"));
    let pid_file = || std::fs::read_to_string(at("pid")).unwrap_or_default();
    assert_eq!(told(&manager), "READY=1");
    assert_eq!(pid_file(), service.0.id().to_string());
    drop(early);
    let tcp = Address::Tcp { host: address.ip().to_string(), port: address.port() };
    let unix = Address::Unix(at("gitaly.socket"));
    let all_answer = || {
        assert_eq!(ask_once(&tcp, Door::Tcp, ""), LET_IN);
        assert_eq!(ask_once(&unix, Door::Unix, ""), LET_IN);
    };
    all_answer();

    signal(service.0.id(), "HUP");
    let reloading = told(&manager);
    let stamp = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("as sd_notify(3)");
    assert!(stamp.parse::<u64>().is_ok_and(|us| us > 0), "{reloading}");
    assert_eq!(told(&manager), "READY=1");

    signal(service.0.id(), "USR2");
    let named = told(&manager);
    let named = named.strip_prefix("MAINPID=").and_then(|rest| rest.strip_suffix("\nREADY=1"));
    let successor: u32 = named.and_then(|pid| pid.parse().ok()).expect("as sd_notify(3)");
    assert_eq!(pid_file(), successor.to_string());
    assert!(service.0.wait().expect("a child can be waited for").success(), "the old one ends");
    all_answer();

    signal(successor, "TERM");
    assert_eq!(told(&manager), "STOPPING=1");
    let gone = || ask_refused(&tcp);
    gitring_tests::process::wait_until("nobody listens", Duration::from_secs(20), gone);
    assert!(at("gitaly.socket").exists(), "the file is the manager's");
    assert_eq!(pid_file(), "");
    let log = std::fs::read_to_string(at("log")).expect("a log");
    assert!(!log.contains("closed an inherited socket"), "{log}");
}

fn ask_refused(address: &Address) -> bool {
    let Address::Tcp { host, port } = address else { return false };
    std::net::TcpStream::connect((host.as_str(), *port)).is_err()
}
