//! Which calls go to the upstream, and what is told of them.

use bytes::Bytes;
use gitring_proto::methods;
use gitring_tests::gitaly::{Door, call, metadata, refusal};
use gitring_tests::metrics;
use gitring_tests::process::wait_until;
use std::time::Duration;
use tonic::Code;

use super::{Scene, UNARY, asking, unary};
use crate::gitaly::BUILT;

/// How long a line may take to the log.
const LOG_MAX: Duration = Duration::from_secs(10);

#[test]
fn what_is_built_stays_here_and_all_else_goes() {
    Scene::play(async |scene| {
        let client = scene.client(Door::Mux).await;
        for method in methods::all() {
            let reply = call(&client, method.path, metadata(&[]), b"").await;
            let passed = !scene.upstream.seen().is_empty();
            assert_eq!(passed, !BUILT.contains(&method.path), "{}: {reply:?}", method.path);
        }
        // Nobody's methods: the upstream may be newer than we are.
        for path in ["/gitaly.RefService/Newest", "/gitaly.NewService/Newest", "/a/b/c"] {
            let entries = metadata(&[("act", "echo")]);
            call(&client, path, entries, b"x").await.expect("echoed");
            assert_eq!(scene.upstream.seen()[0].path, path);
        }
        // Health and reflection tell of the node.
        let health = "/grpc.health.v1.Health/Check";
        assert_eq!(call(&client, health, metadata(&[]), b"").await.unwrap(), b"\x08\x01"[..]);
        let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
        drop(call(&client, reflection, metadata(&[]), b"").await);
        assert!(scene.upstream.seen().is_empty());
    });
}

#[test]
fn what_others_vote_on_stays_here() {
    Scene::play(async |scene| {
        let client = scene.client(Door::Mux).await;
        let entries = [("gitaly-reference-transaction", "e30="), ("act", "echo")];
        let (code, text) = refusal(unary(&client, UNARY, asking(Bytes::new(), &entries)).await);
        let expected = "method Fsck of service gitaly.RepositoryService is not built yet, and a \
                        change that is voted on is not passed on to the upstream Gitaly, which \
                        could not vote";
        assert_eq!((code, &*text), (Code::Unimplemented, expected));
        // A node that is another's upstream has none.
        let entries = [("gitring-passed-on", "1"), ("act", "echo")];
        let (code, text) = refusal(unary(&client, UNARY, asking(Bytes::new(), &entries)).await);
        assert_eq!(code, Code::Unimplemented);
        assert!(text.ends_with("an upstream must be a stock Gitaly"), "{text}");
        assert!(scene.upstream.seen().is_empty());
    });
}

#[test]
fn metrics_and_log_tell() {
    Scene::play(async |scene| {
        let client = scene.client(Door::Tcp).await;
        for _ in 0..3 {
            let request = asking(Bytes::from_static(b"abc"), &[("act", "echo")]);
            unary(&client, UNARY, request).await.expect("echoed");
        }
        let refused = asking(Bytes::new(), &[("act", "refuse-at-once")]);
        refusal(unary(&client, UNARY, refused).await);
        call(&client, "/x/Y", metadata(&[("act", "echo")]), b"a").await.expect("echoed");
        let sum = |name, labels: &[(&str, &str)]| metrics::sum(&scene.node, name, labels);
        let total = "gitring_upstream_calls_total";
        assert_eq!(sum(total, &[("grpc_method", "Fsck"), ("code", "OK")]), 3);
        assert_eq!(sum(total, &[("grpc_method", "Fsck"), ("code", "FailedPrecondition")]), 1);
        assert_eq!(sum(total, &[("grpc_method", "unknown"), ("code", "OK")]), 1);
        assert_eq!(sum("gitring_upstream_seconds_count", &[("grpc_method", "Fsck")]), 4);
        assert_eq!(sum("gitring_upstream_calls_open", &[]), 0);
        // And as any other call.
        let labels = [("grpc_method", "Fsck"), ("grpc_code", "OK")];
        assert_eq!(sum("grpc_server_handled_total", &labels), 3);
        assert_eq!(sum("grpc_server_msg_sent_total", &[("grpc_method", "Fsck")]), 3);
        let line = |log: &str| {
            let mut lines = log.lines().filter(|line| line.contains("finished unary call"));
            let line = lines.find(|line| line.contains(r#""grpc.method":"Fsck""#));
            line.map(str::to_owned)
        };
        wait_until("the line of a call", LOG_MAX, || line(&scene.node.log()).is_some());
        let line = line(&scene.node.log()).expect("it is there");
        assert!(line.contains(r#""upstream":"unix:/"#), "{line}");
        assert!(line.contains(r#""grpc.request.payload_bytes":3"#), "{line}");
        assert!(line.contains(r#""grpc.response.payload_bytes":3"#), "{line}");
    });
}
