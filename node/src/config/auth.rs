//! `[auth]` and `[[auth.tokens]]`.
//!
//! Always true: no two tokens have a name or a secret in common; a file that opens the node to
//! everybody on purpose (`insecure`) holds no token.

use super::required;
use super::secret_file::{self, Rule};
use crate::rpc::gitaly::{AuthConfig, NamedSecret};
use gitring_daemon::settings::{Section, SettingsError};
use gitring_proto::token::Secret;
use std::collections::BTreeSet;
use std::path::Path;

/// What `auth.token` is called in metrics.
const NAME_OF_TOKEN: &str = "token";
/// Each one is compared with every call's.
const TOKENS_MAX: usize = 16;
/// A label of metrics.
const NAME_BYTES_MAX: usize = 64;

/// Reads the table. An empty token counts as none, as in Gitaly.
pub(super) fn read(
    root: &Section<'_>,
    remarks: &mut Vec<String>,
) -> Result<AuthConfig, SettingsError> {
    let Some(section) = root.section("auth")? else { return Ok(AuthConfig::default()) };
    let mut tokens = Vec::new();
    let mut known = BTreeSet::new();
    if let Some(token) = section.string("token")?.filter(|token| !token.is_empty()) {
        known.insert(token.as_bytes().to_vec());
        tokens.extend(named(NAME_OF_TOKEN, token.as_bytes()));
    }
    for entry in section.sections("tokens")? {
        if tokens.len() >= TOKENS_MAX {
            return Err(section.error("tokens", format!("are too many, at most {TOKENS_MAX}")));
        }
        let name = name(&entry)?;
        if tokens.iter().any(|token: &NamedSecret| token.name == name) {
            let what = format!("'{name}' is taken, allowed: a name of its own for each token");
            return Err(entry.error("name", what));
        }
        let (key, secret) = secret(&entry, remarks)?;
        if !known.insert(secret.clone()) {
            return Err(entry.error(key, "is the same as another token's, so uses cannot be told"));
        }
        tokens.extend(named(name, &secret));
    }
    let insecure = section.boolean("insecure")?.unwrap_or(false);
    if insecure && !tokens.is_empty() {
        return Err(
            section.error("insecure", "is true, and there are tokens, allowed: one of them")
        );
    }
    let transitioning = section.boolean("transitioning")?.unwrap_or(false);
    Ok(AuthConfig { tokens, transitioning, insecure })
}

fn named(name: &str, secret: &[u8]) -> Option<NamedSecret> {
    Some(NamedSecret { name: name.to_owned(), secret: Secret::new(secret)? })
}

fn name<'d>(entry: &Section<'d>) -> Result<&'d str, SettingsError> {
    let name = required(entry, "name")?;
    let is_sound = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_sound) {
        let what = format!(
            "'{name}' cannot be a label, allowed: letters, digits, '-', '_' and '.', at most \
             {NAME_BYTES_MAX}"
        );
        return Err(entry.error("name", what));
    }
    Ok(name)
}

/// The secret, and the key that has it.
fn secret(
    entry: &Section<'_>,
    remarks: &mut Vec<String>,
) -> Result<(&'static str, Vec<u8>), SettingsError> {
    let text = |key| Ok(entry.string(key)?.filter(|text: &&str| !text.is_empty()));
    match (text("token")?, text("token_file")?) {
        (Some(_), Some(_)) => {
            Err(entry.error("token", "is set, and so is token_file, allowed: one of them"))
        }
        (Some(token), None) => Ok(("token", token.as_bytes().to_vec())),
        (None, Some(file)) => {
            let file = Path::new(file);
            secret_file::check((entry, "token_file"), file, Rule::Refuse, remarks)?;
            let secret = secret_file::read((entry, "token_file"), file)?;
            Ok(("token_file", secret))
        }
        (None, None) => Err(entry.error("token", "is missing, and so is token_file")),
    }
}
