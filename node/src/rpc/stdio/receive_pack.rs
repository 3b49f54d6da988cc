//! `gitring-node receive-pack`: a drop-in for `git receive-pack` (git-receive-pack(1)).
//!
//! Always true: the hooks of the repository and its `receive.*` settings are honoured; what git
//! does behind a push (`receive.autoGC`, `receive.updateServerInfo`) follows here as well. What only
//! git can do, git does in our place: the process becomes git before anything was read or said, so
//! that outputs come in git's order.

use super::{Entered, callers_variables, converse, enter, exit, git_program, services};
use crate::hooks::GitHooks;
use crate::reactor::children::Account;
use crate::rpc::git::CHILD_MARK;
use crate::rpc::push::gate::Gate;
use crate::rpc::push::{self, Call, Operation, PushError};
use crate::rpc::votes::Ballot;
use crate::rpc::wire::Summary;
use bstr::BString;
use gitring_daemon::log;
use gitring_git::quarantine::sweep;
use gitring_git::receive_pack::Settings;
use gitring_git::ref_transaction::end_sessions;
use gitring_git::repository::{Repository, Snapshot};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Arc;

/// Remains of dead processes that are removed before a push, of each kind.
const SWEPT_MAX: usize = 8;

/// What `git receive-pack` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Tell no progress
    #[arg(short, long)]
    quiet: bool,
    /// Serve one round, as behind an HTTP server
    #[arg(long)]
    stateless_rpc: bool,
    /// Only tell refs, as behind an HTTP server
    #[arg(long, alias = "advertise-refs")]
    http_backend_info_refs: bool,
    /// Refuse packs with deltas against objects that are not in them. Only tests of git ask for it;
    /// git serves them
    #[arg(long, hide = true)]
    reject_thin_pack_for_testing: bool,
    /// The repository
    directory: PathBuf,
}

/// Takes one push; returns git's exit status.
pub fn run(arguments: &Arguments) -> ExitCode {
    exit(match arguments.reject_thin_pack_for_testing {
        true => become_git(),
        false => serve(arguments),
    })
}

/// Lets git have the process, with the arguments as they are.
fn become_git() -> Result<(), String> {
    if std::env::var_os(CHILD_MARK).is_some() {
        return Err("'git receive-pack' leads back to gitring-node".to_owned());
    }
    let mut command = Command::new(git_program()?);
    command.args(std::env::args_os().skip(1)).env(CHILD_MARK, "1");
    Err(format!("start git: {}", command.exec()))
}

fn serve(arguments: &Arguments) -> Result<(), String> {
    let Entered { repository, snapshot, namespace, version } =
        enter("receive-pack", &arguments.directory, false)?;
    let gate = Gate::Repository(hooks(&repository, &snapshot));
    // What cannot be told is told where the push is served.
    let settings = Settings::of(&snapshot.config, &snapshot);
    if settings.ok().and_then(|settings| settings.fallback).or(gate.fallback()).is_some() {
        return become_git();
    }
    // What cannot be swept is nobody's concern here, and goes with the next one or `git gc`.
    drop(sweep(snapshot.objects_dir(), SWEPT_MAX));
    let call = Call {
        committer: Some(committer(&snapshot)),
        gate,
        repository,
        snapshot,
        operation: match arguments.http_backend_info_refs {
            true => Operation::AdvertiseRefs,
            false => Operation::ReceivePack,
        },
        version,
        stateless: arguments.stateless_rpc,
        options: Vec::new(),
        namespace,
        // Nobody reads metrics of this process, and its children inherit a correlation id.
        account: Arc::new(Account::new("", "", String::new())),
        ballot: Ballot::alone(),
    };
    let pushed = converse(None, services()?, async |services, mut input, mut output| {
        push::serve(services, call, &mut input, &mut output).await
    })?;
    end_sessions();
    match pushed {
        None => Err("ended by a signal".to_owned()),
        Some(Ok(Summary { refused: Some(why), .. })) => Err(why),
        Some(Ok(_)) => Ok(()),
        // Said by git already, with its own `fatal: `.
        Some(Err(PushError::Child { complaint, .. })) => {
            Err(complaint.strip_prefix("fatal: ").unwrap_or(&complaint).to_owned())
        }
        Some(Err(PushError::Client(failure))) => Err(failure.to_string()),
        Some(Err(other)) => Err(log::chain(&other)),
    }
}

fn hooks(repository: &Repository, snapshot: &Snapshot) -> GitHooks {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let path = snapshot.config.path("core.hookspath", home.as_deref());
    GitHooks::of(repository.git_dir(), path.as_deref(), callers_variables())
}

/// As git-commit-tree(1), "COMMIT INFORMATION", has it; what nobody said is the login name.
fn committer(snapshot: &Snapshot) -> BString {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let setting = |key: &str| snapshot.config.string(key).map(ToString::to_string);
    let login = || variable("LOGNAME").or_else(|| variable("USER"));
    let name = variable("GIT_COMMITTER_NAME")
        .or_else(|| setting("committer.name"))
        .or_else(|| setting("user.name"))
        .or_else(login)
        .unwrap_or_else(|| "unknown".to_owned());
    let mail = variable("GIT_COMMITTER_EMAIL")
        .or_else(|| setting("committer.email"))
        .or_else(|| setting("user.email"))
        .or_else(|| variable("EMAIL"))
        .unwrap_or_else(|| format!("{}@localhost", login().unwrap_or_default()));
    format!("{name} <{mail}>").into()
}
