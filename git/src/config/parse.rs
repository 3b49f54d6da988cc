//! The syntax of configuration files (git-config(1), Syntax).
//!
//! Always true: pure; any bytes end in a list of settings or the number of the bad line.
//! Never here: files, includes, the meaning of a setting.

use bstr::BString;

use super::Entry;

/// The line, counted from 1, at which git stops reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadLine(pub(super) usize);

/// All settings of one file, in order.
pub(super) fn parse(text: &[u8]) -> Result<Vec<Entry>, BadLine> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut parser = Parser { text, at: 0, line: 1, ended: false };
    parser.file().ok_or(BadLine(parser.line))
}

/// Whether a byte may stand in a section or variable name.
pub(super) fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

/// Blank as git has it: neither vertical tab nor form feed.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    line: usize,
    ended: bool,
}

// === impl Parser ===

impl Parser<'_> {
    /// The next byte. CR LF counts as LF, and so does the end of the file.
    fn next(&mut self) -> u8 {
        let Some(&byte) = self.text.get(self.at) else {
            self.ended = true;
            return b'\n';
        };
        self.at += 1;
        if byte == b'\r' && self.text.get(self.at) == Some(&b'\n') {
            self.at += 1;
            return b'\n';
        }
        byte
    }

    fn file(&mut self) -> Option<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut section = Vec::new();
        let mut in_comment = false;
        loop {
            let byte = self.next();
            match byte {
                b'\n' if self.ended => return Some(entries),
                b'\n' => {
                    self.line += 1;
                    in_comment = false;
                }
                _ if in_comment || is_space(byte) => {}
                b'#' | b';' => in_comment = true,
                b'[' => section = self.section()?,
                _ if byte.is_ascii_alphabetic() => {
                    entries.push(self.setting(&section, byte)?);
                    self.line += 1;
                }
                _ => return None,
            }
        }
    }

    /// What follows `[`, up to and with `]`; with the dot that ends the section in a key.
    fn section(&mut self) -> Option<Vec<u8>> {
        let mut name = Vec::new();
        loop {
            let byte = self.next();
            match byte {
                _ if self.ended => {
                    self.line += 1;
                    return None;
                }
                b']' if name.is_empty() => return None,
                b']' => break,
                _ if is_space(byte) => {
                    self.subsection(&mut name, byte)?;
                    break;
                }
                // The dot is the deprecated `[section.subsection]`, which is in lower case.
                _ if is_key_byte(byte) || byte == b'.' => name.push(byte.to_ascii_lowercase()),
                _ => return None,
            }
        }
        name.push(b'.');
        Some(name)
    }

    fn subsection(&mut self, name: &mut Vec<u8>, first: u8) -> Option<()> {
        let mut byte = first;
        while is_space(byte) {
            if byte == b'\n' {
                return None;
            }
            byte = self.next();
        }
        if byte != b'"' {
            return None;
        }
        name.push(b'.');
        loop {
            let byte = match self.next() {
                b'\n' => return None,
                b'"' => break,
                b'\\' => match self.next() {
                    b'\n' => return None,
                    escaped => escaped,
                },
                byte => byte,
            };
            name.push(byte);
        }
        let last = self.next();
        self.line += usize::from(last == b'\n');
        (last == b']').then_some(())
    }

    fn setting(&mut self, section: &[u8], first: u8) -> Option<Entry> {
        let mut key = section.to_vec();
        key.push(first.to_ascii_lowercase());
        let mut byte = self.next();
        while is_key_byte(byte) {
            key.push(byte.to_ascii_lowercase());
            byte = self.next();
        }
        while byte == b' ' || byte == b'\t' {
            byte = self.next();
        }
        let value = match byte {
            b'\n' => None,
            b'=' => Some(until_nul(self.value()?)),
            _ => return None,
        };
        Some(Entry { key: until_nul(key), value })
    }

    /// The value up to the end of its last line, which is consumed but not yet counted.
    fn value(&mut self) -> Option<Vec<u8>> {
        let mut value = Vec::new();
        let (mut quoted, mut in_comment, mut spaces) = (false, false, 0);
        loop {
            let byte = self.next();
            match byte {
                b'\n' if quoted => return None,
                b'\n' => return Some(value),
                _ if in_comment => continue,
                _ if is_space(byte) && !quoted => {
                    spaces += usize::from(!value.is_empty());
                    continue;
                }
                b'#' | b';' if !quoted => {
                    in_comment = true;
                    continue;
                }
                _ => {}
            }
            // Every blank inside a value becomes one space; those at its end are dropped.
            value.resize(value.len() + std::mem::take(&mut spaces), b' ');
            match byte {
                b'\\' => match self.next() {
                    b'\n' => self.line += 1,
                    b't' => value.push(b'\t'),
                    b'b' => value.push(8),
                    b'n' => value.push(b'\n'),
                    escaped @ (b'\\' | b'"') => value.push(escaped),
                    _ => return None,
                },
                b'"' => quoted = !quoted,
                _ => value.push(byte),
            }
        }
    }
}

/// Git keeps keys and values as C strings: a NUL ends them.
fn until_nul(mut bytes: Vec<u8>) -> BString {
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    bytes.into()
}
