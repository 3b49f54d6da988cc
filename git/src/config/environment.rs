//! Settings in the environment: `GIT_CONFIG_PARAMETERS` (what `git -c` sets) and
//! `GIT_CONFIG_COUNT` with its keys and values (git-config(1), ENVIRONMENT).
//!
//! Always true: pure; keys come out normalised.
//! Never here: the process's own environment; callers hand in its text.

use super::parse::{is_key_byte, is_space};

/// One setting: normalised key, and value unless it was left out.
pub type Setting = (String, Option<String>);

/// A setting of the environment that git refuses, in git's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    /// `GIT_CONFIG_PARAMETERS` is not a list of quoted settings.
    #[error("bogus format in GIT_CONFIG_PARAMETERS")]
    Format,
    /// A setting of `GIT_CONFIG_PARAMETERS` has no key.
    #[error("bogus config parameter: {0}")]
    Parameter(String),
    /// `GIT_CONFIG_COUNT` is no number.
    #[error("bogus count in GIT_CONFIG_COUNT")]
    Count,
    /// `GIT_CONFIG_COUNT` is more than 2,147,483,647.
    #[error("too many entries in GIT_CONFIG_COUNT")]
    TooMany,
    /// A `GIT_CONFIG_KEY_<n>` below the count is not set.
    #[error("missing config key GIT_CONFIG_KEY_{0}")]
    MissingKey(u32),
    /// A `GIT_CONFIG_VALUE_<n>` below the count is not set.
    #[error("missing config value GIT_CONFIG_VALUE_{0}")]
    MissingValue(u32),
    /// A key of no bytes.
    #[error("empty config key")]
    EmptyKey,
    /// A key without a section.
    #[error("key does not contain a section: {0}")]
    NoSection(String),
    /// A key that ends with a dot.
    #[error("key does not contain variable name: {0}")]
    NoName(String),
    /// A key with a character that section or name cannot have.
    #[error("invalid key: {0}")]
    Key(String),
    /// A key with a line feed in its subsection.
    #[error("invalid key (newline): {0}")]
    Newline(String),
    /// A variable that must be text, a boolean or a list of paths is not.
    #[error("bad value for {0}")]
    Variable(&'static str),
}

/// The settings of `GIT_CONFIG_PARAMETERS`: `'key=value'`, or `'key'='value'` since git 2.31.
///
/// # Errors
/// In git's words: see [`EnvironmentError`].
pub fn parameters(text: &str) -> Result<Vec<Setting>, EnvironmentError> {
    let starts_blank = |text: &str| text.bytes().next().is_none_or(is_space);
    let mut settings = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (word, after) = dequote(rest).ok_or(EnvironmentError::Format)?;
        rest = after;
        if starts_blank(rest) {
            settings.push(old_parameter(&word)?);
        } else {
            let after = rest.strip_prefix('=').ok_or(EnvironmentError::Format)?;
            let value = if after.starts_with('\'') {
                let (value, after) = dequote(after).ok_or(EnvironmentError::Format)?;
                rest = after;
                Some(value)
            } else {
                rest = after;
                None
            };
            if !starts_blank(rest) {
                return Err(EnvironmentError::Format);
            }
            settings.push((normalise_key(&word)?, value));
        }
        rest = rest.trim_start_matches(|c: char| u8::try_from(c).is_ok_and(is_space));
    }
    Ok(settings)
}

/// The settings of `GIT_CONFIG_COUNT`, whose value is `count`; `variable` yields the variables
/// `GIT_CONFIG_KEY_<n>` and `GIT_CONFIG_VALUE_<n>`.
///
/// # Errors
/// In git's words: see [`EnvironmentError`].
pub fn counted(
    count: &str,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Vec<Setting>, EnvironmentError> {
    let digits = count.trim_start_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
    let (negative, digits) = match digits.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, digits.strip_prefix('+').unwrap_or(digits)),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) || (digits.is_empty() && !count.is_empty())
    {
        return Err(EnvironmentError::Count);
    }
    let number = if digits.is_empty() { 0 } else { digits.parse().unwrap_or(u64::MAX) };
    // strtoul turns a negative number into a huge one.
    if number > i32::MAX as u64 || (negative && number > 0) {
        return Err(EnvironmentError::TooMany);
    }
    let mut settings = Vec::new();
    for n in 0..u32::try_from(number).map_err(|_| EnvironmentError::TooMany)? {
        let key =
            variable(&format!("GIT_CONFIG_KEY_{n}")).ok_or(EnvironmentError::MissingKey(n))?;
        let value =
            variable(&format!("GIT_CONFIG_VALUE_{n}")).ok_or(EnvironmentError::MissingValue(n))?;
        settings.push((normalise_key(&key)?, Some(value)));
    }
    Ok(settings)
}

/// A key with its section and name in lower case and its subsection as it is.
///
/// # Errors
/// What git refuses as a key, in git's words.
pub fn normalise_key(key: &str) -> Result<String, EnvironmentError> {
    if key.is_empty() {
        return Err(EnvironmentError::EmptyKey);
    }
    let (section, name) = match key.rsplit_once('.') {
        None | Some(("", _)) => return Err(EnvironmentError::NoSection(key.to_owned())),
        Some((_, "")) => return Err(EnvironmentError::NoName(key.to_owned())),
        Some(parts) => parts,
    };
    let (section, subsection) = match section.split_once('.') {
        Some((section, subsection)) => (section, Some(subsection)),
        None => (section, None),
    };
    if !section.bytes().chain(name.bytes()).all(is_key_byte)
        || !name.starts_with(|c: char| c.is_ascii_alphabetic())
    {
        return Err(EnvironmentError::Key(key.to_owned()));
    }
    let (section, name) = (section.to_ascii_lowercase(), name.to_ascii_lowercase());
    match subsection {
        Some(subsection) if subsection.contains('\n') => {
            Err(EnvironmentError::Newline(key.to_owned()))
        }
        Some(subsection) => Ok(format!("{section}.{subsection}.{name}")),
        None => Ok(format!("{section}.{name}")),
    }
}

fn old_parameter(text: &str) -> Result<Setting, EnvironmentError> {
    let (key, value) = match text.split_once('=') {
        Some((key, value)) => (key, Some(value.to_owned())),
        None => (text, None),
    };
    let key = key.trim_matches(|c: char| u8::try_from(c).is_ok_and(is_space));
    if key.is_empty() {
        return Err(EnvironmentError::Parameter(text.to_owned()));
    }
    Ok((normalise_key(key)?, value))
}

/// One word in the shell's single quotes, in which `'\''` and `'\!'` stand for `'` and `!`;
/// and what follows it.
fn dequote(text: &str) -> Option<(String, &str)> {
    let mut rest = text.strip_prefix('\'')?;
    let mut word = String::new();
    loop {
        let (part, after) = rest.split_once('\'')?;
        word.push_str(part);
        let escaped = ["\\''", "\\!'"].iter().find_map(|escape| after.strip_prefix(escape));
        let Some(continued) = escaped else { return Some((word, after)) };
        word.push_str(&after[1..2]);
        rest = continued;
    }
}
