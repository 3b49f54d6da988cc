//! Sidechannels: the upstream opens the node's, the node the client's, and bytes pass both ways.

use std::time::Duration;

use bytes::Bytes;
use gitring_daemon::client::Client;
use gitring_tests::gitaly::{Answered, Door, refusal, with_sidechannel};
use tokio::task::spawn_local;
use tonic::{Code, Response};

use super::{Scene, WITH_SIDECHANNEL, a_moment, asking, unary};

/// Sends `input` over a sidechannel, and hears what the upstream does with it.
async fn talk(
    client: &Client,
    entries: &[(&'static str, &str)],
    input: &[u8],
) -> Answered<Response<Bytes>> {
    let entries = entries.to_vec();
    with_sidechannel(client, Bytes::new(), input, async |request| {
        let mut asked = asking(Bytes::new(), &entries);
        let id = request.metadata().get("gitaly-sidechannel-id").expect("announced").clone();
        asked.metadata_mut().insert("gitaly-sidechannel-id", id);
        unary(client, WITH_SIDECHANNEL, asked).await
    })
    .await
}

#[test]
fn big_requests_and_big_answers() {
    Scene::play(async |scene| {
        for door in [Door::Mux, Door::UnixMux] {
            let client = scene.client(door).await;
            let input: Vec<u8> = (0..8_u32 << 20).map(|at| ((at * 31) >> 7) as u8).collect();
            for input in [&input[..], b"", b"x"] {
                let answered = talk(&client, &[("act", "sidechannel")], input).await;
                // An echo has nothing to say, not even a message.
                let (code, text) = refusal(answered.reply);
                assert_eq!(code, Code::Internal, "{text}");
                assert!(text.contains("Missing response message"), "{text}");
                assert!(answered.bytes == input, "{door:?}: {} bytes", input.len());
            }
        }
    });
}

#[test]
fn many_beside_slow_ones() {
    Scene::play(async |scene| {
        let client = scene.client(Door::Mux).await;
        let waiter = client.sidechannel().expect("a mux");
        let mut request =
            asking(Bytes::new(), &[("act", "sidechannel-send"), ("bytes", "67108864")]);
        waiter.announce(request.metadata_mut());
        let calling = client.clone();
        let call = spawn_local(async move { unary(&calling, WITH_SIDECHANNEL, request).await });
        let mut slow = waiter.accept(Duration::from_secs(10)).await.expect("opened");
        a_moment().await;
        let quick: Vec<_> = (0..40_u8)
            .map(|at| {
                let client = client.clone();
                spawn_local(async move {
                    let input = vec![at; 300_000];
                    let answered = talk(&client, &[("act", "sidechannel")], &input).await;
                    assert!(answered.bytes == input, "call {at}");
                })
            })
            .collect();
        for call in quick {
            call.await.expect("no call has failed");
        }
        assert!(!call.is_finished(), "the slow one is not read yet");
        let mut read = 0;
        while let Some(data) = slow.read().await.expect("it goes on") {
            assert!(data.iter().all(|byte| *byte == b's'));
            read += data.len();
        }
        assert_eq!(read, 64 << 20);
        slow.close().await.expect("closed");
        let reply = tokio::time::timeout(Duration::from_secs(10), call).await;
        drop(reply.expect("the call ends with its sidechannel"));
    });
}

#[test]
fn a_client_that_breaks_its_sidechannel() {
    Scene::play(async |scene| {
        let client = scene.client(Door::Mux).await;
        let waiter = client.sidechannel().expect("a mux");
        let mut request =
            asking(Bytes::new(), &[("act", "sidechannel-send"), ("bytes", "67108864")]);
        waiter.announce(request.metadata_mut());
        let calling = client.clone();
        let call = spawn_local(async move { unary(&calling, WITH_SIDECHANNEL, request).await });
        let mut end = waiter.accept(Duration::from_secs(10)).await.expect("opened");
        end.read().await.expect("it begins");
        drop(end);
        let (code, text) = refusal(call.await.expect("no panic"));
        assert_eq!(code, Code::Internal);
        assert_eq!(text, "stream reset");
    });
}

#[test]
fn a_client_that_does_not_take_its_sidechannel() {
    Scene::play(async |scene| {
        let client = scene.client(Door::Mux).await;
        // Nobody waits for this number.
        let entries = [("act", "sidechannel"), ("gitaly-sidechannel-id", "77")];
        let request = asking(Bytes::new(), &entries);
        let (code, text) = refusal(unary(&client, WITH_SIDECHANNEL, request).await);
        assert_eq!(code, Code::Internal);
        assert!(text.starts_with("sidechannel handshake: "), "{text}");
        let seen = scene.upstream.seen();
        let id = seen[0].headers.get("gitaly-sidechannel-id").expect("ours").to_str().unwrap();
        assert_ne!(id, "77");
    });
}

/// A number of the client's would be the sidechannel of another call.
#[test]
fn ids_do_not_pass() {
    Scene::play(async |scene| {
        let client = scene.client(Door::Tcp).await;
        let entries = [("act", "sidechannel"), ("gitaly-sidechannel-id", "0")];
        let request = asking(Bytes::new(), &entries);
        let (code, text) = refusal(unary(&client, WITH_SIDECHANNEL, request).await);
        assert_eq!((code, &*text), (Code::Internal, "no sidechannel id"));
        let client = scene.client(Door::Mux).await;
        let request = asking(Bytes::new(), &[("gitaly-sidechannel-id", "seven")]);
        let (code, text) = refusal(unary(&client, WITH_SIDECHANNEL, request).await);
        let expected = "sidechannel id is not a decimal number of 64 bits";
        assert_eq!((code, &*text), (Code::InvalidArgument, expected));
    });
}

/// A call that never needs the sidechannel it was given ends all the same.
#[test]
fn a_sidechannel_that_is_not_opened() {
    Scene::play(async |scene| {
        let client = scene.client(Door::UnixMux).await;
        let waiter = client.sidechannel().expect("a mux");
        let mut request = asking(Bytes::from_static(b"x"), &[("act", "echo")]);
        waiter.announce(request.metadata_mut());
        let reply = unary(&client, WITH_SIDECHANNEL, request).await.expect("echoed");
        assert_eq!(reply.into_inner(), "x");
    });
}
