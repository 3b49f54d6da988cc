//! GitLab's internal API, as Gitaly asks it: who may push, and what was pushed.
//!
//! ```text
//!   Client ──► token (who asks) ──► exchange (one connection, one request) ──► answer (parsed)
//! ```
//!
//! Always true:
//! - one call is one connection, which ends with it (`Connection: close`);
//! - a request is sent again only while nothing of it can have arrived; [`Client::check`], which
//!   changes nothing, also where its connection broke;
//! - a call ends after `read_timeout`; an answer has at most 1 MiB; redirects are not followed;
//! - secrets never show in `Debug`, errors or the log.
//!
//! Never here: pushes, hooks, what a refusal means to a pusher.

mod answer;
mod endpoint;
mod exchange;
mod tls;
mod token;

pub use self::answer::{AllowedAnswer, ApiError, CheckInfo, Failure, PostReceiveAnswer};
pub use self::answer::{Message, MessageKind};
pub use self::endpoint::Endpoint;
pub use self::exchange::ExchangeError;
pub use self::tls::TlsError;

use self::answer::Answer;
use self::exchange::{Exchange, Repeat};
use self::token::Signer;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use gitring_daemon::tls::Identity;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request};
use prometheus::{HistogramOpts, HistogramVec, Registry};
use serde_json::{Value, json};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Gitaly's default of `read_timeout`.
pub const READ_TIMEOUT_DEFAULT: Duration = Duration::from_secs(300);
/// What every path begins with.
const API: &str = "/api/v4/internal";
/// Carries the web token.
const TOKEN_HEADER: &str = "gitlab-shell-api-request";
/// Joins GitLab's log lines with ours.
const CORRELATION_HEADER: &str = "x-request-id";
/// As whom we ask: the newest Gitaly whose messages are known here, and ourselves.
const AGENT: &str = concat!("gitaly/18.9.0 gitring/", env!("CARGO_PKG_VERSION"));

/// `[gitlab]` and `[gitlab.http-settings]`.
#[derive(Debug, Clone)]
pub struct GitlabConfig {
    /// Where GitLab listens.
    pub endpoint: Endpoint,
    /// What signs web tokens.
    pub secret: Secret,
    /// How long one call may take, from the connection to the last byte of the answer.
    pub read_timeout: Duration,
    /// For a proxy in front of GitLab.
    pub basic: Option<BasicAuth>,
    /// PEM certificates to trust besides those of the system.
    pub ca_file: Option<PathBuf>,
    /// A directory with more of them.
    pub ca_path: Option<PathBuf>,
    /// Shown to a server that asks for one.
    pub client_certificate: Option<Identity>,
}

/// Where the shared secret is. White space around it does not count.
#[derive(Clone)]
pub enum Secret {
    /// `secret`
    Inline(String),
    /// `secret_file`, read when the client is made.
    File(PathBuf),
}

/// `user` and `password`.
#[derive(Clone)]
pub struct BasicAuth {
    /// Without a colon.
    pub user: String,
    /// Any text.
    pub password: String,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The secret's file.
    #[error("reading secret file: open {path}")]
    Secret {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// GitLab would refuse whatever was signed with it.
    #[error("the secret shared with GitLab is empty")]
    EmptySecret,
    /// Certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// It cannot stand in a header.
    #[error("http-settings: user or password cannot be sent")]
    Basic,
}

/// What `/allowed` is asked.
#[derive(Debug, Clone, Copy)]
pub struct AllowedRequest<'a> {
    /// Which repository, in GitLab's words: `project-1`, `wiki-1`.
    pub gl_repository: &'a str,
    /// Who pushes: `user-1`, `key-1` or `username-name`.
    pub gl_id: &'a str,
    /// How: `http`, `ssh`, `web`.
    pub protocol: &'a str,
    /// Absolute path of the repository.
    pub project: &'a str,
    /// As clients of the node name it.
    pub relative_path: &'a str,
    /// Lines `<old> SP <new> SP <ref> LF`.
    pub changes: &'a str,
    /// Where the new objects are, relative to the repository; empty if they are in it.
    pub object_directory: &'a str,
    /// Where the others are, likewise.
    pub alternates: &'a [String],
}

/// What `/post_receive` is told.
#[derive(Debug, Clone, Copy)]
pub struct PostReceiveRequest<'a> {
    /// Which repository, in GitLab's words.
    pub gl_repository: &'a str,
    /// Who pushed.
    pub gl_id: &'a str,
    /// Lines `<old> SP <new> SP <ref> LF`.
    pub changes: &'a str,
    /// As the pusher gave them.
    pub push_options: &'a [String],
}

/// Asks GitLab, from any reactor.
pub struct Client {
    exchange: Exchange,
    signer: Signer,
    basic: Option<HeaderValue>,
    latency: HistogramVec,
}

// === impl Client ===

impl Client {
    /// Reads secret and certificates, which blocks. Asks nothing yet. The histogram of latencies has
    /// these buckets, seconds.
    pub fn new(
        config: &GitlabConfig,
        registry: &Registry,
        buckets_s: &[f64],
    ) -> Result<Self, ClientError> {
        let options = HistogramOpts::new(
            "gitaly_gitlab_api_latency_seconds",
            "Latency between posting to GitLab's internal API and receiving a response.",
        );
        let options = options.buckets(buckets_s.to_vec());
        let latency = HistogramVec::new(options, &["endpoint"]).expect("name and labels are valid");
        registry.register(Box::new(latency.clone())).expect("registered once a registry");
        let tls = match config.endpoint.is_tls() {
            true => Some(tls::configure(config)?),
            false => None,
        };
        let (endpoint, time_max) = (config.endpoint.clone(), config.read_timeout);
        Ok(Self {
            exchange: Exchange { endpoint, tls, time_max },
            signer: Signer::new(&config.secret.read()?).ok_or(ClientError::EmptySecret)?,
            basic: config.basic.as_ref().map(BasicAuth::header).transpose()?,
            latency,
        })
    }

    /// Whether the changes may be made. GitLab may call back into the node before it answers.
    pub async fn allowed(
        &self,
        request: AllowedRequest<'_>,
        correlation_id: &str,
    ) -> Result<AllowedAnswer, ApiError> {
        let _timer = self.latency.with_label_values(&["allowed"]).start_timer();
        let body = request.body()?;
        let answer = self.post("/allowed", body, correlation_id).await;
        answer.map_err(ApiError::Allowed)?.allowed()
    }

    /// Has GitLab count a push that begins. False if it did not.
    pub async fn pre_receive(
        &self,
        gl_repository: &str,
        correlation_id: &str,
    ) -> Result<bool, ApiError> {
        let _timer = self.latency.with_label_values(&["pre-receive"]).start_timer();
        let body = json!({ "gl_repository": gl_repository });
        let answer = self.post("/pre_receive", body, correlation_id).await;
        answer.map_err(ApiError::PreReceive)?.pre_receive()
    }

    /// Tells GitLab what was pushed.
    pub async fn post_receive(
        &self,
        request: PostReceiveRequest<'_>,
        correlation_id: &str,
    ) -> Result<PostReceiveAnswer, ApiError> {
        let _timer = self.latency.with_label_values(&["post-receive"]).start_timer();
        // Go writes a list that was never made as null.
        let options = request.push_options;
        let body = json!({
            "gl_repository": request.gl_repository,
            "identifier": request.gl_id,
            "changes": request.changes,
            "push_options": (!options.is_empty()).then_some(options),
        });
        let answer = self.post("/post_receive", body, correlation_id).await;
        answer.map_err(ApiError::PostReceive)?.post_receive()
    }

    /// Which GitLab answers, if it accepts our secret.
    pub async fn check(&self) -> Result<CheckInfo, ApiError> {
        let _timer = self.latency.with_label_values(&["check"]).start_timer();
        let request = self.request(Method::GET, "/check", Bytes::new(), "");
        let answer = self.ask(request, Repeat::UnlessAnswered).await;
        answer.map_err(ApiError::Check)?.check()
    }

    async fn post(&self, path: &str, body: Value, correlation: &str) -> Result<Answer, Failure> {
        let request = self.request(Method::POST, path, body.to_string().into(), correlation);
        self.ask(request, Repeat::UntilConnected).await
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        correlation: &str,
    ) -> Request<Full<Bytes>> {
        let endpoint = &self.exchange.endpoint;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = endpoint.uri(&format!("{API}{path}"));
        let headers = request.headers_mut();
        headers.insert(HOST, endpoint.host());
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert(TOKEN_HEADER, self.signer.sign(now.as_secs()));
        if let Some(basic) = &self.basic {
            headers.insert(AUTHORIZATION, basic.clone());
        }
        if !correlation.is_empty()
            && let Ok(value) = HeaderValue::from_str(correlation)
        {
            headers.insert(CORRELATION_HEADER, value);
        }
        request
    }

    async fn ask(&self, request: Request<Full<Bytes>>, repeat: Repeat) -> Result<Answer, Failure> {
        let (method, url) = (request.method().clone(), request.uri().path().to_owned());
        let began = Instant::now();
        let answered = self.exchange.run(request, repeat).await;
        let duration_ms = began.elapsed().as_millis();
        let answered = answered.map_err(Failure::Unreachable).and_then(Answer::judge);
        match &answered {
            Ok(answer) => {
                let status = answer.status.as_u16();
                tracing::info!(%method, url, duration_ms, status, "Finished HTTP request");
            }
            Err(failure) => {
                let error = failure.cause();
                tracing::error!(%method, url, duration_ms, error, "{}", failure.kind());
            }
        }
        answered
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Client").field("endpoint", &self.exchange.endpoint).finish()
    }
}

// === impl AllowedRequest ===

impl AllowedRequest<'_> {
    fn body(&self) -> Result<Value, ApiError> {
        // A string within the string, as Rails expects it.
        let alternates = (!self.alternates.is_empty()).then_some(self.alternates);
        let env = json!({
            "GIT_ALTERNATE_OBJECT_DIRECTORIES_RELATIVE": alternates,
            "GIT_OBJECT_DIRECTORY_RELATIVE": self.object_directory,
        });
        let (who, id) = self.who()?;
        let project = self.project.replace('\'', "");
        let env = env.to_string();
        let fields = [
            ("action", "git-receive-pack"),
            ("gl_repository", self.gl_repository),
            ("project", &project),
            ("changes", self.changes),
            ("protocol", self.protocol),
            ("relative_path", self.relative_path),
            ("env", &env),
            (who, id),
        ];
        let set = fields.into_iter().filter(|(_, value)| !value.is_empty());
        Ok(set.map(|(key, value)| (key.to_owned(), Value::from(value))).collect())
    }

    /// Under which key GitLab is told who pushes, and what.
    fn who(&self) -> Result<(&'static str, &str), ApiError> {
        let is_number = |id: &str| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
        if let Some(name) = self.gl_id.strip_prefix("username-") {
            return Ok(("username", name));
        }
        [("key-", "key_id"), ("user-", "user_id")]
            .into_iter()
            .find_map(|(prefix, key)| Some((key, self.gl_id.strip_prefix(prefix)?)))
            .filter(|(_, id)| is_number(id))
            .ok_or_else(|| ApiError::GlId(self.gl_id.to_owned()))
    }
}

// === impl Secret ===

impl Secret {
    #[expect(clippy::disallowed_methods, reason = "start-up: no reactor runs yet")]
    fn read(&self) -> Result<Vec<u8>, ClientError> {
        match self {
            Self::Inline(secret) => Ok(secret.clone().into_bytes()),
            Self::File(path) => std::fs::read(path)
                .map_err(|source| ClientError::Secret { path: path.clone(), source }),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(_) => out.write_str("Inline(…)"),
            Self::File(path) => out.debug_tuple("File").field(path).finish(),
        }
    }
}

// === impl BasicAuth ===

impl BasicAuth {
    fn header(&self) -> Result<HeaderValue, ClientError> {
        let encoded = STANDARD.encode(format!("{}:{}", self.user, self.password));
        let value = HeaderValue::from_str(&format!("Basic {encoded}"));
        let mut value = value.map_err(|_| ClientError::Basic)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl fmt::Debug for BasicAuth {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("BasicAuth").field("user", &self.user).finish_non_exhaustive()
    }
}
