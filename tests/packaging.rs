//! What is shipped beside the program: examples that are valid, a unit, dashboards and alerts that
//! ask for metrics which exist; and `gitring-node doctor` and `configuration validate` as run.
//!
//! Always true: a metric is defined where a source file has its name in quotes; its labels stand in
//! quotes in the same file, or in one that the metric's is made with.
//! Never here: what one look of doctor's judges; its modules test that.

mod definitions;
mod queries;

use self::definitions::Definitions;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use gitring_tests::{git, node};
use serde_json::{Value, json};

/// Of the tables and rules that others define; each may be missing.
const PROMETHEUS_OWN: &[&str] = &["up"];
/// Labels that Prometheus adds, or makes of a histogram.
const LABELS_OWN: &[&str] = &["instance", "job", "le"];

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../node/packaging")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn run(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(node::program());
    git::close_environment(&mut command);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the node can be started");
    let mut stdin = child.stdin.take().expect("piped");
    // A program that does not read its input is no fault.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

fn printed(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn examples_are_valid() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let entries = fs::read_dir(packaging().join("examples")).expect("examples");
    let mut seen = 0;
    for entry in entries {
        let path = entry.expect("an entry").path();
        let mut text = read(&path);
        for storage in ["/srv/git", "/srv/archive"] {
            let here = folder.path().join(&storage[1..]);
            fs::create_dir_all(&here).expect("a folder can be made");
            text = text.replace(storage, here.to_str().expect("a plain name"));
        }
        let output = run(&["configuration", "validate"], &text);
        assert!(output.status.success(), "{}: {output:?}", path.display());
        assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
        seen += 1;
    }
    assert_eq!(seen, 3);
}

#[test]
fn validation_speaks_gitalys_json_and_ends_with_its_statuses() {
    let file = "\nsocket_path = 1\n[runtime]\nworker = 1\n";
    let output = run(&["configuration", "validate"], file);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let errors = printed(&output)["errors"].clone();
    let expected = json!([
        {
            "key": ["storage"], "file": "standard input", "line": 1,
            "message": "is missing, required: at least one [[storage]]",
        },
        {
            "key": ["socket_path"], "file": "standard input", "line": 2,
            "message": "is of type integer, allowed: a string",
        },
        {
            "key": ["runtime", "worker"], "file": "standard input", "line": 4,
            "message": "is unknown; did you mean runtime.workers?",
        },
    ]);
    assert_eq!(errors, expected);
    let human = run(&["configuration", "validate", "--human"], file);
    assert_eq!(human.status.code(), Some(2));
    let text = String::from_utf8_lossy(&human.stdout);
    assert!(text.contains("\nstandard input:2: socket_path: is of type integer"), "{text}");
    assert!(text.ends_with("standard input: 3 problems\n"), "{text}");
    let none = run(&["configuration", "validate", "/none.toml"], "");
    assert_eq!(none.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&none.stderr).contains("processing input data: "));
}

/// A configuration in a folder of its own, for the node's user alone.
fn configured(folder: &Path, text: &str) -> String {
    let storage = folder.join("storage");
    fs::create_dir_all(&storage).expect("a folder can be made");
    fs::set_permissions(&storage, PermissionsExt::from_mode(0o700)).expect("it is ours");
    let text = text.replace("DIR", folder.to_str().expect("a plain name"));
    let file = folder.join("node.toml");
    let storage = format!("[[storage]]\nname = 'a'\npath = '{}'\n", storage.display());
    fs::write(&file, format!("{text}\n{storage}")).expect("a file can be written");
    fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).expect("it is ours");
    file.to_str().expect("a plain name").to_owned()
}

#[test]
fn doctor_finds_what_is_wrong_and_says_what_to_do() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let check = |text: &str, bad: &[(&str, &str)]| {
        let file = configured(folder.path(), text);
        let output = run(&["doctor", "--json", &file], "");
        let report = printed(&output);
        let findings = report["findings"].as_array().expect("a list");
        for finding in findings {
            let needs_remedy = finding["severity"] == "warning" || finding["severity"] == "error";
            assert!(!needs_remedy || finding["remedy"] != "", "{finding}");
            assert!(!finding.to_string().contains("s3cret"), "{finding}");
        }
        for (check, severity) in bad {
            let is_it = |one: &&Value| one["check"] == *check && one["severity"] == *severity;
            assert!(findings.iter().any(|one| is_it(&one)), "{check} {severity}: {report:#}");
        }
        let worst = match (report["errors"].as_u64(), report["warnings"].as_u64()) {
            (Some(0), Some(0)) => 0,
            (Some(0), Some(_)) => 1,
            _ => 2,
        };
        assert_eq!(output.status.code(), Some(worst), "{report:#}");
    };
    let served = "socket_path = 'DIR/socket'\n[auth]\ntoken = 's3cret'";
    check(served, &[("token", "ok"), ("git", "ok"), ("gitlab", "note"), ("storage.write", "ok")]);
    check("listen_addr = '0.0.0.0:0'", &[("token", "error")]);
    check(&format!("{served}\n[runtime]\nfsync = false"), &[("storage.fsync", "error")]);
    check(&format!("{served}\n[runtime]\nworkers = 0"), &[("configuration", "error")]);
    check(&format!("typo = 1\n{served}"), &[("configuration", "warning")]);
    check(&format!("{served}\n[git]\nbin_path = '/bin/true'"), &[("git", "error")]);
    let gitlab = "[gitlab]\nurl = 'http://127.0.0.1:1'\nsecret_file = 'DIR/none'";
    check(&format!("{served}\n{gitlab}"), &[("gitlab", "error"), ("secrets", "error")]);
    let left: Vec<_> = fs::read_dir(folder.path().join("storage")).expect("a folder").collect();
    assert!(left.is_empty(), "{left:?}");
    let human = run(&["doctor", "/none.toml"], "");
    assert_eq!(human.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&human.stdout).contains("error    configuration"));
}

#[test]
fn dashboards_and_alerts_ask_for_metrics_that_exist() {
    let definitions = Definitions::of_the_tree();
    let rules = read(&packaging().join("prometheus/gitring-node.rules.yml"));
    let dashboard: Value =
        serde_json::from_str(&read(&packaging().join("grafana/gitring-node.json"))).expect("JSON");
    let mut all = queries::of_rules(&rules);
    assert!(all.len() >= 10, "{all:?}");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    all.extend(targets.map(|target| target["expr"].as_str().expect("a query").to_owned()));
    assert!(all.len() >= 40, "{all:?}");
    let mut faults = Vec::new();
    for query in &all {
        let asked = queries::Asked::parse(query);
        assert!(!asked.metrics.is_empty(), "{query}");
        for metric in asked.metrics.iter().filter(|name| !PROMETHEUS_OWN.contains(&&***name)) {
            let labels = asked.labels.iter().filter(|label| !LABELS_OWN.contains(&&***label));
            faults
                .extend(definitions.fault(metric, labels).map(|fault| format!("{fault}: {query}")));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_unit_starts_and_reloads_the_program() {
    let unit = read(&packaging().join("systemd/gitring-node.service"));
    let has = |line: &str| assert!(unit.lines().any(|found| found == line), "{line}");
    has("Type=notify");
    has("ExecStart=/usr/bin/gitring-node serve /etc/gitring/node.toml");
    has("ExecReload=/bin/kill -HUP $MAINPID");
    has("SystemCallFilter=io_uring_setup io_uring_enter io_uring_register");
    has("NoNewPrivileges=yes");
}

#[test]
fn attacks_have_the_tests_that_the_table_names() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let readme = read(&root.join("README.md"));
    let section = readme.split("\n## ").find(|part| part.starts_with("Attacks"));
    let rows = section.expect("a section").lines().filter(|line| line.starts_with("| "));
    let mut seen = 0;
    for row in rows.skip(1) {
        let words: Vec<_> = row.rsplit('|').nth(1).expect("a cell").split('`').collect();
        let [_, file, _, name, _] = words[..] else { panic!("{row}") };
        let source = read(&root.join(file));
        assert!(source.contains(&format!("fn {name}(")), "{file} has no {name}");
        seen += 1;
    }
    assert!(seen > 30, "{seen}");
}
