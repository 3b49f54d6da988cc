//! Files and what they mean, or why they are refused.

use super::*;
use crate::gitlab::Secret as GitlabSecret;
use crate::hooks::WithoutGitlab;
use crate::reactor::children::Budget;
use crate::reactor::ring::IoUring;
use std::fs;

struct Dir {
    root: tempfile::TempDir,
}

/// A directory with `one`, `one/below`, `two` and `file`.
#[expect(clippy::disallowed_methods, reason = "a test prepares directories")]
fn dir() -> Dir {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("one/below")).unwrap();
    fs::create_dir(root.path().join("two")).unwrap();
    fs::write(root.path().join("file"), "").unwrap();
    Dir { root }
}

// === impl Dir ===

impl Dir {
    /// `text` with `DIR` replaced; storage and gateway are put before it unless it has its own.
    fn parse(&self, text: &str) -> Result<Config, String> {
        let mut whole = String::new();
        whole.push_str(text);
        if !text.contains("[[storage]]") {
            whole.push_str("\n[[storage]]\nname = 'default'\npath = 'DIR/one'");
        }
        if !text.contains("[gateway]") {
            whole.push_str("\n[gateway]\nlisten_addr = 'localhost:0'");
        }
        let whole = whole.replace("DIR", self.root.path().to_str().unwrap());
        Config::parse(Path::new("c.toml"), &whole).map_err(|error| error.to_string())
    }

    fn check(&self, text: &str, expected: &str) {
        let found = self.parse(text).map(drop).unwrap_err();
        let found = found.replace(self.root.path().to_str().unwrap(), "DIR");
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn everything_set_arrives() {
    let text = "
        runtime_dir = 'DIR/two'
        socket_path = '/run/gitaly.socket'
        listen_addr = 'localhost:8075'
        prometheus_listen_addr = ':9236'
        prometheus.grpc_latency_buckets = [0.5, 1, 2.5]
        graceful_restart_timeout = '1m30s'
        [auth]
        token = 'secret'
        transitioning = true
        [timeout]
        upload_pack_negotiation = '90s'
        [git]
        bin_path = '/bin/sh'
        [[git.config]]
        key = 'uploadpack.hideRefs'
        value = 'refs/secret'
        [logging]
        format = 'json'
        level = 'Warning'
        dir = '/var/log'
        [[storage]]
        name = 'a'
        path = 'DIR/one'
        [[storage]]
        name = 'b'
        path = 'DIR/two'
        [gateway]
        listen_addr = '0.0.0.0:8080'
        insecure = true
        storage = 'b'
        [runtime]
        reactors = 1
        workers = 0x10
        children = 7
        children_memory_bytes = 0x4000_0000
        connections = 9
        io_uring = 'off'
        fsync = false";
    let config = dir().parse(text).unwrap();
    assert_eq!(config.prometheus_listen_addr.unwrap().to_string(), "0.0.0.0:9236");
    assert_eq!(config.grace, Duration::from_secs(90));
    let hidden = ("uploadpack.hideRefs".into(), "refs/secret".into());
    let git = GitConfig { bin_path: Some("/bin/sh".into()), config: vec![hidden] };
    assert_eq!(config.git, git);
    assert!(config.runtime_dir.unwrap().ends_with("two"));
    assert_eq!(config.log, LogConfig { format: Format::Json, level: LevelFilter::WARN });
    let gitaly = config.gitaly;
    assert_eq!(gitaly.socket_path.unwrap(), Path::new("/run/gitaly.socket"));
    assert!(gitaly.listen_addr.unwrap().ip().is_loopback());
    assert!(gitaly.auth.tokens.len() == 1 && gitaly.auth.transitioning);
    assert_eq!(gitaly.timeouts.upload_pack_negotiation, Duration::from_secs(90));
    assert_eq!(gitaly.timeouts.upload_archive_negotiation, Duration::from_secs(60));
    let gateway = config.gateway.unwrap();
    assert_eq!(gateway.listen_addr.to_string(), "0.0.0.0:8080");
    assert_eq!(gateway.storage.to_string(), "b");
    let runtime = RuntimeConfig {
        reactors: 1,
        workers: 16,
        children: Budget { children_max: 7, memory_bytes_max: 1 << 30 },
        connections_max: 9,
        io_uring: IoUring::Off,
        is_durable: false,
    };
    assert_eq!(config.runtime, runtime);
    assert_eq!(config.latency_buckets, [0.5, 1.0, 2.5]);
    assert_eq!((config.unused_keys, config.unknown_keys), (vec!["logging.dir".into()], vec![]));
}

#[test]
fn keys_of_gitaly_are_known_and_others_are_named() {
    let text = "
        socket_path = '/run/gitaly.socket'
        tls_listen_addr = ''
        typo = 1
        [auth]
        token = ''
        [[concurrency]]
        rpc = 'a'
        max_per_repo = 1
        [[concurrency]]
        rpc = 'b'
        [adaptive_limiting]
        memory_threshold = 0.8
        [raft]
        enabled = false
        [backup]
        layout = 'pointer'
        [git]
        confg = []
        [nobody.knows]
        this = { at = 'all' }";
    let config = dir().parse(text).unwrap();
    let unused = ["raft.enabled", "backup.layout"];
    assert_eq!(config.unused_keys, unused);
    assert_eq!(config.unknown_keys, ["typo", "git.confg", "nobody.knows.this.at"]);
}

#[test]
fn something_must_be_served() {
    let dir = dir();
    let storage = "[[storage]]\nname = 'a'\npath = 'DIR/one'\n";
    let storage = storage.replace("DIR", dir.root.path().to_str().unwrap());
    let parse = |text: &str| Config::parse(Path::new("c.toml"), &(text.to_owned() + &storage));
    let refused = parse("listen_addr = ''\n").map(drop).unwrap_err().to_string();
    assert!(refused.contains("there is nothing to serve"), "{refused}");
    assert!(parse("socket_path = '/run/a.socket'\n").unwrap().gateway.is_none());
}

#[test]
fn what_would_weaken_security_stops_the_start() {
    fn check(text: &str, expected: &str) {
        let error = dir().parse(text).map(drop).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }
    check("[gateway]\nlisten_addr = ':80'", "c.toml:2: gateway.listen_addr: 0.0.0.0:80 is open to");
    let open = "[gateway]\nlisten_addr = '0.0.0.0:80'\ninsecure = false";
    check(open, "c.toml:2: gateway.listen_addr: 0.0.0.0:80 is open to the network");
}

#[test]
fn wrong_values_name_file_line_key_and_what_is_allowed() {
    let dir = dir();
    let check = |text, expected| dir.check(text, expected);
    check("a = 1\na = 2", "c.toml:2: duplicate key");
    check(
        "[prometheus]\ngrpc_latency_buckets = [1, 1]",
        "c.toml:2: prometheus.grpc_latency_buckets: [1.0, 1.0] cannot be used, allowed: at most 50 \
         ascending numbers",
    );
    check(
        "[prometheus]\ngrpc_latency_buckets = ['1']",
        "c.toml:2: prometheus.grpc_latency_buckets: is of type array, allowed: an array of numbers",
    );
    check(
        "\ngraceful_restart_timeout = '1x'",
        "c.toml:2: graceful_restart_timeout: '1x' is no duration, allowed: numbers with a unit \
         (h, m, s, ms, us, ns) as in 1m30s",
    );
    check(
        "graceful_restart_timeout = 60",
        "c.toml:1: graceful_restart_timeout: is of type integer, allowed: a string",
    );
    check(
        "runtime_dir = 'DIR/file'",
        "c.toml:1: runtime_dir: 'DIR/file' is something else, allowed: an existing directory",
    );
    check(
        "[git]\nbin_path = 'DIR/file'",
        "c.toml:2: git.bin_path: 'DIR/file' is something else, allowed: an existing executable \
         file",
    );
    check(
        "[[git.config]]\nkey = 'core.autocrlf'\nvalue = 'x'\n[[git.config]]\nkey = 'a=b.c'",
        "c.toml:5: git.config.key: 'a=b.c' is no key of git, allowed: section.name, \
         section.sub.name",
    );
    check(
        "[[git.config]]\nkey = 'core'",
        "c.toml:2: git.config.key: 'core' is no key of git, allowed: section.name, \
         section.sub.name",
    );
    check(
        "[[git.config]]\nkey = 'a.b'",
        "c.toml:1: git.config.value: is missing, required: a string",
    );
    check(
        "[logging]\nformat = 'xml'",
        "c.toml:2: logging.format: 'xml' is no format, allowed: text, json",
    );
    check(
        "[logging]\nlevel = 'loud'",
        "c.toml:2: logging.level: 'loud' is no level, allowed: panic, fatal, error, warn, info, \
         debug, trace",
    );
    check("logging = 1", "c.toml:1: logging: is of type integer, allowed: a table");
    check(
        "[runtime]\nreactors = 0",
        "c.toml:2: runtime.reactors: out of range, allowed: a whole number from 1 to 1024",
    );
    check(
        "[runtime]\nworkers = -1",
        "c.toml:2: runtime.workers: out of range, allowed: a whole number from 1 to 1024",
    );
    check(
        "[gateway]\nlisten_addr = 'localhost:0'\nstorage = 'x'",
        "c.toml:3: gateway.storage: 'x' is unknown, allowed: the name of a [[storage]]",
    );
}

#[test]
fn storages_are_existing_separate_directories_with_names_of_their_own() {
    let dir = dir();
    let check = |text: &str, expected| dir.check(text, expected);
    let two = |name: &str, path: &str| {
        format!(
            "[[storage]]\nname = 'a'\npath = 'DIR/one'\n[[storage]]\nname = '{name}'\npath = '{path}'"
        )
    };
    assert!(dir.parse(&two("b", "DIR/two")).is_ok());
    assert!(dir.parse(&two("b", "DIR/one")).is_ok(), "Gitaly 16.7 allows one path for two names");
    check(&two("a", "DIR/two"), "c.toml:5: storage.name: 'a' is taken, allowed: a name used once");
    check(&two("", "DIR/two"), "c.toml:5: storage.name: is empty, allowed: any other name");
    check(
        &two("b", "DIR/one/below"),
        "c.toml:6: storage.path: DIR/one/below and that of storage 'a' are nested, allowed: \
         separate directories",
    );
    check(
        &two("b", "DIR/two/../one/below"),
        "c.toml:6: storage.path: DIR/one/below and that of storage 'a' are nested, allowed: \
         separate directories",
    );
    check(
        &two("b", "DIR/none"),
        "c.toml:6: storage.path: DIR/none: No such file or directory (os error 2), allowed: an \
         existing directory",
    );
    check(
        &two("b", "DIR/file"),
        "c.toml:6: storage.path: DIR/file is no directory, allowed: an existing directory",
    );
    check("[[storage]]\nname = 'a'", "c.toml:1: storage.path: is missing, required: a string");
    let none = Config::parse(Path::new("c.toml"), "[gateway]\nlisten_addr = 'localhost:0'");
    let expected = "c.toml:1: storage: is missing, required: at least one [[storage]]";
    assert_eq!(none.map(drop).unwrap_err().to_string(), expected);
}

#[test]
fn gitlab_and_hooks_are_as_gitaly_has_them() {
    let dir = dir();
    let parse = |text: &str| dir.parse(text).unwrap();
    let none = parse("[gitlab]\nsecret_file = '/none'\n[gitlab.http-settings]\nuser = 'x'");
    assert!(none.gitlab.is_none());
    assert_eq!(none.hooks, HooksConfig::default());
    let all = parse(
        "[gitlab]
        url = 'http+unix://%2Frun%2Fgitlab'
        relative_url_root = '/gitlab'
        secret = 'inline'
        [gitlab.http-settings]
        read_timeout = 7
        user = 'u'
        password = 'p'
        ca_file = 'DIR/file'
        ca_path = 'DIR/two'
        [hooks]
        custom_hooks_dir = '/none/hooks'
        without_gitlab = 'allow'
        [tls]
        certificate_path = '/none/certificate'
        key = 'key'",
    );
    let gitlab = all.gitlab.unwrap();
    assert!(matches!(&gitlab.secret, GitlabSecret::Inline(secret) if secret == "inline"));
    assert_eq!(gitlab.read_timeout, Duration::from_secs(7));
    assert_eq!(gitlab.basic.unwrap().user, "u");
    assert!(gitlab.ca_file.unwrap().ends_with("file") && gitlab.ca_path.unwrap().ends_with("two"));
    assert!(gitlab.client_certificate.unwrap().certificate_path.ends_with("certificate"));
    assert_eq!(all.hooks.custom_hooks_dir.unwrap(), Path::new("/none/hooks"));
    assert_eq!(all.hooks.without_gitlab, WithoutGitlab::Allow);
    let keys = (all.unused_keys, all.unknown_keys);
    assert_eq!(keys, (vec![], vec![]));
    // What stands next to gitlab-shell is the default of both.
    let shell = parse("[gitlab]\nurl = 'https://g'\n[gitlab-shell]\ndir = '/shell'");
    let secret = shell.gitlab.unwrap().secret;
    let expected = "/shell/.gitlab_shell_secret";
    assert!(
        matches!(&secret, GitlabSecret::File(path) if path == Path::new(expected)),
        "{secret:?}"
    );
    assert_eq!(shell.hooks.custom_hooks_dir.unwrap(), Path::new("/shell/hooks"));
}

#[test]
fn a_gitlab_that_cannot_be_asked_stops_the_start() {
    let dir = dir();
    let check = |text: &str, expected: &str| {
        let text = format!("[gitlab]\nurl = 'http://g'\n{text}");
        dir.check(&text, expected);
    };
    check(
        "",
        "c.toml:1: gitlab.secret_file: is missing, and so are secret and gitlab-shell.dir: GitLab \
         would trust nobody",
    );
    check(
        "secret = 'a'\nsecret_file = '/b'",
        "c.toml:3: gitlab.secret: is set, and so is secret_file, allowed: one of them",
    );
    let http = |text: &str| format!("secret = 'a'\n[gitlab.http-settings]\n{text}");
    check(
        &http("user = 'u'"),
        "c.toml:4: gitlab.http-settings.password: is missing, and user is set",
    );
    check(
        &http("password = 'u'"),
        "c.toml:4: gitlab.http-settings.user: is missing, and password is set",
    );
    check(
        &http("ca_file = 'DIR/one'"),
        "c.toml:5: gitlab.http-settings.ca_file: 'DIR/one' is something else, allowed: an existing \
         file",
    );
    check(
        &http("ca_path = 'DIR/none'"),
        "c.toml:5: gitlab.http-settings.ca_path: 'DIR/none': No such file or directory (os error \
         2), allowed: an existing directory",
    );
    check(
        &http("read_timeout = -1"),
        "c.toml:5: gitlab.http-settings.read_timeout: out of range, allowed: a whole number from 0 \
         to 86400",
    );
    check(
        "secret = 'a'\n[tls]\ncertificate_path = '/c'",
        "c.toml:4: tls.key_path: is missing, and certificate_path is set",
    );
    check(
        "secret = 'a'\n[hooks]\nwithout_gitlab = 'maybe'",
        "c.toml:5: hooks.without_gitlab: 'maybe' is no choice, allowed: allow, deny",
    );
    dir.check(
        "[gitlab]\nurl = 'gitlab'",
        "c.toml:2: gitlab.url: 'gitlab' has an unknown prefix, allowed: http://host, https://host, \
         http+unix://%2Fpath%2Fto%2Fsocket",
    );
}
