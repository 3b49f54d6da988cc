//! What clients say of themselves in the metadata of a call.
//!
//! Always true: what is kept is text that a log can hold, of bounded length.

use gitring_proto::token::Credentials;
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderValue};
use std::borrow::Cow;

/// What clients say of themselves, and methods that do not exist, are cut at this length.
pub(super) const NAME_BYTES_MAX: usize = 128;
/// Names of feature flags in a line. Rails sends some dozens, of 40 bytes each.
const FEATURE_FLAGS_BYTES_MAX: usize = 8 * 1024;
/// Before the name of a flag, in which dashes stand for underscores.
const FEATURE_FLAG: &str = "gitaly-feature-";
/// What Gitaly says in metrics for those that say nothing.
const UNKNOWN: &str = "unknown";

/// [`UNKNOWN`] where they say nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::rpc::gitaly) struct Client {
    pub(super) name: Cow<'static, str>,
    pub(super) call_site: Cow<'static, str>,
    pub(super) auth_version: Cow<'static, str>,
    pub(super) deadline_type: Cow<'static, str>,
    pub(super) remote_ip: Option<String>,
    pub(super) user_id: Option<String>,
    pub(super) username: Option<String>,
    /// Flags that are on, sorted, a space between them.
    pub(super) feature_flags: Option<String>,
}

/// A value for the log, which in Gitaly has no field for what is not known.
pub(super) fn known(value: &str) -> Option<&str> {
    Some(value).filter(|value| *value != UNKNOWN)
}

fn text(value: &HeaderValue) -> Option<String> {
    let value = value.to_str().ok()?;
    let sound = !value.is_empty() && value.len() <= NAME_BYTES_MAX;
    sound.then(|| value.to_owned())
}

fn auth_version(headers: &HeaderMap) -> Cow<'static, str> {
    let credentials = headers.get(AUTHORIZATION).map(|value| Credentials::parse(value.as_bytes()));
    match credentials {
        None | Some(Err(_)) => Cow::Borrowed(UNKNOWN),
        Some(Ok(credentials)) => match credentials.version() {
            b"v2" => Cow::Borrowed("v2"),
            other => Cow::Owned(String::from_utf8_lossy(other).into_owned()),
        },
    }
}

/// Flags that nobody has defined are listed as well, as in Gitaly.
fn listed(mut flags: Vec<&str>) -> Option<String> {
    flags.sort_unstable();
    let mut listed = String::new();
    for flag in flags {
        if listed.len() + 1 + flag.len() > FEATURE_FLAGS_BYTES_MAX {
            break;
        }
        if !listed.is_empty() {
            listed.push(' ');
        }
        listed.extend(flag.chars().map(|char| if char == '-' { '_' } else { char }));
    }
    Some(listed).filter(|listed| !listed.is_empty())
}

// === impl Client ===

impl Client {
    /// One pass over the metadata: most calls have most of these keys. Of several values of a key
    /// the first counts.
    pub(super) fn of(headers: &HeaderMap, has_deadline: bool) -> Self {
        let (mut own_name, mut name, mut call_site, mut deadline_type) = (None, None, None, None);
        let (mut remote_ip, mut user_id, mut username) = (None, None, None);
        let mut flags = Vec::new();
        let mut last = None;
        for (key, value) in headers.iter().filter(|(key, _)| last.replace(*key) != Some(*key)) {
            let said = match key.as_str() {
                "x-gitlab-client-name" => &mut own_name,
                "client_name" => &mut name,
                "call_site" => &mut call_site,
                "deadline_type" => &mut deadline_type,
                "remote_ip" => &mut remote_ip,
                "user_id" => &mut user_id,
                "username" => &mut username,
                key => {
                    // Only `true` turns a flag on.
                    let flag = key.strip_prefix(FEATURE_FLAG);
                    flags.extend(flag.filter(|_| value == "true"));
                    continue;
                }
            };
            *said = text(value);
        }
        let or_unknown = |said: Option<String>| said.map_or(Cow::Borrowed(UNKNOWN), Cow::Owned);
        Self {
            name: or_unknown(own_name.or(name)),
            call_site: or_unknown(call_site),
            auth_version: auth_version(headers),
            deadline_type: match has_deadline {
                false => Cow::Borrowed("none"),
                true => or_unknown(deadline_type),
            },
            remote_ip,
            user_id,
            username,
            feature_flags: listed(flags),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderName;

    fn check(flags: &[(&str, &str)], expected: Option<&str>) {
        let mut headers = HeaderMap::new();
        for (key, value) in flags {
            let key: HeaderName = key.parse().unwrap();
            headers.append(key, HeaderValue::from_str(value).unwrap());
        }
        assert_eq!(Client::of(&headers, false).feature_flags.as_deref(), expected, "{flags:?}");
    }

    #[test]
    fn flags_that_are_on_are_listed() {
        check(&[], None);
        check(&[("gitaly-feature-a-b", "false"), ("x-feature-c", "true")], None);
        check(&[("gitaly-feature-a-b", "True")], None);
        // The first of several values counts.
        check(&[("gitaly-feature-a", "false"), ("gitaly-feature-a", "true")], None);
        check(
            &[
                ("gitaly-feature-z", "true"),
                ("gitaly-feature-mailmap-options", "true"),
                ("gitaly-feature-off", "false"),
                ("gitaly-feature-a_b", "true"),
            ],
            Some("a_b mailmap_options z"),
        );
    }

    #[test]
    fn flags_are_bounded() {
        let mut headers = HeaderMap::new();
        for at in 0..1000 {
            let key = format!("gitaly-feature-{}-{at:04}", "x".repeat(95));
            headers.insert(key.parse::<HeaderName>().unwrap(), HeaderValue::from_static("true"));
        }
        let listed = Client::of(&headers, false).feature_flags.unwrap();
        assert_eq!(listed.split(' ').count(), FEATURE_FLAGS_BYTES_MAX / 101);
    }
}
