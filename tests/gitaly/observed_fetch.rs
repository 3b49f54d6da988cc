//! What an operator sees of a fetch: what it was, what git took for it, and on whose behalf.

use std::io::Write;
use std::process::Command;
use std::time::Duration;

use gitring_daemon::client::Client;
use gitring_proto::gitaly::smart_http_service_client::SmartHttpServiceClient;
use gitring_proto::gitaly::{
    PostUploadPackWithSidechannelRequest, PostUploadPackWithSidechannelResponse,
};
use gitring_tests::gitaly::{Answered, Door, connect, named, run, with_sidechannel};
use gitring_tests::node::Node;
use gitring_tests::pktline::request;
use gitring_tests::process::wait_until;
use gitring_tests::repository::Repository;
use gitring_tests::shell::{Carrier, Shell};
use gitring_tests::{git, http, metrics};

use super::node_with_varied;

/// All that Gitaly tells of commands where nothing went wrong.
const COMMAND: [&str; 12] = [
    "count",
    "cpu_time_ms",
    "user_time_ms",
    "system_time_ms",
    "real_time_ms",
    "maxrss",
    "inblock",
    "oublock",
    "minflt",
    "majflt",
    "spawn_token_wait_ms",
    "spawn_token_fork_ms",
];

/// A clone of `main`.
fn clone(repository: &Repository) -> Vec<u8> {
    let want = format!("want {}", repository.id("main"));
    let head = ["command=fetch", "object-format=sha1", "delim", "no-progress", "ofs-delta"];
    request(&[&head[..], &[&want, "done", "flush"]].concat())
}

/// `PostUploadPackWithSidechannel`, with a correlation id.
async fn post(client: &Client, input: &[u8]) -> Answered<PostUploadPackWithSidechannelResponse> {
    let message = PostUploadPackWithSidechannelRequest {
        repository: named("varied.git"),
        git_protocol: "version=2".to_owned(),
        ..Default::default()
    };
    let mut http = SmartHttpServiceClient::new(client.clone());
    with_sidechannel(client, message, input, async move |mut request| {
        let id = "01HXFETCH".parse().expect("ASCII");
        request.metadata_mut().insert("x-gitlab-correlation-id", id);
        Ok(http.post_upload_pack_with_sidechannel(request).await?.into_inner())
    })
    .await
}

/// As coreutils have it.
fn sha1(bytes: &[u8]) -> String {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(bytes).expect("a temporary file can be written");
    let output = Command::new("sha1sum").arg(file.path()).output().expect("coreutils are there");
    String::from_utf8_lossy(&output.stdout).chars().take(40).collect()
}

/// A line with both texts, once it is there.
fn line(node: &Node, what: &str, also: &str) -> String {
    let is_it = |line: &&str| line.contains(what) && line.contains(also);
    let find = || node.log().lines().find(is_it).map(str::to_owned);
    wait_until(what, Duration::from_secs(10), || find().is_some());
    find().expect("found a moment ago")
}

/// The whole number that a field holds.
#[track_caller]
fn number(line: &str, key: &str) -> u64 {
    let field = format!("\"{key}\":");
    let (_, rest) = line.split_once(&field).unwrap_or_else(|| panic!("{key} in {line}"));
    let digits = rest.split([',', '}']).next().unwrap_or_default();
    digits.parse().unwrap_or_else(|_| panic!("{key} in {line}"))
}

/// The fields of one `git pack-objects`.
#[track_caller]
fn assert_command(line: &str) {
    let of = |key: &str| number(line, &format!("command.{key}"));
    for key in COMMAND {
        of(key);
    }
    assert_eq!(of("count"), 1, "{line}");
    // A git takes some MiB, and hundreds of pages to begin with.
    assert!(of("maxrss") > 1_000 && of("minflt") > 100, "{line}");
    // Each is cut to whole milliseconds.
    let parts = of("user_time_ms") + of("system_time_ms");
    assert!((parts..=parts + 1).contains(&of("cpu_time_ms")), "{line}");
    assert!(of("real_time_ms") < 60_000 && !line.contains("spawn_token_error"), "{line}");
}

/// Whole units of a child's figures, by service and method.
fn used(node: &Node, name: &str, caller: (&str, &str), more: &[(&str, &str)]) -> u64 {
    let version = git::run(std::path::Path::new("/"), &["version"]);
    let version = version.trim().trim_start_matches("git version ").to_owned();
    let labels = [
        ("grpc_service", caller.0),
        ("grpc_method", caller.1),
        ("cmd", "git"),
        ("subcmd", "pack-objects"),
        ("git_version", &version),
    ];
    metrics::sum(node, name, &[&labels[..], more].concat())
}

/// The counters of one `git pack-objects` that has ended.
#[track_caller]
fn assert_counters(node: &Node, caller: (&str, &str)) {
    let minor = "gitaly_command_minor_page_faults_total";
    let switches = "gitaly_command_context_switches_total";
    assert!(used(node, minor, caller, &[]) > 100, "{}", metrics::text(node));
    let voluntary = [("ctxswitchtype", "voluntary")];
    assert!(used(node, switches, caller, &voluntary) > 0, "{}", metrics::text(node));
    let text = metrics::text(node);
    for (name, more) in [
        ("cpu_seconds", "mode=\"user\""),
        ("cpu_seconds", "mode=\"system\""),
        ("real_seconds", ""),
        ("major_page_faults", ""),
        ("signals_received", ""),
        ("context_switches", "ctxswitchtype=\"nonvoluntary\""),
    ] {
        let begin = format!("gitaly_command_{name}_total{{");
        let method = format!("grpc_method=\"{}\"", caller.1);
        let is_it =
            |line: &&str| line.starts_with(&begin) && line.contains(&method) && line.contains(more);
        assert_eq!(text.lines().filter(is_it).count(), 1, "{name} {more} in {text}");
    }
}

#[test]
fn a_fetch_over_http() {
    let (node, repository) = node_with_varied("");
    let input = clone(&repository);
    let answered = run(async { post(&connect(&node, Door::Mux, "").await, &input).await });
    assert!(answered.reply.is_ok(), "{:?}", answered.reply);
    let details = line(&node, "\"msg\":\"request details\"", "PostUploadPackWithSidechannel");
    let sha = sha1(&input);
    assert!(details.contains(&format!("\"request_sha\":\"{sha}\"")), "{sha} in {details}");
    assert_eq!(number(&details, "response_bytes"), answered.bytes.len() as u64);
    for field in [
        "\"level\":\"info\"",
        "\"correlation_id\":\"01HXFETCH\"",
        "\"grpc.request.repoPath\":\"varied.git\"",
    ] {
        assert!(details.contains(field), "{field} in {details}");
    }
    let last = line(&node, "finished unary call", "PostUploadPackWithSidechannel");
    assert_command(&last);
    assert!(last.contains("\"correlation_id\":\"01HXFETCH\""), "{last}");
    assert_counters(&node, ("gitaly.SmartHTTPService", "PostUploadPackWithSidechannel"));
    assert_eq!(node.children_correlation_ids(), "01HXFETCH\n");
    for name in ["gitaly_spawn_waiting_time_seconds", "gitaly_spawn_forking_time_seconds"] {
        assert_eq!(metrics::sum(&node, &format!("{name}_count"), &[]), 1, "{name}");
    }
}

#[test]
fn a_fetch_over_ssh() {
    for (carrier, method) in [
        (Carrier::Sidechannel, "SSHUploadPackWithSidechannel"),
        (Carrier::Messages, "SSHUploadPack"),
    ] {
        let (node, _) = node_with_varied("");
        let shell = Shell::start(&node, carrier);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let words = ["clone", "-q", "--bare", "ssh://git@node/varied.git", "c.git"];
        let output = shell.git(folder.path()).args(words).output().expect("git can be started");
        assert!(output.status.success(), "{}", git::describe(&words, &output));
        let method_field = format!("\"grpc.method\":\"{method}\"");
        let details = line(&node, "\"msg\":\"request details\"", &method_field);
        assert!(number(&details, "response_bytes") > 1_000, "{details}");
        assert!(!details.contains("request_sha"), "{details}");
        assert_command(&line(&node, "\"grpc.code\":\"OK\"", &method_field));
        assert_counters(&node, ("gitaly.SSHService", method));
    }
}

/// A correlation id goes into an environment and a log, so it must be text of moderate length.
#[test]
fn a_fetch_through_the_gateway() {
    let (node, repository) = node_with_varied("");
    let input = clone(&repository);
    let headers = [
        ("Content-Type", "application/x-git-upload-pack-request"),
        ("Git-Protocol", "version=2"),
        ("X-Request-Id", "two words"),
    ];
    let path = "/varied.git/git-upload-pack";
    let answer = http::send(node.gateway(), "POST", path, &headers, &input);
    assert_eq!(answer.status, 200, "{answer:?}");
    let last = line(&node, "finished http request", "\"http.operation\":\"UploadPack\"");
    assert_command(&last);
    assert_counters(&node, ("http", "UploadPack"));
    let id = node.children_correlation_ids();
    assert_eq!(id.trim().len(), 32, "{id}");
    assert!(last.contains(&format!("\"correlation_id\":\"{}\"", id.trim())), "{last}");
}

/// Goal: what git took before it failed is not forgotten, and a failed fetch has no details.
#[test]
fn a_fetch_that_fails() {
    let (node, repository) = node_with_varied("");
    let write = |words: &[&str], input: &str| {
        git::run_with(&repository.path, words, input.as_bytes()).trim().to_owned()
    };
    let blob = write(&["hash-object", "-w", "--stdin"], "lost");
    let tree = write(&["mktree"], &format!("100644 blob {blob}\tlost\n"));
    let commit = write(&["commit-tree", &tree, "-m", "lost"], "");
    repository.git(&["update-ref", "refs/heads/main", &commit]);
    let input = clone(&repository);
    let (folder, file) = blob.split_at(2);
    std::fs::remove_file(repository.path.join("objects").join(folder).join(file))
        .expect("it was written as a file of its own");
    let answered = run(async { post(&connect(&node, Door::Mux, "").await, &input).await });
    assert!(answered.reply.is_err(), "{:?}", answered.reply);
    assert_command(&line(&node, "finished unary call", "PostUploadPackWithSidechannel"));
    assert!(!node.log().contains("request details"), "{}", node.log());
}
