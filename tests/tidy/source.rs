//! Rust source as text: what is code, where functions begin and end.
//!
//! Always true:
//! - Masking keeps every line at its number: only characters inside literals and comments change.
//!
//! Never here: rules. This module knows how to read, not what is allowed.

/// The source with comments turned into spaces and the inside of literals into `"`.
///
/// What remains can be searched for words and braces without meeting either by accident.
pub(crate) fn mask(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut masked = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        let (end, fill) = match chars[at] {
            '/' if chars.get(at + 1) == Some(&'/') => (line_end(&chars, at), ' '),
            '/' if chars.get(at + 1) == Some(&'*') => (block_comment_end(&chars, at), ' '),
            '"' => (string_end(&chars, at), '"'),
            'r' if starts_raw_string(&chars, at) => (raw_string_end(&chars, at), '"'),
            '\'' => (char_literal_end(&chars, at), '"'),
            _ => (at, ' '),
        };
        if end == at {
            masked.push(chars[at]);
            at += 1;
        } else {
            masked.extend(chars[at..end].iter().map(|&c| if c == '\n' { c } else { fill }));
            at = end;
        }
    }
    masked
}

/// Whether `word` stands in `masked` with no identifier character on either side.
pub(crate) fn has_word(masked: &str, word: &str) -> bool {
    words(masked).any(|(_, found)| found == word)
}

/// Every identifier or keyword with its byte position.
pub(crate) fn words(masked: &str) -> impl Iterator<Item = (usize, &str)> {
    let starts = masked.char_indices().filter(move |&(at, c)| {
        is_word(c) && !masked[..at].chars().next_back().is_some_and(is_word)
    });
    starts.map(move |(at, _)| {
        let rest = &masked[at..];
        (at, &rest[..rest.find(|c| !is_word(c)).unwrap_or(rest.len())])
    })
}

/// A function with a body: its name, its first line (from 1) and its lines that hold code.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) code_lines: usize,
}

/// The functions of a masked source, nested ones included.
pub(crate) fn functions(masked: &str) -> Vec<Function> {
    let all: Vec<(usize, &str)> = words(masked).collect();
    let pairs = all.windows(2).filter(|pair| pair[0].1 == "fn");
    pairs
        .filter_map(|pair| {
            let (start, (name_at, name)) = (pair[0].0, pair[1]);
            // `fn(u8)` is a type: nothing but blanks may stand before a name.
            if !masked[start + 2..name_at].trim().is_empty() {
                return None;
            }
            let end = body_end(masked, name_at)?;
            let body = &masked[start..end];
            Some(Function {
                name: name.to_owned(),
                line: masked[..start].matches('\n').count() + 1,
                code_lines: body.lines().filter(|line| !line.trim().is_empty()).count(),
            })
        })
        .collect()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where the body of a function ends whose name stands at `name_at`; `None` without a body.
fn body_end(masked: &str, name_at: usize) -> Option<usize> {
    let (mut nesting, mut braces) = (0_i32, 0_i32);
    for (at, c) in masked[name_at..].char_indices() {
        match c {
            '(' | '[' => nesting += 1,
            ')' | ']' => nesting -= 1,
            ';' if nesting == 0 && braces == 0 => return None,
            '{' => braces += 1,
            '}' => {
                braces -= 1;
                if braces == 0 {
                    return Some(name_at + at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

fn line_end(chars: &[char], at: usize) -> usize {
    (at..chars.len()).find(|&i| chars[i] == '\n').unwrap_or(chars.len())
}

fn block_comment_end(chars: &[char], at: usize) -> usize {
    let (mut depth, mut i) = (0, at);
    while i < chars.len() {
        match (chars[i], chars.get(i + 1)) {
            ('/', Some('*')) => (depth, i) = (depth + 1, i + 2),
            ('*', Some('/')) => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            return i;
        }
    }
    chars.len()
}

fn string_end(chars: &[char], at: usize) -> usize {
    let mut i = at + 1;
    while i < chars.len() {
        match chars[i] {
            '\\' => i += 2,
            '"' => return i + 1,
            _ => i += 1,
        }
    }
    chars.len()
}

/// `r"`, `r#"`, also behind `b` or `c`; not the end of an identifier, not `r#fn`.
fn starts_raw_string(chars: &[char], at: usize) -> bool {
    let prefix_start = if at > 0 && matches!(chars[at - 1], 'b' | 'c') { at - 1 } else { at };
    let inside_word = prefix_start > 0 && is_word(chars[prefix_start - 1]);
    let hashes = chars[at + 1..].iter().take_while(|&&c| c == '#').count();
    !inside_word && chars.get(at + 1 + hashes) == Some(&'"')
}

fn raw_string_end(chars: &[char], at: usize) -> usize {
    let hashes = chars[at + 1..].iter().take_while(|&&c| c == '#').count();
    let mut i = at + hashes + 2;
    while i < chars.len() {
        let closing = chars[i + 1..].iter().take(hashes).filter(|&&c| c == '#').count();
        if chars[i] == '"' && closing == hashes {
            return i + 1 + hashes;
        }
        i += 1;
    }
    chars.len()
}

/// The end of a character literal, or `at` itself where the quote begins a lifetime.
fn char_literal_end(chars: &[char], at: usize) -> usize {
    if chars.get(at + 1) == Some(&'\\') {
        let from = (at + 3).min(chars.len());
        return (from..chars.len()).find(|&i| chars[i] == '\'').map_or(chars.len(), |i| i + 1);
    }
    if chars.get(at + 2) == Some(&'\'') { at + 3 } else { at }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_comments_are_masked() {
        fn check(source: &str, expected: &str) {
            assert_eq!(mask(source), expected, "{source}");
        }
        check("a // b\nc", "a     \nc");
        check("a /* /* x */ y */ b", "a                 b");
        check(r#"f("}\"{")"#, r#"f("""""")"#);
        check("x('{', '\\'', '\\u{7d}')", "x(\"\"\", \"\"\"\", \"\"\"\"\"\"\"\")");
        check("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)");
        check("r#\"a\"b\"# c", "\"\"\"\"\"\"\"\" c");
        check("br\"{\" for r", "b\"\"\"\" for r");
    }

    #[test]
    fn functions_end_at_their_own_brace() {
        fn check(source: &str, expected: &[(&str, usize, usize)]) {
            let found = functions(&mask(source));
            let found: Vec<_> =
                found.iter().map(|f| (f.name.as_str(), f.line, f.code_lines)).collect();
            assert_eq!(found, expected, "{source}");
        }
        check("fn a() {}\n", &[("a", 1, 1)]);
        check("\nfn a() {\n  // why\n\n  b('}');\n}\nfn c() {}", &[("a", 2, 3), ("c", 7, 1)]);
        check("trait T { fn a(x: [u8; 4]); fn b() { { } } }", &[("b", 1, 1)]);
        check("type F = fn(u8) -> u8; const fn z() {}", &[("z", 1, 1)]);
    }
}
