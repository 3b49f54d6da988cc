//! Items of an answer, gathered into messages as Gitaly gathers them.
//!
//! Always true: a message holds items of less than [`MESSAGE_BYTES_MAX`] together, or a single one;
//! no message is empty.

use super::pieces::Sender;
use super::refs::list_refs::gone;
use prost::Message;
use tonic::Status;

/// Of the items in a message, encoded.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// A message that is being filled.
#[derive(Debug)]
pub(super) struct Chunks<'s, I, M, W> {
    sender: &'s Sender<M>,
    /// What makes a message of items.
    wrap: W,
    items: Vec<I>,
    bytes: usize,
}

// === impl Chunks ===

impl<'s, I: Message, M, W: FnMut(Vec<I>) -> M> Chunks<'s, I, M, W> {
    pub(super) fn new(sender: &'s Sender<M>, wrap: W) -> Self {
        Self { sender, wrap, items: Vec::new(), bytes: 0 }
    }

    /// Adds an item, and sends what has gathered before it if both are too much for one message.
    pub(super) async fn put(&mut self, item: I) -> Result<(), Status> {
        let bytes = item.encoded_len();
        if self.bytes + bytes >= MESSAGE_BYTES_MAX {
            self.send().await?;
        }
        self.items.push(item);
        self.bytes += bytes;
        Ok(())
    }

    /// Sends the last message.
    pub(super) async fn finish(mut self) -> Result<(), Status> {
        self.send().await
    }

    async fn send(&mut self) -> Result<(), Status> {
        if self.items.is_empty() {
            return Ok(());
        }
        self.bytes = 0;
        let message = (self.wrap)(std::mem::take(&mut self.items));
        self.sender.send(message).await.map_err(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::gitaly::call::context::Lease;
    use crate::rpc::gitaly::pieces::pieces;
    use gitring_proto::gitaly::GitCommit;
    use tonic::codegen::tokio_stream::StreamExt;

    /// How items of these sizes are distributed.
    async fn check(sizes: &[usize], expected: &[usize]) {
        let items: Vec<_> = sizes
            .iter()
            .map(|size| GitCommit { body: vec![b'x'; *size].into(), ..GitCommit::default() })
            .collect();
        let stream = pieces(Lease::default(), |sender| {
            Box::pin(async move {
                let mut chunks = Chunks::new(&sender, |items: Vec<GitCommit>| items.len());
                for item in items {
                    chunks.put(item).await?;
                }
                chunks.finish().await
            })
        });
        let found: Vec<_> = stream.map(|message| message.unwrap()).collect().await;
        assert_eq!(found, expected, "{sizes:?}");
    }

    #[tokio::test]
    async fn messages_are_filled_and_never_empty() {
        let half = MESSAGE_BYTES_MAX / 2;
        tokio::task::LocalSet::new()
            .run_until(async {
                check(&[], &[]).await;
                check(&[0, 0], &[2]).await;
                check(&[1, 2, 3], &[3]).await;
                check(&[half - 100, half - 100, 1_000], &[2, 1]).await;
                check(&[half, half], &[1, 1]).await;
                check(&[3 * half, 1, 3 * half], &[1, 1, 1]).await;
            })
            .await;
    }
}
