//! The pack of a push: from the client through a git child into a quarantine.
//!
//! ```text
//!   Input ──12 bytes──> header: how many objects, which child
//!         ──the rest──> git unpack-objects | git index-pack ──> quarantine ──> fsync
//!   Output <─band 2──── progress, complaints
//! ```
//!
//! Always true: one child a push; what was taken is on stable storage, and nobody but this push
//! sees it. A child that ended is not fed; a client whose pack stalls does not keep one.
//! Never here: whether the objects are all there.

use super::voice::Voice;
use super::{Call, PushError, of_relay};
use crate::reactor::children::{Child, ChildCommand, CommandName, Need, SpawnError};
use crate::rpc::Services;
use crate::rpc::feed::{FeedError, feed};
use crate::rpc::packets::Packets;
use crate::rpc::votes::Carried;
use crate::rpc::wire::{Input, Output};
use crate::storage::Held;
use bytes::{Bytes, BytesMut};
use gitring_git::objects::Store;
use gitring_git::quarantine::QuarantineError;
use gitring_git::receive_pack::{DeskError, PushRequest, Settings};
use gitring_git::repository::Snapshot;
use gitring_git::unpack::{self, HEADER_BYTES, Header};
use std::cell::Cell;
use std::ffi::OsString;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// Objects that wait for a vote.
pub(super) type Quarantine = gitring_git::quarantine::Quarantine<Carried>;

/// Read at once of what a child says.
const SPEECH_BYTES: usize = 8 * 1024;
/// What a child may write to its standard output: a word and a hash.
const ANSWER_BYTES_MAX: u64 = 64;
/// Between two pieces of a pack. git sends the header once all deltas are found, and then only reads
/// and compresses; while a pack comes, a place and memory are taken that others wait for. Of the two
/// children index-pack tells that it has all; what unpack-objects gets is done long before.
const PACK_SILENCE_MAX: Duration = Duration::from_secs(300);

/// What was taken.
#[derive(Debug)]
pub(super) struct Taken {
    /// Where it lies.
    pub(super) quarantine: Held<Quarantine>,
    /// The repository's objects with it.
    pub(super) store: Arc<Store>,
    /// The repository as it is now: others may have pushed while this pack came.
    pub(super) snapshot: Arc<Snapshot>,
}

/// A push up to its pack.
pub(super) struct Taking<'t, 'i, I> {
    pub(super) services: &'t Services,
    pub(super) call: &'t Call,
    pub(super) settings: &'t Settings,
    pub(super) packets: &'t mut Packets<'i, I>,
}

// === impl Taking ===

impl<I: Input> Taking<'_, '_, I> {
    /// Takes the pack that follows the commands. `Err` inside is what the report says behind
    /// `unpack`.
    pub(super) async fn take<O: Output>(
        mut self,
        request: &PushRequest,
        voice: &mut Voice<'_, O>,
    ) -> Result<Result<Taken, String>, PushError> {
        let front = self.front().await?;
        let header = match Header::parse(&front[..front.len().min(HEADER_BYTES)]) {
            Ok(header) => header,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let limits = &self.services.pushes;
        if header.objects > limits.objects_max {
            let (objects, most) = (header.objects, limits.objects_max);
            return Ok(Err(format!("the pack has {objects} objects, allowed: {most}")));
        }
        let (quarantine, shallow_file) = self.quarantine(request).await?;
        let mut settings = self.settings.clone();
        let bytes_max = settings.input_bytes_max.unwrap_or(u64::MAX).min(limits.pack_bytes_max);
        settings.input_bytes_max = Some(bytes_max);
        let kind = unpack::Child::of(&header, &settings);
        let args = unpack::arguments(kind, &header, request, &settings, shallow_file.as_deref());
        let need = Need::unpack(header.objects);
        let command = self.command((kind, need), args, &quarantine);
        let rest = front.slice(HEADER_BYTES..);
        let time_max = limits.unpack_time_max;
        let unpacking = self.unpack(kind, command, rest, voice);
        let unpacked = match tokio::time::timeout(time_max, unpacking).await {
            Ok(unpacked) => unpacked?,
            Err(_) => Err(format!("no whole pack came within {} s", time_max.as_secs())),
        };
        match unpacked {
            Ok(()) => Ok(Ok(self.keep(quarantine, voice).await?)),
            Err(reason) => Ok(Err(reason)),
        }
    }

    /// The beginning of the pack: its header, unless the client has ended before, and what came
    /// with it.
    async fn front(&mut self) -> Result<Bytes, PushError> {
        let mut front = BytesMut::from(&self.packets.take_unread()[..]);
        while front.len() < HEADER_BYTES {
            match self.packets.input().read().await.map_err(PushError::Input)? {
                Some(bytes) => front.extend_from_slice(&bytes),
                None => break,
            }
        }
        Ok(front.freeze())
    }

    /// A place for the objects; for a shallow client with a file that tells the child its boundary.
    async fn quarantine(
        &self,
        request: &PushRequest,
    ) -> Result<(Held<Quarantine>, Option<PathBuf>), PushError> {
        let snapshot = Arc::clone(&self.call.snapshot);
        let boundary = request.shallow.clone();
        let calls = self.services.writing.calls();
        let make = move || {
            let quarantine = Quarantine::create(snapshot.objects_dir())?.with_calls(calls);
            let shallow = match boundary.is_empty() {
                true => None,
                false => Some(quarantine.write_shallow(&boundary)?),
            };
            Ok::<_, QuarantineError>((quarantine, shallow))
        };
        let made = self.services.writing.make(make).await??;
        let shallow = made.1.clone();
        Ok((made.map(|(quarantine, _)| quarantine), shallow))
    }

    fn command(
        &self,
        (kind, need): (unpack::Child, Need),
        args: Vec<OsString>,
        quarantine: &Quarantine,
    ) -> ChildCommand {
        let git = &self.services.git;
        let mut env = git.environment_under(&self.call.options);
        let alternates = env.iter().find(|(name, _)| name == "GIT_ALTERNATE_OBJECT_DIRECTORIES");
        let alternates = alternates.map(|(_, value)| value.clone());
        let places = quarantine.environment(alternates.as_deref());
        env.retain(|(name, _)| places.iter().all(|(place, _)| name != place));
        env.extend(places.map(|(name, value)| (OsString::from(name), value)));
        let subcmd = match kind {
            unpack::Child::UnpackObjects => "unpack-objects",
            unpack::Child::IndexPack => "index-pack",
        };
        ChildCommand {
            name: CommandName { cmd: "git", subcmd },
            account: Arc::clone(&self.call.account),
            need,
            program: git.program.clone(),
            args,
            env,
            current_dir: self.call.repository.git_dir().into(),
        }
    }

    /// Feeds the child until it has ended, and tells the client what it says.
    async fn unpack<O: Output>(
        &mut self,
        kind: unpack::Child,
        command: ChildCommand,
        rest: Bytes,
        voice: &mut Voice<'_, O>,
    ) -> Result<Result<(), String>, PushError> {
        let mut child = match self.services.children.spawn(command).await {
            Ok(child) => child,
            Err(SpawnError::Io { program, source }) => {
                tracing::error!(program = %program.display(), %source, "start git");
                return Ok(Err(kind.not_started().to_owned()));
            }
            Err(error) => return Err(error.into()),
        };
        let answer = {
            let (stdin, silence_max) = (child.stdin.take(), Some(PACK_SILENCE_MAX));
            let has_all = Cell::new(false);
            let mut feeding = pin!(feed(stdin, rest, self.packets.input(), silence_max));
            let mut listening = pin!(listen(&mut child, voice, &has_all));
            let mut is_fed = false;
            loop {
                tokio::select! {
                    fed = &mut feeding, if !is_fed => {
                        match fed {
                            Err(FeedError::Silent(_)) if has_all.get() => {}
                            Err(silent @ FeedError::Silent(_)) => {
                                tracing::warn!(%silent, "a pack stalls");
                                return Ok(Err(silent.to_string()));
                            }
                            fed => fed.map_err(|error| of_relay(error.into()))?,
                        }
                        is_fed = true;
                    }
                    answer = &mut listening => break answer?,
                }
            }
        };
        let exit = child.wait().await.map_err(PushError::Pipe)?;
        let finished = unpack::finish(kind, exit.status.success(), &answer);
        Ok(finished.map_err(str::to_owned))
    }

    /// Brings the objects to stable storage.
    async fn keep<O: Output>(
        &self,
        quarantine: Held<Quarantine>,
        voice: &mut Voice<'_, O>,
    ) -> Result<Taken, PushError> {
        let repository = Arc::clone(&self.call.repository);
        let syncing = self.services.writing.run(move || {
            quarantine.sync()?;
            let snapshot = repository.snapshot()?;
            let store = snapshot.store.with_quarantine(quarantine.path());
            let store = Arc::new(store.map_err(DeskError::Store)?);
            Ok::<_, PushError>(Taken { quarantine, store, snapshot })
        });
        voice.wait_for(syncing).await??
    }
}

/// Tells the client what the child says until it has said all; what the child answers us. `has_all`
/// once it has the whole pack: from then on the client may be silent.
async fn listen<O: Output>(
    child: &mut Child,
    voice: &mut Voice<'_, O>,
    has_all: &Cell<bool>,
) -> Result<Vec<u8>, PushError> {
    let mut speech = [0; SPEECH_BYTES];
    loop {
        let reading = child.stderr.read(&mut speech);
        // Before the child has all, the client hears it work, or sends.
        let read = if has_all.get() { voice.wait_for(reading).await? } else { reading.await };
        let said = match read.map_err(PushError::Pipe)? {
            0 => break,
            read => &speech[..read],
        };
        // index-pack's --report-end-of-input
        has_all.set(has_all.get() || said.contains(&0));
        let said: Vec<u8> = said.iter().copied().filter(|byte| *byte != 0).collect();
        voice.say(&said).await?;
    }
    let mut answer = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        let mut stdout = stdout.take(ANSWER_BYTES_MAX);
        stdout.read_to_end(&mut answer).await.map_err(PushError::Pipe)?;
    }
    Ok(answer)
}
