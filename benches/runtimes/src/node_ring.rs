//! The node's ring, and its threads alone.

use crate::candidate::{Candidate, READ_BYTES};
use crate::reactor::ring::{Buffer, IoUring, Ring, Rings};
use bytes::Bytes;
use prometheus::Registry;
use std::cell::RefCell;
use std::fs::File;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use tokio::runtime::{Builder, LocalOptions};

thread_local! {
    static RING: RefCell<Option<Ring>> = const { RefCell::new(None) };
}

/// The node's reactor with its ring.
pub struct NodeRing;

/// The node's reactor where io_uring is off.
pub struct NodeThreads;

fn run(mode: IoUring, work: impl Future<Output = ()> + 'static) {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    runtime.expect("a runtime").block_on(async {
        let rings = Rings::start(mode, &Registry::new()).expect("threads");
        RING.set(Some(rings.ring()));
        // Every task has its own clone; the last of them goes with the runtime.
        work.await;
        RING.set(None);
    });
}

fn ring() -> Ring {
    RING.with_borrow(|ring| ring.clone().expect("set while the runtime runs"))
}

macro_rules! candidate {
    ($name:ident, $text:literal, $mode:expr) => {
        impl Candidate for $name {
            const NAME: &'static str = $text;
            type File = (Ring, Arc<OwnedFd>);
            type Buffer = Buffer;

            fn run(work: impl Future<Output = ()> + 'static) {
                run($mode, work);
            }

            fn file(file: File) -> Self::File {
                (ring(), Arc::new(file.into()))
            }

            fn buffer() -> Buffer {
                Buffer::new(READ_BYTES)
            }

            async fn read((ring, file): &Self::File, at: u64, buffer: Buffer) -> Buffer {
                let (read, buffer) = ring.read(file, at, buffer, 0..READ_BYTES).await;
                assert_eq!(read.expect("read"), READ_BYTES);
                buffer
            }

            async fn write((ring, file): &Self::File, at: u64, data: &'static [u8]) {
                ring.write(file, at, Bytes::from_static(data)).await.expect("write");
            }

            async fn sync((ring, file): &Self::File) {
                ring.sync(file).await.expect("fsync");
            }

            async fn spawn(work: impl Future<Output = ()> + 'static) {
                tokio::task::spawn_local(work).await.expect("the task");
            }
        }
    };
}

candidate!(NodeRing, "ring", IoUring::Auto);
candidate!(NodeThreads, "threads", IoUring::Off);
