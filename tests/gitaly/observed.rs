//! What an operator sees of a call: the line in the access log, and the metrics.

use std::time::Duration;

use gitring_proto::gitaly::repository_service_client::RepositoryServiceClient;
use gitring_proto::gitaly::smart_http_service_client::SmartHttpServiceClient;
use gitring_proto::gitaly::{InfoRefsRequest, RepositoryExistsRequest};
use gitring_tests::gitaly::{DOORS, Door, call, connect, metadata, named, run};
use gitring_tests::http;
use gitring_tests::metrics;
use gitring_tests::node::Node;
use gitring_tests::process::wait_until;
use tonic::Request;

use super::node_with_varied;

/// What clients of Gitaly say of themselves.
const CLIENT: [(&str, &str); 10] = [
    ("gitaly-feature-run-twice", "true"),
    ("gitaly-feature-mailmap-options", "true"),
    ("gitaly-feature-not-now", "false"),
    ("x-gitlab-correlation-id", "01HXCORRELATION"),
    ("client_name", "gitlab-web"),
    ("call_site", "Projects::show"),
    ("deadline_type", "regular"),
    ("remote_ip", "192.0.2.7"),
    ("user_id", "user-17"),
    ("username", "jane"),
];

/// The last line of a call, once it is there.
fn line(node: &Node, method: &str) -> String {
    let wanted = format!("\"grpc.method\":\"{method}\"");
    let is_it = |line: &&str| line.contains(&wanted) && line.contains("\"grpc.code\":");
    let find = || node.log().lines().find(is_it).map(str::to_owned);
    wait_until(method, Duration::from_secs(10), || find().is_some());
    find().expect("found a moment ago")
}

fn assert_fields(line: &str, fields: &[(&str, &str)]) {
    for (key, value) in fields {
        let field = format!("\"{key}\":{value}");
        let ends = [format!("{field},"), format!("{field}}}")];
        assert!(ends.iter().any(|end| line.contains(end)), "{field} in {line}");
    }
}

#[test]
fn the_line_of_a_unary_call() {
    let (node, _) = node_with_varied("");
    run(async {
        let client = connect(&node, Door::Tcp, "").await;
        let mut repository = named("varied.git").expect("named");
        repository.gl_repository = "project-5".to_owned();
        repository.gl_project_path = "group/varied".to_owned();
        let mut request = Request::new(RepositoryExistsRequest { repository: Some(repository) });
        *request.metadata_mut() = metadata(&CLIENT);
        request.metadata_mut().insert("grpc-timeout", "20S".parse().expect("ASCII"));
        let mut repositories = RepositoryServiceClient::new(client);
        repositories.repository_exists(request).await.expect("a repository");
    });
    let line = line(&node, "RepositoryExists");
    assert_fields(
        &line,
        &[
            ("level", "\"info\""),
            ("msg", "\"finished unary call with code OK\""),
            ("system", "\"grpc\""),
            ("span.kind", "\"server\""),
            ("correlation_id", "\"01HXCORRELATION\""),
            ("grpc.service", "\"gitaly.RepositoryService\""),
            ("grpc.code", "\"OK\""),
            ("grpc.request.fullMethod", "\"/gitaly.RepositoryService/RepositoryExists\""),
            ("grpc.request.repoStorage", "\"default\""),
            ("grpc.request.repoPath", "\"varied.git\""),
            ("grpc.request.glRepository", "\"project-5\""),
            ("grpc.request.glProjectPath", "\"group/varied\""),
            ("grpc.meta.client_name", "\"gitlab-web\""),
            ("grpc.meta.call_site", "\"Projects::show\""),
            ("grpc.meta.deadline_type", "\"regular\""),
            ("component", "\"gitaly.UnaryServerInterceptor\""),
            ("feature_flags", "\"mailmap_options run_twice\""),
            ("grpc.meta.method_type", "\"unary\""),
            ("grpc.meta.method_operation", "\"accessor\""),
            ("grpc.meta.method_scope", "\"repository\""),
            ("remote_ip", "\"192.0.2.7\""),
            ("user_id", "\"user-17\""),
            ("username", "\"jane\""),
        ],
    );
    for key in ["time", "grpc.start_time", "grpc.time_ms", "grpc.request.deadline", "peer.address"]
    {
        assert!(line.contains(&format!("\"{key}\":")), "{key} in {line}");
    }
    let labels = [
        ("client_name", "gitlab-web"),
        ("grpc_service", "gitaly.RepositoryService"),
        ("grpc_method", "RepositoryExists"),
        ("call_site", "Projects::show"),
        ("auth_version", "unknown"),
        ("grpc_code", "OK"),
        ("deadline_type", "regular"),
        ("method_operation", "accessor"),
        ("method_scope", "repository"),
    ];
    assert_eq!(metrics::sum(&node, "gitaly_service_client_requests_total", &labels), 1);
}

#[test]
fn the_line_of_a_failed_call() {
    let (node, _) = node_with_varied("");
    run(async {
        let client = connect(&node, Door::Mux, "").await;
        let request = InfoRefsRequest { repository: named("nothing.git"), ..Default::default() };
        let mut http = SmartHttpServiceClient::new(client);
        assert!(http.info_refs_upload_pack(request).await.is_err());
    });
    let line = line(&node, "InfoRefsUploadPack");
    // What is not known has no field, nor has what a call without children costs.
    for key in ["grpc.meta.client_name", "auth_version", "feature_flags", "command."] {
        assert!(!line.contains(key), "{key} in {line}");
    }
    assert_fields(
        &line,
        &[
            ("msg", "\"finished streaming call with code NotFound\""),
            ("grpc.code", "\"NotFound\""),
            ("error", "\"repository not found\""),
            ("grpc.request.repoPath", "\"nothing.git\""),
            ("component", "\"gitaly.StreamServerInterceptor\""),
            ("grpc.meta.deadline_type", "\"none\""),
            ("grpc.meta.method_type", "\"server_stream\""),
            ("grpc.response.payload_bytes", "0"),
        ],
    );
}

/// Load balancers ask often, and nobody wants to read of it.
#[test]
fn health_checks_leave_no_line() {
    let node = Node::start();
    run(async {
        let client = connect(&node, Door::Tcp, "").await;
        let health = "/grpc.health.v1.Health/Check";
        call(&client, health, metadata(&[]), b"").await.expect("the node is healthy");
        let path = "/gitaly.ServerService/ServerInfo";
        call(&client, path, metadata(&[]), b"").await.expect("the node is there");
    });
    line(&node, "ServerInfo");
    assert!(!node.log().contains("Health"), "{}", node.log());
}

#[test]
fn calls_and_connections_are_counted() {
    let (node, _) = node_with_varied("");
    let connections = |kind| metrics::sum(&node, "gitaly_connections_total", &[("type", kind)]);
    let before = (connections("tcp"), connections("unix"));
    run(async {
        for door in DOORS {
            let mut repositories = RepositoryServiceClient::new(connect(&node, door, "").await);
            for path in ["varied.git", "varied.git", ""] {
                let request = RepositoryExistsRequest { repository: named(path) };
                let reply = repositories.repository_exists(request).await;
                assert_eq!(reply.is_ok(), !path.is_empty());
            }
        }
        assert_eq!(http::info_refs(node.gateway(), "varied.git", 2).status, 200);
        let client = connect(&node, Door::Tcp, "").await;
        for path in ["/gitaly.Nobody/Nothing", "/gitaly.RefService/Nothing"] {
            assert!(call(&client, path, metadata(&[]), b"").await.is_err());
        }
    });
    // Reading metrics is a connection too, and so is the gateway's, but not one of Gitaly's door.
    assert_eq!((connections("tcp"), connections("unix")), (before.0 + 3, before.1 + 2));
    let method = ("grpc_method", "RepositoryExists");
    let service = ("grpc_service", "gitaly.RepositoryService");
    let labels = [("grpc_type", "unary"), service, method];
    let sum = |name| metrics::sum(&node, name, &labels);
    assert_eq!(sum("grpc_server_started_total"), 12);
    assert_eq!(sum("grpc_server_msg_received_total"), 12);
    assert_eq!(sum("grpc_server_msg_sent_total"), 8);
    assert_eq!(sum("grpc_server_handling_seconds_count"), 12);
    for (code, expected) in [("OK", 8), ("InvalidArgument", 4)] {
        let labels = [&labels[..], &[("grpc_code", code)]].concat();
        assert_eq!(metrics::sum(&node, "grpc_server_handled_total", &labels), expected, "{code}");
    }
    // Methods that do not exist must not fill a collector.
    assert!(!metrics::text(&node).contains("Nothing"));
}

/// What clients call themselves is counted up to a limit, and cut.
#[test]
fn names_of_clients_are_bounded() {
    let (node, _) = node_with_varied("");
    run(async {
        let mut repositories = RepositoryServiceClient::new(connect(&node, Door::Tcp, "").await);
        for at in 0..400 {
            let mut request =
                Request::new(RepositoryExistsRequest { repository: named("varied.git") });
            *request.metadata_mut() = metadata(&[("call_site", &format!("site {at}"))]);
            repositories.repository_exists(request).await.expect("a repository");
        }
    });
    let text = metrics::text(&node);
    let series = text.lines().filter(|line| line.contains("call_site=\"site "));
    assert!(series.count() <= 100 * std::thread::available_parallelism().map_or(1, usize::from));
    let other =
        metrics::sum(&node, "gitaly_service_client_requests_total", &[("call_site", "other")]);
    assert!(other >= 200, "{other}");
}
