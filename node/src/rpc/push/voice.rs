//! What a pusher reads besides the report: progress, hooks, complaints.
//!
//! Always true:
//! - text travels in band 2 where the client speaks side-band-64k, else it goes where complaints of
//!   children go;
//! - a client that is kept waiting hears an empty packet from time to time (`receive.keepAlive`).
//!
//! Never here: the report.

use super::line::Line;
use crate::rpc::wire::{Gone, Output};
use bytes::Bytes;
use gitring_git::sideband::{self, Band, Width};
use std::future::Future;
use std::pin::pin;
use std::time::Duration;
use tokio::time::sleep;

/// A client's ear.
#[derive(Debug)]
pub(super) struct Voice<'a, O> {
    output: &'a mut O,
    sideband: Option<Width>,
    keep_alive: Option<Duration>,
}

// === impl Voice ===

impl<'a, O: Output> Voice<'a, O> {
    pub(super) fn new(
        output: &'a mut O,
        sideband: Option<Width>,
        keep_alive: Option<Duration>,
    ) -> Self {
        Self { output, sideband, keep_alive }
    }

    /// Says `text`, cut into packets.
    pub(super) async fn say(&mut self, text: &[u8]) -> Result<(), Gone> {
        let Some(width) = self.sideband else {
            return self.output.complain_in_turn(text).await;
        };
        let mut packets = Vec::with_capacity(text.len() + sideband::PREFIX_BYTES);
        sideband::push(&mut packets, Band::Progress, width, text);
        self.output.write(packets.into()).await
    }

    /// Waits for `work`, and keeps the client from giving up meanwhile.
    pub(super) async fn wait_for<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Gone> {
        let mut work = pin!(work);
        let (Some(keep_alive), Some(_)) = (self.keep_alive, self.sideband) else {
            return Ok(work.await);
        };
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                () = sleep(keep_alive) => {}
            }
            let mut done = None;
            {
                let mut sending = pin!(self.output.write(Bytes::from_static(sideband::KEEP_ALIVE)));
                loop {
                    tokio::select! {
                        // The work goes on also where the client does not read.
                        ended = &mut work, if done.is_none() => done = Some(ended),
                        sent = &mut sending => {
                            sent?;
                            break;
                        }
                    }
                }
            }
            if let Some(done) = done {
                return Ok(done);
            }
        }
    }
}

impl Voice<'_, Line> {
    /// As [`Self::wait_for`], but `work` ends so long after the client has left: whoever is asked
    /// is the client, or has its orders from there.
    pub(super) async fn ask<T>(
        &mut self,
        work: impl Future<Output = T>,
        patience: Duration,
    ) -> Result<T, Gone> {
        let left = self.output.left();
        let given_up = async move {
            left.await;
            if !patience.is_zero() {
                sleep(patience).await;
            }
        };
        tokio::select! {
            biased;
            done = self.wait_for(work) => done,
            () = given_up => Err(Gone),
        }
    }
}
