//! A pack from a `git pack-objects` child into the cache.
//!
//! ```text
//!   stdin <── wants, haves       stdout ──> Producer ──> every client's Stream
//!   pack-objects                 stderr ──> Building ──> band 2
//! ```
//!
//! Always true: a child that fails, or whose readers have all left, leaves no pack; a full window
//! parks the child on its pipe.
//! Never here: which client gets what.

use super::flow::Flow;
use super::{CancelOnDrop, server};
use crate::limits::{PackPermit, PackTurn};
use crate::pack_cache::{BuildError, Cost, Producer};
use crate::reactor::children::{Child, ChildCommand, CommandName, Need, PackWork};
use crate::rpc::Services;
use crate::rpc::wire::Call;
use gitring_daemon::log;
use gitring_daemon::otlp::Work;
use gitring_git::ObjectId;
use gitring_git::history::Cancel;
use gitring_git::pack_objects;
use gitring_git::pack_request::PackRequest;
use gitring_git::upload_pack::{Answer, Desk, Question, Settings};
use gitring_streamcache::WriteError;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;

/// How metrics and log lines name this builder.
const CHILD: &str = "child";
/// Bytes of progress or complaints that are read at once.
const STDERR_BYTES: usize = 4_096;

/// What is to be built, and on whose behalf.
pub(super) struct Order {
    pub(super) services: Rc<Services>,
    pub(super) call: Call,
    pub(super) request: Arc<PackRequest>,
    pub(super) settings: Settings,
    /// The client sees progress.
    pub(super) progress: bool,
}

/// The two ways not to finish.
enum Stopped {
    Abandoned,
    Failed(BuildError),
}

/// Builds what was ordered, once it is its turn.
pub(super) async fn build(order: Order, mut producer: Producer, turn: PackTurn) {
    let turned = tokio::select! {
        biased;
        () = producer.abandoned() => return,
        turned = turn.wait() => turned,
    };
    let mut permit = match turned {
        Ok(permit) => permit,
        Err(refusal) => return producer.fail(BuildError::Limited(refusal)),
    };
    let (began, began_at) = (Instant::now(), SystemTime::now());
    let built = run(&order, &mut producer, &mut permit).await;
    match &built {
        Ok(_) => permit.done(),
        Err(_) => drop(permit),
    }
    if let Some(trace) = order.call.account.trace() {
        let error = match &built {
            Ok(_) => None,
            Err(Stopped::Abandoned) => Some("nobody waits for it".to_owned()),
            Err(Stopped::Failed(error)) => Some(log::chain(error)),
        };
        let (name, took, attributes) = ("build a pack".into(), began.elapsed(), Vec::new());
        trace.part_ended(Work { name, began: began_at, took, attributes, error });
    }
    match built {
        Ok(cpu) => producer.finish(Cost { builder: CHILD, cpu }).await,
        Err(Stopped::Failed(error)) => producer.fail(error),
        // Dropping the producer says the rest.
        Err(Stopped::Abandoned) => {}
    }
}

/// The CPU time that it took.
async fn run(
    order: &Order,
    producer: &mut Producer,
    permit: &mut PackPermit,
) -> Result<Duration, Stopped> {
    let starting = async {
        let tags = open_tags(order).await?;
        let command = command(order, need(order).await?);
        let child = order.services.children.spawn(command).await;
        Ok::<_, BuildError>((tags, child.map_err(BuildError::Spawn)?))
    };
    let (tags, mut child) = tokio::select! {
        started = starting => started?,
        () = producer.abandoned() => return Err(Stopped::Abandoned),
    };
    producer.building.built_by(CHILD);
    if order.progress {
        producer.building.shows_progress();
    }
    let stdin = child.stdin.take();
    // Both at once: the child starts to write before it has read everything.
    let feeding = feed(stdin, pack_objects::input(&order.request, &tags));
    tokio::try_join!(relay(&mut child, order, (producer, permit)), feeding)?;
    let exit = child.wait().await.map_err(BuildError::Pipe)?;
    match exit.status.success() {
        true => Ok(exit.usage.user + exit.usage.system),
        false => Err(BuildError::Died(exit.status).into()),
    }
}

/// Which of the tags that the negotiation left open go along: this may take a walk through all of
/// history, on a worker.
async fn open_tags(order: &Order) -> Result<Vec<ObjectId>, BuildError> {
    if order.request.open_tags().is_empty() {
        return Ok(Vec::new());
    }
    let (snapshot, settings) = (Arc::clone(&order.call.snapshot), order.settings.clone());
    let (server, cancel) = (server(&order.services, &order.call), CancelOnDrop(Cancel::default()));
    let mut desk = Desk::new(snapshot, server, settings, order.call.stateless, cancel.0.clone());
    let question = Question::Tags(Box::new(PackRequest::clone(&order.request)));
    let answered = order.services.workers.run(move || desk.answer(question)).await;
    let Answer::Tags(tags) = answered?.map_err(prepare)? else {
        return Err(BuildError::Prepare("an answer to another question".to_owned()));
    };
    Ok(tags)
}

fn prepare(error: impl std::error::Error + 'static) -> BuildError {
    BuildError::Prepare(log::chain(&error))
}

/// What the child will probably take: on a worker, since indexes that were not opened yet are
/// stated. The pool's objects are counted with the repository's.
async fn need(order: &Order) -> Result<Need, BuildError> {
    let store = Arc::clone(&order.call.snapshot.store);
    let packed = order.services.workers.run(move || store.packed()).await?;
    let is_known = packed.has_bitmap || !order.request.haves().is_empty();
    Ok(Need::pack(PackWork { objects: packed.objects, is_known }))
}

fn command(order: &Order, need: Need) -> ChildCommand {
    let (services, git_dir) = (&order.services, order.call.repository.git_dir());
    let mut env = services.git.environment(&order.call);
    // As git's own server: the child need not find, or doubt, what was found already.
    env.push(("GIT_DIR".into(), git_dir.into()));
    env.extend(order.request.store().environment());
    ChildCommand {
        name: CommandName { cmd: "git", subcmd: "pack-objects" },
        account: Arc::clone(&order.call.account),
        need,
        program: services.git.program.clone(),
        args: pack_objects::arguments(&order.request, order.progress),
        env,
        current_dir: git_dir.to_owned(),
    }
}

/// Writes the child's input and closes it. A child that has died says why on its stderr.
async fn feed(stdin: Option<pipe::Sender>, input: Vec<u8>) -> Result<(), Stopped> {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(&input).await;
    }
    Ok(())
}

/// Until the child has closed both of its pipes.
async fn relay(
    child: &mut Child,
    order: &Order,
    (producer, permit): (&mut Producer, &mut PackPermit),
) -> Result<(), Stopped> {
    let mut pack = child.stdout.take().map_or(Flow::Ended, Flow::Watched);
    let mut stderr_open = true;
    while pack.is_open() || stderr_open {
        tokio::select! {
            biased;
            () = producer.abandoned() => return Err(Stopped::Abandoned),
            () = permit.overtime() => permit.leave_reserve(),
            _ = child.stderr.readable(), if stderr_open => {
                stderr_open = listen(&child.stderr, producer);
            }
            () = pack.ready(), if pack.is_open() => {
                pack = move_on(pack, order, (producer, permit)).await?;
            }
        }
    }
    Ok(())
}

/// Moves what the pipe holds.
async fn move_on(
    mut pack: Flow,
    order: &Order,
    (producer, permit): (&mut Producer, &mut PackPermit),
) -> Result<Flow, Stopped> {
    let mut brought_bytes = 0;
    loop {
        let mut buffer = order.services.buffers.take();
        let mut filled_bytes = 0;
        let mut is_empty = false;
        while filled_bytes < buffer.bytes().len() && !is_empty {
            let space = &mut buffer.bytes()[filled_bytes..];
            match pack.read(space).map_err(BuildError::Pipe)? {
                Some(read) => filled_bytes += read,
                None => is_empty = true,
            }
        }
        if filled_bytes > 0 {
            brought_bytes += filled_bytes as u64;
            permit.wait(producer.write(buffer.sent(filled_bytes))).await?;
        }
        if is_empty {
            return Ok(pack.settle(brought_bytes).map_err(BuildError::Pipe)?);
        }
    }
}

/// Passes on what the child says; whether it may say more.
fn listen(stderr: &pipe::Receiver, producer: &Producer) -> bool {
    let mut text = [0; STDERR_BYTES];
    match stderr.try_read(&mut text) {
        Ok(0) => false,
        Ok(read) => {
            producer.building.say(&text[..read]);
            true
        }
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

// === impl Stopped ===

impl From<BuildError> for Stopped {
    fn from(error: BuildError) -> Self {
        Self::Failed(error)
    }
}

impl From<WriteError> for Stopped {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Abandoned => Self::Abandoned,
        }
    }
}
