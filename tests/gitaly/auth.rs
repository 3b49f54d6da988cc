//! Who may call: tokens on every kind of connection.

use std::time::{SystemTime, UNIX_EPOCH};

use gitring_proto::token::{self, Secret};
use gitring_tests::gitaly::{DOORS, Door, call, connect, metadata, refusal, run};
use gitring_tests::metrics;
use gitring_tests::node::Node;
use tonic::Code;

/// Any call that answers once the token was judged: here with `InvalidArgument`.
const METHOD: &str = "/gitaly.RepositoryService/RepositoryExists";
const HEALTH: &str = "/grpc.health.v1.Health/Check";
/// `HealthCheckResponse { status: SERVING }`
const SERVING: &[u8] = &[8, 1];

/// How a call ends whose token was taken, and which counter it moves.
const TAKEN: (Code, &str) = (Code::InvalidArgument, "ok");
/// Of one without any token.
const MISSING: (Code, &str) = (Code::Unauthenticated, "unauthenticated");
/// Of one whose token does not hold.
const DENIED: (Code, &str) = (Code::PermissionDenied, "denied");

/// A header, what becomes of its call, and which error is counted.
struct Case {
    header: Option<String>,
    end: (Code, &'static str),
    error: Option<&'static str>,
}

fn now_unix_s() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(elapsed.as_secs()).expect("before the year 292 billion")
}

fn signed(secret: &str, offset_s: i64) -> String {
    let secret = Secret::new(secret.as_bytes()).expect("not empty");
    token::sign(&secret, now_unix_s() + offset_s)
}

/// Signs a text that is no time, by the way in which a token is built.
fn cases() -> Vec<Case> {
    let good = signed("secret", 0);
    let case = |header: &str, end, error| Case { header: Some(header.to_owned()), end, error };
    let (signature, time) = good["Bearer v2.".len()..].split_once('.').expect("three parts");
    let wrong = Some("wrong hmac signature");
    vec![
        Case { header: None, end: MISSING, error: None },
        case(&good, TAKEN, None),
        case(&good.replacen("Bearer", "bearer", 1), TAKEN, None),
        case(&signed("secret", -25), TAKEN, None),
        case(&signed("secret", 25), TAKEN, None),
        case(&signed("another", 0), DENIED, wrong),
        case(&signed("secret", -40), DENIED, Some("timestamp too old")),
        case(&signed("secret", 40), DENIED, Some("timestamp too new")),
        // Cut by a byte of the time, of the signature, of a digit of it.
        case(&good[..good.len() - 1], DENIED, wrong),
        case(&format!("Bearer v2.{}.{time}", &signature[2..]), DENIED, wrong),
        case(&format!("Bearer v2.{}.{time}", &signature[1..]), MISSING, None),
        case(&format!("Bearer v2.{signature}"), MISSING, None),
        case(&format!("Bearer v2..{time}"), DENIED, wrong),
        case(&format!("Bearer v2.{}.{time}", signature.to_uppercase()), TAKEN, None),
        // Versions that are not ours, the secret itself, other schemes.
        case(&good.replacen("v2", "v1", 1), DENIED, None),
        case(&good.replacen("v2", "v3", 1), DENIED, None),
        case("Bearer secret", MISSING, None),
        case("Bearer ", MISSING, None),
        case("Bearer", MISSING, None),
        case("Basic c2VjcmV0Og==", MISSING, None),
        case(&good.replacen("Bearer ", "", 1), MISSING, None),
        case("", MISSING, None),
    ]
}

/// Every header on one kind of connection: code, message, both counters.
fn check(node: &Node, door: Door, transitioning: bool) {
    let enforced = if transitioning { "false" } else { "true" };
    let judged = |status| {
        let labels = [("enforced", enforced), ("status", status)];
        metrics::sum(node, "gitaly_authentications_total", &labels)
    };
    let errors = |error| {
        let labels = [("version", "v2"), ("error", error)];
        metrics::sum(node, "gitaly_authentication_errors_total", &labels)
    };
    let all_errors = || metrics::sum(node, "gitaly_authentication_errors_total", &[]);
    for Case { header, end: (code, status), error } in cases() {
        let what = format!("{door:?} {header:?}");
        let status = if transitioning && status == "ok" { "would be ok" } else { status };
        let before = (judged(status), all_errors(), error.map_or(0, errors));
        let entries: Vec<_> = header.iter().map(|value| ("authorization", &**value)).collect();
        let (found, text) = run(async {
            let client = connect(node, door, "").await;
            refusal(call(&client, METHOD, metadata(&entries), b"").await)
        });
        let expected = if transitioning || code == Code::InvalidArgument {
            (Code::InvalidArgument, "repository not set")
        } else if code == Code::Unauthenticated {
            (code, "authentication required")
        } else {
            (code, "permission denied")
        };
        assert_eq!((found, &*text), expected, "{what}");
        let counted = u64::from(error.is_some());
        let after = (judged(status), all_errors(), error.map_or(0, errors));
        let expected = (before.0 + 1, before.1 + counted, before.2 + counted);
        assert_eq!(after, expected, "{what}: {status}, {error:?}");
    }
}

#[test]
fn tokens_on_every_kind_of_connection() {
    let node = Node::start_with("[auth]\ntoken = \"secret\"\n");
    for door in DOORS {
        check(&node, door, false);
    }
}

#[test]
fn transitioning_judges_and_lets_pass() {
    let node = Node::start_with("[auth]\ntoken = \"secret\"\ntransitioning = true\n");
    check(&node, Door::Mux, true);
}

#[test]
fn without_a_token_everybody_may_call() {
    let node = Node::start();
    run(async {
        for header in [&[][..], &[("authorization", "Bearer nonsense")]] {
            let client = connect(&node, Door::Tcp, "").await;
            let (code, _) = refusal(call(&client, METHOD, metadata(header), b"").await);
            assert_eq!(code, Code::InvalidArgument);
        }
    });
    let labels = [("enforced", "true"), ("status", "server disabled authentication")];
    assert_eq!(metrics::sum(&node, "gitaly_authentications_total", &labels), 2);
}

#[test]
fn health_needs_no_token_and_everything_else_does() {
    let node = Node::start_with("[auth]\ntoken = \"secret\"\n");
    for door in DOORS {
        run(async {
            let client = connect(&node, door, "").await;
            let health = call(&client, HEALTH, metadata(&[]), b"").await;
            assert_eq!(health.expect("health needs no token"), SERVING, "{door:?}");
            for path in [
                "/gitaly.ServerService/ServerInfo",
                "/gitaly.Nobody/Nothing",
                "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
                "/grpc.health.v1.Healthy/Check",
                "/GRPC.HEALTH.V1.Health/Check",
            ] {
                let (code, _) = refusal(call(&client, path, metadata(&[]), b"").await);
                assert_eq!(code, Code::Unauthenticated, "{door:?} {path}");
            }
        });
    }
}

/// A client that signs for itself, as stock clients do.
#[test]
fn a_client_that_knows_the_secret() {
    let node = Node::start_with("[auth]\ntoken = \"secret\"\n");
    for (token, expected) in [("secret", Code::InvalidArgument), ("Secret", Code::PermissionDenied)]
    {
        for door in DOORS {
            run(async {
                let client = connect(&node, door, token).await;
                let (code, _) = refusal(call(&client, METHOD, metadata(&[]), b"").await);
                assert_eq!(code, expected, "{door:?}");
            });
        }
    }
}

/// Of several headers the first one counts, as in Gitaly.
#[test]
fn the_first_of_several_headers_counts() {
    let node = Node::start_with("[auth]\ntoken = \"secret\"\n");
    let (good, bad) = (signed("secret", 0), signed("another", 0));
    for (headers, expected) in
        [([&good, &bad], Code::InvalidArgument), ([&bad, &good], Code::PermissionDenied)]
    {
        run(async {
            let client = connect(&node, Door::Tcp, "").await;
            let entries = headers.map(|value| ("authorization", value.as_str()));
            let (code, _) = refusal(call(&client, METHOD, metadata(&entries), b"").await);
            assert_eq!(code, expected);
        });
    }
}
