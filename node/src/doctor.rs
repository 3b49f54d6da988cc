//! `gitring-node doctor`: looks at everything that a node depends on, and says what to do.
//!
//! Always true: it changes nothing but for files of its own, which it removes again; it needs no
//! running node and does not disturb one; what it prints holds no secret.
//! Never here: how one thing is looked at; each has a module.

mod access;
mod cache;
mod certificates;
mod clock;
mod finding;
mod limits;
mod machine;
mod mounts;
mod storages;

use self::finding::{Finding, Severity};
use crate::check;
use clap::Args;
use gitring_daemon::log;
use gitring_node::config::{Config, validate};
use gitring_node::gitlab::Secret;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;

/// What `gitring-node doctor` takes.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The configuration file
    config: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Looks and reports. 0: nothing to do, but notes perhaps; 1: warnings; 2: errors.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let findings = examine(arguments);
    let worst = findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Ok);
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    if arguments.json {
        let findings: Vec<_> = findings.iter().map(Finding::json).collect();
        println!("{:#}", json!({"findings": findings, "errors": errors, "warnings": warnings}));
    } else {
        for finding in &findings {
            println!("{}", finding.text());
        }
        println!("{errors} errors, {warnings} warnings");
    }
    ExitCode::from(worst.exit_status())
}

fn examine(arguments: &Arguments) -> Vec<Finding> {
    let mut findings = Vec::new();
    if rustix::process::geteuid().is_root() {
        let what = "root looks: permissions are not tried as the node's user would meet them";
        findings.push(Finding::note("user", what, "run doctor as the user the node runs as"));
    }
    findings.push(machine::kernel());
    findings.push(clock::examine());
    match Config::load(&arguments.config) {
        Ok(config) => {
            findings.extend(keys(&config));
            findings.extend(of(&config));
            findings.extend(secrets(arguments, &config));
        }
        Err(error) => findings.extend(wrong(arguments, &log::chain(&error))),
    }
    findings
}

/// What a configuration that cannot be used has wrong with it; `first` is its first problem.
fn wrong(arguments: &Arguments, first: &str) -> Vec<Finding> {
    #[expect(clippy::disallowed_methods, reason = "no reactor runs in this process")]
    let text = std::fs::read_to_string(&arguments.config).unwrap_or_default();
    let remedy = "correct it; until then nothing that it configures is looked at";
    let error = |what: String| Finding::error("configuration", what, remedy);
    let problems = validate::problems(&arguments.config, &text);
    let all: Vec<_> = problems.iter().map(|problem| error(problem.to_string())).collect();
    if text.is_empty() || all.is_empty() { vec![error(first.to_owned())] } else { all }
}

fn keys(config: &Config) -> Vec<Finding> {
    let check = "configuration";
    let mut findings = Vec::new();
    if !config.unknown_keys.is_empty() {
        let what = format!("unknown keys are ignored: {}", config.unknown_keys.join(", "));
        let remedy = "gitring-node configuration validate --human says which may be meant";
        findings.push(Finding::warning(check, what, remedy));
    }
    if !config.unused_keys.is_empty() {
        let what = format!("keys of Gitaly without effect here: {}", config.unused_keys.join(", "));
        findings.push(Finding::note(check, what, "none: they may stay for the way back"));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(check, "every key is known"));
    }
    findings
}

fn of(config: &Config) -> Vec<Finding> {
    let mounts = mounts::Mounts::read();
    let mut findings = vec![
        machine::io_uring(config.runtime.io_uring),
        machine::git(config.git.bin_path.as_deref()),
    ];
    for (name, root) in config.storages.iter() {
        let is_durable = config.runtime.is_durable;
        findings.extend(storages::examine(name.as_str(), root, &mounts, is_durable));
    }
    findings.extend(cache::examine(&config.pack_cache, &config.storages, &mounts));
    findings.extend(limits::Machine::read().judge(&config.runtime));
    findings.push(gitlab(config));
    findings
}

fn secrets(arguments: &Arguments, config: &Config) -> Vec<Finding> {
    let auth = &config.gitaly.auth;
    let within = config.gitaly.tls.as_ref().map(|tls| tls.listen_addr);
    let doors = access::Doors {
        has_token: !auth.tokens.is_empty(),
        is_transitioning: auth.transitioning,
        listen_addrs: config.gitaly.listen_addr.into_iter().chain(within).collect(),
        is_meant: auth.insecure,
    };
    let mut findings = vec![doors.judge()];
    let mut is_secret = !auth.tokens.is_empty();
    if let Some(gitlab) = &config.gitlab {
        match &gitlab.secret {
            Secret::File(path) => findings.push(access::secret_file("gitlab.secret_file", path)),
            Secret::Inline(_) => is_secret = true,
        }
        if let Some(shown) = &gitlab.client_certificate {
            findings.extend(certificates::examine(shown));
        }
    }
    if let Some(tls) = &config.gitaly.tls {
        findings.extend(certificates::examine(tls.loaded.identity()));
    }
    if is_secret {
        findings.push(access::secret_file("the configuration holds a secret", &arguments.config));
    }
    findings
}

fn gitlab(config: &Config) -> Finding {
    if config.gitlab.is_none() {
        let what = "none is configured: see hooks.without_gitlab for who may push";
        return Finding::note("gitlab", what, "set gitlab.url, unless this is meant");
    }
    match check::check(config) {
        Ok(info) => {
            Finding::ok("gitlab", format!("answers and takes the secret: {}", info.version))
        }
        Err(error) => {
            let remedy = "gitring-node check tries it alone; pushes are refused until it works";
            Finding::error("gitlab", error, remedy)
        }
    }
}
