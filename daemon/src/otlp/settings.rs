//! Where spans go, from the environment: Gitaly's `GITLAB_TRACING`, else OpenTelemetry's variables.
//!
//! `GITLAB_TRACING` is as Gitaly 18.9 reads it: `otlp-grpc://host:4317?sampler_param=0.1`,
//! `otlp-http://host:4318?header^X-Key=…`, and of the older `opentracing://jaeger` that it means a
//! collector on this machine. Of OpenTelemetry's: `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` or
//! `OTEL_EXPORTER_OTLP_ENDPOINT`, `…_PROTOCOL`, `…_HEADERS`, `OTEL_TRACES_SAMPLER_ARG`,
//! `OTEL_SERVICE_NAME`, `OTEL_SDK_DISABLED`, `OTEL_TRACES_EXPORTER`.
//!
//! Never here: TLS. A collector stands on the machine or behind one that does.

use hyper::Uri;
use std::fmt;

/// Gitaly's share of calls where nothing is said.
const GITLAB_RATIO: f64 = 0.001;
/// Ports of OTLP.
const GRPC_PORT: u16 = 4317;
const HTTP_PORT: u16 = 4318;

/// A collector and what it gets.
#[derive(Clone, PartialEq)]
pub struct Settings {
    /// Name or address of its host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What it speaks.
    pub protocol: Protocol,
    /// Sent along; they may hold keys.
    pub headers: Vec<(String, String)>,
    /// Share of calls that begin a trace, 0 to 1.
    pub ratio: f64,
    /// Who we are.
    pub service_name: String,
}

/// What a collector speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protocol {
    /// OTLP/gRPC, without TLS.
    Grpc,
    /// OTLP/HTTP with protobuf, at this path.
    Http(String),
}

/// Why nothing is traced although somebody wants it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {what}")]
pub struct SettingsError {
    /// Where it stands.
    pub variable: &'static str,
    /// What is wrong; never the value, which may hold keys.
    pub what: &'static str,
}

// === impl Settings ===

impl Settings {
    /// `None` where nobody asks for traces. `variable` looks one up in the environment.
    pub fn from_variables(
        service_name: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, SettingsError> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let name = variable("OTEL_SERVICE_NAME").unwrap_or_else(|| service_name.to_owned());
        if let Some(text) = variable("GITLAB_TRACING") {
            return Self::of_gitlab(&text, name).map(Some);
        }
        let is_off = variable("OTEL_SDK_DISABLED").is_some_and(|value| value == "true")
            || variable("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none");
        if is_off { Ok(None) } else { Self::of_opentelemetry(variable, name) }
    }

    fn of_gitlab(text: &str, service_name: String) -> Result<Self, SettingsError> {
        let wrong = |what| SettingsError { variable: "GITLAB_TRACING", what };
        let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong("is no URL"))?;
        let (place, options) = rest.split_once('?').unwrap_or((rest, ""));
        let place = place.trim_end_matches('/');
        let (protocol, place) = match scheme {
            "otlp-grpc" => (Protocol::Grpc, place),
            "otlp-http" => (Protocol::Http("/v1/traces".to_owned()), place),
            "opentracing" if place == "stackdriver" => {
                return Err(wrong("stackdriver is not built"));
            }
            "opentracing" => (Protocol::Grpc, "localhost:4317"),
            _ => return Err(wrong("allowed: otlp-grpc://host:port, otlp-http://host:port")),
        };
        let (host, port) = place.rsplit_once(':').ok_or_else(|| wrong("names no port"))?;
        let port = port.parse().map_err(|_| wrong("names no port"))?;
        let host = host.trim_matches(['[', ']']).to_owned();
        let (mut headers, mut ratio) = (Vec::new(), GITLAB_RATIO);
        for option in options.split('&').filter(|option| !option.is_empty()) {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            let (key, value) = (decoded(key), decoded(value));
            match key.as_str() {
                "sampler_param" => ratio = share(&value).ok_or_else(|| wrong("sampler_param"))?,
                "insecure" if value == "false" => return Err(wrong("TLS is not built")),
                key => {
                    headers.extend(key.strip_prefix("header^").map(|name| (name.to_owned(), value)))
                }
            }
        }
        Ok(Self { host, port, protocol, headers, ratio, service_name })
    }

    fn of_opentelemetry(
        variable: impl Fn(&str) -> Option<String>,
        service_name: String,
    ) -> Result<Option<Self>, SettingsError> {
        let either = |traces, all| variable(traces).or_else(|| variable(all));
        let name = "OTEL_EXPORTER_OTLP_ENDPOINT";
        let wrong = |variable, what| SettingsError { variable, what };
        let whole = variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
        let Some(endpoint) = whole.clone().or_else(|| variable(name)) else { return Ok(None) };
        let endpoint: Uri = endpoint.parse().map_err(|_| wrong(name, "is no URL"))?;
        if endpoint.scheme_str() != Some("http") {
            return Err(wrong(name, "only http:// is built"));
        }
        let host = endpoint.host().ok_or_else(|| wrong(name, "names no host"))?;
        let asked = either("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL");
        let base = endpoint.path().trim_end_matches('/');
        let protocol = match (asked.as_deref(), &whole) {
            (Some("grpc"), _) => Protocol::Grpc,
            (Some("http/protobuf") | None, Some(_)) => Protocol::Http(endpoint.path().to_owned()),
            (Some("http/protobuf") | None, None) => Protocol::Http(format!("{base}/v1/traces")),
            (Some(_), _) => {
                let what = "allowed: grpc, http/protobuf";
                return Err(wrong("OTEL_EXPORTER_OTLP_PROTOCOL", what));
            }
        };
        let default_port = if protocol == Protocol::Grpc { GRPC_PORT } else { HTTP_PORT };
        let headers = either("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS");
        let headers = headers.unwrap_or_default();
        let pairs = headers.split(',').filter_map(|pair| pair.split_once('='));
        let ratio = match variable("OTEL_TRACES_SAMPLER_ARG") {
            None => 1.0,
            Some(text) => share(&text)
                .ok_or_else(|| wrong("OTEL_TRACES_SAMPLER_ARG", "allowed: a number from 0 to 1"))?,
        };
        Ok(Some(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: endpoint.port_u16().unwrap_or(default_port),
            protocol,
            headers: pairs.map(|(key, value)| (key.trim().to_owned(), decoded(value))).collect(),
            ratio,
            service_name,
        }))
    }
}

fn share(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|share| (0.0..=1.0).contains(share))
}

/// Without percent encoding (RFC 3986 §2.1).
fn decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.trim().as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let digits = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(decoded) if byte == b'%' => {
                out.push(decoded);
                rest = &behind[2..];
            }
            Some(_) | None => {
                out.push(byte);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

impl fmt::Debug for Settings {
    /// Without the values of headers.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        out.debug_struct("Settings")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("protocol", &self.protocol)
            .field("headers", &headers)
            .field("ratio", &self.ratio)
            .finish_non_exhaustive()
    }
}
