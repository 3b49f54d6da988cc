//! What the environment means, whose trace a call belongs to, and what a collector receives.

use super::context::{Parent, is_sampled};
use super::message::{ExportTraceServiceRequest, Span as Sent};
use super::*;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use std::sync::mpsc;

fn settings(variables: &[(&str, &str)]) -> Result<Option<Settings>, SettingsError> {
    let find = |name: &str| {
        let found = variables.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    Settings::from_variables("gitring-node", find)
}

#[test]
fn the_environment_says_where_spans_go() {
    fn check(variables: &[(&str, &str)], expected: Option<(&str, u16, Protocol, f64)>) {
        let found = settings(variables).unwrap_or_else(|error| panic!("{variables:?}: {error}"));
        let found = found.map(|found| (found.host, found.port, found.protocol, found.ratio));
        let expected = expected.map(|(host, port, way, ratio)| (host.to_owned(), port, way, ratio));
        assert_eq!(found, expected, "{variables:?}");
    }
    let http = |path: &str| Protocol::Http(path.to_owned());
    let (gitlab, otel) = ("GITLAB_TRACING", "OTEL_EXPORTER_OTLP_ENDPOINT");
    check(&[], None);
    check(&[(gitlab, ""), (otel, "")], None);
    check(&[(gitlab, "otlp-grpc://[::1]:4317")], Some(("::1", 4317, Protocol::Grpc, 0.001)));
    let text = "otlp-http://collector:4318?sampler_param=0.5&insecure=true";
    check(
        &[(gitlab, text), (otel, "http://x")],
        Some(("collector", 4318, http("/v1/traces"), 0.5)),
    );
    check(&[(gitlab, "opentracing://jaeger")], Some(("localhost", 4317, Protocol::Grpc, 0.001)));
    check(&[(otel, "http://c/base/")], Some(("c", 4318, http("/base/v1/traces"), 1.0)));
    let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    check(&[(otel, "http://c"), grpc], Some(("c", 4317, Protocol::Grpc, 1.0)));
    let whole = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t:9/x");
    let share = ("OTEL_TRACES_SAMPLER_ARG", "0.25");
    check(&[(otel, "http://c"), whole, share], Some(("t", 9, http("/x"), 0.25)));
    check(&[(otel, "http://c"), ("OTEL_SDK_DISABLED", "true")], None);
    check(&[(otel, "http://c"), ("OTEL_TRACES_EXPORTER", "none")], None);
    for wrong in [
        (gitlab, "collector:4317"),
        (gitlab, "otlp-http://collector"),
        (gitlab, "otlp-http://c:1?sampler_param=2"),
        (gitlab, "otlp-http://c:1?insecure=false"),
        (gitlab, "opentracing://stackdriver"),
        (otel, "https://c"),
    ] {
        assert!(settings(&[wrong]).is_err(), "{wrong:?}");
    }
}

#[test]
fn keys_of_collectors_are_never_shown() {
    let text = "otlp-http://c:1?header^X-Api-Key=s3cr%65t";
    let found = settings(&[("GITLAB_TRACING", text)]).unwrap().unwrap();
    assert_eq!(found.headers, [("X-Api-Key".to_owned(), "s3cret".to_owned())]);
    assert!(!format!("{found:?}").contains("s3cret"), "{found:?}");
}

#[test]
fn a_client_says_whose_trace_a_call_belongs_to() {
    fn check(header: &str, expected: Option<bool>) {
        let found = Parent::parse(header.as_bytes());
        assert_eq!(found.map(|parent| parent.is_sampled), expected, "{header}");
    }
    let ids = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";
    check(&format!("00-{ids}-01"), Some(true));
    check(&format!("00-{ids}-00"), Some(false));
    check(&format!("cc-{ids}-03-more"), Some(true));
    check(&format!("00-{ids}-01-more"), None);
    check(&format!("ff-{ids}-01"), None);
    check(&format!("00-{}-01", ids.to_uppercase()), None);
    check(&format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)), None);
    check("00-0af7-b7ad-01", None);
    check("", None);
}

#[test]
fn a_share_of_traces_is_sampled() {
    let share = |ratio| (0..10_000).filter(|_| is_sampled(u128::from(random()), ratio)).count();
    assert_eq!((share(0.0), share(1.0)), (0, 10_000));
    let quarter = share(0.25);
    assert!((2_200..2_800).contains(&quarter), "{quarter}");
}

/// A collector that takes one batch and says what it was.
fn collector(protocol: &Protocol) -> (u16, mpsc::Receiver<(String, Bytes)>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = mpsc::channel();
    let is_grpc = *protocol == Protocol::Grpc;
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (socket, _) = listener.accept().unwrap();
            socket.set_nonblocking(true).unwrap();
            let io = TokioIo::new(tokio::net::TcpStream::from_std(socket).unwrap());
            let service = service_fn(move |request: Request<Incoming>| {
                let tell = tell.clone();
                async move {
                    let path = request.uri().path().to_owned();
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    tell.send((path, body)).unwrap();
                    let mut trailers = HeaderMap::new();
                    trailers.insert("grpc-status", "0".parse().unwrap());
                    let body = Full::new(Bytes::new()).with_trailers(async { Some(Ok(trailers)) });
                    Ok::<_, std::convert::Infallible>(Response::new(body))
                }
            });
            let served = match is_grpc {
                true => {
                    let http2 = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    http2.serve_connection(io, service).await
                }
                false => {
                    let http1 = hyper::server::conn::http1::Builder::new();
                    http1.serve_connection(io, service).await
                }
            };
            drop(served);
        });
    });
    (port, told)
}

fn check_export(protocol: Protocol, expected_path: &str) {
    let (port, told) = collector(&protocol);
    let (headers, service_name) = (Vec::new(), "gitring-node".to_owned());
    let host = "127.0.0.1".to_owned();
    let settings = Settings { host, port, protocol, headers, ratio: 1.0, service_name };
    let tracer = Tracer::start(settings, &Registry::new()).unwrap();
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let trace = tracer.begin(Some(parent.as_bytes())).unwrap();
    let work = |name: &'static str, error: Option<&str>| Work {
        name: name.into(),
        began: UNIX_EPOCH + Duration::from_secs(5),
        took: Duration::from_millis(3),
        attributes: vec![("rpc.method", Attribute::Text("RefExists".to_owned()))],
        error: error.map(str::to_owned),
    };
    trace.part_ended(work("git pack-objects", Some("killed")));
    trace.call_ended(work("a call", None));
    let (path, body) = told.recv_timeout(Duration::from_secs(30)).unwrap();
    assert_eq!(path, expected_path);
    let body = if expected_path.ends_with("Export") { body.slice(5..) } else { body };
    let sent = ExportTraceServiceRequest::decode(body).unwrap();
    let spans: &[Sent] = &sent.resource_spans[0].scope_spans[0].spans;
    let [part, call] = spans else { panic!("{spans:?}") };
    assert_eq!(call.trace_id, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes());
    assert_eq!(call.parent_span_id, 0xb7ad_6b71_6920_3331_u64.to_be_bytes());
    assert_eq!((&part.trace_id, &part.parent_span_id), (&call.trace_id, &call.span_id));
    assert_eq!(
        (part.start_time_unix_nano, part.end_time_unix_nano),
        (5_000_000_000, 5_003_000_000)
    );
    assert_eq!(part.status, Some(super::message::Status::error("killed".to_owned())));
    assert_eq!((call.name.as_str(), &call.status), ("a call", &None));
}

#[test]
fn a_collector_receives_spans() {
    check_export(Protocol::Http("/v1/traces".to_owned()), "/v1/traces");
    let method = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    check_export(Protocol::Grpc, method);
}

#[test]
fn what_nobody_takes_is_lost_and_counted() {
    let (headers, service_name) = (Vec::new(), String::new());
    // Nobody listens there.
    let (host, protocol) = ("127.0.0.1".to_owned(), Protocol::Grpc);
    let settings = Settings { host, port: 1, protocol, headers, ratio: 1.0, service_name };
    let tracer = Tracer::start(settings, &Registry::new()).unwrap();
    let trace = tracer.begin(None).unwrap();
    let spans = SPANS_MAX + 10_000;
    for _ in 0..spans {
        let (began, took) = (SystemTime::now(), Duration::ZERO);
        let (name, attributes) = ("x".into(), Vec::new());
        trace.part_ended(Work { name, began, took, attributes, error: None });
    }
    let shared = tracer.shared.as_ref().unwrap();
    assert!(shared.lock().len() <= SPANS_MAX);
    let lost = shared.spans.with_label_values(&[export::LOST]).get();
    assert!(lost >= 9_000, "{lost}");
    assert!(Tracer::off().begin(Some(b"anything")).is_none());
}
