//! Every problem of a file at once.
//!
//! The file is read again and again, each time without what the last problem was about: so those
//! who read settings need not know that somebody wants them all.
//!
//! Always true: no problem is named that only follows from another one's being taken out.
//! Never here: what is allowed; the readers say that.

use super::{Config, command, keys};
use gitring_daemon::settings::{Document, Overlay, SettingsError};
use std::path::Path;

/// More are not looked for: they would be of one kind.
const PROBLEMS_MAX: usize = 200;

/// Much hangs on storages: where none is left, this one lets the rest be looked at.
const STAND_IN: &str = "storage = [{ name = '+', path = '/' }]\n";

/// What is wrong with the text of `file`, in its order; unknown keys are wrong as well. Runs
/// `config_command`.
pub fn problems(file: &Path, text: &str) -> Vec<SettingsError> {
    let mut document = match Document::parse(file, text) {
        Ok(document) => document,
        Err(error) => return vec![error],
    };
    let mut found = Found::default();
    let overlay = command::overlay(&document).unwrap_or_else(|error| {
        found.take(&mut document, error);
        None
    });
    if let Some(Err(error)) = overlay.as_ref().map(|overlay| document.put_over(overlay)) {
        found.take(&mut document, error);
    }
    let unknown = document.leaves().into_iter().filter(|leaf| keys::standing(&leaf.path).is_none());
    found.problems.extend(unknown.map(|leaf| document.error(&leaf, unknown_key(&leaf.path))));
    let stand_in = Overlay::new("", &document, STAND_IN);
    let mut has_stand_in = false;
    while let Err(error) = Config::read(&document) {
        let lacks_storages = error.key == "storage" && !has_stand_in;
        let goes_on = found.take(&mut document, error);
        if lacks_storages {
            has_stand_in = document.put_over(&stand_in).is_ok();
        } else if !goes_on || found.problems.len() >= PROBLEMS_MAX {
            break;
        }
    }
    found.problems.sort_by_key(|problem| (problem.line.is_none(), problem.line));
    found.problems
}

fn unknown_key(path: &str) -> String {
    let (table, _) = path.rsplit_once('.').unwrap_or(("", path));
    match (keys::nearest(path), keys::of_table(table)) {
        (Some(name), _) => format!("is unknown; did you mean {name}?"),
        (None, names) if names.is_empty() => "is unknown, and so is its table".to_owned(),
        (None, names) => format!("is unknown, allowed: {}", names.join(", ")),
    }
}

#[derive(Default)]
struct Found {
    problems: Vec<SettingsError>,
}

// === impl Found ===

impl Found {
    /// Keeps a problem and takes out what it is about; whether that is something.
    fn take(&mut self, document: &mut Document<'_>, error: SettingsError) -> bool {
        let goes_on = document.remove(&error);
        if !self.problems.iter().any(|earlier| follows(&error, earlier)) {
            self.problems.push(error);
        }
        goes_on
    }
}

/// Whether a problem is none but that what an earlier one was about was taken out.
fn follows(error: &SettingsError, earlier: &SettingsError) -> bool {
    let (table, name) = earlier.key.rsplit_once('.').unwrap_or(("", &earlier.key));
    let says = |word: &str| error.what.split(is_no_word).any(|said| said == word);
    let is_missing = error.what.contains("is missing") || error.what.contains("is unknown");
    let rest = earlier.key.strip_prefix(&error.key);
    is_missing
        && (says(&earlier.key)
            || rest.is_some_and(|rest| rest.starts_with('.'))
            || (rest == Some("") && error.is_in_table_of(earlier))
            || says(&format!("[[{table}]]"))
            || (error.key.starts_with(table) && says(name)))
}

fn is_no_word(char: char) -> bool {
    !(char.is_ascii_alphanumeric() || "_.-[]".contains(char))
}

#[cfg(test)]
mod tests;
