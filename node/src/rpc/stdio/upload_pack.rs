//! `gitring-node upload-pack`: a drop-in for `git upload-pack` (git-upload-pack(1)).

use super::{converse, enter, exit, services};
use crate::limits::{Known, Requester};
use crate::pack_cache::BuildError;
use crate::reactor::children::Account;
use crate::rpc::fetch::{self, ABORTED};
use crate::rpc::wire::{Call, FetchError, Operation, Summary};
use gitring_daemon::log;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

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
    exit(serve(arguments))
}

fn serve(arguments: &Arguments) -> Result<(), String> {
    let is_strict = arguments.strict && !arguments.no_strict;
    let entered = enter("upload-pack", &arguments.directory, is_strict)?;
    let call = Call {
        repository: entered.repository,
        snapshot: entered.snapshot,
        operation: match arguments.http_backend_info_refs {
            true => Operation::AdvertiseRefs,
            false => Operation::UploadPack,
        },
        version: entered.version,
        stateless: arguments.stateless_rpc,
        nested: false,
        options: Vec::new(),
        namespace: entered.namespace,
        // Nobody reads metrics of this process, and its children inherit a correlation id.
        account: Arc::new(Account::new("", "", String::new())),
        requester: Requester::of(Known::default()),
    };
    let silence_max = (arguments.timeout > 0).then(|| Duration::from_secs(arguments.timeout));
    let fetched = converse(silence_max, services()?, async |services, mut input, mut output| {
        fetch::serve(services, call, &mut input, &mut output).await
    })?;
    match fetched {
        None => Err("ended by a signal".to_owned()),
        Some(Ok(Summary { refused: Some(why), .. })) => Err(why),
        Some(Ok(_)) => Ok(()),
        // Said by git already, with its own `fatal: `.
        Some(Err(FetchError::Child { complaint, .. })) => {
            Err(complaint.strip_prefix("fatal: ").unwrap_or(&complaint).to_owned())
        }
        Some(Err(FetchError::Build(error))) if matches!(*error, BuildError::Died(_)) => {
            eprintln!("error: git upload-pack: git-pack-objects died with error.");
            Err(format!("git upload-pack: {ABORTED}"))
        }
        Some(Err(FetchError::Client(failure))) => Err(failure.to_string()),
        Some(Err(other)) => Err(log::chain(&other)),
    }
}
