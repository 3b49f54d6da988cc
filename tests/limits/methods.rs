//! `[[concurrency]]` and `[[rate_limiting]]`: one repository, one method.

use super::clones::{Bands, clone_as, limit_error, shallow};
use super::{heavy, wait_for, wait_for_packs};
use gitring_daemon::client::Client;
use gitring_proto::gitaly::repository_service_client::RepositoryServiceClient;
use gitring_proto::gitaly::smart_http_service_client::SmartHttpServiceClient;
use gitring_proto::gitaly::{
    PostUploadPackWithSidechannelRequest, RepositoryExistsRequest, RepositoryExistsResponse,
};
use gitring_tests::gitaly::{Door, connect, named, run};
use gitring_tests::http;
use gitring_tests::metrics;
use gitring_tests::node::Node;
use gitring_tests::process::wait_until;
use std::time::{Duration, Instant};
use tokio::task::{JoinSet, spawn_local};
use tonic::{Request, Status};

const METHOD: [(&str, &str); 2] =
    [("grpc_service", "gitaly.SmartHTTPService"), ("grpc_method", "PostUploadPackWithSidechannel")];

/// The key names of 13: a limit for the older method binds the newer one.
#[test]
fn a_limit_binds_the_successor_of_its_method() {
    let table = "[[concurrency]]\nrpc = '/gitaly.SmartHTTPService/PostUploadPack'\n\
                 max_per_repo = 1\nmax_queue_size = 1\n";
    let node = Node::start_with(table);
    let repository = heavy(&node, 40);
    repository.copy("other");
    let held = node.hold_packs();
    let packs: Vec<_> = (1..=3).map(|depth| shallow(&repository, depth)).collect();
    std::thread::scope(|scope| {
        let clone = |user: &'static str, path: &'static str, pack: usize| {
            let (node, packs) = (&node, &packs);
            scope.spawn(move || run(clone_as(node, user, path, &packs[pack])))
        };
        let first = clone("one", "heavy.git", 0);
        wait_for(&node, "gitaly_concurrency_limiting_in_progress", &METHOD, 1);
        let second = clone("one", "heavy.git", 1);
        for name in ["gitaly_concurrency_limiting_queued", "gitaly_rate_limiting_queued"] {
            wait_for(&node, name, &METHOD, 1);
        }
        let refused = clone("two", "heavy.git", 2).join().expect("no client panics");
        let status = refused.reply.expect_err("the line is full");
        assert_eq!(status.message(), "maximum queue size reached");
        assert_eq!(limit_error(&status).0, status.message());
        // The gateway's fetches of the repository count as well.
        let others = http::upload_pack(node.gateway(), "heavy.git", 2, &packs[2]);
        assert_eq!((others.status, others.header("retry-after").is_empty()), (503, false));
        let other = clone("one", "other.git", 2);
        wait_for_packs(&node, 2, 0);
        drop(held);
        for client in [first, second, other] {
            Bands::whole(&client.join().expect("no client panics"));
        }
    });
    for name in ["gitaly_concurrency_limiting_in_progress", "gitaly_rate_limiting_in_progress"] {
        wait_for(&node, name, &[], 0);
    }
    let reason = [METHOD[0], METHOD[1], ("system", "gitaly"), ("reason", "max_size")];
    assert_eq!(metrics::sum(&node, "gitaly_requests_dropped_total", &reason), 2);
    for name in [
        "gitaly_concurrency_limiting_acquiring_seconds_count",
        "gitaly_rate_limiting_seconds_count",
    ] {
        assert_eq!(metrics::sum(&node, name, &METHOD), 3, "{name}");
    }
    let line = |field: &str| {
        let is_it = |line: &&str| line.contains("finished unary call") && line.contains(field);
        node.log().lines().find(is_it).map(str::to_owned)
    };
    let dropped = "\"limit.concurrency_dropped\":\"max_size\"";
    wait_until("the refusal's line", Duration::from_secs(10), || line(dropped).is_some());
    let found = line(dropped).expect("found a moment ago");
    for field in [
        "\"limit.limiting_type\":\"per-rpc\"",
        "\"limit.limiting_key\":\"heavy.git\"",
        "\"limit.concurrency_queue_length\":1",
        "\"limit.concurrency_in_progress\":1",
        "\"acquire_ms\":0",
        "\"grpc.request.repoPath\":\"heavy.git\"",
        "\"grpc.code\":\"ResourceExhausted\"",
    ] {
        assert!(found.contains(field), "{field} in {found}");
    }
}

async fn exists(client: &Client, user: Option<&str>, path: &str) -> Result<bool, Status> {
    let mut request = Request::new(RepositoryExistsRequest { repository: named(path) });
    if let Some(user) = user {
        request.metadata_mut().insert("username", user.parse().expect("an ASCII value"));
    }
    let mut repositories = RepositoryServiceClient::new(client.clone());
    let answered = repositories.repository_exists(request).await?;
    let RepositoryExistsResponse { exists } = answered.into_inner();
    Ok(exists)
}

#[test]
fn whoever_asks_too_often_hears_when_there_is_a_token() {
    let table = "[[rate_limiting]]\nrpc = '/gitaly.RepositoryService/RepositoryExists'\n\
                 interval = '1h'\nburst = 2\n[[rate_limiting]]\n\
                 rpc = '/gitaly.SmartHTTPService/InfoRefsUploadPack'\ninterval = '90s'\nburst = 1\n";
    let node = Node::start_with(table);
    let _repository = heavy(&node, 1);
    run(async {
        let client = connect(&node, Door::Tcp, "").await;
        for _ in 0..2 {
            assert!(exists(&client, None, "heavy.git").await.expect("there are tokens"));
        }
        let status = exists(&client, None, "heavy.git").await.expect_err("there is none left");
        let (text, retry_after) = limit_error(&status);
        assert_eq!((text.as_str(), status.message()), ("rate limit reached", "rate limit reached"));
        // One token an hour, as Gitaly really does.
        assert!((3_000..=3_600).contains(&retry_after.as_secs()), "{retry_after:?}");
        assert!(!exists(&client, None, "other.git").await.expect("another bucket"));
    });
    assert_eq!(http::info_refs(node.gateway(), "heavy.git", 2).status, 200);
    let refused = http::info_refs(node.gateway(), "heavy.git", 2);
    assert_eq!((refused.status, refused.body.as_slice()), (429, &b"rate limit reached\n"[..]));
    let seconds: u64 = refused.header("retry-after").parse().expect("whole seconds");
    assert!((60..=90).contains(&seconds), "{seconds}");
    let reason = [("grpc_method", "RepositoryExists"), ("reason", "rate")];
    assert_eq!(metrics::sum(&node, "gitaly_requests_dropped_total", &reason), 1);
}

/// A call that takes `time` from when it is let in: its client thinks before it asks.
async fn hold(client: Client, time: Duration) -> Result<Instant, Status> {
    let waiter = client.sidechannel().expect("the connection is a mux");
    let mut request = Request::new(PostUploadPackWithSidechannelRequest {
        repository: named("heavy.git"),
        git_protocol: "version=2".to_owned(),
        git_config_options: Vec::new(),
    });
    waiter.announce(request.metadata_mut());
    let mut http = SmartHttpServiceClient::new(client);
    let thinking = spawn_local(async move {
        if let Ok(mut end) = waiter.accept(Duration::from_secs(60)).await {
            tokio::time::sleep(time).await;
            end.finish_writing().await.expect("the node reads");
            while let Ok(Some(_)) = end.read().await {}
            let _ = end.close().await;
        }
    });
    let called = http.post_upload_pack_with_sidechannel(request).await;
    thinking.abort();
    match called {
        Err(status) if status.code() == tonic::Code::ResourceExhausted => Err(status),
        // An empty request is no fetch: how it ends does not matter here.
        Ok(_) | Err(_) => Ok(Instant::now()),
    }
}

#[test]
fn a_retry_after_is_about_when_the_line_has_drained() {
    let table = "[[concurrency]]\nrpc = '/gitaly.SmartHTTPService/PostUploadPackWithSidechannel'\n\
                 max_concurrency = 2\nmax_queue_size = 8\n";
    let node = Node::start_with(table);
    let _repository = heavy(&node, 1);
    run(async {
        let client = connect(&node, Door::Mux, "").await;
        let time = Duration::from_millis(400);
        let mut calls = JoinSet::new();
        for _ in 0..10 {
            calls.spawn_local(hold(client.clone(), time));
        }
        // When some have left, their places are taken again: the line is full.
        for _ in 0..4 {
            calls.join_next().await.expect("some are left").expect("no panic").expect("let in");
        }
        for _ in 0..4 {
            calls.spawn_local(hold(client.clone(), time));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        let refused = Instant::now();
        let status = hold(client.clone(), time).await.expect_err("the line is full");
        let (_, retry_after) = limit_error(&status);
        let mut ends = Vec::new();
        while let Some(ended) = calls.join_next().await {
            ends.push(ended.expect("no panic").expect("let in"));
        }
        ends.sort();
        // The line is empty when the last two are let in: a call's time before they end.
        let drained = *ends.last().expect("there were some") - time - refused;
        let factor = retry_after.as_secs_f64() / drained.as_secs_f64();
        assert!((0.4..2.5).contains(&factor), "{retry_after:?}, in truth {drained:?}");
    });
}

/// Those who do not say who they are have a limit of their own (18).
#[test]
fn calls_without_a_name_have_their_own_limit() {
    let rpc = "/gitaly.SmartHTTPService/PostUploadPackWithSidechannel";
    let table = format!(
        "[[concurrency]]\nrpc = '{rpc}'\nmax_concurrency = 1\n[concurrency.unauthenticated]\n\
         max_concurrency = 1\n"
    );
    let node = Node::start_with(&table);
    let repository = heavy(&node, 40);
    let held = node.hold_packs();
    let packs: Vec<_> = (1..=2).map(|depth| shallow(&repository, depth)).collect();
    std::thread::scope(|scope| {
        let named = scope.spawn(|| run(clone_as(&node, "one", "heavy.git", &packs[0])));
        wait_for(&node, "gitaly_concurrency_limiting_in_progress", &METHOD, 1);
        let gateway = node.gateway();
        let input = &packs[1];
        let nameless = scope.spawn(move || http::upload_pack(gateway, "heavy.git", 2, input));
        let own = [("grpc_method", "PostUploadPackWithSidechannel-unauthenticated")];
        wait_for(&node, "gitaly_concurrency_limiting_in_progress", &own, 1);
        wait_for_packs(&node, 2, 0);
        drop(held);
        Bands::whole(&named.join().expect("no client panics"));
        assert!(Bands::of(&nameless.join().expect("no client panics").body).is_whole);
    });
}
