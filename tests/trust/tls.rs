//! TLS: what passes through it, and who does not.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gitring_daemon::client::{Address, Client};
use gitring_daemon::tls::verifier;
use gitring_proto::gitaly::PostUploadPackWithSidechannelRequest;
use gitring_proto::gitaly::smart_http_service_client::SmartHttpServiceClient;
use gitring_tests::gitaly::{Door, dial, named, run, with_sidechannel};
use gitring_tests::metrics;
use gitring_tests::node::Node;
use gitring_tests::pktline::{Packet, parse};
use gitring_tests::process::wait_until;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, SupportedProtocolVersion};
use tonic::Code;

use super::{LET_IN, ask, ask_once, heavy, tcp};

const TOKEN: &str = "[auth]\ntoken = \"secret\"\n";

/// `protocol_version` (RFC 8446 §6.2), fatal, as a record.
const ALERT_VERSION: [u8; 2] = [2, 70];
/// `handshake_failure`
const ALERT_FAILURE: [u8; 2] = [2, 40];

/// The pack that a client is sent over a sidechannel.
async fn fetch(address: &Address, input: &[u8]) -> Vec<u8> {
    let client = dial(address, Door::Mux, "secret").await;
    let message = PostUploadPackWithSidechannelRequest {
        repository: named("heavy.git"),
        git_protocol: "version=2".to_owned(),
        ..Default::default()
    };
    let mut http = SmartHttpServiceClient::new(client.clone());
    let answered = with_sidechannel(&client, message, input, async move |request| {
        http.post_upload_pack_with_sidechannel(request).await
    });
    let answered = answered.await;
    answered.reply.expect("a clone");
    // How it is cut into packets depends on how fast it is made.
    let data = parse(&answered.bytes).into_iter().filter_map(|packet| {
        let Packet::Data(payload) = packet else { return None };
        payload.strip_prefix(&[1]).map(<[u8]>::to_vec)
    });
    data.collect::<Vec<_>>().concat()
}

/// Goal: gRPC alone and in a mux, sidechannels of 12 MB and many calls at once carry within TLS
/// what they carry without, and count as what they are.
#[test]
fn calls_and_packs_within_tls() {
    let node = Node::start_within_tls(TOKEN);
    let (_heavy, input) = heavy(&node);
    let tls = node.tls_address();
    for door in [Door::Tcp, Door::Mux] {
        assert_eq!(ask_once(&tls, door, "secret"), LET_IN, "{door:?}");
        assert_eq!(ask_once(&tls, door, "wrong"), Code::PermissionDenied, "{door:?}");
        assert_eq!(ask_once(&tls, door, ""), Code::Unauthenticated, "{door:?}");
    }
    assert_eq!(metrics::sum(&node, "gitaly_connections_total", &[("type", "tls")]), 6);
    // The pack is made once: what is sent afterwards is the same file.
    let plain = run(fetch(&tcp(&node), &input));
    assert!(plain.len() > 10_000_000 && plain.starts_with(b"PACK"), "{} bytes", plain.len());
    assert!(run(fetch(&tls, &input)) == plain, "a pack within TLS");
    let at_once = run(async {
        let fetches: [_; 4] = std::array::from_fn(|_| fetch(&tls, &input));
        let [a, b, c, d] = fetches;
        tokio::join!(a, b, c, d)
    });
    let (a, b, c, d) = at_once;
    assert!([a, b, c, d].iter().all(|pack| *pack == plain), "four at once");
}

/// Goal: a client that does not trust the authority makes no call.
#[test]
fn a_server_that_is_not_trusted() {
    let node = Node::start_within_tls("");
    run(async {
        let port = node.tls_port();
        let system: Address = format!("tls://localhost:{port}").parse().expect("an address");
        let error = Client::connect(&system, b"").await.expect_err("nobody vouches for it");
        let said = gitring_daemon::log::chain(&error);
        assert!(said.contains("UnknownIssuer") || said.contains("no certificate"), "{said}");
        assert_eq!(ask(&node.tls_address(), Door::Tcp, "").await, LET_IN);
    });
}

/// The first flight of a client that speaks a version and nothing newer: RFC 4346 §7.4.1.2 with
/// ciphers that every server of those days had.
fn hello(version: [u8; 2]) -> Vec<u8> {
    let mut body = version.to_vec();
    body.extend([7; 32]);
    // No session; ECDHE-ECDSA and ECDHE-RSA with AES-128-CBC-SHA; no compression.
    body.extend([0, 0, 4, 0xc0, 0x09, 0xc0, 0x13, 1, 0]);
    // Extensions: curve P-256, points uncompressed.
    body.extend([0, 14, 0, 10, 0, 4, 0, 2, 0, 23, 0, 11, 0, 2, 1, 0]);
    let length = u16::try_from(body.len()).expect("short").to_be_bytes();
    let mut message = vec![1, 0, length[0], length[1]];
    message.extend(body);
    let length = u16::try_from(message.len()).expect("short").to_be_bytes();
    [&[22, 3, 1, length[0], length[1]], &message[..]].concat()
}

fn connect(node: &Node) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", node.tls_port())).expect("the node accepts");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time is set");
    stream
}

/// Everything that the node says until it hangs up.
fn last_words(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset after the last word is an end, too.
    drop(stream.read_to_end(&mut bytes));
    bytes
}

/// Whether a client of ours that speaks these versions comes to an end of its handshake.
fn shakes_hands(node: &Node, versions: &[&'static SupportedProtocolVersion]) -> bool {
    let authority =
        node.file("authority-of-client.pem", include_str!("../harness/tls/authority.pem"));
    let trusted = gitring_daemon::tls::certificates(&authority).expect("a certificate");
    let trust = verifier(false, trusted).expect("an authority");
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .expect("versions that are known")
        .dangerous()
        .with_custom_certificate_verifier(trust)
        .with_no_client_auth();
    let name = "localhost".try_into().expect("a name");
    let mut session = ClientConnection::new(Arc::new(config), name).expect("a session");
    let mut socket = connect(node);
    while session.is_handshaking() {
        if session.complete_io(&mut socket).is_err() {
            return false;
        }
    }
    // A server of 1.3 judges after the client believes to be done.
    let _ = session.writer().write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    session.complete_io(&mut socket).is_ok()
}

/// Goal: versions below `min_version` end in an alert, whoever asks for them, and nothing else is
/// said.
#[test]
fn no_downgrade() {
    let lax = Node::start_within_tls("");
    let strict = Node::start_within_tls("[tls]\nmin_version = \"TLS 1.3\"\n");
    for node in [&lax, &strict] {
        for version in [[3, 0], [3, 1], [3, 2]] {
            let mut stream = connect(node);
            stream.write_all(&hello(version)).expect("a hello is sent");
            let said = last_words(&mut stream);
            let alert = said.get(5..).unwrap_or_default();
            assert_eq!(said.first(), Some(&21), "an alert, and nothing else: {said:?}");
            assert!([ALERT_VERSION, ALERT_FAILURE].iter().any(|known| known == alert), "{said:?}");
        }
    }
    assert!(shakes_hands(&lax, &[&TLS12]) && shakes_hands(&lax, &[&TLS13]));
    assert!(shakes_hands(&strict, &[&TLS13]) && !shakes_hands(&strict, &[&TLS12]));
}

/// Goal: clients that are silent, trickle, or speak no TLS at all delay nobody else, and are gone
/// after the time of a handshake.
#[test]
fn clients_that_never_finish_a_handshake() {
    let node = Node::start_within_tls(TOKEN);
    let began = Instant::now();
    let mut silent: Vec<_> = (0..200).map(|_| connect(&node)).collect();
    for (at, stream) in silent.iter_mut().enumerate() {
        if at % 2 == 0 {
            stream.write_all(&hello([3, 3])[..at % 40]).expect("a piece of a hello is sent");
        }
    }
    for door in [Door::Tcp, Door::Mux] {
        assert_eq!(ask_once(&node.tls_address(), door, "secret"), LET_IN, "{door:?}");
        assert_eq!(ask_once(&tcp(&node), door, "secret"), LET_IN, "{door:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(10), "they were waited for");
    for plain in
        [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], b"backchannel", b"GET / HTTP/1.1\r\n\r\n"]
    {
        let mut stream = connect(&node);
        stream.write_all(plain).expect("bytes are sent");
        let said = last_words(&mut stream);
        assert!(said.is_empty() || said[0] == 21, "no more than an alert: {said:?}");
    }
    let failed =
        |reason| metrics::sum(&node, "gitring_tls_handshake_failures_total", &[("reason", reason)]);
    wait_until("three who spoke no TLS", Duration::from_secs(5), || failed("not tls") == 3);
    wait_until("all others are gone", Duration::from_secs(30), || failed("timed out") == 200);
    for stream in &mut silent {
        assert!(last_words(stream).is_empty());
    }
    assert_eq!(ask_once(&node.tls_address(), Door::Tcp, "secret"), LET_IN);
}
