//! Both ends against each other, and the server's against clients that misbehave.

use super::*;
use crate::mux::{self, Incoming, Role};
use gitring_proto::listenmux::MAGIC_BYTES;
use gitring_proto::sidechannel::METADATA_KEY;
use std::future::Future;
use tokio::io::{AsyncReadExt, duplex};
use tokio::task::{LocalSet, spawn_local};
use tonic::metadata::MetadataMap;

const SHORT: Duration = Duration::from_millis(200);

struct Pair {
    server: Mux,
    client: Mux,
    incoming: Incoming,
}

async fn local<F: Future>(test: impl FnOnce(Pair) -> F) -> F::Output {
    LocalSet::new()
        .run_until(async {
            let (a, b) = duplex(64 << 10);
            let (client, incoming, client_driver) = mux::start(a, Role::Client, mux::CLIENT);
            let (server, _, server_driver) = mux::start(b, Role::Server, mux::NODE);
            spawn_local(client_driver);
            spawn_local(server_driver);
            tokio::time::timeout(Duration::from_secs(20), test(Pair { server, client, incoming }))
                .await
                .unwrap()
        })
        .await
}

async fn behind_magic(incoming: &mut Incoming) -> MuxStream {
    let mut stream = incoming.accept().await.unwrap();
    let mut magic = [0; MAGIC_BYTES];
    stream.read_exact(&mut magic).await.unwrap();
    assert_eq!(&magic, b"sidechannel");
    stream
}

#[tokio::test]
async fn requests_in_packets_answers_as_they_are() {
    local(async |mut pair| {
        let registry = Registry::default();
        let waiters = [registry.register(), registry.register()];
        let mut metadata = MetadataMap::new();
        waiters[1].announce(&mut metadata);
        let id: SidechannelId =
            metadata.get(METADATA_KEY).unwrap().to_str().unwrap().parse().unwrap();
        let client = spawn_local(async move {
            registry.receive(behind_magic(&mut pair.incoming).await).await.unwrap();
            let [first, second] = waiters;
            let mut end = second.accept(SHORT).await.unwrap();
            assert_eq!(registry.waiting(), 1);
            end.write(Bytes::from(vec![b'q'; 200_000])).await.unwrap();
            end.finish_writing().await.unwrap();
            let mut answer = Vec::new();
            while let Some(data) = end.read().await.unwrap() {
                answer.extend_from_slice(&data);
            }
            end.close().await.unwrap();
            drop(first);
            assert_eq!(registry.waiting(), 0);
            answer
        });
        let mut end = open(&pair.server, id, SHORT).await.unwrap();
        let (mut reader, mut writer) = end.split();
        let mut request = 0;
        while let Some(data) = reader.read().await.unwrap() {
            assert!(data.iter().all(|byte| *byte == b'q'));
            request += data.len();
        }
        assert_eq!(request, 200_000);
        writer.write(Bytes::from_static(b"PACK")).await.unwrap();
        writer.write_all(&mut vec![Bytes::from(vec![1; 500_000]); 2]).await.unwrap();
        end.close().await.unwrap();
        let answer = client.await.unwrap();
        assert!(answer.starts_with(b"PACK\x01") && answer.len() == 1_000_004);
        drop(pair.client);
    })
    .await;
}

/// What the server says to a client whose stream is handled by `client`.
async fn check_open<F: Future<Output = ()> + 'static>(
    client: impl FnOnce(Registry, MuxStream) -> F + 'static,
    expected: OpenError,
) {
    local(async |mut pair| {
        spawn_local(async move {
            let stream = behind_magic(&mut pair.incoming).await;
            client(Registry::default(), stream).await;
            // The connection stays.
            while pair.incoming.accept().await.is_some() {}
        });
        let error = open(&pair.server, SidechannelId(7), SHORT).await.unwrap_err();
        assert_eq!(error, expected);
        drop(pair.client);
    })
    .await;
}

#[tokio::test]
async fn openings_that_fail() {
    check_open(
        async |registry, stream| {
            let error = registry.receive(stream).await.unwrap_err();
            assert!(matches!(error, ReceiveError::Unknown(SidechannelId(7))));
        },
        OpenError::Broken(StreamError::Reset),
    )
    .await;
    check_open(async |_, stream| drop(stream), OpenError::Broken(StreamError::Reset)).await;
    check_open(async |_, mut stream| stream.finish().await.unwrap(), OpenError::Closed).await;
    check_open(
        async |_, mut stream| {
            stream.send(Bytes::from_static(b"o")).await.unwrap();
            stream.finish().await.unwrap();
        },
        OpenError::Closed,
    )
    .await;
    check_open(
        async |_, mut stream| {
            stream.send(Bytes::from_static(b"n")).await.unwrap();
            tokio::task::yield_now().await;
            stream.send(Bytes::from_static(b"o!")).await.unwrap();
            std::future::pending().await
        },
        OpenError::Unconfirmed(Bytes::from_static(b"no")),
    )
    .await;
    check_open(
        async |_, stream| {
            let _kept = stream;
            std::future::pending().await
        },
        OpenError::TimedOut(SHORT),
    )
    .await;
}

#[tokio::test]
async fn an_id_serves_one_stream() {
    local(async |mut pair| {
        let registry = Registry::default();
        let waiter = registry.register();
        let id = waiter.id();
        let client = spawn_local(async move {
            registry.receive(behind_magic(&mut pair.incoming).await).await.unwrap();
            let end = waiter.accept(SHORT).await.unwrap();
            registry.receive(behind_magic(&mut pair.incoming).await).await.unwrap_err();
            end
        });
        let _first = open(&pair.server, id, SHORT).await.unwrap();
        let second = open(&pair.server, id, SHORT).await.unwrap_err();
        assert_eq!(second, OpenError::Broken(StreamError::Reset));
        client.await.unwrap();
        drop(pair.client);
    })
    .await;
}

#[tokio::test]
async fn a_server_that_opens_none_is_not_waited_for() {
    local(async |pair| {
        let registry = Registry::default();
        let error = registry.register().accept(SHORT).await.unwrap_err();
        assert_eq!((error, registry.waiting()), (AcceptError::TimedOut(SHORT), 0));
        let waiter = registry.register();
        registry.close();
        assert_eq!(waiter.accept(SHORT).await.unwrap_err(), AcceptError::Gone);
        drop(pair);
    })
    .await;
}

#[tokio::test]
async fn no_connection_no_sidechannel() {
    local(async |pair| {
        drop((pair.client, pair.incoming));
        tokio::time::sleep(Duration::from_millis(20)).await;
        let error = open(&pair.server, SidechannelId(0), SHORT).await.unwrap_err();
        assert_eq!(error, OpenError::Stream(yamux::OpenError::SessionEnded));
    })
    .await;
}

/// A confirmed client goes on with `client`; the server reads up to the end or an error.
async fn check_read<F: Future<Output = Option<MuxStream>> + 'static>(
    client: impl FnOnce(MuxStream) -> F + 'static,
    expected: Result<&str, ReadError>,
) {
    local(async |mut pair| {
        let client = spawn_local(async move {
            let mut stream = behind_magic(&mut pair.incoming).await;
            stream.send(Bytes::from_static(CONFIRMATION)).await.unwrap();
            client(stream).await
        });
        let mut end = open(&pair.server, SidechannelId(7), SHORT).await.unwrap();
        let mut text = String::new();
        let result = loop {
            match end.split().0.read().await {
                Ok(Some(data)) => text.push_str(str::from_utf8(&data).unwrap()),
                Ok(None) => break Ok(&*text),
                Err(error) => break Err(error),
            }
        };
        assert_eq!(result, expected);
        client.await.unwrap();
        drop(pair.client);
    })
    .await;
}

async fn say(mut stream: MuxStream, text: &'static [u8]) -> Option<MuxStream> {
    stream.send(Bytes::from_static(text)).await.unwrap();
    stream.finish().await.unwrap();
    Some(stream)
}

#[tokio::test]
async fn clients_that_close_at_each_step() {
    check_read(|stream| say(stream, b"0007one0007two0000"), Ok("onetwo")).await;
    check_read(|stream| say(stream, b"0000"), Ok("")).await;
    let eof = || Err(ReadError::Packets(DecodeError::UnexpectedEof));
    check_read(|stream| say(stream, b"0007one"), eof()).await;
    check_read(|stream| say(stream, b"0007on"), eof()).await;
    check_read(|stream| say(stream, b"00"), eof()).await;
    check_read(
        |stream| say(stream, b"0001"),
        Err(ReadError::Packets(DecodeError::InsideHeader(1))),
    )
    .await;
    let reset = Err(ReadError::Stream(StreamError::Reset));
    let leave = async |mut stream: MuxStream| {
        // The server has read the confirmation by then: a reset drops what is unread.
        stream.receive().await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        None
    };
    check_read(leave, reset).await;
}

#[tokio::test]
async fn a_client_that_leaves_while_it_is_written_to_is_noticed() {
    local(async |mut pair| {
        spawn_local(async move {
            let mut stream = behind_magic(&mut pair.incoming).await;
            stream.send(Bytes::from_static(b"ok0000")).await.unwrap();
            // The id, then the first bytes of the answer.
            stream.receive().await.unwrap();
            stream.receive().await.unwrap();
            drop(stream);
            while pair.incoming.accept().await.is_some() {}
        });
        let mut end = open(&pair.server, SidechannelId(1), SHORT).await.unwrap();
        assert_eq!(end.split().0.read().await, Ok(None));
        let error = loop {
            if let Err(error) = end.split().1.write(Bytes::from(vec![0; 1 << 20])).await {
                break error;
            }
        };
        assert_eq!(error, StreamError::Reset);
        drop(pair.client);
    })
    .await;
}
