//! `gitring-node upload-pack`: a drop-in for `git upload-pack` on standard input and output
//! (git-upload-pack).
//!
//! Always true: honours git's environment as git does; ends with status 128 and a line
//! `fatal: …` where git would.
//! Never here: the fetch itself, which is the server's.

mod streams;

use self::streams::{Stdin, Stdout};
use super::fetch::{ABORTED, Buffers};
use super::git::{CHILD_MARK, Git, Surroundings};
use super::trace::Trace;
use super::wire::{Call, FetchError, Operation, Summary};
use super::{FetchMetrics, Services, fetch};
use crate::pack_cache::disk::CacheDisk;
use crate::pack_cache::{BuildError, Packs, SharedPacks};
use crate::reactor::children::{Account, Children};
use crate::reactor::ring::Rings;
use crate::reactor::workers::Workers;
use gitring_daemon::log;
use gitring_git::refs::Namespace;
use gitring_git::repository::{Environment, Repository, RepositoryError};
use gitring_git::upload_pack::{Failure, Version};
use prometheus::Registry;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, LocalOptions};
use tokio::signal::unix::{SignalKind, signal};

/// git's status for what it calls fatal.
const FATAL: u8 = 128;

/// Children of one fetch: one builds packs, one serves what we do not.
const CHILDREN_MAX: usize = 2;

/// What a fetch may use, with its way to the packs.
type MakeServices = Box<dyn FnOnce(Packs) -> Services>;

/// What `git upload-pack` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Do not try DIRECTORY/.git where DIRECTORY is no repository
    #[arg(long)]
    strict: bool,
    /// The default, which git lets callers spell out
    #[arg(long, hide = true, overrides_with = "strict")]
    no_strict: bool,
    /// Serve one round, as behind an HTTP server
    #[arg(long)]
    stateless_rpc: bool,
    /// Only tell refs or capabilities, as behind an HTTP server
    #[arg(long, alias = "advertise-refs")]
    http_backend_info_refs: bool,
    /// Give up after so many seconds in which the client does nothing; 0: never
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    timeout: u64,
    /// The repository
    directory: PathBuf,
}

/// Serves one fetch; returns git's exit status.
pub fn run(arguments: &Arguments) -> ExitCode {
    match prepare(arguments).and_then(|(services, call)| serve(arguments, services, call)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("fatal: {message}");
            ExitCode::from(FATAL)
        }
    }
}

/// Everything that can be wrong before the client is heard.
fn prepare(arguments: &Arguments) -> Result<(MakeServices, Call), String> {
    let variable = |name: &str| std::env::var_os(name);
    if variable(CHILD_MARK).is_some() {
        return Err("'git upload-pack' leads back to gitring-node".into());
    }
    let environment = Environment::from_variables(variable).map_err(|error| error.to_string())?;
    let namespace = variable("GIT_NAMESPACE").unwrap_or_default();
    let namespace = Namespace::parse(namespace.as_bytes()).map_err(|error| error.to_string())?;
    let is_strict = arguments.strict && !arguments.no_strict;
    let repository = Repository::enter(&arguments.directory, is_strict, environment)
        .map_err(|error| described(&error, &arguments.directory))?;
    let snapshot =
        repository.snapshot().map_err(|error| described(&error, &arguments.directory))?;
    let version = variable("GIT_PROTOCOL").unwrap_or_default();
    let call = Call {
        repository: Arc::new(repository),
        snapshot,
        operation: match arguments.http_backend_info_refs {
            true => Operation::AdvertiseRefs,
            false => Operation::UploadPack,
        },
        version: Version::from_git_protocol(&version.to_string_lossy()),
        stateless: arguments.stateless_rpc,
        nested: false,
        options: Vec::new(),
        namespace,
        // Nobody reads metrics of this process, and its children inherit a correlation id.
        account: Arc::new(Account::new("", "", String::new())),
    };
    let registry = Registry::new();
    let workers = Workers::start(1, &registry);
    let children =
        Children::start(CHILDREN_MAX, "", &registry).map_err(|error| error.to_string())?;
    let workers = workers.map_err(|error| error.to_string())?;
    let git = Arc::new(Git { program: git_program()?, surroundings: inherited() });
    let services = move |packs| Services {
        workers,
        children,
        git,
        metrics: FetchMetrics::register(&registry),
        buffers: Buffers::default(),
        packs,
        agent: variable("GIT_USER_AGENT")
            .map_or_else(super::agent, |agent| agent.to_string_lossy().into_owned()),
        trace: Trace::from_variables(variable).map(Arc::new),
        explain_errors: false,
    };
    Ok((Box::new(services), call))
}

fn serve(arguments: &Arguments, services: MakeServices, call: Call) -> Result<(), String> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    let runtime = runtime.map_err(|error| format!("start: {error}"))?;
    // Nothing is written: only the clock of the disk is used.
    let rings = Rings::idle();
    let silence_max = (arguments.timeout > 0).then(|| Duration::from_secs(arguments.timeout));
    let fetched = runtime.block_on(async {
        let disk = CacheDisk::new(rings.ring());
        let packs = SharedPacks::in_memory(&Registry::new()).on_reactor(disk);
        let services = Rc::new(services(packs));
        let (mut input, mut output) = (Stdin::new(silence_max), Stdout::new(silence_max));
        let fetched = tokio::select! {
            fetched = fetch::serve(&services, call, &mut input, &mut output) => fetched,
            () = ended() => Err(Failure::Refused("ended by a signal".into()).into()),
        };
        // A child that was left behind is reaped before we go.
        services.children.ended().await;
        fetched
    });
    // A thread may still wait for the client's next byte.
    runtime.shutdown_background();
    match fetched {
        Ok(Summary { refused: Some(why), .. }) => Err(why),
        Ok(_) => Ok(()),
        // Said by git already, with its own `fatal: `.
        Err(FetchError::Child { complaint, .. }) => {
            Err(complaint.strip_prefix("fatal: ").unwrap_or(&complaint).to_owned())
        }
        Err(FetchError::Build(error)) if matches!(*error, BuildError::Died(_)) => {
            eprintln!("error: git upload-pack: git-pack-objects died with error.");
            Err(format!("git upload-pack: {ABORTED}"))
        }
        Err(FetchError::Client(failure)) => Err(failure.to_string()),
        Err(other) => Err(log::chain(&other)),
    }
}

async fn ended() {
    let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
    let mut signals: Vec<_> = kinds.into_iter().filter_map(|kind| signal(kind).ok()).collect();
    std::future::poll_fn(|context| {
        match signals.iter_mut().any(|signal| signal.poll_recv(context).is_ready()) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
}

/// The git next to those who called us: where its own programs are, else on the path.
#[expect(clippy::disallowed_methods, reason = "before the reactor runs")]
fn git_program() -> Result<PathBuf, String> {
    let at_home = std::env::var_os("GIT_EXEC_PATH").map(|home| PathBuf::from(home).join("git"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|directory| directory.join("git"));
    at_home
        .into_iter()
        .chain(on_path)
        .find(|program| program.is_file())
        .ok_or_else(|| "no git on the path".into())
}

fn inherited() -> Surroundings {
    let mut variables: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    // Children run inside the repository; where the caller stood must not lead them elsewhere.
    let misleading = ["GIT_DIR", "GIT_WORK_TREE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_INDEX_FILE"];
    variables.retain(|(name, _)| !misleading.iter().any(|one| name == OsStr::new(one)));
    Surroundings::Inherited(variables)
}

fn described(error: &RepositoryError, directory: &Path) -> String {
    if let RepositoryError::Missing(_) | RepositoryError::NotARepository(_) = error {
        return format!("'{}' does not appear to be a git repository", directory.display());
    }
    log::chain(error)
}
