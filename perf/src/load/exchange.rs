//! One request and its whole answer, on a connection that stands.
//!
//! Always true: an answer on a sidechannel that does not end with a flush packet is a failure, and
//! so is a call that does.
//!
//! Never here: which request is next.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use gitring_daemon::client::Client;
use gitring_daemon::mux::StreamError;
use gitring_daemon::sidechannel::{AcceptError, ClientEnd, OPENING_MAX, Waiter};
use gitring_tests::pktline::FLUSH;
use tonic::{Request, Status};

use super::call;
use super::script::{Ask, Manner};
use super::watch::{Step, Watch};

/// How long the status may come after the sidechannel has ended.
pub(super) const STATUS_WAIT_MAX: Duration = Duration::from_secs(10);

/// Why a sidechannel gave no whole answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error(transparent)]
    Accept(#[from] AcceptError),
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error("the server said nothing, or ended within its greeting")]
    Greeting,
    #[error("the answer does not end with a flush packet")]
    Cut,
}

/// Makes the request; reads of a sidechannel pause for `pause` after each piece.
pub(super) async fn exchange(
    client: &Client,
    ask: &Ask,
    message: Bytes,
    watch: &Watch,
    pause: Duration,
) -> Result<(), Status> {
    watch.reach(Step::Connected).await;
    match &ask.manner {
        Manner::Unary => {
            let calling = call::unary(client, &ask.path, Request::new(message));
            let answer = race(calling, watch.reach(Step::Called)).await?;
            if !answer.is_empty() {
                watch.piece(answer.len()).await;
            }
            Ok(())
        }
        Manner::Done => {
            let calling = call::unary(client, &ask.path, Request::new(message));
            let answer = race(calling, watch.reach(Step::Called)).await?;
            watch.piece(answer.len()).await;
            Ok(())
        }
        Manner::Stream => {
            let calling = call::stream(client, &ask.path, Request::new(message));
            let mut answers = race(calling, watch.reach(Step::Called)).await?;
            while let Some(answer) = answers.message().await? {
                watch.piece(answer.len()).await;
            }
            Ok(())
        }
        Manner::Sidechannel { body, is_greeted } => {
            let waiter = client.sidechannel();
            let waiter = waiter.ok_or_else(|| Status::internal("the connection has no mux"))?;
            let mut request = Request::new(message);
            waiter.announce(request.metadata_mut());
            let talk = Talk { body: body.clone(), is_greeted: *is_greeted, watch, pause };
            let calling = call::unary(client, &ask.path, request);
            both(calling, talk.converse(waiter)).await
        }
    }
}

/// The call, while `leaving` waits beside it if its client is to leave.
async fn race<T>(
    calling: impl Future<Output = Result<T, Status>>,
    leaving: impl Future<Output = ()>,
) -> Result<T, Status> {
    let mut calling = pin!(calling);
    tokio::select! {
        biased;
        answer = &mut calling => answer,
        () = leaving => calling.await,
    }
}

/// The call and what is said beside it. The status tells more than a broken stream.
async fn both(
    calling: impl Future<Output = Result<Bytes, Status>>,
    talking: impl Future<Output = Result<(), Broken>>,
) -> Result<(), Status> {
    let (mut calling, mut talking) = (pin!(calling), pin!(talking));
    let broken = |error: Broken| Status::data_loss(error.to_string());
    tokio::select! {
        biased;
        status = &mut calling => {
            status?;
            talking.await.map_err(broken)
        }
        talked = &mut talking => {
            let status = tokio::time::timeout(STATUS_WAIT_MAX, calling).await;
            status.map_err(|_| Status::data_loss("no status came"))??;
            talked.map_err(broken)
        }
    }
}

/// A conversation on a sidechannel.
struct Talk<'a> {
    body: Bytes,
    is_greeted: bool,
    watch: &'a Watch,
    pause: Duration,
}

// === impl Talk ===

impl Talk<'_> {
    async fn converse(mut self, waiter: Waiter) -> Result<(), Broken> {
        self.watch.reach(Step::Called).await;
        let mut end = waiter.accept(OPENING_MAX).await?;
        self.watch.reach(Step::Accepted).await;
        if self.is_greeted {
            greeted(&mut end).await?;
        }
        // Only whoever leaves between them speaks in two packets.
        if self.watch.leaves_at(Step::HalfAsked) {
            let half = self.body.split_to(self.body.len() / 2);
            end.write(half).await?;
            self.watch.reach(Step::HalfAsked).await;
        }
        end.write(self.body).await?;
        end.finish_writing().await?;
        self.watch.reach(Step::Asked).await;
        let mut tail = [0; FLUSH.len()];
        while let Some(piece) = end.read().await? {
            keep_tail(&mut tail, &piece);
            self.watch.piece(piece.len()).await;
            if !self.pause.is_zero() {
                tokio::time::sleep(self.pause).await;
            }
        }
        if tail != FLUSH {
            return Err(Broken::Cut);
        }
        Ok(end.close().await?)
    }
}

/// Reads what the server says first. It then waits for us: so it has ended where it ends with a
/// flush packet.
async fn greeted(end: &mut ClientEnd) -> Result<(), Broken> {
    let mut tail = [0; FLUSH.len()];
    while tail != FLUSH {
        let piece = end.read().await?.ok_or(Broken::Greeting)?;
        keep_tail(&mut tail, &piece);
    }
    Ok(())
}

/// Keeps the last bytes of all pieces.
pub(super) fn keep_tail(tail: &mut [u8; FLUSH.len()], piece: &[u8]) {
    let taken = piece.len().min(tail.len());
    tail.rotate_left(taken);
    let kept = tail.len() - taken;
    tail[kept..].copy_from_slice(&piece[piece.len() - taken..]);
}
