//! Programs as scripts, and what becomes of what they print.

use super::*;
use crate::config::Config;
use crate::config::validate;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

struct Dir {
    root: tempfile::TempDir,
}

// === impl Dir ===

#[expect(clippy::disallowed_methods, reason = "a test writes scripts")]
impl Dir {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    fn script(&self, text: &str) -> PathBuf {
        let path = self.root.path().join("script");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        path
    }

    /// A file that has the script as its `config_command`.
    fn file(&self, script: &str, more: &str) -> String {
        let (storage, script) = (self.root.path().display(), self.script(script));
        format!(
            "socket_path = '/run/a'\nconfig_command = '{}'\n[[storage]]\nname = 'a'\n\
             path = '{storage}'\n{more}",
            script.display()
        )
    }

    fn load(&self, script: &str, more: &str) -> Result<Config, String> {
        let file = self.file(script, more);
        let directory = self.root.path().to_str().unwrap();
        let said = |error: SettingsError| error.to_string().replace(directory, "DIR");
        Config::parse(Path::new("c.toml"), &file).map_err(said)
    }
}

#[test]
fn what_it_prints_goes_over_the_file() {
    let dir = Dir::new();
    let json = r#"{"listen_addr": "localhost:0", "Auth": {"token": "t"}, "socket_path": null,
        "git": {"config": [{"key": "a.b", "value": "quo\"te\nDEL\u007f"}]}, "future": 1,
        "gitlab": {"url": "http://g", "secret": "s", "http_settings": {"read_timeout": 9}}}"#;
    let script = format!("echo noise >&2; cat <<'END'\n{json}\nEND");
    let config = dir.load(&script, "[git]\n[[git.config]]\nkey = 'c.d'\nvalue = 'gone'").unwrap();
    assert!(config.gitaly.listen_addr.is_some() && !config.gitaly.auth.tokens.is_empty());
    assert_eq!(config.gitaly.socket_path.unwrap(), Path::new("/run/a"));
    assert_eq!(config.git.config, [("a.b".to_owned(), "quo\"te\nDEL\x7f".to_owned())]);
    assert_eq!(config.gitlab.unwrap().read_timeout, Duration::from_secs(9));
    assert_eq!(config.unknown_keys, ["future"]);
    // As Gitaly: an empty object and a null change nothing.
    for nothing in ["echo '{}'", "echo null"] {
        assert!(dir.load(nothing, "").unwrap().gitaly.listen_addr.is_none());
    }
}

#[test]
fn its_values_count_as_the_files_and_errors_say_whose_they_are() {
    let dir = Dir::new();
    let check = |script: &str, expected: &str| {
        let found = dir.load(script, "").map(drop).unwrap_err();
        assert!(found.starts_with(expected), "{found}");
    };
    let output = "output of DIR/script: ";
    let number = format!("{output}runtime.workers: out of range, allowed");
    check("echo '{\"runtime\": {\"workers\": 0}}'", &number);
    let kind = format!("{output}listen_addr: is of type integer, allowed: a string");
    check("echo '{\"listen_addr\": 1}'", &kind);
    check("echo '{\"storage\": []}'", &format!("{output}storage: is missing, required"));
    let cert = format!("{output}tls.key_path: is missing, and certificate_path is set");
    let gitlab = "\"gitlab\": {\"url\": \"http://g\", \"secret\": \"s\"}";
    check(&format!("echo '{{\"tls\": {{\"cert_path\": \"/c\"}}, {gitlab}}}'"), &cert);
}

#[test]
fn what_goes_wrong_is_said_with_the_line_of_the_key() {
    let dir = Dir::new();
    let check = |script: &str, expected: &str| {
        let found = dir.load(script, "").map(drop).unwrap_err();
        let prefix = "c.toml:2: config_command: 'DIR/script': ";
        assert_eq!(found.strip_prefix(prefix), Some(expected), "{found}");
    };
    check("echo no vault >&2; exit 3", "exit status: 3, stderr: \"no vault\\n\"");
    check("kill -9 $$", "signal: 9 (SIGKILL), stderr: \"\"");
    check("echo this", "printed no JSON: expected ident at line 1 column 2");
    check("echo '{} {}'", "printed no JSON: trailing characters at line 1 column 4");
    check("echo '[]'", "printed JSON that is no object");
    check("cat /dev/zero", "printed more than 1048576 bytes and was killed");
    let file = "socket_path = '/run/a'\nconfig_command = '/none'\n";
    let missing = Config::parse(Path::new("c.toml"), file).map(drop).unwrap_err().to_string();
    let expected = "c.toml:2: config_command: '/none': cannot be run: No such file or directory \
                    (os error 2)";
    assert_eq!(missing, expected);
}

#[test]
fn one_that_hangs_is_killed_with_all_that_it_started() {
    let dir = Dir::new();
    let pid = dir.root.path().join("pid");
    let script = dir.script(&format!("sleep 100 & echo $! > {}; wait", pid.display()));
    let began = Instant::now();
    let error = run(script.to_str().unwrap(), Duration::from_millis(500)).unwrap_err();
    assert!(matches!(error, CommandError::TooSlow), "{error}");
    assert!(began.elapsed() < Duration::from_secs(30));
    #[expect(clippy::disallowed_methods, reason = "a test reads a file")]
    let sleeper = std::fs::read_to_string(&pid).unwrap();
    let gone = || {
        #[expect(clippy::disallowed_methods, reason = "a test reads a file")]
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", sleeper.trim()));
        // Where nobody reaps orphans, a zombie stays.
        stat.map_or(true, |stat| stat.contains(") Z "))
    };
    while !gone() {
        assert!(began.elapsed() < Duration::from_secs(30), "the child lives");
        std::thread::yield_now();
    }
}

#[test]
fn the_service_managers_variables_are_not_passed_on() {
    let dir = Dir::new();
    let script = dir.script("echo \"{\\\"a\\\": \\\"${PATH:+path}$NOTIFY_SOCKET\\\"}\"");
    let output = run(script.to_str().unwrap(), TIME_MAX).unwrap();
    assert_eq!(String::from_utf8(output).unwrap().trim(), "{\"a\": \"path\"}");
}

#[test]
fn validation_runs_it_and_goes_on_without_it() {
    let dir = Dir::new();
    let problems = |script: &str, more: &str| -> Vec<String> {
        let file = dir.file(script, more);
        let found = validate::problems(Path::new("c.toml"), &file);
        let directory = dir.root.path().to_str().unwrap();
        found.iter().map(|error| error.to_string().replace(directory, "DIR")).collect()
    };
    let found = problems("exit 1", "[runtime]\nworkers = 0");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("c.toml:2: config_command: 'DIR/script': exit status: 1"));
    assert!(found[1].starts_with("c.toml:7: runtime.workers: "));
    let found = problems("echo '{\"tpyo\": 1, \"runtime\": {\"workers\": 0}}'", "");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|problem| problem.starts_with("output of DIR/script: ")));
}

#[test]
fn any_object_is_toml() {
    let examples = [
        r#"{"listen_addr": "localhost:0", "Auth": {"token": "t\u007f\n"}, "socket_path": null}"#,
        r#"{"git": {"config": [{"key": "a.b", "value": "\"q\""}, null, [1.5e3, -7, true]]}}"#,
        r#"{"gitlab": {"http_settings": {"read_timeout": 9}}, "": {"": []}, "\u00e9 ": 1}"#,
    ];
    crate::mutations::each(&examples.map(Vec::from), |input| {
        if let Ok(toml) = to_toml(input) {
            let parsed = Document::parse(Path::new("c.toml"), &toml);
            assert!(parsed.is_ok(), "{toml}: {parsed:?}");
        }
    });
}
