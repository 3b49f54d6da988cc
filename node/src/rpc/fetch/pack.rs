//! A pack on its way from the cache to one client.
//!
//! ```text
//!   Stream  ──band 1──┐
//!   Building ─band 2──┴──> Output      5 s of silence: keep-alive
//! ```
//!
//! A pack may have to wait for its turn. Who asked for progress is told where it stands; who waits
//! for too long is sent away, while others who want the same pack wait on.
//!
//! Always true:
//! - whoever is refused at once has been sent nothing of the answer;
//! - a pack that breaks off leaves a stream that no client takes for whole: an error on band 3 and
//!   no flush, or without side-bands a missing last byte;
//! - a client that was given a part of one pack is never given a part of another: two runs of
//!   pack-objects differ. One that was given nothing yet may start over, once.
//!
//! Never here: how the pack is built (`builder`), what its bytes mean.

use super::builder::{self, Order};
use super::framing::Framing;
use super::{Conversation, FetchError, waiting};
use crate::limits::{Name, Refusal, Work};
use crate::pack_cache::building::Listener;
use crate::pack_cache::{BuildError, Demand, Key, Named, Note, ReadError, Role, Stream};
use crate::rpc::wire::{Call, Input, Output, PackServed};
use bytes::Bytes;
use gitring_git::pack_request::{PackKey, PackRequest};
use gitring_git::pkt_line::FLUSH;
use gitring_git::repository::Repository;
use gitring_git::sideband::{self, Band, KEEP_ALIVE};
use gitring_git::upload_pack::Delivery;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// What git tells clients when its own child dies.
pub(crate) const ABORTED: &str =
    "aborting due to possible repository corruption on the remote side.";
/// Packets that are sent at once: four of side-band-64k are 256 KiB, a window of a stock client.
const PACKETS: usize = 4;
/// Where a pack says how many objects it holds (gitformat-pack).
const OBJECTS_AT: std::ops::Range<usize> = 8..12;

/// What is next.
enum Next {
    Pack(Result<Option<Bytes>, ReadError>),
    Said(Vec<u8>),
    Silence,
    /// It has waited for its turn for as long as it may.
    Late,
}

/// One client's side of a pack.
struct Passage<'c, 'a, I, O> {
    conversation: &'c mut Conversation<'a, I, O>,
    framing: Framing,
    delivery: Delivery,
    pieces: Vec<Bytes>,
    began: Instant,
    /// From the beginning to the first byte of the pack.
    waited: Option<Duration>,
    last_sent: Instant,
    /// Until when it waits for its turn.
    patience: Option<Instant>,
}

/// Sends the pack of `request`, flush included; `before` goes before it.
pub(super) async fn serve<I: Input, O: Output>(
    conversation: &mut Conversation<'_, I, O>,
    request: Box<PackRequest>,
    delivery: Delivery,
    before: Bytes,
) -> Result<(), FetchError> {
    let request: Arc<PackRequest> = request.into();
    let framing = Framing::new(delivery.sideband, conversation.call.nested);
    let began = Instant::now();
    let (pieces, waited, last_sent, patience) = (Vec::new(), None, began, None);
    let mut passage =
        Passage { conversation, framing, delivery, pieces, began, waited, last_sent, patience };
    let mut stream = match passage.look_up(&request).await {
        Err(FetchError::Limited(refusal)) if passage.conversation.summary.response_bytes > 0 => {
            passage.send(before).await?;
            return passage.refuse(refusal).await;
        }
        looked_up => looked_up?,
    };
    if !before.is_empty() {
        passage.send(before).await?;
    }
    let mut may_start_over = true;
    loop {
        let served = passage.relay(&mut stream, may_start_over).await?;
        let (key, role, bytes, bill) =
            (stream.key(), stream.role, stream.position(), stream.bill());
        let waited = passage.waited.unwrap_or_else(|| began.elapsed());
        let pack = PackServed { key, role, bytes, bill, waited };
        passage.conversation.summary.pack = Some(pack);
        match served {
            Ok(()) => return Ok(()),
            Err(error) if may_start_over && is_worth_another(&stream, &error) => {
                may_start_over = false;
                stream = match passage.look_up(&request).await {
                    Err(FetchError::Limited(refusal)) => return passage.refuse(refusal).await,
                    looked_up => looked_up?,
                };
            }
            Err(error) => return passage.break_off(&stream, error).await,
        }
    }
}

// === impl Passage ===

impl<I: Input, O: Output> Passage<'_, '_, I, O> {
    async fn look_up(&mut self, request: &Arc<PackRequest>) -> Result<Stream, FetchError> {
        let conversation = &*self.conversation;
        let services = Rc::clone(conversation.services);
        let order = Order {
            services,
            call: conversation.call.clone(),
            request: Arc::clone(request),
            settings: conversation.settings.clone(),
            progress: self.delivery.progress && self.delivery.sideband.is_some(),
        };
        let packs = &conversation.services.packs;
        let demand = demand(conversation.call, request);
        let patience = packs.patience(&demand.requester);
        self.patience = patience.map(|patience| Instant::now() + patience);
        let build = |producer, turn| builder::build(order, producer, turn);
        let Some(key) = request.key() else { return Ok(packs.alone(demand, build).await?) };
        let named = Named { key: Key::new(*key.digest()), request: key.parts().to_string() };
        let repository = &conversation.call.repository;
        let from = (named, repository.git_dir());
        Ok(packs.fetch(from, demand, || note(repository, key), build).await?)
    }

    /// Until the pack has ended, one way or the other.
    async fn relay(
        &mut self,
        stream: &mut Stream,
        may_start_over: bool,
    ) -> Result<Result<(), ReadError>, FetchError> {
        let keep_alive = self.conversation.settings.keep_alive;
        let keep_alive = keep_alive.filter(|_| self.delivery.sideband.is_some());
        let shows_progress = self.delivery.progress && self.delivery.sideband.is_some();
        let mut listener = stream.building.listen(shows_progress);
        let place = stream.place();
        if place.is_none() {
            self.patience = None;
        }
        if shows_progress && let Some(place) = place {
            self.say(waiting::place(place).as_bytes()).await?;
        } else if shows_progress && stream.role == Role::Join {
            let readers = stream.readers();
            let text = format!("This pack is being built for {readers} clients at once.\n");
            self.say(text.as_bytes()).await?;
        }
        let bytes_max = self.framing.payload_bytes_max() * PACKETS;
        loop {
            let silence = keep_alive.map(|pause| self.last_sent + pause);
            match next(stream, &mut listener, bytes_max, (silence, self.patience)).await {
                Next::Said(text) => self.say(&text).await?,
                Next::Silence => match stream.place().filter(|_| shows_progress) {
                    Some(place) => self.say(waiting::place(place).as_bytes()).await?,
                    None => self.send(Bytes::from_static(KEEP_ALIVE)).await?,
                },
                Next::Late if stream.place().is_none() => self.patience = None,
                Next::Late => {
                    let Conversation { services, call, .. } = &*self.conversation;
                    let refusal = services.packs.too_late(&call.requester);
                    return self.refuse(refusal).await.map(Ok);
                }
                Next::Pack(Ok(Some(bytes))) => {
                    let began = self.began;
                    self.waited.get_or_insert_with(|| began.elapsed());
                    if stream.role == Role::Hit
                        && shows_progress
                        && stream.position() == bytes.len() as u64
                    {
                        self.announce(&bytes).await?;
                    }
                    self.framing.frame(bytes, &mut self.pieces);
                    self.send_pieces().await?;
                }
                Next::Pack(Ok(None)) => {
                    // The builder's last words come before the end of the pack.
                    let rest = if shows_progress { listener.rest() } else { Vec::new() };
                    self.say(&rest).await?;
                    self.framing.finish(&mut self.pieces);
                    if self.delivery.sideband.is_some() {
                        self.pieces.push(Bytes::from_static(FLUSH));
                    }
                    self.send_pieces().await?;
                    return Ok(Ok(()));
                }
                Next::Pack(Err(error)) => {
                    if !may_start_over || !is_worth_another(stream, &error) {
                        self.say(&listener.rest()).await?;
                    }
                    return Ok(Err(error));
                }
            }
        }
    }

    /// Who asked for progress sees at least how much there is.
    async fn announce(&mut self, pack: &[u8]) -> Result<(), FetchError> {
        let Some(Ok(objects)) = pack.get(OBJECTS_AT).map(<[u8; 4]>::try_from) else {
            return Ok(());
        };
        let objects = u32::from_be_bytes(objects);
        self.say(format!("Total {objects}, from the cache.\n").as_bytes()).await
    }

    /// Tells the client that nothing more will come.
    async fn break_off(&mut self, stream: &Stream, error: ReadError) -> Result<(), FetchError> {
        let built = stream.building.error();
        if let Some(BuildError::Limited(refusal)) = built.as_deref() {
            return self.refuse(*refusal).await;
        }
        let error = match (built, error) {
            (Some(error), ReadError::Producer(_)) => FetchError::Build(error),
            (_, error) => FetchError::Stream(error),
        };
        self.say_last(ABORTED).await?;
        Err(error)
    }

    /// Tells the client that it may not have the pack now.
    async fn refuse(&mut self, refusal: Refusal) -> Result<(), FetchError> {
        self.say_last(&waiting::refused(&refusal)).await?;
        Err(FetchError::Limited(refusal))
    }

    async fn say_last(&mut self, text: &str) -> Result<(), FetchError> {
        let Some(width) = self.delivery.sideband else { return Ok(()) };
        let mut framed = Vec::new();
        sideband::push(&mut framed, Band::Error, width, text.as_bytes());
        self.send(framed.into()).await
    }

    async fn say(&mut self, text: &[u8]) -> Result<(), FetchError> {
        if text.is_empty() {
            return Ok(());
        }
        let Some(width) = self.delivery.sideband else {
            self.conversation.output.complain(text);
            return Ok(());
        };
        let mut framed = Vec::with_capacity(text.len() + sideband::PREFIX_BYTES);
        sideband::push(&mut framed, Band::Progress, width, text);
        self.send(framed.into()).await
    }

    async fn send(&mut self, bytes: Bytes) -> Result<(), FetchError> {
        self.pieces.push(bytes);
        self.send_pieces().await
    }

    async fn send_pieces(&mut self) -> Result<(), FetchError> {
        let bytes: usize = self.pieces.iter().map(Bytes::len).sum();
        self.conversation.summary.response_bytes += bytes as u64;
        let buffers = &self.conversation.services.buffers;
        self.conversation.output.write_all(&mut self.pieces, buffers).await?;
        self.last_sent = Instant::now();
        Ok(())
    }
}

/// Whether a client that has been given nothing may start over. Whoever had the pack made knows why
/// that failed, and it would fail again.
fn is_worth_another(stream: &Stream, error: &ReadError) -> bool {
    let is_own_failure = stream.role == Role::Lead && matches!(error, ReadError::Producer(_));
    stream.position() == 0 && !is_own_failure
}

fn demand(call: &Call, request: &PackRequest) -> Demand {
    let store = Name::new(&call.repository.git_dir().to_string_lossy());
    let work = Work { store, is_incremental: !request.haves().is_empty() };
    Demand { requester: call.requester.clone(), work }
}

/// What stands beside a pack for people who look at the cache. Nothing where paths are very long.
fn note(repository: &Repository, key: &PackKey) -> Note {
    let git_dir = repository.git_dir().display();
    let text = format!("repository={git_dir}\nrequest={}\n", key.parts());
    Note::new(text.into()).unwrap_or_default()
}

async fn next(
    stream: &mut Stream,
    listener: &mut Listener,
    bytes_max: usize,
    (silence, patience): (Option<Instant>, Option<Instant>),
) -> Next {
    let far = Instant::now() + Duration::from_secs(3_600);
    tokio::select! {
        biased;
        text = listener.next() => Next::Said(text),
        read = stream.read(bytes_max) => Next::Pack(read),
        () = sleep_until(patience.unwrap_or(far)), if patience.is_some() => Next::Late,
        () = sleep_until(silence.unwrap_or(far)) => Next::Silence,
    }
}
