//! The seam between transports and the fetch: what is asked, bytes in, bytes out.
//!
//! Always true: an [`Output`] waits while its client is slow, so a fetch that awaits each write
//! holds one chunk.
//! Never here: HTTP, standard input and output, Git.

use super::fetch::Buffers;
use super::packets::PacketError;
use crate::limits::{Refusal, Requester};
use crate::pack_cache::{self, Bill, BuildError, Key, LookupError, ReadError, Role};
use crate::reactor::children::{Account, SpawnError};
use crate::reactor::workers::WorkerError;
use bytes::Bytes;
use gitring_daemon::otlp::Attribute;
use gitring_git::refs::Namespace;
use gitring_git::repository::{Repository, Snapshot};
pub use gitring_git::upload_pack::Version;
use gitring_git::upload_pack::{DeskError, Failure};
use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

/// What a client wants of `git upload-pack`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// The references, or in version 2 the capabilities.
    AdvertiseRefs,
    /// One round of a fetch, or all of it.
    UploadPack,
}

/// One request, whatever transport it came by.
#[derive(Debug, Clone)]
pub struct Call {
    /// Whose objects are asked for.
    pub repository: Arc<Repository>,
    /// The repository as it was when the request came: what the whole call is answered from.
    pub snapshot: Arc<Snapshot>,
    /// What is asked for.
    pub operation: Operation,
    /// In which protocol.
    pub version: Version,
    /// One request is one round, as over HTTP.
    pub stateless: bool,
    /// The reply travels inside another side-band-64k, and its packets leave room for that.
    pub nested: bool,
    /// Git configuration of this request; wins over the repository's.
    pub options: Vec<(String, Option<String>)>,
    /// Whose refs are served; the whole repository's where it is empty.
    pub namespace: Namespace,
    /// Who pays for children.
    pub account: Arc<Account>,
    /// Who takes turns with others.
    pub requester: Requester,
}

/// Bytes from the client.
pub trait Input {
    /// The next ones; `None` once the client has said all.
    fn read(&mut self) -> impl Future<Output = io::Result<Option<Bytes>>>;
}

/// A client that has said all.
#[derive(Debug)]
pub struct NoInput;

/// Bytes to the client.
pub trait Output {
    /// Waits while the client is slow.
    fn write(&mut self, bytes: Bytes) -> impl Future<Output = Result<(), Gone>>;

    /// The same for the pieces of one write, which leave `pieces` as they are taken. They are copied
    /// into buffers, unless the transport can send many pieces at once.
    fn write_all(
        &mut self,
        pieces: &mut Vec<Bytes>,
        buffers: &Buffers,
    ) -> impl Future<Output = Result<(), Gone>> {
        async {
            while let Some(bytes) = buffers.gather(pieces) {
                self.write(bytes).await?;
            }
            Ok(())
        }
    }

    /// What a child said on its standard error that the protocol has no place for.
    fn complain(&mut self, text: &[u8]);

    /// The same, and waits where there is somebody to wait for.
    fn complain_in_turn(&mut self, text: &[u8]) -> impl Future<Output = Result<(), Gone>> {
        async {
            self.complain(text);
            Ok(())
        }
    }
}

/// The client has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client has left")]
pub struct Gone;

/// What a finished fetch came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Given to the output.
    pub response_bytes: u64,
    /// Why the client was refused, where it was told so in the protocol.
    pub refused: Option<String>,
    /// The pack that was served last.
    pub pack: Option<PackServed>,
}

/// How a pack came to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackServed {
    /// What the cache calls it, if others may read it.
    pub key: Option<Key>,
    /// Whether it was there, or made for this client.
    pub role: Role,
    /// Of it.
    pub bytes: u64,
    /// What it cost or saved, as far as that is known.
    pub bill: Option<Bill>,
    /// Until its first byte was there.
    pub waited: Duration,
}

/// Why a fetch failed.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The client does not read any more.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// The client's bytes did not arrive.
    #[error("read the request")]
    Input(#[source] io::Error),
    /// The client broke the protocol, or went away inside it.
    #[error(transparent)]
    Client(#[from] Failure),
    /// The repository's configuration makes no sense.
    #[error("read the configuration: {0}")]
    Config(String),
    /// A question of the client could not be answered.
    #[error("answer the client")]
    Desk(#[from] DeskError),
    /// No worker could be had.
    #[error(transparent)]
    Workers(#[from] WorkerError),
    /// git was not started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// git's pipes failed.
    #[error("talk to git")]
    Pipe(#[source] io::Error),
    /// The pack was not built.
    #[error(transparent)]
    Build(Arc<BuildError>),
    /// The pack broke off.
    #[error(transparent)]
    Stream(ReadError),
    /// It would have taken more than there is for it.
    #[error(transparent)]
    Limited(Refusal),
    /// No pack could be begun.
    #[error(transparent)]
    Cache(#[from] pack_cache::FetchError),
    /// git gave up.
    #[error("git ended with {status}: {complaint}")]
    Child {
        /// Exit code or signal.
        status: ExitStatus,
        /// The beginning of its standard error.
        complaint: String,
    },
}

// === impl PackServed ===

impl PackServed {
    /// As Gitaly logs whether a pack was made for somebody else.
    pub(crate) fn is_hit(&self) -> &'static str {
        if self.role == Role::Lead { "false" } else { "true" }
    }

    /// `hit`, `join`, `lead`
    pub(crate) fn role(&self) -> &'static str {
        self.role.name()
    }

    /// Who made it.
    pub(crate) fn builder(&self) -> Option<&'static str> {
        self.bill.map(|bill| bill.cost().builder)
    }

    /// CPU time that its making took, if it was made for this client.
    pub(crate) fn build_cpu(&self) -> Option<Duration> {
        self.bill.and_then(|bill| bill.spent())
    }

    /// CPU time that its making would have taken again.
    pub(crate) fn saved_cpu(&self) -> Option<Duration> {
        self.bill.and_then(|bill| bill.saved())
    }

    /// What a span says of it.
    pub(crate) fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        let text = |text: &str| Attribute::Text(text.to_owned());
        let mut all = vec![
            ("pack_objects_cache.role", text(self.role())),
            ("pack_objects_cache.served_bytes", Attribute::Number(self.bytes.cast_signed())),
        ];
        all.extend(
            self.key.map(|key| ("pack_objects_cache.key", Attribute::Text(key.to_string()))),
        );
        all.extend(self.builder().map(|name| ("pack_objects_cache.builder", text(name))));
        all
    }

    /// Bytes that were made for this client.
    pub(crate) fn generated_bytes(&self) -> Option<u64> {
        (self.role == Role::Lead).then_some(self.bytes)
    }
}

// === impl FetchError ===

impl FetchError {
    /// Whether upload-pack itself gave up, rather than something around it.
    pub fn is_of_upload_pack(&self) -> bool {
        match self {
            Self::Client(_) | Self::Child { .. } => true,
            Self::Gone(_)
            | Self::Input(_)
            | Self::Config(_)
            | Self::Desk(_)
            | Self::Workers(_)
            | Self::Spawn(_)
            | Self::Pipe(_)
            | Self::Build(_)
            | Self::Stream(_)
            | Self::Limited(_)
            | Self::Cache(_) => false,
        }
    }
}

impl From<LookupError> for FetchError {
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::Cache(error) => Self::Cache(error),
            LookupError::Limited(refusal) => Self::Limited(refusal),
        }
    }
}

impl From<PacketError> for FetchError {
    fn from(error: PacketError) -> Self {
        match error {
            PacketError::Input(error) => Self::Input(error),
            error @ PacketError::Framing(_) => Self::Client(Failure::Refused(error.to_string())),
        }
    }
}

// === impl NoInput ===

impl Input for NoInput {
    async fn read(&mut self) -> io::Result<Option<Bytes>> {
        Ok(None)
    }
}
