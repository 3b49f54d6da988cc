//! One client of a herd.
//!
//! Always true: an answer is whole only with a flush packet at its end and a good status.
//!
//! Never here: when it comes, and how long it may stay.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use gitring_daemon::client::Client;
use gitring_daemon::sidechannel::Waiter;
use gitring_tests::pktline::FLUSH;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Request, Status};

use super::visit::{End, Visit};
use super::{Fetch, Reader, Visits};
use crate::load::call;
use crate::load::exchange::{Broken, STATUS_WAIT_MAX, keep_tail};
use crate::load::kind::Kind;

/// A loaded server may take long until it opens a sidechannel: the wait is a figure, no failure.
const ACCEPT_MAX: Duration = Duration::from_secs(60);

/// Where a visit is kept: it can be told of even if its task is dropped.
struct Page {
    visits: Visits,
    at: usize,
}

/// Asks so many times, but not again after a failure.
pub(super) async fn serve(
    client: Client,
    fetch: Fetch,
    reader: Reader,
    times: usize,
    visits: Visits,
) {
    for _ in 0..times {
        let page = Page::turn(&visits, reader);
        let end = match ask(&client, &fetch, reader, &page).await {
            Ok(end) => end,
            Err(status) => End::Failed(format!("{:?}: {}", status.code(), status.message())),
        };
        let is_failed = matches!(end, End::Failed(_));
        page.write(|visit| visit.ended(end));
        if is_failed {
            return;
        }
    }
}

async fn ask(client: &Client, fetch: &Fetch, reader: Reader, page: &Page) -> Result<End, Status> {
    let waiter = client.sidechannel();
    let waiter = waiter.ok_or_else(|| Status::internal("the connection has no mux"))?;
    let mut request = Request::new(fetch.message.clone());
    waiter.announce(request.metadata_mut());
    let path = PathAndQuery::from_static(Kind::Clone.method());
    let mut calling = pin!(call::unary(client, &path, request));
    let mut reading = pin!(read(waiter, fetch.body.clone(), reader, page));
    let broken = |error: Broken| Status::data_loss(error.to_string());
    tokio::select! {
        biased;
        status = &mut calling => {
            status?;
            reading.await.map_err(broken)
        }
        end = &mut reading => {
            // Whoever vanishes asks for no status.
            if let Ok(End::Left) = end {
                return Ok(End::Left);
            }
            let status = tokio::time::timeout(STATUS_WAIT_MAX, calling).await;
            status.map_err(|_| Status::data_loss("no status came"))??;
            end.map_err(broken)
        }
    }
}

async fn read(waiter: Waiter, body: Bytes, reader: Reader, page: &Page) -> Result<End, Broken> {
    let mut end = waiter.accept(ACCEPT_MAX).await?;
    end.write(body).await?;
    end.finish_writing().await?;
    let mut tail = [0; FLUSH.len()];
    if reader == (Reader::Vanishing { after_bytes: 0 }) {
        return Ok(End::Left);
    }
    while let Some(piece) = end.read().await? {
        keep_tail(&mut tail, &piece);
        let bytes = page.write(|visit| {
            visit.piece(&piece);
            visit.bytes
        });
        match reader {
            Reader::Fast => {}
            Reader::Slow { bytes_per_s } => {
                let pause = piece.len() as f64 / f64::from(bytes_per_s);
                drop(piece);
                tokio::time::sleep(Duration::from_secs_f64(pause)).await;
            }
            Reader::Vanishing { after_bytes } if bytes >= after_bytes => return Ok(End::Left),
            Reader::Vanishing { .. } => {}
        }
    }
    if tail != FLUSH {
        return Err(Broken::Cut);
    }
    end.close().await?;
    Ok(End::Whole)
}

// === impl Page ===

impl Page {
    fn turn(visits: &Visits, reader: Reader) -> Self {
        let mut all = visits.borrow_mut();
        all.push(Visit::begin(reader));
        Self { at: all.len() - 1, visits: visits.clone() }
    }

    fn write<T>(&self, write: impl FnOnce(&mut Visit) -> T) -> T {
        write(&mut self.visits.borrow_mut()[self.at])
    }
}
