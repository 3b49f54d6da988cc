//! Git's wildmatch with `WM_PATHNAME`: `*` and `?` stop at a slash, `**` does not.
//!
//! Always true: pure; every recursion consumes a byte of the pattern, and the steps of one match
//! are limited, so a hostile pattern costs a bounded time and then does not match.
//! Never here: the rules that turn a condition into a pattern.

/// Comparisons before a pattern is given up: patterns of real configuration need a few hundred.
const STEPS_MAX: usize = 1_000_000;

/// Whether `text` as a whole matches `pattern`; in any case of letters if `fold`.
pub(crate) fn matches(pattern: &[u8], text: &[u8], fold: bool) -> bool {
    let mut steps = 0;
    Matcher { whole: pattern, fold }.from(0, text, &mut steps)
}

struct Matcher<'a> {
    whole: &'a [u8],
    fold: bool,
}

// === impl Matcher ===

impl Matcher<'_> {
    fn from(&self, mut at: usize, mut text: &[u8], steps: &mut usize) -> bool {
        loop {
            *steps += 1;
            let Some(&byte) = self.whole.get(at) else { return text.is_empty() };
            if byte == b'*' {
                return self.star(at, text, steps);
            }
            let Some((&first, rest)) = text.split_first() else { return false };
            let first = self.folded(first);
            at = match byte {
                b'?' if first != b'/' => at + 1,
                b'[' => match self.class(at + 1, first) {
                    Some((true, next)) if first != b'/' => next,
                    _ => return false,
                },
                b'\\' => match self.whole.get(at + 1) {
                    Some(&escaped) if self.folded(escaped) == first => at + 2,
                    _ => return false,
                },
                b'?' => return false,
                _ if self.folded(byte) == first => at + 1,
                _ => return false,
            };
            text = rest;
        }
    }

    fn star(&self, at: usize, text: &[u8], steps: &mut usize) -> bool {
        let stars = self.whole[at..].iter().take_while(|byte| **byte == b'*').count();
        let after = at + stars;
        let opens = at == 0 || self.whole[at - 1] == b'/';
        let tail = &self.whole[after..];
        let closes = tail.is_empty() || tail[0] == b'/' || tail.starts_with(b"\\/");
        let crosses = stars > 1 && opens && closes;
        // `**/` also stands for no directory at all.
        if crosses && tail.first() == Some(&b'/') && self.from(after + 1, text, steps) {
            return true;
        }
        for skipped in 0..=text.len() {
            if *steps > STEPS_MAX {
                return false;
            }
            if self.from(after, &text[skipped..], steps) {
                return true;
            }
            if !crosses && text.get(skipped) == Some(&b'/') {
                return false;
            }
        }
        false
    }

    /// A bracket expression after its `[`: whether `byte` is in it, and where the pattern goes on.
    fn class(&self, mut at: usize, byte: u8) -> Option<(bool, usize)> {
        let negated = matches!(self.whole.get(at), Some(b'!' | b'^'));
        at += usize::from(negated);
        let (mut found, mut first, mut previous) = (false, true, None);
        loop {
            let mut start = *self.whole.get(at)?;
            if start == b']' && !first {
                return Some((found != negated, at + 1));
            }
            first = false;
            if start == b'[' && self.whole.get(at + 1) == Some(&b':') {
                let rest = &self.whole[at + 2..];
                let end = rest.iter().position(|byte| *byte == b']')?;
                if end > 0 && rest[end - 1] == b':' {
                    found |= in_named_class(&rest[..end - 1], byte, self.fold)?;
                    at += end + 3;
                    previous = None;
                    continue;
                }
            }
            let ends_range = self.whole.get(at + 1).is_some_and(|next| *next != b']');
            if let (b'-', Some(low), true) = (start, previous, ends_range) {
                at += 1;
                let mut high = self.whole[at];
                if high == b'\\' {
                    at += 1;
                    high = *self.whole.get(at)?;
                }
                let upper = byte.to_ascii_uppercase();
                found |=
                    (low..=high).contains(&byte) || (self.fold && (low..=high).contains(&upper));
                previous = None;
            } else {
                if start == b'\\' {
                    at += 1;
                    start = *self.whole.get(at)?;
                }
                found |= self.folded(start) == byte;
                previous = Some(start);
            }
            at += 1;
        }
    }

    fn folded(&self, byte: u8) -> u8 {
        if self.fold { byte.to_ascii_lowercase() } else { byte }
    }
}

/// `[:name:]`; none for a name that git does not know, which makes the whole pattern fail.
fn in_named_class(name: &[u8], byte: u8, fold: bool) -> Option<bool> {
    Some(match name {
        b"alnum" => byte.is_ascii_alphanumeric(),
        b"alpha" => byte.is_ascii_alphabetic(),
        b"blank" => matches!(byte, b' ' | b'\t'),
        b"cntrl" => byte.is_ascii_control(),
        b"digit" => byte.is_ascii_digit(),
        b"graph" => byte.is_ascii_graphic(),
        b"lower" => byte.is_ascii_lowercase(),
        b"print" => byte.is_ascii_graphic() || byte == b' ',
        b"punct" => byte.is_ascii_punctuation(),
        b"space" => matches!(byte, b' ' | b'\t'..=b'\r'),
        b"upper" => byte.is_ascii_uppercase() || (fold && byte.is_ascii_lowercase()),
        b"xdigit" => byte.is_ascii_hexdigit(),
        _ => return None,
    })
}
