//! The rules of one source file: head, sizes, names, words, unsafe code.
//!
//! Always true:
//! - Every rule is a function of a path and a text, so that it can be shown to fail.
//!
//! Never here: reading files; `tidy` does that.

use super::source::{functions, has_word, mask, words};

/// Longest file. A file that needs more owns more than one thing.
const FILE_LINES_MAX: usize = 400;

/// Longest function, counted in lines that hold code.
const FUNCTION_LINES_MAX: usize = 70;

/// Module names that say nothing about what they own.
const BANNED_MODULES: &[&str] =
    &["utils", "util", "common", "helpers", "helper", "manager", "handler", "misc"];

/// Words of unfinished work. Written in halves, since this file is judged too.
const BANNED_WORDS: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

/// Macros of unfinished work.
const BANNED_MACROS: &[&str] =
    &[concat!("to", "do!"), concat!("unimple", "mented!"), concat!("db", "g!")];

/// Where unsafe code may live: the guard of maps, waiting for children with their CPU time, the
/// ring, descriptors that are inherited as numbers, and the question whether the clock is right.
const UNSAFE_PLACES: &[&str] = &[
    "git/src/objects/fault.rs",
    "node/src/doctor/clock.rs",
    "node/src/reactor/children/reap.rs",
    "node/src/reactor/ring",
    "daemon/src/listener/activated.rs",
];

/// Words that a crate never uses in code, and why.
const FOREIGN_WORDS: &[(&str, &[&str], &str)] = &[
    ("node/", &["postgres", "sqlx"], "the node never opens PostgreSQL"),
    ("streamcache/", &["git", "gitring_git", "gix"], "the cache never names Git"),
    ("git/", &["tonic", "tokio", "hyper"], "git knows no gRPC and no async runtime"),
    ("coordinator/", &["gix", "gitring_git"], "the coordinator never opens a repository"),
];

/// Everything that is wrong with one Rust file, as sentences that name it.
pub(crate) fn judge(path: &str, source: &str) -> Vec<String> {
    let masked = mask(source);
    let mut faults = Vec::new();
    if !source.starts_with("//!") {
        faults.push("does not open with //!".to_owned());
    }
    let lines = source.lines().count();
    if lines > FILE_LINES_MAX {
        faults.push(format!("{lines} lines, at most {FILE_LINES_MAX}"));
    }
    for function in functions(&masked) {
        if function.code_lines > FUNCTION_LINES_MAX {
            faults.push(format!(
                "line {}: fn {} has {} lines, at most {FUNCTION_LINES_MAX}",
                function.line, function.name, function.code_lines
            ));
        }
    }
    faults.extend(module_names(path));
    faults.extend(unfinished(source, &masked));
    if has_word(&masked, "unsafe") && !UNSAFE_PLACES.iter().any(|place| path.starts_with(place)) {
        faults.push("unsafe code outside its places".to_owned());
    }
    faults.extend(foreign_words(path, &masked));
    faults.into_iter().map(|fault| format!("{path}: {fault}")).collect()
}

fn module_names(path: &str) -> Vec<String> {
    let parts = path.trim_end_matches(".rs").split('/');
    parts
        .filter(|part| BANNED_MODULES.contains(part))
        .map(|part| format!("`{part}` is no name for a module: name the noun"))
        .collect()
}

fn unfinished(source: &str, masked: &str) -> Vec<String> {
    let written = BANNED_WORDS.iter().filter(|word| has_word(source, word));
    let called = BANNED_MACROS.iter().filter(|name| has_macro(masked, name));
    written.chain(called).map(|word| format!("unfinished work: {word}")).collect()
}

/// Whether the macro `name!` is called, and not one whose name only ends alike.
fn has_macro(masked: &str, name: &str) -> bool {
    let bare = name.trim_end_matches('!');
    words(masked).any(|(at, word)| word == bare && masked[at..].starts_with(name))
}

fn foreign_words(path: &str, masked: &str) -> Vec<String> {
    let rows = FOREIGN_WORDS.iter().filter(|(folder, _, _)| path.starts_with(folder));
    rows.flat_map(|(_, banned, why)| {
        banned
            .iter()
            .filter(|word| words(masked).any(|(_, found)| found.eq_ignore_ascii_case(word)))
            .map(move |word| format!("names `{word}`, but {why}"))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The one fault found in a file, without its path; empty where it has none.
    fn check(path: &str, source: &str, expected: &str) {
        let faults = judge(path, source);
        let expected: Vec<String> =
            if expected.is_empty() { vec![] } else { vec![format!("{path}: {expected}")] };
        assert_eq!(faults, expected, "{path}: {source:.80}");
    }

    #[test]
    fn each_rule_can_fail() {
        check("git/src/a.rs", "//! a\nfn f() {}\n", "");
        check("git/src/a.rs", "fn f() {}\n", "does not open with //!");
        let long = format!("//! a\n{}", "\n".repeat(400));
        check("git/src/a.rs", &long, "401 lines, at most 400");
        let body = "a();\n".repeat(70);
        let long = format!("//! a\nfn f() {{\n{body}}}\n");
        check("git/src/a.rs", &long, "line 2: fn f has 72 lines, at most 70");
        let name = "`utils` is no name for a module: name the noun";
        check("git/src/utils.rs", "//! a\n", name);
        check("git/src/utils/a.rs", "//! a\n", name);
    }

    #[test]
    fn unfinished_work_is_seen_in_comments_and_calls() {
        let later = concat!("TO", "DO");
        check("a.rs", &format!("//! {later} a\n"), &format!("unfinished work: {later}"));
        check("a.rs", "//! a\nfn tidy_todo_list() {}\n", "");
        let call = concat!("to", "do!");
        check(
            "a.rs",
            &format!("//! a\nfn f() {{ {call}() }}\n"),
            &format!("unfinished work: {call}"),
        );
        check("a.rs", &format!("//! a\n// never {call}\nfn f() {{ my_{call}() }}\n"), "");
    }

    #[test]
    fn unsafe_and_foreign_words_are_judged_by_place() {
        let code = "//! a\nfn f() { unsafe { g() } }\n";
        check("git/src/a.rs", code, "unsafe code outside its places");
        check("git/src/objects/fault.rs", code, "");
        check("git/src/a.rs", "//! a\n// unsafe\n#![allow(unsafe_code)]\n", "");
        let why = "names `sqlx`, but the node never opens PostgreSQL";
        check("node/src/a.rs", "//! a\nuse sqlx::Pool;\n", why);
        check("coordinator/src/a.rs", "//! a\nuse sqlx::Pool;\n", "");
        check("streamcache/src/a.rs", "//! Knows no git.\n", "");
        let why = "names `git`, but the cache never names Git";
        check("streamcache/src/a.rs", "//! a\nuse git::Pack;\n", why);
    }
}
