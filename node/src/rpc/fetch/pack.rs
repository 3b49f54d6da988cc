//! A pack on its way: from a `git pack-objects` child through side-bands to the client.
//!
//! ```text
//!   stdin <── wants, haves       stdout ──band 1──┐
//!   pack-objects                 stderr ──band 2──┴──> Output      5 s of silence: keep-alive
//! ```
//!
//! Always true:
//! - a child that fails leaves a stream that no client takes for whole: an error on band 3 and no
//!   flush, or without side-bands a missing last byte;
//! - at most one buffer of the pack is held here: a slow client parks the child on its pipe.
//!
//! Never here: which objects the pack holds.

use super::buffers::{Buffer, PACKETS};
use super::flow::Flow;
use super::{Conversation, FetchError};
use crate::reactor::children::{Child, ChildCommand, CommandName, Exit};
use crate::rpc::wire::{Input, Output};
use bytes::{Bytes, BytesMut};
use gitring_git::ObjectId;
use gitring_git::pack_objects;
use gitring_git::pack_request::PackRequest;
use gitring_git::pkt_line::FLUSH;
use gitring_git::sideband::{self, Band, KEEP_ALIVE, PREFIX_BYTES, Width};
use gitring_git::upload_pack::Delivery;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::time::{Instant, sleep_until};

/// Bytes of progress or complaints that are read at once.
const STDERR_BYTES: usize = 4_096;

/// What git tells clients when its own child dies.
pub(crate) const ABORTED: &str =
    "aborting due to possible repository corruption on the remote side.";

/// What to build.
pub(super) struct Order<'a> {
    pub(super) request: &'a PackRequest,
    /// Those of the request's open tags that go along.
    pub(super) tags: &'a [ObjectId],
}

/// What became readable.
enum Ready {
    Pack,
    Complaint,
    Silence,
}

/// The reading end of a pack, and the buffer that it is framed in.
struct Stream {
    child: Child,
    /// The child's standard output.
    pack: Flow,
    sideband: Option<Width>,
    buffer: Option<Buffer>,
    /// Packets of the buffer that are full.
    packets: usize,
    /// Bytes of the packet that is being filled.
    filled_bytes: usize,
    stderr_open: bool,
}

/// Builds and sends what was ordered, flush included.
pub(super) async fn serve<I: Input, O: Output>(
    conversation: &mut Conversation<'_, I, O>,
    order: &Order<'_>,
    delivery: Delivery,
) -> Result<(), FetchError> {
    let mut child = start(conversation, order, delivery).await?;
    let stdin = child.stdin.take();
    let sideband = match delivery.sideband {
        Some(Width::Large) if conversation.call.nested => Some(Width::Nested),
        other => other,
    };
    let mut stream = Stream::new(child, sideband);
    // Both at once: the child starts to write before it has read everything.
    let feeding = feed(stdin, pack_objects::input(order.request, order.tags));
    let sending = stream.relay(conversation);
    tokio::try_join!(feeding, sending)?;
    let exit = stream.child.wait().await.map_err(FetchError::Pipe)?;
    stream.finish(conversation, &exit).await
}

async fn start<I: Input, O: Output>(
    conversation: &Conversation<'_, I, O>,
    order: &Order<'_>,
    delivery: Delivery,
) -> Result<Child, FetchError> {
    // Without side-bands nobody could see progress.
    let progress = delivery.progress && delivery.sideband.is_some();
    let services = conversation.services;
    let git_dir = conversation.call.repository.git_dir();
    let mut env = services.git.environment(conversation.call);
    // As git's own server: the child need not find, or doubt, what was found already.
    env.push(("GIT_DIR".into(), git_dir.into()));
    env.extend(order.request.store().environment());
    let command = ChildCommand {
        name: CommandName { cmd: "git", subcmd: "pack-objects" },
        account: Arc::clone(&conversation.call.account),
        program: services.git.program.clone(),
        args: pack_objects::arguments(order.request, progress),
        env,
        current_dir: git_dir.to_owned(),
    };
    Ok(services.children.spawn(command).await?)
}

/// Writes the child's input and closes it. A child that has died says why on its stderr.
async fn feed(stdin: Option<pipe::Sender>, input: Vec<u8>) -> Result<(), FetchError> {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(&input).await;
    }
    Ok(())
}

// === impl Stream ===

impl Stream {
    fn new(mut child: Child, sideband: Option<Width>) -> Self {
        Self {
            pack: child.stdout.take().map_or(Flow::Ended, Flow::Watched),
            child,
            sideband,
            buffer: None,
            packets: 0,
            filled_bytes: 0,
            stderr_open: true,
        }
    }

    /// Until the child has closed both of its pipes.
    async fn relay<I: Input, O: Output>(
        &mut self,
        conversation: &mut Conversation<'_, I, O>,
    ) -> Result<(), FetchError> {
        let keep_alive = conversation.settings.keep_alive.filter(|_| self.sideband.is_some());
        let mut last_sent = Instant::now();
        while self.pack.is_open() || self.stderr_open {
            let sent_before = conversation.summary.response_bytes;
            match self.ready(keep_alive.map(|pause| last_sent + pause)).await {
                Ready::Pack => self.take_pack(conversation).await?,
                Ready::Complaint => self.take_complaint(conversation).await?,
                Ready::Silence => {
                    if self.has_data() {
                        self.send_filled(conversation, false).await?;
                    } else {
                        conversation.send(Bytes::from_static(KEEP_ALIVE)).await?;
                    }
                }
            }
            if conversation.summary.response_bytes != sent_before {
                last_sent = Instant::now();
            }
        }
        Ok(())
    }

    async fn ready(&self, silence: Option<Instant>) -> Ready {
        let far = Instant::now() + Duration::from_secs(3_600);
        tokio::select! {
            biased;
            _ = self.child.stderr.readable(), if self.stderr_open => Ready::Complaint,
            () = self.pack.ready(), if self.pack.is_open() => Ready::Pack,
            () = sleep_until(silence.unwrap_or(far)) => Ready::Silence,
        }
    }

    /// Sends what the pipe holds: full buffers, and what is left in the end.
    async fn take_pack<I: Input, O: Output>(
        &mut self,
        conversation: &mut Conversation<'_, I, O>,
    ) -> Result<(), FetchError> {
        let mut brought_anything = false;
        loop {
            let buffer = self.buffer.get_or_insert_with(|| conversation.services.buffers.take());
            let space = space(buffer, self.sideband, self.packets, self.filled_bytes);
            let Some(read) = self.pack.read(space).map_err(FetchError::Pipe)? else { break };
            brought_anything = true;
            self.filled(read);
            if self.packets == packets_max(self.sideband) {
                self.send_filled(conversation, false).await?;
            }
        }
        let pack = std::mem::replace(&mut self.pack, Flow::Ended);
        self.pack = pack.settle(brought_anything).map_err(FetchError::Pipe)?;
        // A slow producer's bytes must not wait for a full buffer.
        if self.has_data() {
            self.send_filled(conversation, false).await?;
        }
        Ok(())
    }

    fn filled(&mut self, read_bytes: usize) {
        self.filled_bytes += read_bytes;
        if self.filled_bytes == payload_bytes_max(self.sideband) {
            self.packets += 1;
            self.filled_bytes = 0;
        }
    }

    fn has_data(&self) -> bool {
        // Without side-bands the last byte stays here until the child has ended well.
        let bytes = self.packets * payload_bytes_max(self.sideband) + self.filled_bytes;
        bytes > usize::from(self.sideband.is_none())
    }

    /// Sends what the buffer holds; `last` lets go of the byte that is held back.
    async fn send_filled<I: Input, O: Output>(
        &mut self,
        conversation: &mut Conversation<'_, I, O>,
        last: bool,
    ) -> Result<(), FetchError> {
        let Some(mut buffer) = self.buffer.take() else { return Ok(()) };
        let (packets, filled_bytes) = (self.packets, self.filled_bytes);
        (self.packets, self.filled_bytes) = (0, 0);
        let length_bytes = match self.sideband {
            Some(width) => frame(&mut buffer, width, packets, filled_bytes),
            None => packets * payload_bytes_max(None) + filled_bytes,
        };
        let held = self.sideband.is_none() && !last && length_bytes > 0;
        if held {
            let byte = buffer.bytes()[length_bytes - 1];
            let mut next = conversation.services.buffers.take();
            next.bytes()[0] = byte;
            self.buffer = Some(next);
            self.filled_bytes = 1;
        }
        conversation.send(buffer.sent(length_bytes - usize::from(held))).await
    }

    async fn take_complaint<I: Input, O: Output>(
        &mut self,
        conversation: &mut Conversation<'_, I, O>,
    ) -> Result<(), FetchError> {
        let mut text = [0; STDERR_BYTES];
        match self.child.stderr.try_read(&mut text) {
            Ok(0) => self.stderr_open = false,
            Ok(read) => match self.sideband {
                Some(width) => {
                    let mut framed = Vec::with_capacity(read + PREFIX_BYTES);
                    sideband::push(&mut framed, Band::Progress, width, &text[..read]);
                    conversation.send(framed.into()).await?;
                }
                None => conversation.output.complain(&text[..read]),
            },
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.stderr_open = false,
        }
        Ok(())
    }

    /// The end of the pack, or of the attempt.
    async fn finish<I: Input, O: Output>(
        mut self,
        conversation: &mut Conversation<'_, I, O>,
        exit: &Exit,
    ) -> Result<(), FetchError> {
        if exit.status.success() {
            self.send_filled(conversation, true).await?;
            if self.sideband.is_some() {
                conversation.send(Bytes::from_static(FLUSH)).await?;
            }
            return Ok(());
        }
        if let Some(width) = self.sideband {
            let mut framed = Vec::new();
            sideband::push(&mut framed, Band::Error, width, ABORTED.as_bytes());
            conversation.send(BytesMut::from(&framed[..]).freeze()).await?;
        }
        Err(FetchError::Pack(exit.status))
    }
}

fn payload_bytes_max(sideband: Option<Width>) -> usize {
    sideband.unwrap_or(Width::Large).payload_bytes_max()
}

fn packets_max(sideband: Option<Width>) -> usize {
    match sideband {
        Some(Width::Small) => PACKETS * Width::Large.payload_bytes_max() / 1_000,
        Some(Width::Large | Width::Nested) | None => PACKETS,
    }
}

fn prefix_bytes(sideband: Option<Width>) -> usize {
    if sideband.is_some() { PREFIX_BYTES } else { 0 }
}

/// Where the next bytes of the pack belong: behind the room for their packet's header.
fn space(
    buffer: &mut Buffer,
    sideband: Option<Width>,
    packets: usize,
    filled_bytes: usize,
) -> &mut [u8] {
    let payload_bytes_max = payload_bytes_max(sideband);
    let prefix_bytes = prefix_bytes(sideband);
    let start = packets * (prefix_bytes + payload_bytes_max) + prefix_bytes;
    &mut buffer.bytes()[start + filled_bytes..start + payload_bytes_max]
}

/// Writes the headers of a buffer's packets; returns its length.
fn frame(buffer: &mut Buffer, width: Width, packets: usize, filled_bytes: usize) -> usize {
    let payload_bytes_max = width.payload_bytes_max();
    let mut put = |index: usize, payload_bytes: usize| {
        let start = index * (PREFIX_BYTES + payload_bytes_max);
        let header = sideband::header(Band::Data, payload_bytes);
        buffer.bytes()[start..start + PREFIX_BYTES].copy_from_slice(&header);
        start + PREFIX_BYTES + payload_bytes
    };
    let mut length_bytes = 0;
    for index in 0..packets {
        length_bytes = put(index, payload_bytes_max);
    }
    if filled_bytes > 0 {
        length_bytes = put(packets, filled_bytes);
    }
    length_bytes
}
