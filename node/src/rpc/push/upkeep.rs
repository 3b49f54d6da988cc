//! What git does behind a push that it took itself: `receive.autoGC`, `receive.updateServerInfo`.
//!
//! Always true: `git gc --auto` is started only where it would find work, by git's own measure: the
//! folder `17` stands for all loose objects, and packs are counted without those that are kept
//! (git-gc(1), `gc.auto`, `gc.autoPackLimit`). Nothing here changes what became of the push.
//! Never here: the upkeep of repositories whose server does it on its own.

use super::voice::Voice;
use super::{Call, PushError};
use crate::reactor::children::{ChildCommand, CommandName, Need, Output as Pipes};
use crate::rpc::Services;
use crate::rpc::wire::Output;
use gitring_git::receive_pack::Settings;
use gitring_git::repository::Snapshot;
use std::path::Path;
use std::sync::Arc;
use tokio::io::AsyncReadExt;

/// `gc.auto` where nothing is configured: loose objects.
const LOOSE_MAX: i64 = 6700;
/// `gc.autoPackLimit` where nothing is configured.
const PACKS_MAX: i64 = 50;
/// Read at once of what git says.
const SPEECH_BYTES: usize = 4096;

/// Does it, and tells the client what git says of it.
pub(super) async fn keep_up<O: Output>(
    services: &Services,
    call: &Call,
    settings: &Settings,
    voice: &mut Voice<'_, O>,
) -> Result<(), PushError> {
    if settings.auto_gc {
        let snapshot = Arc::clone(&call.snapshot);
        if services.workers.run(move || is_gc_due(&snapshot)).await? {
            run(services, call, ("gc", &["--auto", "--quiet"]), voice).await?;
        }
    }
    if settings.update_server_info {
        run(services, call, ("update-server-info", &[]), voice).await?;
    }
    Ok(())
}

async fn run<O: Output>(
    services: &Services,
    call: &Call,
    (subcmd, options): (&'static str, &[&str]),
    voice: &mut Voice<'_, O>,
) -> Result<(), PushError> {
    let command = ChildCommand {
        name: CommandName { cmd: "git", subcmd },
        account: Arc::clone(&call.account),
        need: Need::server(),
        program: services.git.program.clone(),
        args: [subcmd].iter().chain(options).map(Into::into).collect(),
        env: services.git.environment_under(&call.options),
        current_dir: call.repository.git_dir().into(),
    };
    let mut child = services.children.spawn_with(command, Pipes::Joined).await?;
    drop(child.stdin.take());
    let mut speech = [0; SPEECH_BYTES];
    loop {
        let read = voice.wait_for(child.stderr.read(&mut speech)).await?;
        match read.map_err(PushError::Pipe)? {
            0 => break,
            read => voice.say(&speech[..read]).await?,
        }
    }
    child.wait().await.map_err(PushError::Pipe)?;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "on a worker")]
fn is_gc_due(snapshot: &Snapshot) -> bool {
    let setting = |key, default| snapshot.config.integer(key).ok().flatten().unwrap_or(default);
    let (loose_max, packs_max) =
        (setting("gc.auto", LOOSE_MAX), setting("gc.autopacklimit", PACKS_MAX));
    if loose_max <= 0 {
        return false;
    }
    let objects = snapshot.objects_dir();
    let loose = names(&objects.join("17"), |name| name.len() == 38);
    let packs = names(&objects.join("pack"), |name| {
        let path = objects.join("pack").join(name);
        name.ends_with(".pack") && !path.with_extension("keep").exists()
    });
    loose > (loose_max + 255) / 256 || packs_max > 0 && packs > packs_max
}

/// How many names of a folder fit.
#[expect(clippy::disallowed_methods, reason = "on a worker")]
fn names(folder: &Path, fits: impl Fn(&str) -> bool) -> i64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let fitting = entries.filter(|entry| entry.file_name().to_str().is_some_and(&fits));
    i64::try_from(fitting.count()).unwrap_or(i64::MAX)
}
