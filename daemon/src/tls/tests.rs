//! Handshakes between both sides of ours, and identities that change on disk.

use super::*;
use crate::client::Address;
use crate::listener::{Socket, Stream};
use std::fs;
use std::io::{self, IoSlice};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

const AUTHORITY: &str = include_str!("../../../tests/harness/tls/authority.pem");
const FIRST: [&str; 2] = [
    include_str!("../../../tests/harness/tls/first.pem"),
    include_str!("../../../tests/harness/tls/first-key.pem"),
];
const SECOND: [&str; 2] = [
    include_str!("../../../tests/harness/tls/second.pem"),
    include_str!("../../../tests/harness/tls/second-key.pem"),
];

fn put(dir: &Path, [certificate, key]: [&str; 2]) -> Identity {
    let (certificate_path, key_path) = (dir.join("certificate.pem"), dir.join("key.pem"));
    fs::write(&certificate_path, certificate).unwrap();
    fs::write(&key_path, key).unwrap();
    Identity { certificate_path, key: PrivateKey::File(key_path) }
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let server = listener.accept().unwrap().0;
    for socket in [&client, &server] {
        socket.set_nonblocking(true).unwrap();
    }
    (client, server)
}

/// The name in the certificate that a client is shown.
async fn shown(server: &Server, trust: &Trust) -> io::Result<String> {
    shown_as(server, trust, "localhost").await
}

async fn shown_as(server: &Server, trust: &Trust, name: &'static str) -> io::Result<String> {
    let (client, accepted) = pair();
    let connecting = async {
        let connector = TlsConnector::from(trust.config().map_err(io::Error::other)?);
        let socket = tokio::net::TcpStream::from_std(client)?;
        let stream = connector.connect(ServerName::try_from(name).unwrap(), socket).await?;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(HTTP2));
        let chain = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
        let holds = |name: &str| chain.windows(name.len()).any(|part| part == name.as_bytes());
        Ok(["first", "second"].into_iter().find(|name| holds(name)).unwrap().to_owned())
    };
    let (shown, _) = tokio::join!(connecting, server.handshake(accepted));
    shown
}

/// Goal: a renewed pair is taken by the next handshake, one that does not fit changes nothing, and
/// what is looked at twice is read once.
#[tokio::test]
async fn renewed_certificates() {
    let dir = tempfile::tempdir().unwrap();
    let authority = dir.path().join("authority.pem");
    fs::write(&authority, AUTHORITY).unwrap();
    let trust = Trust::authorities(&authority).unwrap();
    let identity = put(dir.path(), FIRST);
    let server = Server::new(Loaded::read(&identity, MinVersion::Tls12).unwrap());
    assert_eq!(shown(&server, &trust).await.unwrap(), "first");
    assert!(!server.renew().unwrap());

    put(dir.path(), [SECOND[0], FIRST[1]]);
    server.renew().unwrap_err();
    assert_eq!(shown(&server, &trust).await.unwrap(), "first", "certificate without its key");
    fs::remove_file(dir.path().join("key.pem")).unwrap();
    server.renew().unwrap_err();
    put(dir.path(), SECOND);
    assert!(server.renew().unwrap());
    assert!(!server.renew().unwrap());
    assert_eq!(shown(&server, &trust).await.unwrap(), "second");

    // A client that trusts others, and one that asks for somebody else.
    shown(&server, &Trust::System).await.unwrap_err();
    shown_as(&server, &trust, "elsewhere").await.unwrap_err();
    assert_eq!(shown_as(&server, &trust, "127.0.0.1").await.unwrap(), "second");
    let inline = PrivateKey::Inline(FIRST[1].to_owned());
    assert!(!format!("{inline:?}").contains("KEY"), "{inline:?}");
    let identity = Identity { key: inline, ..identity };
    Loaded::read(&identity, MinVersion::Tls13).unwrap_err();
}

/// Goal: a silent client and one that sends a byte a second end after the same time; what is no TLS
/// ends at once.
#[tokio::test(start_paused = true)]
async fn clients_without_a_handshake() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::new(Loaded::read(&put(dir.path(), FIRST), MinVersion::Tls12).unwrap());
    let (silent, accepted) = pair();
    let error = server.handshake(accepted).await.unwrap_err();
    assert_eq!(error.reason(), "timed out");
    drop(silent);

    let (slow, accepted) = pair();
    let mut slow = tokio::net::TcpStream::from_std(slow).unwrap();
    let trickling = async {
        // The beginning of a ClientHello, for longer than anybody waits.
        for byte in [22, 3, 1, 2, 0, 1].into_iter().chain(std::iter::repeat(0)) {
            slow.write_all(&[byte]).await.unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let began = tokio::time::Instant::now();
    tokio::select! {
        () = trickling => unreachable!("it never ends"),
        made = server.handshake(accepted) => assert_eq!(made.unwrap_err().reason(), "timed out"),
    }
    assert!(began.elapsed() <= HANDSHAKE_MAX + Duration::from_secs(1), "{:?}", began.elapsed());

    let check = async |said: &[u8], reason: &str| {
        let (client, accepted) = pair();
        let mut client = tokio::net::TcpStream::from_std(client).unwrap();
        client.write_all(said).await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(server.handshake(accepted).await.unwrap_err().reason(), reason, "{said:?}");
    };
    check(b"PRI * HTTP/2.0\r\n\r\n", "not tls").await;
    check(b"backchannel", "not tls").await;
    check(b"\x16\x03", "broken off").await;
    check(b"", "broken off").await;
}

/// Goal: a connection that changed its runtime after the handshake carries what vectored writes
/// give it, in order and whole, whatever the client takes at once.
#[test]
fn vectored_writes_after_a_move() {
    const SLICE_BYTES: usize = 40_000;
    const SLICES: usize = 200;
    let dir = tempfile::tempdir().unwrap();
    let authority = dir.path().join("authority.pem");
    fs::write(&authority, AUTHORITY).unwrap();
    let config = Trust::authorities(&authority).unwrap().config().unwrap();
    let (client, accepted) = pair();
    let reading = std::thread::spawn(move || {
        runtime().block_on(async {
            let socket = tokio::net::TcpStream::from_std(client).unwrap();
            let name = ServerName::try_from("127.0.0.1").unwrap();
            let connector = TlsConnector::from(config);
            let mut stream = connector.connect(name, socket).await.unwrap();
            stream.write_all(b"hello").await.unwrap();
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).await.unwrap();
            bytes
        })
    });
    let server = Server::new(Loaded::read(&put(dir.path(), FIRST), MinVersion::Tls13).unwrap());
    let socket = runtime().block_on(server.handshake(accepted)).unwrap();
    let expected: Vec<u8> = (0..SLICES * SLICE_BYTES).map(|at| (at / 7) as u8).collect();
    let sent = expected.clone();
    runtime().block_on(async move {
        let mut stream = Socket::Tls(socket).register().unwrap();
        assert!(matches!(stream, Stream::Tls(_)));
        let mut hello = [0; 5];
        stream.read_exact(&mut hello).await.unwrap();
        let mut rest = &sent[..];
        while !rest.is_empty() {
            let slices: Vec<_> = rest.chunks(SLICE_BYTES).take(16).map(IoSlice::new).collect();
            let written = stream.write_vectored(&slices).await.unwrap();
            rest = &rest[written..];
        }
        stream.flush().await.unwrap();
        stream.shutdown().await.unwrap();
    });
    assert!(reading.join().unwrap() == expected);
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Goal: trust is part of an address, and does not show in it.
#[test]
fn trust_of_an_address() {
    let dir = tempfile::tempdir().unwrap();
    let authority = dir.path().join("authority.pem");
    fs::write(&authority, AUTHORITY).unwrap();
    let address: Address = "tls://localhost:1".parse().unwrap();
    let trusting = address.clone().trusting(Trust::authorities(&authority).unwrap());
    assert_eq!(address.to_string(), trusting.to_string());
    assert_ne!(address, trusting);
    fs::write(&authority, "nothing").unwrap();
    Trust::authorities(&authority).unwrap_err();
}
