//! Drop-ins for git's servers on standard input and output.
//!
//! Always true: honours git's environment as git does; ends with status 128 and a line
//! `fatal: …` where git would.
//! Never here: fetches and pushes themselves, which are the server's.

pub mod receive_pack;
mod streams;
pub mod upload_pack;

use self::streams::{Stdin, Stdout};
use super::fetch::Buffers;
use super::git::{CHILD_MARK, Git, Surroundings};
use super::trace::Trace;
use super::{FetchMetrics, Services, push};
use crate::hooks::{Hooks, HooksConfig, WithoutGitlab};
use crate::limits::{Limits, LimitsConfig};
use crate::pack_cache::disk::CacheDisk;
use crate::pack_cache::{Packs, SharedPacks};
use crate::reactor::children::{Budget, Children, Standing};
use crate::reactor::ring::Rings;
use crate::reactor::workers::Workers;
use crate::spending::Spending;
use crate::storage::Writing;
use gitring_daemon::log;
use gitring_daemon::otlp::Tracer;
use gitring_git::refs::Namespace;
use gitring_git::repository::{Environment, Repository, RepositoryError, Snapshot};
use gitring_git::upload_pack::Version;
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

/// Children of one call: one moves packs, one serves what we do not; and room for questions.
/// Whoever runs this program decides what it may take.
const CHILDREN: Budget = Budget { children_max: 4, memory_bytes_max: u64::MAX };

/// At the end of a process; what is left then is swept by the next one.
const SETTLE_MAX: Duration = Duration::from_secs(5);

/// Beside those that bring things to their end.
const WRITERS: usize = 1;

/// What a call may use, with its way to the packs.
type MakeServices = Box<dyn FnOnce(Packs) -> Services>;

/// The repository that a caller names, as git's environment lets us see it.
struct Entered {
    repository: Arc<Repository>,
    snapshot: Arc<Snapshot>,
    namespace: Namespace,
    version: Version,
}

/// git's exit status.
fn exit(outcome: Result<(), String>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("fatal: {message}");
            ExitCode::from(FATAL)
        }
    }
}

/// Finds the repository for `program`, which git's users know by that name.
fn enter(program: &str, directory: &Path, is_strict: bool) -> Result<Entered, String> {
    let variable = |name: &str| std::env::var_os(name);
    if variable(CHILD_MARK).is_some() {
        return Err(format!("'git {program}' leads back to gitring-node"));
    }
    let environment = Environment::from_variables(variable).map_err(|error| error.to_string())?;
    let namespace = variable("GIT_NAMESPACE").unwrap_or_default();
    let namespace = Namespace::parse(namespace.as_bytes()).map_err(|error| error.to_string())?;
    let described = |error: RepositoryError| described(&error, directory);
    let repository = Repository::enter(directory, is_strict, environment).map_err(described)?;
    let snapshot = repository.snapshot().map_err(described)?;
    let version = variable("GIT_PROTOCOL").unwrap_or_default();
    let version = Version::from_git_protocol(&version.to_string_lossy());
    Ok(Entered { repository: Arc::new(repository), snapshot, namespace, version })
}

fn services() -> Result<MakeServices, String> {
    let variable = |name: &str| std::env::var_os(name);
    let registry = Registry::new();
    let workers = Workers::start(1, &registry);
    let children = Children::start(CHILDREN, Standing::same(), "", &registry);
    let children = children.map_err(|error| error.to_string())?;
    let workers = workers.map_err(|error| error.to_string())?;
    let writing = Writing::start(WRITERS, &registry, true).map_err(|error| error.to_string())?;
    let git = Arc::new(Git { program: git_program()?, surroundings: inherited() });
    // Whoever runs this program has the repository in their hands: no GitLab is asked.
    let hooks = HooksConfig { without_gitlab: WithoutGitlab::Allow, ..HooksConfig::default() };
    let hooks = Hooks::new(hooks, None, workers.clone(), children.clone(), &git.program);
    let services = move |packs| Services {
        workers,
        writing,
        children,
        pushes: push::Limits::default(),
        landings: push::Landings::default(),
        command_memory: push::CommandMemory::default(),
        git,
        hooks,
        limits: Limits::new(&LimitsConfig::protective(1), &registry),
        metrics: FetchMetrics::register(&registry),
        buffers: Buffers::default(),
        packs,
        spending: Spending::new(),
        tracer: Tracer::off(),
        agent: variable("GIT_USER_AGENT")
            .map_or_else(super::agent, |agent| agent.to_string_lossy().into_owned()),
        trace: Trace::from_variables(variable).map(Arc::new),
        explain_errors: false,
    };
    Ok(Box::new(services))
}

/// Holds a conversation until it or the process is to end: `None` after a signal.
fn converse<T>(
    silence_max: Option<Duration>,
    services: MakeServices,
    conversation: impl AsyncFnOnce(&Rc<Services>, Stdin, Stdout) -> T,
) -> Result<Option<T>, String> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    let runtime = runtime.map_err(|error| format!("start: {error}"))?;
    // No pack is written: only the clock of the disk is used.
    let rings = Rings::idle();
    let outcome = runtime.block_on(async {
        let disk = CacheDisk::new(rings.ring());
        let packs = SharedPacks::in_memory(&Registry::new()).on_reactor(disk);
        let services = Rc::new(services(packs));
        let (input, output) = (Stdin::new(silence_max), Stdout::new(silence_max));
        let conversation = async {
            let outcome = conversation(&services, input, output).await;
            services.landings.ended().await;
            outcome
        };
        let outcome = tokio::select! {
            outcome = conversation => Some(outcome),
            () = ended() => None,
        };
        // A child that was left behind is reaped before we go.
        services.children.ended().await;
        // So is a quarantine; after a signal a push that lands may go on for so long.
        let _ = tokio::time::timeout(SETTLE_MAX, services.writing.settled()).await;
        outcome
    });
    // A thread may still wait for the client's next byte.
    runtime.shutdown_background();
    Ok(outcome)
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
    Surroundings::Inherited(callers_variables())
}

fn callers_variables() -> Vec<(OsString, OsString)> {
    let mut variables: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    // Children run inside the repository; where the caller stood must not lead them elsewhere.
    let misleading = ["GIT_DIR", "GIT_WORK_TREE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_INDEX_FILE"];
    variables.retain(|(name, _)| !misleading.iter().any(|one| name == OsStr::new(one)));
    variables
}

fn described(error: &RepositoryError, directory: &Path) -> String {
    if let RepositoryError::Missing(_) | RepositoryError::NotARepository(_) = error {
        return format!("'{}' does not appear to be a git repository", directory.display());
    }
    log::chain(error)
}
