//! Trailers: the `Key: value` lines at the end of a message (git-interpret-trailers(1)), as
//! Gitaly takes them from `git show --format=%(trailers:unfold,separator=%x00)`.
//!
//! Always true: the end of the message is found as git 2.39 finds it under default settings;
//! other settings, and messages that git would recode, are left to git.
//! Never here: adding trailers.

use bstr::ByteSlice;

use super::Details;
use crate::config::Config;
use crate::revision::Resolved;

/// Trailers of one commit that are shown.
const TRAILERS_MAX: usize = 64;
/// A longer key, and all behind it, is left out.
const KEY_BYTES_MAX: usize = 128;
/// A longer value, and all behind it, is left out.
const VALUE_BYTES_MAX: usize = 512;
/// All trailers together: what Go's `bufio.Scanner` takes for one line.
const TRAILERS_BYTES_MAX: usize = (64 << 10) - 1;

/// Lines that make a paragraph one of trailers if a quarter of it are trailers.
const GENERATED: [&[u8]; 2] = [b"Signed-off-by: ", b"(cherry picked from commit "];
/// What `git commit --verbose` puts below the message.
const SCISSORS: &[u8] = b"\n# ------------------------ >8 ------------------------\n";
/// Settings by which git finds other trailers, or recodes the message.
const SETTINGS: [&str; 4] =
    ["core.commentchar", "core.commentstring", "i18n.commitencoding", "i18n.logoutputencoding"];

/// One trailer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trailer {
    /// In front of the colon.
    pub key: Vec<u8>,
    /// On one line.
    pub value: Vec<u8>,
}

/// The trailers of a commit; found even if there are none.
pub fn trailers(details: &Details<'_>, config: &Config) -> Resolved<Vec<Trailer>> {
    let is_set =
        |key: &[u8]| key.starts_with(b"trailer.") || SETTINGS.iter().any(|s| key == s.as_bytes());
    if config.entries().any(|(key, _)| is_set(key))
        || !details.encoding.is_empty()
        || details.message.contains(&0)
    {
        return Resolved::Unsupported;
    }
    Resolved::Found(read_trailers(&shown_trailers(details.message)))
}

/// What Gitaly makes of the line that git shows, a NUL between trailers.
pub fn read_trailers(shown: &[u8]) -> Vec<Trailer> {
    let mut trailers = Vec::new();
    if shown.len() > TRAILERS_BYTES_MAX {
        return trailers;
    }
    for item in shown.split(|byte| *byte == 0) {
        let Some((key, value)) = item.split_once_str(":").filter(|(key, _)| !key.is_empty()) else {
            continue;
        };
        let value = value.trim_with(char::is_whitespace);
        if key.len() > KEY_BYTES_MAX
            || value.len() > VALUE_BYTES_MAX
            || trailers.len() == TRAILERS_MAX
        {
            break;
        }
        trailers.push(Trailer { key: key.to_vec(), value: value.to_vec() });
    }
    trailers
}

/// What git shows of a message, a NUL between trailers.
pub(super) fn shown_trailers(message: &[u8]) -> Vec<u8> {
    let text = skip_blank_lines(message);
    let end = trailers_end(text);
    let mut items: Vec<Vec<u8>> = Vec::new();
    let mut may_continue = false;
    for line in text[trailers_start(text, end)..end].split_inclusive(|byte| *byte == b'\n') {
        match items.last_mut().filter(|_| may_continue && is_space(line[0])) {
            Some(last) => last.extend_from_slice(line),
            None => {
                may_continue = separator(line).is_some_and(|at| at > 0);
                items.push(line.to_vec());
            }
        }
    }
    let mut out = Vec::new();
    for item in &items {
        if !out.is_empty() {
            out.push(0);
        }
        match separator(item).filter(|at| *at > 0) {
            Some(at) => {
                out.extend_from_slice(trim(&item[..at]));
                out.extend_from_slice(b": ");
                out.extend_from_slice(trim(&unfold(trim(&item[at + 1..]))));
            }
            None => {
                out.extend_from_slice(item);
                out.truncate(trim_end(&out).len());
            }
        }
    }
    out
}

/// Where comments, a list of conflicts, or a diff below the message begin.
fn trailers_end(text: &[u8]) -> usize {
    let cutoff = match text.find(SCISSORS) {
        _ if text.starts_with(&SCISSORS[1..]) => 0,
        Some(at) => at + 1,
        None => text.len(),
    };
    let (mut begin, mut at, mut in_conflicts) = (0, 0, false);
    while at < cutoff {
        let line = &text[at..];
        if matches!(line[0], b'#' | b'\n') {
            // As in git, a beginning at 0 is none.
            begin = if begin == 0 { at } else { begin };
        } else if line.starts_with(b"Conflicts:\n") {
            in_conflicts = true;
            begin = if begin == 0 { at } else { begin };
        } else if begin != 0 && !(in_conflicts && line[0] == b'\t') {
            (begin, in_conflicts) = (0, false);
        }
        at = next_line(text, at);
    }
    if begin == 0 { cutoff } else { begin }
}

/// Where the last paragraph begins, if it is one of trailers; else `end`.
fn trailers_start(text: &[u8], end: usize) -> usize {
    let mut title_end = 0;
    while title_end < end && (text[title_end] == b'#' || !is_blank(&text[title_end..])) {
        title_end = next_line(text, title_end);
    }
    let mut count = Count::default();
    let mut only_spaces = true;
    let mut next = last_line(text, end);
    while let Some(at) = next.filter(|at| *at >= title_end) {
        next = last_line(text, at);
        let line = &text[at..];
        if line[0] == b'#' {
            count.end_of_continuation();
            continue;
        }
        if is_blank(line) {
            if only_spaces {
                continue;
            }
            count.end_of_continuation();
            return if count.is_trailers() { next_line(text, at) } else { end };
        }
        only_spaces = false;
        count.add(line);
    }
    end
}

/// Lines of a paragraph, counted from its end.
#[derive(Default)]
struct Count {
    trailers: usize,
    others: usize,
    has_generated: bool,
    /// Belong to what stands above them.
    continuations: usize,
}

// === impl Count ===

impl Count {
    fn add(&mut self, line: &[u8]) {
        if GENERATED.iter().any(|prefix| line.starts_with(prefix)) {
            self.has_generated = true;
            self.trailers += 1;
            self.continuations = 0;
        } else if is_space(line[0]) {
            self.continuations += 1;
        } else if separator(line).is_some_and(|at| at > 0) {
            self.trailers += 1;
            self.continuations = 0;
        } else {
            self.others += 1;
            self.end_of_continuation();
        }
    }

    fn end_of_continuation(&mut self) {
        self.others += std::mem::take(&mut self.continuations);
    }

    fn is_trailers(&self) -> bool {
        (self.has_generated && self.trailers * 3 >= self.others)
            || (self.trailers > 0 && self.others == 0)
    }
}

/// The colon behind a key: letters, digits and hyphens, then perhaps spaces.
fn separator(line: &[u8]) -> Option<usize> {
    let mut has_space = false;
    for (at, byte) in line.iter().enumerate() {
        match byte {
            b':' => return Some(at),
            b'-' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' if !has_space => {}
            b' ' | b'\t' if at > 0 => has_space = true,
            _ => return None,
        }
    }
    None
}

/// Each line break with the space behind it becomes one space.
fn unfold(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut in_break = false;
    for byte in value {
        if in_break && is_space(*byte) {
            continue;
        }
        in_break = *byte == b'\n';
        out.push(if in_break { b' ' } else { *byte });
    }
    out
}

fn skip_blank_lines(mut text: &[u8]) -> &[u8] {
    while !text.is_empty() && is_blank(text) {
        text = &text[next_line(text, 0)..];
    }
    text
}

/// Whether the line at the beginning of `text` holds space only.
fn is_blank(text: &[u8]) -> bool {
    let end = text.iter().position(|byte| *byte == b'\n' || !is_space(*byte));
    end.is_none_or(|end| text[end] == b'\n')
}

fn next_line(text: &[u8], at: usize) -> usize {
    text[at..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |end| at + end + 1)
}

/// Where the last line of `text[..end]` begins.
fn last_line(text: &[u8], end: usize) -> Option<usize> {
    // A line break at the very end is part of that line.
    let before = end.checked_sub(1)?;
    Some(text[..before].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1))
}

/// git's `isspace`.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

fn trim(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| !is_space(*byte)).unwrap_or(text.len());
    trim_end(&text[start..])
}

fn trim_end(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| !is_space(*byte)).map_or(0, |last| last + 1);
    &text[..end]
}
