//! Sidechannels that are named wrongly, refused, or left at every step.

use std::time::{Duration, Instant};

use gitring_daemon::client::Client;
use gitring_proto::gitaly::PostUploadPackWithSidechannelRequest;
use gitring_proto::gitaly::smart_http_service_client::SmartHttpServiceClient;
use gitring_tests::gitaly::{Door, connect, named, refusal, run};
use gitring_tests::http2;
use gitring_tests::pktline;
use gitring_tests::process::wait_until;
use gitring_tests::yamux::{self, Connection, FIN, Frame, GRPC, RST, data, header};
use tonic::{Code, Request, Status};

use super::health::Health;
use super::hostile_mux::{exists, says_yes};

const METHOD: &str = "/gitaly.SmartHTTPService/PostUploadPackWithSidechannel";

/// Up to where a client behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// The call was made.
    Called,
    /// The node opened the stream.
    Opened,
    /// The client said `ok`.
    Confirmed,
    /// Half a packet was sent.
    WithinPacket,
    /// The request was sent, without the half close.
    BeforeEnd,
    /// All was sent, and the pack flows.
    PackFlows,
}

const STEPS: [Step; 6] = [
    Step::Called,
    Step::Opened,
    Step::Confirmed,
    Step::WithinPacket,
    Step::BeforeEnd,
    Step::PackFlows,
];

/// How a client leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The connection ends.
    Disconnect,
    /// The sidechannel's stream is reset.
    Reset,
    /// The sidechannel's stream is closed, without the packet that ends a request.
    Close,
    /// The call is cancelled.
    Cancel,
    /// The stream of gRPC ends.
    EndGrpc,
}

const WAYS: [Way; 5] = [Way::Disconnect, Way::Reset, Way::Close, Way::Cancel, Way::EndGrpc];

/// The message of a fetch from `heavy.git` in version 2.
fn message() -> Vec<u8> {
    let repository = b"\x12\x07default\x1a\x09heavy.git";
    let length = u8::try_from(repository.len()).expect("short");
    // `repository = 1` and `git_protocol = 3`
    [&[0x0a, length][..], repository, b"\x1a\x09version=2"].concat()
}

/// Makes a call and goes as far as `step`; the sidechannel's stream, if it was opened.
fn go(connection: &mut Connection, clone: &[u8], step: Step) -> Option<u32> {
    let id = [("gitaly-sidechannel-id", "7")];
    connection.send_grpc(&http2::call(1, METHOD, &id, &message()));
    if step < Step::Opened {
        return None;
    }
    let opened = |frame: &Frame| frame.data.starts_with(b"sidechannel");
    let frame = connection.find(opened).expect("the node opens a stream");
    assert_eq!(frame.data, b"sidechannel\0\0\0\0\0\0\0\x07");
    let packet = pktline::data(clone);
    let sent: &[&[u8]] = match step {
        Step::Called | Step::Opened => &[],
        Step::Confirmed => &[b"ok"],
        Step::WithinPacket => &[b"ok", &packet[..packet.len() / 2]],
        Step::BeforeEnd => &[b"ok", &packet],
        Step::PackFlows => &[b"ok", &packet, b"0000"],
    };
    connection.send(&header(0, yamux::WINDOW_UPDATE, yamux::ACK, frame.id, 0));
    sent.iter().for_each(|bytes| connection.send(&data(0, frame.id, bytes)));
    if step == Step::PackFlows {
        let mut read = 0;
        while read < 200_000 {
            let next = connection.receive().expect("the pack flows");
            read += if next.id == frame.id { next.data.len() } else { 0 };
        }
    }
    Some(frame.id)
}

#[test]
fn clients_that_leave_at_every_step() {
    let health = Health::new();
    for way in WAYS {
        for step in STEPS {
            let mut connection = Connection::with_grpc(health.node.gitaly_address());
            let stream = go(&mut connection, &health.clone, step);
            match (way, stream) {
                (Way::Reset, Some(id)) => {
                    connection.send(&header(0, yamux::WINDOW_UPDATE, RST, id, 0));
                }
                (Way::Close, Some(id)) => {
                    connection.send(&header(0, yamux::WINDOW_UPDATE, FIN, id, 0));
                }
                (Way::Cancel, _) => {
                    let code = 8_u32.to_be_bytes();
                    connection.send_grpc(&http2::frame(http2::RST_STREAM, 0, 1, &code));
                }
                (Way::EndGrpc, _) => {
                    connection.send(&header(0, yamux::WINDOW_UPDATE, FIN, GRPC, 0));
                }
                // Where nothing was opened, nothing can be left but the connection.
                (Way::Disconnect, _) | (Way::Reset | Way::Close, None) => continue,
            }
            if way == Way::Cancel || way == Way::Reset {
                connection.send_grpc(&exists(3));
                assert!(connection.find_grpc(says_yes).is_some(), "{way:?} after {step:?}");
            }
        }
    }
    health.assert_unchanged();
}

/// Whoever keeps the connection and leaves the call to itself is told after five seconds.
#[test]
fn a_sidechannel_that_nobody_confirms() {
    let health = Health::new();
    let mut connection = Connection::with_grpc(health.node.gitaly_address());
    let begun = Instant::now();
    let id = go(&mut connection, &health.clone, Step::Opened).expect("a stream");
    let reset = connection.find(|frame| frame.id == id && frame.flags & RST != 0);
    assert!(reset.is_some());
    let elapsed = begun.elapsed();
    assert!(elapsed > Duration::from_secs(4) && elapsed < Duration::from_secs(15), "{elapsed:?}");
    let mut connection = Connection::with_grpc(health.node.gitaly_address());
    let id = go(&mut connection, &health.clone, Step::Opened).expect("a stream");
    connection.send(&data(0, id, b"no"));
    assert!(connection.find(|frame| frame.id == id && frame.flags & RST != 0).is_some());
    connection.send_grpc(&exists(3));
    assert!(connection.find_grpc(says_yes).is_some());
    drop(connection);
    health.assert_unchanged();
}

/// Packets that no honest client sends end the call, not the connection.
#[test]
fn packets_that_are_none() {
    let health = Health::new();
    for wrong in [&b"zzzz"[..], b"0001", b"0002", b"0003", b"fff1", b"ffff", b"-001", b"\0\0\0\0"] {
        let mut connection = Connection::with_grpc(health.node.gitaly_address());
        let id = go(&mut connection, &health.clone, Step::Confirmed).expect("a stream");
        connection.send(&data(0, id, wrong));
        let ended = |frame: &Frame| frame.id == id && frame.flags & (RST | FIN) != 0;
        assert!(connection.find(ended).is_some(), "{}", wrong.escape_ascii());
        connection.send_grpc(&exists(3));
        assert!(connection.find_grpc(says_yes).is_some(), "{}", wrong.escape_ascii());
    }
    health.assert_unchanged();
}

/// More than the node lets a client send on a sidechannel.
#[test]
fn a_window_overrun() {
    let health = Health::new();
    let mut connection = Connection::with_grpc(health.node.gitaly_address());
    let id = go(&mut connection, &health.clone, Step::Confirmed).expect("a stream");
    connection.send(&header(0, yamux::DATA, 0, id, 2 << 20));
    assert!(connection.is_ended());
    health.assert_unchanged();
}

/// A client that stops reading holds what fits into its window and no more.
#[test]
fn clients_that_stop_reading() {
    let health = Health::new();
    let stopped: Vec<_> = (0..8)
        .map(|_| {
            let mut connection = Connection::with_grpc(health.node.gitaly_address());
            go(&mut connection, &health.clone, Step::PackFlows);
            connection
        })
        .collect();
    health.assert_serving();
    drop(stopped);
    health.assert_unchanged();
}

async fn post(client: &Client, ids: &[&str]) -> Result<(), Status> {
    let mut request = Request::new(PostUploadPackWithSidechannelRequest {
        repository: named("varied.git"),
        ..Default::default()
    });
    for id in ids {
        let id = id.parse().expect("an ASCII value");
        request.metadata_mut().append("gitaly-sidechannel-id", id);
    }
    let mut http = SmartHttpServiceClient::new(client.clone());
    http.post_upload_pack_with_sidechannel(request).await.map(drop)
}

#[test]
fn ids_that_mean_nothing() {
    let health = Health::new();
    run(async {
        let client = connect(&health.node, Door::Mux, "").await;
        for id in ["x", "", "1.5", "0x1", "1,2", "9223372036854775808", "1 2"] {
            let (code, text) = refusal(post(&client, &[id]).await);
            let expected = "open sidechannel: the sidechannel id is not a number";
            assert_eq!((code, &*text), (Code::Internal, expected), "{id:?}");
        }
        // Numbers, but not of anybody who waits.
        for id in ["77", "-1", "9223372036854775807"] {
            let (code, text) = refusal(post(&client, &[id]).await);
            assert_eq!(code, Code::Internal, "{id}: {text}");
            assert!(text.starts_with("open sidechannel: "), "{id}: {text}");
        }
        // The last value counts, as in Gitaly.
        let (_, text) = refusal(post(&client, &["0", "x"]).await);
        assert!(text.contains("not a number"), "{text}");
    });
    health.assert_unchanged();
}

/// Two calls with one id: the first stream is the client's, the second is nobody's.
#[test]
fn an_id_that_comes_twice() {
    let health = Health::new();
    run(async {
        let client = connect(&health.node, Door::Mux, "").await;
        let waiter = client.sidechannel().expect("the connection is a mux");
        let id = waiter.id().to_string();
        let talking = async {
            let mut end = waiter.accept(Duration::from_secs(10)).await.expect("one stream comes");
            end.write(pktline::FLUSH.to_vec().into()).await.expect("the node reads");
            end.finish_writing().await.expect("the node reads");
            while let Ok(Some(_)) = end.read().await {}
            end.close().await.expect("the stream can be closed");
        };
        let ids = [id.as_str()];
        let (first, second, ()) = tokio::join!(post(&client, &ids), post(&client, &ids), talking);
        let refused = [first, second].into_iter().filter_map(Result::err);
        let refused: Vec<_> =
            refused.filter(|status| status.message().starts_with("open sidechannel: ")).collect();
        assert_eq!(refused.len(), 1, "{refused:?}");
    });
    health.assert_unchanged();
}

/// Calls that nobody waits for any more are counted as such.
#[test]
fn a_call_that_is_left_ends_with_its_client() {
    let health = Health::new();
    let mut connection = Connection::with_grpc(health.node.gitaly_address());
    go(&mut connection, &health.clone, Step::PackFlows);
    drop(connection);
    let ended = || {
        let log = health.node.log();
        log.contains("\"grpc.code\":\"Canceled\"") && log.contains("PostUploadPackWithSidechannel")
    };
    wait_until("the call has ended", Duration::from_secs(10), ended);
    health.assert_unchanged();
}
