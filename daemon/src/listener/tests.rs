//! Sockets and their files, with processes that come and go.

use super::*;
use crate::listener::inherited::Received;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

fn check(path: &Path, expected: Result<(), io::ErrorKind>) -> Option<Listener> {
    let listened = unix(path);
    let outcome = listened.as_ref().map(|_| ()).map_err(|error| error.source.kind());
    assert_eq!(outcome, expected, "{}", path.display());
    listened.ok()
}

/// Goal: a file that a killed process left is no obstacle, a living process and a file of
/// somebody else are.
#[test]
fn only_an_abandoned_socket_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let first = check(&path, Ok(()));
    check(&path, Err(io::ErrorKind::AddrInUse));
    drop(first);
    assert!(!path.exists());
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "left behind as by a killed process");
    drop(check(&path, Ok(())));
    std::fs::write(&path, "not a socket").unwrap();
    check(&path, Err(io::ErrorKind::AddrInUse));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "not a socket");
}

fn received(socket: impl Into<OwnedFd>, has_file: bool) -> Received {
    Received { socket: socket.into(), name: "one".to_owned(), has_file }
}

/// Goal: of three sockets each is found by where it listens, and one that nobody wants is named.
#[test]
fn inherited_sockets_are_found_by_their_address() {
    let bind = |address: &str| std::net::TcpListener::bind(address).unwrap();
    let (loopback, both) = (bind("127.0.0.1:0"), bind("[::]:0"));
    let (at, port) = (loopback.local_addr().unwrap(), both.local_addr().unwrap().port());
    let unwanted = bind("127.0.0.1:0");
    let unwanted_at = unwanted.local_addr().unwrap();
    let inherited = [unwanted, both, loopback].map(|socket| received(socket, false));
    let mut inherited = Inherited::new(inherited.into()).unwrap();
    assert_eq!(inherited.tcp(at).unwrap().local_addr().unwrap(), at);
    let any = SocketAddr::from(([0, 0, 0, 0], port));
    assert!(inherited.tcp(any).unwrap().local_addr().unwrap().is_ipv6(), "systemd's both");
    let fresh = inherited.tcp(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    assert_ne!(fresh.local_addr().unwrap(), unwanted_at, "port 0 wants a new one");
    assert_eq!(inherited.settle(), [format!("{unwanted_at} (one)")]);
    assert!(std::net::TcpStream::connect(unwanted_at).is_err(), "closed");

    let connected = std::net::TcpStream::connect(at).unwrap_or_else(|_| {
        let listener = bind("127.0.0.1:0");
        std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap()
    });
    Inherited::new(vec![received(connected, false)]).unwrap_err();
}

/// Goal: the file of a unix socket outlives the process that gave it away, and a successor that
/// fails; it goes with the successor that serves.
#[test]
fn the_file_follows_the_process_that_serves() {
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().join("socket");
    let first = unix(&path).unwrap();
    let kept = Kept::of(&first).unwrap();
    let sent = || received(kept.socket().try_clone_to_owned().unwrap(), kept.has_file());

    let mut failing = Inherited::new(vec![sent()]).unwrap();
    drop(failing.unix(&path).unwrap());
    drop(failing);
    assert!(path.exists(), "it never served");

    let mut serving = Inherited::new(vec![sent()]).unwrap();
    let second = serving.unix(&path).unwrap();
    assert!(serving.settle().is_empty());
    kept.give_away();
    drop(first);
    assert!(path.exists(), "the first one left");
    drop(std::os::unix::net::UnixStream::connect(&path).unwrap());
    drop(second);
    assert!(!path.exists(), "nobody listens");

    // Another path in the successor's configuration: the file of the old one goes.
    let first = unix(&path).unwrap();
    let kept = Kept::of(&first).unwrap();
    let socket = first_socket(&first).try_clone_to_owned().unwrap();
    assert_eq!(Inherited::new(vec![received(socket, true)]).unwrap().settle().len(), 1);
    assert!(!path.exists());
    kept.give_away();
}

fn first_socket(listener: &Listener) -> std::os::fd::BorrowedFd<'_> {
    match listener {
        Listener::Tcp(socket) | Listener::Tls(socket, _) => socket.as_fd(),
        Listener::Unix(socket, _) => socket.as_fd(),
    }
}
