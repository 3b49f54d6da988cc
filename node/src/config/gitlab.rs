//! `[gitlab]`, `[gitlab.http-settings]`, `[gitlab-shell]`, `[hooks]`.
//!
//! Always true: without `gitlab.url` there is no GitLab, whatever else is set.

use super::secret_file::{self, Rule};
use super::{directory, path, text, tls};
use crate::gitlab::{BasicAuth, Endpoint, GitlabConfig, READ_TIMEOUT_DEFAULT, Secret};
use crate::hooks::{HooksConfig, RUN_TIME_MAX, WithoutGitlab};
use gitring_daemon::settings::{Section, SettingsError};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where gitlab-shell keeps the secret.
const SECRET_FILE: &str = ".gitlab_shell_secret";
/// Longest `read_timeout`, a day in seconds: longer ones are a slip.
const READ_TIMEOUT_S_MAX: usize = 86_400;

/// `[gitlab]` and what belongs to it.
pub(super) fn read(
    root: &Section<'_>,
    remarks: &mut Vec<String>,
) -> Result<Option<GitlabConfig>, SettingsError> {
    let Some(section) = root.section("gitlab")? else { return Ok(None) };
    let root_of_url = text(&section, "relative_url_root")?.unwrap_or_default();
    let Some(_) = text(&section, "url")? else { return Ok(None) };
    let endpoint = section.parsed("url", |url| Endpoint::parse(url, root_of_url))?;
    let Some(endpoint) = endpoint else { return Ok(None) };
    let mut config = GitlabConfig {
        endpoint,
        secret: secret(root, &section)?,
        read_timeout: READ_TIMEOUT_DEFAULT,
        basic: None,
        ca_file: None,
        ca_path: None,
        client_certificate: tls::identity(root, remarks)?,
    };
    if let Secret::File(file) = &config.secret {
        secret_file::check((&section, "secret_file"), file, Rule::Remark, remarks)?;
    }
    if let Some(http) = section.section("http-settings")? {
        // Gitaly takes 0 for its default.
        let seconds = http.integer("read_timeout", 0, READ_TIMEOUT_S_MAX)?.unwrap_or(0);
        if seconds > 0 {
            config.read_timeout = Duration::from_secs(seconds as u64);
        }
        config.basic = basic(&http)?;
        config.ca_file = path(&http, "ca_file", "file", |metadata| metadata.is_file())?;
        config.ca_path = directory(&http, "ca_path")?;
    }
    Ok(Some(config))
}

/// `[hooks]`.
pub(super) fn hooks(root: &Section<'_>) -> Result<HooksConfig, SettingsError> {
    let section = root.section("hooks")?;
    let mut without_gitlab = None;
    let mut custom_hooks_dir = None;
    if let Some(section) = &section {
        without_gitlab = section.parsed("without_gitlab", |text| match text {
            "allow" => Ok(WithoutGitlab::Allow),
            "deny" => Ok(WithoutGitlab::Deny),
            other => Err(format!("'{other}' is no choice, allowed: allow, deny")),
        })?;
        // It need not exist yet, as in Gitaly.
        custom_hooks_dir = section.parsed("custom_hooks_dir", absolute)?.flatten();
    }
    let of_shell = shell(root)?.map(|shell| shell.join("hooks"));
    let custom_hooks_dir = custom_hooks_dir.or(of_shell);
    let without_gitlab = without_gitlab.unwrap_or_default();
    Ok(HooksConfig { custom_hooks_dir, without_gitlab, run_time_max: RUN_TIME_MAX })
}

fn secret(root: &Section<'_>, section: &Section<'_>) -> Result<Secret, SettingsError> {
    match (text(section, "secret")?, text(section, "secret_file")?, shell(root)?) {
        (Some(_), Some(_), _) => {
            let what = "is set, and so is secret_file, allowed: one of them";
            Err(section.error("secret", what))
        }
        (Some(secret), None, _) => Ok(Secret::Inline(secret.to_owned())),
        (None, Some(file), _) => Ok(Secret::File(file.into())),
        (None, None, Some(shell)) => Ok(Secret::File(shell.join(SECRET_FILE))),
        (None, None, None) => {
            let what = "is missing, and so are secret and gitlab-shell.dir: GitLab would trust \
                        nobody";
            Err(section.error("secret_file", what))
        }
    }
}

fn basic(http: &Section<'_>) -> Result<Option<BasicAuth>, SettingsError> {
    match (text(http, "user")?, text(http, "password")?) {
        (None, None) => Ok(None),
        (Some(user), Some(password)) => {
            Ok(Some(BasicAuth { user: user.to_owned(), password: password.to_owned() }))
        }
        (Some(_), None) => Err(http.error("password", "is missing, and user is set")),
        (None, Some(_)) => Err(http.error("user", "is missing, and password is set")),
    }
}

/// `[gitlab-shell] dir`, where it says anything.
fn shell(root: &Section<'_>) -> Result<Option<PathBuf>, SettingsError> {
    let Some(section) = root.section("gitlab-shell")? else { return Ok(None) };
    Ok(section.parsed("dir", absolute)?.flatten())
}

fn absolute(text: &str) -> Result<Option<PathBuf>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let path = std::path::absolute(Path::new(text));
    path.map(Some).map_err(|error| format!("'{text}' cannot be made absolute: {error}"))
}
