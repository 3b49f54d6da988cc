//! Messages of every kind of method pass as they are, and wait for who is slow.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use gitring_tests::gitaly::{DOORS, Door};
use gitring_tests::metrics;
use gitring_tests::process;
use tonic::codegen::tokio_stream::{StreamExt, iter};
use tonic::metadata::MetadataValue;

use super::{STREAMS, Scene, UNARY, a_moment, asking, one, streams, talk, unary};

/// More than all windows and buffers between the two ends hold together.
const WAITING_BYTES_MAX: u64 = 4 << 20;

/// Messages of odd sizes.
fn messages(count: usize) -> Vec<Bytes> {
    (0..count).map(|at| Bytes::from(vec![at as u8; at * 7919 % 100_000])).collect()
}

#[test]
fn messages_pass_in_both_directions() {
    Scene::play(async |scene| {
        for door in DOORS {
            let client = scene.client(door).await;
            let message = Bytes::from(vec![7; 300_000]);
            let reply = unary(&client, UNARY, asking(message.clone(), &[("act", "echo")])).await;
            assert_eq!(reply.expect("echoed").into_inner(), message, "{door:?}");
            let sent = messages(60);
            let mut replies =
                streams(&client, asking(iter(sent.clone()), &[("act", "echo")])).await.unwrap();
            for message in sent {
                assert_eq!(replies.message().await.unwrap(), Some(message), "{door:?}");
            }
            assert_eq!(replies.message().await.unwrap(), None);
            let sent = messages(100);
            // Prefixes are counted as well.
            let bytes: usize = sent.iter().map(|message| message.len() + 5).sum();
            let mut counted =
                streams(&client, asking(iter(sent), &[("act", "count")])).await.unwrap();
            let answer = counted.message().await.unwrap().unwrap();
            assert_eq!(answer[..], (bytes as u64).to_be_bytes(), "{door:?}");
        }
    });
}

#[test]
fn metadata_is_kept_and_the_token_is_another() {
    Scene::play(async |scene| {
        let client = scene.client(Door::Tcp).await;
        let mut request = asking(
            Bytes::from_static(b"a"),
            &[
                ("act", "echo"),
                ("x-gitlab-correlation-id", "abc"),
                ("gitaly-feature-x", "true"),
                ("authorization", "Bearer v2.00.1"),
                ("grpc-timeout", "20S"),
                ("twice", "1"),
                ("twice", "2"),
            ],
        );
        let binary = MetadataValue::from_bytes(&[0, 255, 7]);
        request.metadata_mut().insert_bin("some-bin", binary.clone());
        let reply = unary(&client, UNARY, request).await.expect("answered");
        assert_eq!(reply.metadata().get("served-by").unwrap(), "upstream");
        let [seen] = &scene.upstream.seen()[..] else { panic!("one call") };
        let header = |key| seen.headers.get(key).map(|value| value.to_str().unwrap());
        assert_eq!(seen.path, UNARY);
        assert_eq!(header("x-gitlab-correlation-id"), Some("abc"));
        assert_eq!(header("gitaly-feature-x"), Some("true"));
        assert_eq!(header("some-bin"), Some("AP8H"));
        assert_eq!(seen.headers.get_all("twice").iter().count(), 2);
        let limit = header("grpc-timeout").expect("the time that is left");
        let micros: u64 = limit.trim_end_matches('u').parse().expect("microseconds");
        assert!((1_000_000..20_000_000).contains(&micros), "{limit}");
        assert_eq!(seen.headers.get_all("authorization").iter().count(), 1);
    });
}

#[test]
fn who_reads_slowly_slows_down_its_sender_alone() {
    Scene::play(async |scene| {
        let client = scene.client(Door::Mux).await;
        let total = 100_u64 << 20;
        let bytes = total.to_string();
        let request = asking(one(b"go"), &[("act", "send"), ("bytes", &bytes)]);
        let mut slow = streams(&client, request).await.unwrap();
        let before = process::anonymous_bytes(scene.node.pid());
        a_moment().await;
        let waiting = scene.upstream.sent_bytes();
        assert!(waiting < WAITING_BYTES_MAX, "{waiting} bytes were sent ahead");
        // Others are answered on the same connections meanwhile.
        for _ in 0..20 {
            let quick = asking(Bytes::from_static(b"q"), &[("act", "echo")]);
            unary(&client, UNARY, quick).await.expect("echoed");
        }
        let mut read = 0;
        while let Some(message) = slow.message().await.expect("it goes on") {
            read += message.len() as u64;
        }
        assert_eq!(read, total);
        let grown = process::anonymous_bytes(scene.node.pid()).saturating_sub(before);
        assert!(grown < 32 << 20, "the node grew by {grown} bytes");
    });
}

#[test]
fn who_takes_nothing_is_not_sent_more() {
    Scene::play(async |scene| {
        let client = scene.client(Door::Tcp).await;
        let made = Arc::new(AtomicU64::new(0));
        let counting = Arc::clone(&made);
        let endless = iter(std::iter::repeat_with(move || {
            counting.fetch_add(64 << 10, Ordering::Relaxed);
            Bytes::from(vec![0; 64 << 10])
        }))
        .take((200 << 20) / (64 << 10));
        let mut replies = streams(&client, asking(endless, &[("act", "deaf")])).await.unwrap();
        assert_eq!(replies.message().await.unwrap().unwrap(), "here");
        a_moment().await;
        let made = made.load(Ordering::Relaxed);
        // HTTP/2's windows of three connections, and buffers before them.
        assert!(made < 3 * WAITING_BYTES_MAX, "{made} bytes were taken");
        // Who leaves is let go soon, though HTTP/2 waits for its window, and others are answered.
        drop((replies, client));
        let client = scene.client(Door::Tcp).await;
        let quick = asking(Bytes::from_static(b"q"), &[("act", "echo")]);
        unary(&client, UNARY, quick).await.expect("echoed");
        let open = || metrics::sum(&scene.node, "gitring_upstream_calls_open", &[]) == 0;
        process::wait_until("the end of the call", Duration::from_secs(10), open);
        scene.upstream.dropped(1).await;
    });
}

#[test]
fn a_client_that_says_nothing_is_heard_by_the_upstream() {
    Scene::play(async |scene| {
        let client = scene.client(Door::Unix).await;
        let (sender, talk) = talk();
        let mut replies = streams(&client, asking(talk, &[("act", "echo")])).await.unwrap();
        for word in [&b"one"[..], b"two", b"three"] {
            sender.send(Bytes::from_static(word)).unwrap();
            let reply = tokio::time::timeout(Duration::from_secs(10), replies.message()).await;
            assert_eq!(reply.expect("in time").unwrap().unwrap(), word);
        }
        drop(sender);
        assert_eq!(replies.message().await.unwrap(), None);
        assert_eq!(scene.upstream.seen()[0].path, STREAMS);
    });
}

/// As many calls as there are, answered each with its own bytes.
#[test]
fn many_at_once() {
    Scene::play(async |scene| {
        let client = scene.client(Door::Mux).await;
        let calls: Vec<_> = (0..300_u32)
            .map(|at| {
                let client = client.clone();
                tokio::task::spawn_local(async move {
                    let message = Bytes::from(at.to_be_bytes().repeat(5000));
                    let request = asking(message.clone(), &[("act", "echo")]);
                    let reply = unary(&client, UNARY, request).await.expect("echoed");
                    assert_eq!(reply.into_inner(), message);
                })
            })
            .collect();
        for call in calls {
            call.await.expect("no call has failed");
        }
        assert_eq!(scene.upstream.seen().len(), 300);
        // One client's connection has one reactor, and that at most four of its own.
        let connections = scene.upstream.connections();
        assert!((1..=4).contains(&connections), "{connections} connections");
    });
}
