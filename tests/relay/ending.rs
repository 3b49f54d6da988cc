//! How a call ends: refusals as they were said, clients that leave, time that is over.

use std::time::{Duration, Instant};

use bytes::Bytes;
use gitring_tests::gitaly::{DOORS, Door, refusal};
use gitring_tests::metrics;
use gitring_tests::upstream::{DETAILS, LONG_TRAILER_BYTES};
use tokio::time::timeout;
use tonic::{Code, Status};

use super::{Scene, UNARY, asking, one, streams, talk, unary};

fn check_refusal(status: &Status) {
    assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "it does not fit"));
    assert_eq!(status.details(), DETAILS);
}

#[test]
fn refusals_are_told_word_for_word() {
    Scene::play(async |scene| {
        for door in DOORS {
            let client = scene.client(door).await;
            let request = asking(one(b"a"), &[("act", "refuse")]);
            let mut replies = streams(&client, request).await.unwrap();
            assert_eq!(replies.message().await.unwrap().unwrap(), "before");
            let status = replies.message().await.unwrap_err();
            check_refusal(&status);
            let long = status.metadata().get("long").expect("trailers of any length");
            assert_eq!(long.len(), LONG_TRAILER_BYTES, "{door:?}");
            let request = asking(Bytes::new(), &[("act", "refuse-at-once")]);
            check_refusal(&unary(&client, UNARY, request).await.unwrap_err());
        }
    });
}

#[test]
fn calls_that_clients_drop_are_dropped_upstream() {
    Scene::play(async |scene| {
        let client = scene.client(Door::Mux).await;
        // Before there is an answer.
        let request = asking(Bytes::new(), &[("act", "hang")]);
        let waited = timeout(Duration::from_millis(300), unary(&client, UNARY, request)).await;
        assert!(waited.is_err());
        scene.upstream.dropped(1).await;
        // The same, while the client has more to say.
        let endless = tonic::codegen::tokio_stream::pending();
        let request = asking(endless, &[("act", "hang")]);
        let waited = timeout(Duration::from_millis(300), streams(&client, request)).await;
        assert!(waited.is_err());
        scene.upstream.dropped(2).await;
        // Amid an answer.
        let (sender, talk) = talk();
        let mut replies = streams(&client, asking(talk, &[("act", "deaf")])).await.unwrap();
        replies.message().await.unwrap();
        // HTTP/2 resets a call that nobody listens to once nobody speaks in it, either.
        drop((replies, sender));
        scene.upstream.dropped(3).await;
        // With the connection.
        let request = asking(one(b""), &[("act", "deaf")]);
        let mut replies = streams(&client, request).await.unwrap();
        replies.message().await.unwrap();
        drop((replies, client));
        scene.upstream.dropped(4).await;
        let open = metrics::sum(&scene.node, "gitring_upstream_calls_open", &[]);
        assert_eq!(open, 0);
    });
}

#[test]
fn time_that_is_over_ends_both_sides() {
    Scene::play(async |scene| {
        let client = scene.client(Door::Tcp).await;
        let begun = Instant::now();
        let entries = [("act", "hang"), ("grpc-timeout", "300m")];
        let (code, text) = refusal(unary(&client, UNARY, asking(Bytes::new(), &entries)).await);
        assert_eq!((code, &*text), (Code::DeadlineExceeded, "context deadline exceeded"));
        assert!(begun.elapsed() >= Duration::from_millis(290));
        scene.upstream.dropped(1).await;
        let entries = [("act", "deaf"), ("grpc-timeout", "300m")];
        let endless = tonic::codegen::tokio_stream::pending();
        let mut replies = streams(&client, asking(endless, &entries)).await.unwrap();
        replies.message().await.unwrap();
        let status = replies.message().await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        scene.upstream.dropped(2).await;
        let labels = [("grpc_method", "Fsck"), ("code", "DeadlineExceeded")];
        assert_eq!(metrics::sum(&scene.node, "gitring_upstream_calls_total", &labels), 1);
    });
}
