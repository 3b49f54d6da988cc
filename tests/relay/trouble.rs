//! An upstream that dies, is not there, comes back, or trusts nobody.

use std::time::{Duration, Instant};

use bytes::Bytes;
use gitring_tests::gitaly::{Door, connect, refusal, run};
use gitring_tests::node::Node;
use gitring_tests::upstream::Upstream;
use tonic::Code;

use super::{Scene, UNARY, asking, one, streams, unary};

#[test]
fn an_upstream_that_dies_amid_calls() {
    Scene::play(async |scene| {
        let client = scene.client(Door::Mux).await;
        let request = asking(one(b"a"), &[("act", "break")]);
        let mut replies = streams(&client, request).await.unwrap();
        assert_eq!(replies.message().await.unwrap().unwrap(), "before");
        let status = replies.message().await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        let text = status.message();
        assert!(text.starts_with("upstream Gitaly unix:/"), "{text}");
        assert!(text.contains(" broke off the call: "), "{text}");
        // The next call has a connection of its own.
        let request = asking(Bytes::from_static(b"x"), &[("act", "echo")]);
        unary(&client, UNARY, request).await.expect("echoed");
        // Before there is an answer.
        let hanging = unary(&client, UNARY, asking(Bytes::new(), &[("act", "hang")]));
        let dying = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            scene.upstream.die();
        };
        let (reply, ()) = tokio::join!(hanging, dying);
        let (code, text) = refusal(reply);
        assert_eq!(code, Code::Unavailable, "{text}");
        assert!(text.contains(" broke off the call: "), "{text}");
    });
}

#[test]
fn an_upstream_that_is_not_there_and_comes() {
    let upstream = Upstream::new();
    let node = Node::start_with(&upstream.configuration());
    run(async {
        let client = connect(&node, Door::Unix, "").await;
        let ask = || unary(&client, UNARY, asking(Bytes::new(), &[("act", "echo")]));
        let (code, text) = refusal(ask().await);
        assert_eq!(code, Code::Unavailable, "{text}");
        assert!(text.starts_with("upstream Gitaly unix:/"), "{text}");
        assert!(text.contains(" cannot be reached: dial unix:/"), "{text}");
        assert!(text.ends_with("No such file or directory (os error 2)"), "{text}");
        for round in 0..2 {
            upstream.start();
            // At most the longest pause between two attempts.
            let begun = Instant::now();
            while ask().await.is_err() {
                assert!(begun.elapsed() < Duration::from_secs(8), "round {round}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            upstream.die();
            assert_eq!(refusal(ask().await).0, Code::Unavailable);
        }
        // Nobody dials while the pause lasts, so failing is quick.
        let begun = Instant::now();
        for _ in 0..200 {
            assert_eq!(refusal(ask().await).0, Code::Unavailable);
        }
        assert!(begun.elapsed() < Duration::from_secs(5));
    });
}

#[test]
fn an_upstream_that_knows_another_token() {
    let upstream = Upstream::new();
    let node = Node::start_with(&upstream.configuration_with("another"));
    run(async {
        upstream.start();
        let client = connect(&node, Door::Tcp, "").await;
        let request = asking(Bytes::new(), &[("act", "echo")]);
        let (code, text) = refusal(unary(&client, UNARY, request).await);
        assert_eq!(code, Code::PermissionDenied);
        assert!(text.contains("refuses the token of [upstream]: permission denied"), "{text}");
    });
    let node = Node::start_with(&upstream.configuration_with(""));
    run(async {
        upstream.die();
        upstream.start();
        let client = connect(&node, Door::Tcp, "").await;
        let request = asking(Bytes::new(), &[("act", "echo")]);
        let (code, text) = refusal(unary(&client, UNARY, request).await);
        assert_eq!(code, Code::Unauthenticated);
        assert!(text.contains("wants a token"), "{text}");
    });
}

/// Who may not call the node does not reach what is behind it.
#[test]
fn the_nodes_own_token_comes_first() {
    let upstream = Upstream::new();
    let node = Node::start_with(&format!("{}[auth]\ntoken = 'own'\n", upstream.configuration()));
    run(async {
        upstream.start();
        let client = connect(&node, Door::Tcp, "wrong").await;
        let request = || asking(Bytes::from_static(b"a"), &[("act", "echo")]);
        let (code, text) = refusal(unary(&client, UNARY, request()).await);
        assert_eq!((code, &*text), (Code::PermissionDenied, "permission denied"));
        assert!(upstream.seen().is_empty());
        let client = connect(&node, Door::Tcp, "own").await;
        unary(&client, UNARY, request()).await.expect("echoed");
    });
}
