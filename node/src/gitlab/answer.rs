//! What GitLab says, parsed, and its failures in Gitaly's words: pushers get to read them.
//!
//! Always true: an answer that is not what the API promises is an error, never a yes.
//! Never here: connections.

use super::exchange::{ExchangeError, Raw};
use hyper::StatusCode;
use serde_json::{Map, Value};

/// What `/allowed` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedAnswer {
    /// Whether the push may go on.
    pub status: bool,
    /// Why not.
    pub message: String,
}

/// What `/post_receive` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostReceiveAnswer {
    /// Whether GitLab has counted that the push has ended.
    pub reference_counter_decreased: bool,
    /// For the pusher's terminal.
    pub messages: Vec<Message>,
}

/// One message for the pusher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// How it is to look.
    pub kind: MessageKind,
    /// What it says.
    pub text: String,
}

/// How a message is to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MessageKind {
    /// As it is.
    Basic,
    /// Centred, between rules.
    Alert,
    /// Nobody knows.
    Other(String),
}

/// What `/check` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckInfo {
    /// Of GitLab.
    pub version: String,
    /// The commit it was built from.
    pub revision: String,
    /// `v4`
    pub api_version: String,
    /// Whether GitLab reaches its Redis; pushes fail if it does not.
    pub redis_reachable: bool,
}

/// A call that came to nothing, in the words that Gitaly has for it.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// `gl_id` is not of a form that GitLab knows; it was not asked.
    #[error("setting gl_id: gl_id={0:?} is invalid")]
    GlId(String),
    /// `/allowed` was not answered with a success.
    #[error("{0}")]
    Allowed(#[source] Failure),
    /// `/pre_receive`, likewise.
    #[error("http post to gitlab api /pre_receive endpoint: {0}")]
    PreReceive(#[source] Failure),
    /// `/post_receive`, likewise.
    #[error("http post to gitlab api /post_receive endpoint: {0}")]
    PostReceive(#[source] Failure),
    /// `/check`, likewise.
    #[error("HTTP GET to GitLab endpoint /check failed: {0}")]
    Check(#[source] Failure),
    /// A success of a kind that the API does not have.
    #[error("{what}: {}", .status.as_u16())]
    Status {
        /// Which call, as Gitaly words it.
        what: &'static str,
        /// What came.
        status: StatusCode,
    },
    /// Not JSON by its header.
    #[error("{endpoint} endpoint respond with unsupported content type: {found}")]
    ContentType {
        /// `/allowed`, …
        endpoint: &'static str,
        /// What came.
        found: String,
    },
    /// Not JSON by its content, or without what the API promises.
    #[error("decoding response from {endpoint} endpoint: {reason}")]
    Decode {
        /// `/allowed`, …
        endpoint: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// Why there was no success.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Nobody answered.
    #[error("Internal API unreachable")]
    Unreachable(#[source] ExchangeError),
    /// GitLab, or a proxy before it, refused.
    #[error("{message}")]
    Refused {
        /// How.
        status: StatusCode,
        /// GitLab's own words, where it has any.
        message: String,
    },
}

/// An answer that is not a refusal.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    content_type: Option<String>,
    body: Result<bytes::Bytes, String>,
}

// === impl Failure ===

impl Failure {
    /// What the log says about the failure.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "Internal API unreachable",
            Self::Refused { .. } => "Internal API error",
        }
    }

    /// What lies behind it.
    pub(super) fn cause(&self) -> String {
        match self {
            Self::Unreachable(error) => gitring_daemon::log::chain(error),
            Self::Refused { status, message } => format!("{}: {message}", status.as_u16()),
        }
    }
}

// === impl Answer ===

impl Answer {
    /// Statuses outside 200–399 are refusals.
    pub(super) fn judge(raw: Raw) -> Result<Self, Failure> {
        let Raw { status, content_type, body } = raw;
        if (200..400).contains(&status.as_u16()) {
            return Ok(Self { status, content_type, body });
        }
        let said = body.ok().and_then(|body| {
            let Value::String(message) = first_value(&body).ok()?.get_mut("message")?.take() else {
                return None;
            };
            Some(message).filter(|message| !message.is_empty())
        });
        let message = said.unwrap_or_else(|| format!("Internal API error ({})", status.as_u16()));
        Err(Failure::Refused { status, message })
    }

    pub(super) fn allowed(self) -> Result<AllowedAnswer, ApiError> {
        if !matches!(self.status, StatusCode::OK | StatusCode::MULTIPLE_CHOICES) {
            let what = "gitlab api is not accessible";
            return Err(ApiError::Status { what, status: self.status });
        }
        let fields = self.typed("/allowed")?;
        Ok(AllowedAnswer { status: fields.boolean("status")?, message: fields.string("message")? })
    }

    pub(super) fn pre_receive(self) -> Result<bool, ApiError> {
        self.expect_ok("pre-receive call failed with status")?;
        self.typed("/pre_receive")?.boolean("reference_counter_increased")
    }

    pub(super) fn post_receive(self) -> Result<PostReceiveAnswer, ApiError> {
        self.expect_ok("post-receive call failed with status")?;
        let fields = self.typed("/post_receive")?;
        let messages = match fields.map.get("messages") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(messages)) => {
                messages.iter().map(|message| fields.message(message)).collect::<Result<_, _>>()?
            }
            Some(_) => return Err(fields.wrong("messages")),
        };
        let reference_counter_decreased = fields.boolean("reference_counter_decreased")?;
        Ok(PostReceiveAnswer { reference_counter_decreased, messages })
    }

    pub(super) fn check(self) -> Result<CheckInfo, ApiError> {
        self.expect_ok("Check HTTP request failed with status")?;
        // Gitaly does not look at the content type here.
        let fields = self.fields("/check")?;
        Ok(CheckInfo {
            version: fields.string("gitlab_version")?,
            revision: fields.string("gitlab_revision")?,
            api_version: fields.string("api_version")?,
            redis_reachable: fields.boolean("redis")?,
        })
    }

    fn expect_ok(&self, what: &'static str) -> Result<(), ApiError> {
        match self.status {
            StatusCode::OK => Ok(()),
            status => Err(ApiError::Status { what, status }),
        }
    }

    fn typed(self, endpoint: &'static str) -> Result<Fields, ApiError> {
        let found = self.content_type.as_deref().unwrap_or_default();
        let kind = found.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            return Err(ApiError::ContentType { endpoint, found: found.to_owned() });
        }
        self.fields(endpoint)
    }

    fn fields(self, endpoint: &'static str) -> Result<Fields, ApiError> {
        let wrong = |reason| ApiError::Decode { endpoint, reason };
        let value =
            first_value(&self.body.map_err(wrong)?).map_err(|error| wrong(error.to_string()));
        let Value::Object(map) = value? else { return Err(wrong("not an object".to_owned())) };
        Ok(Fields { endpoint, map })
    }
}

/// What follows it is not looked at, as in Go.
fn first_value(body: &[u8]) -> Result<Value, serde_json::Error> {
    let mut values = serde_json::Deserializer::from_slice(body).into_iter();
    // Nothing at all is no value either, and serde_json has words for that.
    values.next().unwrap_or_else(|| serde_json::from_slice(body))
}

/// An object. Absent and null are the zero of their type, as in Go.
struct Fields {
    endpoint: &'static str,
    map: Map<String, Value>,
}

// === impl Fields ===

impl Fields {
    fn boolean(&self, key: &str) -> Result<bool, ApiError> {
        match self.map.get(key) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(value)) => Ok(*value),
            Some(_) => Err(self.wrong(key)),
        }
    }

    fn string(&self, key: &str) -> Result<String, ApiError> {
        self.string_of(&self.map, key)
    }

    fn string_of(&self, map: &Map<String, Value>, key: &str) -> Result<String, ApiError> {
        match map.get(key) {
            None | Some(Value::Null) => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(self.wrong(key)),
        }
    }

    fn message(&self, value: &Value) -> Result<Message, ApiError> {
        let map = value.as_object().ok_or_else(|| self.wrong("messages"))?;
        let kind = match self.string_of(map, "type")? {
            kind if kind == "basic" => MessageKind::Basic,
            kind if kind == "alert" => MessageKind::Alert,
            kind => MessageKind::Other(kind),
        };
        Ok(Message { kind, text: self.string_of(map, "message")? })
    }

    fn wrong(&self, key: &str) -> ApiError {
        let reason = format!("{key} is of another type");
        ApiError::Decode { endpoint: self.endpoint, reason }
    }
}

#[cfg(test)]
mod mutated {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn only_a_plain_yes_is_a_yes() {
        let examples = [
            r#"{"status":true,"message":"","gl_repository":"project-1"}"#,
            r#"{"status":false,"message":"no"}"#,
            r#"{"reference_counter_increased":true}"#,
            r#"{"reference_counter_decreased":true,"messages":[{"message":"m","type":"alert"}]}"#,
            r#"{"gitlab_version":"16.7","gitlab_rev":"a","api_version":"v4","redis":true}"#,
        ];
        crate::mutations::each(&examples.map(Vec::from), |input| {
            let judge = || {
                Answer::judge(Raw {
                    status: StatusCode::OK,
                    content_type: Some("application/json".to_owned()),
                    body: Ok(Bytes::copy_from_slice(input)),
                })
            };
            if let Ok(Ok(allowed)) = judge().map(Answer::allowed) {
                // What follows the first value is not read, as in Go.
                let mut values = serde_json::Deserializer::from_slice(input).into_iter::<Value>();
                let says = values.next().unwrap().unwrap();
                // Go does not tell case apart in names.
                let is_yes = |(name, value): (&String, &Value)| {
                    name.eq_ignore_ascii_case("status") && *value == Value::Bool(true)
                };
                let yes = says.as_object().is_some_and(|says| says.iter().any(is_yes));
                assert!(!allowed.status || yes, "{says}");
            }
            drop(judge().map(Answer::pre_receive));
            drop(judge().map(Answer::post_receive));
            drop(judge().map(Answer::check));
        });
    }
}
