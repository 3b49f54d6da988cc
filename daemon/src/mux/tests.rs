//! Two muxes over pipes and sockets.

use super::*;
use bytes::Bytes;
use gitring_proto::yamux::WINDOW_INITIAL_BYTES;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::{sleep, timeout};

const SMALL: Limits = Limits { accepted_window_bytes: 256 << 10, backlog_max: 64, ..NODE };

struct End {
    mux: Mux,
    incoming: Incoming,
    driver: JoinHandle<Result<(), MuxError>>,
}

fn end(socket: impl AsyncRead + AsyncWrite + Unpin + 'static, role: Role) -> End {
    let (mux, incoming, driver) = start(socket, role, SMALL);
    End { mux, incoming, driver: spawn_local(driver) }
}

fn pair() -> (End, End) {
    let (a, b) = duplex(64 << 10);
    (end(a, Role::Client), end(b, Role::Server))
}

async fn local<F: Future>(test: F) -> F::Output {
    let done = LocalSet::new().run_until(timeout(Duration::from_secs(60), test)).await;
    done.unwrap()
}

async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (dialled, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    (dialled.unwrap(), accepted.unwrap().0)
}

/// Sends back what comes, then finishes.
async fn echo(mut stream: MuxStream) {
    while let Ok(Some(data)) = stream.receive().await {
        if stream.send(data).await.is_err() {
            return;
        }
    }
    let _ = stream.finish().await;
}

async fn serve_echo(mut incoming: Incoming) {
    while let Some(stream) = incoming.accept().await {
        spawn_local(echo(stream));
    }
}

fn content(seed: usize, length: usize) -> Bytes {
    (0..length).map(|at| (at.wrapping_mul(31) ^ seed) as u8).collect()
}

/// Writes and reads at the same time; the reader pauses before every piece.
async fn round_trip(mux: Mux, seed: usize, length: usize, pause: Duration) {
    let stream = mux.open().await.unwrap();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let sent = content(seed, length);
    let write = async {
        writer.write_all(&sent).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let read = async {
        let mut got = Vec::new();
        loop {
            if !pause.is_zero() {
                sleep(pause).await;
            }
            if reader.read_buf(&mut got).await.unwrap() == 0 {
                return got;
            }
        }
    };
    let ((), got) = tokio::join!(write, read);
    assert!(got == sent, "stream {seed} of {length} bytes");
}

async fn check_echo(
    a: impl AsyncRead + AsyncWrite + Unpin + 'static,
    b: impl AsyncRead + AsyncWrite + Unpin + 'static,
) {
    let (client, server) = (end(a, Role::Client), end(b, Role::Server));
    spawn_local(serve_echo(client.incoming));
    spawn_local(serve_echo(server.incoming));
    let slow = spawn_local(round_trip(client.mux.clone(), 99, 600_000, Duration::from_secs(1)));
    let fast: Vec<_> = (0..64)
        .map(|seed| {
            let mux = if seed % 2 == 0 { &client.mux } else { &server.mux };
            let length = [0, 1, 700, 5000, 70_000, 300_000, 1_100_000][seed * 5 % 7];
            spawn_local(round_trip(mux.clone(), seed, length, Duration::ZERO))
        })
        .collect();
    for one in fast {
        timeout(Duration::from_secs(30), one).await.unwrap().unwrap();
    }
    assert!(!slow.is_finished(), "the slow one was not slow");
    slow.abort();
}

#[tokio::test]
async fn streams_in_both_directions_and_a_slow_one_stalls_nobody() {
    local(async {
        let (a, b) = duplex(100_000);
        check_echo(a, b).await;
        let (a, b) = tcp().await;
        check_echo(a, b).await;
        let (a, b) = UnixStream::pair().unwrap();
        check_echo(a, b).await;
    })
    .await;
}

#[tokio::test]
async fn pieces_are_sent_as_they_are() {
    local(async {
        let (client, mut server) = pair();
        let mut stream = client.mux.open().await.unwrap();
        let big = content(1, 700_000);
        let mut pieces = vec![Bytes::from_static(b"0005"), big.clone(), Bytes::new(), big.clone()];
        spawn_local(async move {
            poll_fn(|cx| stream.poll_send_all(cx, &mut pieces)).await.unwrap();
            assert_eq!(pieces, Vec::<Bytes>::new());
            stream.finish().await.unwrap();
        });
        let mut accepted = server.incoming.accept().await.unwrap();
        let mut got = Vec::new();
        while let Some(data) = accepted.receive().await.unwrap() {
            got.extend_from_slice(&data);
        }
        assert!(got == [&b"0005"[..], &big, &big].concat());
    })
    .await;
}

#[tokio::test]
async fn a_stalled_reader_holds_one_window_and_one_queue() {
    local(async {
        let (client, mut server) = pair();
        let stream = client.mux.open().await.unwrap();
        let mut data = content(0, 4 << 20);
        let writer = spawn_local(async move {
            let length = data.len();
            let stuck = poll_fn(|cx| stream.poll_send(cx, &mut data));
            assert!(timeout(Duration::from_millis(300), stuck).await.is_err());
            (stream, length - data.len())
        });
        let stalled = server.incoming.accept().await.unwrap();
        let (stream, taken) = writer.await.unwrap();
        assert_eq!(taken, WINDOW_INITIAL_BYTES as usize + SMALL.send_queue_bytes_max);
        round_trip_beside(&client.mux, server.incoming).await;
        drop((stalled, stream));
    })
    .await;
}

/// Others go on while one is stalled.
async fn round_trip_beside(mux: &Mux, incoming: Incoming) {
    spawn_local(serve_echo(incoming));
    round_trip(mux.clone(), 5, 2 << 20, Duration::ZERO).await;
}

#[tokio::test]
async fn a_stream_dropped_early_is_reset_and_one_that_finished_is_not() {
    local(async {
        let (client, mut server) = pair();
        let mut half = client.mux.open().await.unwrap();
        half.send(content(0, 100)).await.unwrap();
        let mut reset = server.incoming.accept().await.unwrap();
        reset.receive().await.unwrap();
        drop(half);
        assert_eq!(reset.receive().await, Err(StreamError::Reset));
        assert_eq!(reset.send(content(0, 1)).await, Err(StreamError::Reset));
        let mut whole = client.mux.open().await.unwrap();
        whole.send(content(0, 100)).await.unwrap();
        whole.finish().await.unwrap();
        assert_eq!(whole.send(content(0, 1)).await, Err(StreamError::Finished));
        drop(whole);
        let mut accepted = server.incoming.accept().await.unwrap();
        assert_eq!(accepted.receive().await, Ok(Some(content(0, 100))));
        assert_eq!(accepted.receive().await, Ok(None));
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_vanishes_ends_everything() {
    local(async {
        let (client, mut server) = pair();
        let mut stream = client.mux.open().await.unwrap();
        stream.send(content(0, 10)).await.unwrap();
        let mut accepted = server.incoming.accept().await.unwrap();
        accepted.receive().await.unwrap();
        let reading = spawn_local(async move { (accepted.receive().await, accepted) });
        let writing = spawn_local(async move {
            let mut stream = server.mux.open().await.unwrap();
            stream.send(content(0, 4 << 20)).await
        });
        tokio::task::yield_now().await;
        client.driver.abort();
        assert_eq!(reading.await.unwrap().0, Err(StreamError::SessionEnded));
        assert_eq!(writing.await.unwrap(), Err(StreamError::SessionEnded));
        assert!(server.incoming.accept().await.is_none());
        assert!(matches!(client.mux.open().await, Err(OpenError::SessionEnded)));
        server.driver.await.unwrap().unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_driver_ends_with_the_last_holder_and_tells_what_was_said() {
    local(async {
        let (client, mut server) = pair();
        let mut stream = client.mux.open().await.unwrap();
        drop((client.mux, client.incoming));
        stream.send(content(3, 200_000)).await.unwrap();
        stream.finish().await.unwrap();
        drop(stream);
        client.driver.await.unwrap().unwrap();
        let mut accepted = server.incoming.accept().await.unwrap();
        let mut got = Vec::new();
        accepted.read_to_end(&mut got).await.unwrap();
        assert!(got == content(3, 200_000));
    })
    .await;
}

/// A peer by hand is told why the connection ends.
async fn check_refused(sent: &[u8], expected: &str, answer: &[u8]) {
    let (mut peer, socket): (DuplexStream, _) = duplex(1 << 20);
    let End { mux, incoming, driver } = end(socket, Role::Server);
    peer.write_all(sent).await.unwrap();
    peer.shutdown().await.unwrap();
    let error = driver.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), expected);
    drop((mux, incoming));
    let mut told = Vec::new();
    peer.read_to_end(&mut told).await.unwrap();
    assert_eq!(told, answer);
}

#[tokio::test]
async fn broken_peers_are_told_why() {
    const GO_AWAY: &[u8] = b"\0\x03\0\0\0\0\0\0\0\0\0\x01";
    local(async {
        check_refused(b"PRI * HTTP/2", "yamux version 80 instead of 0", b"").await;
        check_refused(b"\0\x09\0\0\0\0\0\0\0\0\0\0", "unknown yamux frame type 9", b"").await;
        let bad_id = b"\0\x01\0\x01\0\0\0\x02\0\0\0\0";
        check_refused(bad_id, "stream id 2 cannot be opened by the peer", GO_AWAY).await;
        let overrun = b"\0\0\0\x01\0\0\0\x01\0\x04\0\x01";
        check_refused(overrun, "receive window of stream 1 exceeded", GO_AWAY).await;
        check_refused(b"\0\x01\0", "the connection ended within a frame", b"").await;
        let pings = b"\0\x02\0\x01\0\0\0\0\0\0\0\0".repeat(6000);
        check_refused(&pings, "too many control frames", GO_AWAY).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_takes_nothing_ends_the_connection() {
    let set = LocalSet::new();
    set.run_until(async {
        let (_peer, socket) = duplex(1000);
        let client = end(socket, Role::Client);
        let mut stream = client.mux.open().await.unwrap();
        assert_eq!(stream.send(content(0, 1 << 20)).await, Err(StreamError::SessionEnded));
        assert!(matches!(client.driver.await.unwrap(), Err(MuxError::Stalled)));
    })
    .await;
}

/// First byte of what a [`Faulty`] socket's kernel cannot read.
const GONE: u8 = 0xee;

/// A socket whose vectored writes fail at a slice that begins with [`GONE`].
struct Faulty(DuplexStream);

impl AsyncRead for Faulty {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Faulty {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let sound = slices.iter().take_while(|slice| slice.first() != Some(&GONE)).count();
        if sound == 0 {
            return Poll::Ready(Err(rustix::io::Errno::FAULT.into()));
        }
        let readable: Vec<&[u8]> = slices[..sound].iter().map(|slice| &**slice).collect();
        Pin::new(&mut self.0).poll_write(cx, &readable.concat())
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn a_page_that_is_gone_ends_no_connection() {
    local(async {
        let (a, b) = duplex(10_000);
        let (client, server) = (end(Faulty(a), Role::Client), end(b, Role::Server));
        spawn_local(serve_echo(server.incoming));
        let other = spawn_local(round_trip(client.mux.clone(), 1, 900_000, Duration::ZERO));
        let mut stream = client.mux.open().await.unwrap();
        let sent = Bytes::from(vec![GONE; 300_000]);
        stream.send(sent.clone()).await.unwrap();
        stream.finish().await.unwrap();
        let mut got = Vec::new();
        stream.read_to_end(&mut got).await.unwrap();
        assert!(got == sent, "as the process reads it");
        other.await.unwrap();
        assert!(!client.driver.is_finished());
    })
    .await;
}

thread_local! {
    static HELD: RefCell<Vec<MuxStream>> = const { RefCell::new(Vec::new()) };
}

/// A task that drops a stream with itself.
struct Holder;

impl Wake for Holder {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Holder {
    fn drop(&mut self) {
        let stream = HELD.with(|held| held.borrow_mut().pop());
        drop(stream.expect("one for each holder"));
    }
}

#[tokio::test]
async fn a_waker_that_is_replaced_may_be_the_last_holder_of_a_stream() {
    local(async {
        let (_client, server) = pair();
        let stream = server.mux.open().await.unwrap();
        for _ in 0..2 {
            let held = server.mux.open().await.unwrap();
            HELD.with(|all| all.borrow_mut().push(held));
        }
        let (reads, finishes) = (Waker::from(Arc::new(Holder)), Waker::from(Arc::new(Holder)));
        assert!(stream.poll_receive(&mut Context::from_waker(&reads)).is_pending());
        assert!(stream.poll_finish(&mut Context::from_waker(&finishes)).is_pending());
        drop((reads, finishes));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(stream.poll_receive(&mut cx).is_pending());
        assert!(stream.poll_finish(&mut cx).is_pending());
        assert_eq!(HELD.with(|held| held.borrow().len()), 0);
    })
    .await;
}
