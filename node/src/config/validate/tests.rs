//! Files with several faults, and what is said of each.

use super::*;

/// `DIR` is an existing directory; problems as lines.
fn check(text: &str, expected: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let name = dir.path().to_str().unwrap();
    let found = problems(Path::new("c.toml"), &text.replace("DIR", name));
    let found: Vec<_> = found.iter().map(|error| error.to_string().replace(name, "DIR")).collect();
    assert_eq!(found, expected, "{text}");
}

const STORAGE: &str = "[[storage]]\nname = 'a'\npath = 'DIR'\n";

#[test]
fn a_good_file_has_no_problems() {
    check(&format!("socket_path = '/run/a'\n{STORAGE}"), &[]);
}

#[test]
fn every_problem_is_named_in_the_order_of_the_file() {
    let text = format!(
        "socket_path = 1\nlisten_addr = 'localhost:0'\nlisen_addr = ''\n[logging]\n\
         level = 'loud'\nformat = 'xml'\n[runtime]\nworkers = 0\nreactors = 'two'\n\
         [nobody.knows]\nthis = 1\n[runtime.more]\nx = 1\n{STORAGE}[[git.config]]\nkey = 'bad'\n\
         [[git.config]]\nvalue = 'x'\n"
    );
    check(
        &text,
        &[
            "c.toml:1: socket_path: is of type integer, allowed: a string",
            "c.toml:3: lisen_addr: is unknown; did you mean listen_addr?",
            "c.toml:5: logging.level: 'loud' is no level, allowed: panic, fatal, error, warn, \
             info, debug, trace",
            "c.toml:6: logging.format: 'xml' is no format, allowed: text, json",
            "c.toml:8: runtime.workers: out of range, allowed: a whole number from 1 to 1024",
            "c.toml:9: runtime.reactors: is of type string, allowed: a whole number from 1 to 1024",
            "c.toml:11: nobody.knows.this: is unknown, and so is its table",
            "c.toml:13: runtime.more.x: is unknown, and so is its table",
            "c.toml:18: git.config.key: 'bad' is no key of git, allowed: section.name, \
             section.sub.name",
            "c.toml:19: git.config.key: is missing, required: a string",
        ],
    );
}

#[test]
fn what_only_follows_is_not_named() {
    // Nothing to serve, and no storage: only because the faulty ones were taken out.
    check(
        "listen_addr = 'nowhere'\n[[storage]]\nname = 'a'\npath = '/none'\n",
        &[
            "c.toml:1: listen_addr: 'nowhere' is no address (invalid socket address), allowed: \
             host:port or :port",
            "c.toml:4: storage.path: /none: No such file or directory (os error 2), allowed: an \
             existing directory",
        ],
    );
    let gateway = "[gateway]\nlisten_addr = 'localhost:0'\nstorage = 'b'\n";
    check(
        &format!("{gateway}[[storage]]\nname = 'b'\npath = '/none'\n{STORAGE}"),
        &["c.toml:6: storage.path: /none: No such file or directory (os error 2), allowed: an \
           existing directory"],
    );
    let gitlab = "socket_path = '/run/a'\n[gitlab]\nurl = 'http://g'\nsecret = 1\n";
    check(
        &format!("{gitlab}{STORAGE}"),
        &["c.toml:4: gitlab.secret: is of type integer, allowed: a string"],
    );
    check(
        "",
        &[
            "c.toml:1: storage: is missing, required: at least one [[storage]]",
            "c.toml:1: listen_addr: is missing, and so are tls_listen_addr, socket_path \
             and gateway.listen_addr: there is nothing to serve",
        ],
    );
}

#[test]
fn a_file_that_is_no_toml_has_one_problem() {
    check("a = \n[", &["c.toml:1: string values must be quoted, expected literal string"]);
}

#[test]
fn unknown_keys_are_led_to_known_ones() {
    let file = |line: &str| format!("socket_path = '/run/a'\n{line}\n{STORAGE}");
    let check = |line: &str, expected: &str| check(&file(line), &[expected]);
    check("[auth]\ntokn = ''", "c.toml:3: auth.tokn: is unknown; did you mean auth.token?");
    check(
        "[auth]\nrotation_interval = ''",
        "c.toml:3: auth.rotation_interval: is unknown, allowed: token, transitioning, insecure",
    );
}

#[test]
fn any_text_has_problems_or_none() {
    let dir = tempfile::tempdir().unwrap();
    let name = dir.path().to_str().unwrap();
    let examples = [
        "socket_path = '/run/a'\n[[storage]]\nname = 'a'\npath = 'DIR'\n[runtime]\nworkers = 0\n",
        "[gitlab]\nurl = 'http://g'\nsecret = 1\n[gitlab.http-settings]\nread_timeout = -1\n",
        "[[git.config]]\nkey = 'bad'\n[[git.config]]\nvalue = 'x'\n[auth]\ntoken = ''\n",
        "a.b.c = { d = [[1], { e = 0x7f }], f = 1979-05-27 }\ngraceful_restart_timeout = '1m'\n",
    ];
    let examples = examples.map(|text| text.replace("DIR", name).into_bytes());
    crate::mutations::each(&examples, |input| {
        let text = String::from_utf8_lossy(input);
        // It would be run.
        if text.contains("config_command") {
            return;
        }
        let found = problems(Path::new("c.toml"), &text);
        let starts = Config::parse(Path::new("c.toml"), &text);
        assert!(!found.is_empty() || starts.is_ok(), "{text}");
        let lines = text.lines().count() + 1;
        for problem in found {
            assert!(!problem.what.is_empty() && problem.line.unwrap() <= lines, "{problem}");
        }
    });
}
