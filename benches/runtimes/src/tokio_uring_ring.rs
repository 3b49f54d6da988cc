//! tokio-uring.

use crate::candidate::{Aligned, Candidate, READ_BYTES};
use std::fs::File;
use std::future::Future;
use std::rc::Rc;

/// tokio-uring 0.5.
pub struct TokioUring;

impl Candidate for TokioUring {
    const NAME: &'static str = "tokio-uring";
    type File = Rc<tokio_uring::fs::File>;
    type Buffer = Aligned;

    fn run(work: impl Future<Output = ()> + 'static) {
        tokio_uring::start(work);
    }

    fn file(file: File) -> Self::File {
        Rc::new(tokio_uring::fs::File::from_std(file))
    }

    fn buffer() -> Aligned {
        Aligned::default()
    }

    async fn read(file: &Self::File, at: u64, buffer: Aligned) -> Aligned {
        let (read, buffer) = file.read_at(buffer, at).await;
        assert_eq!(read.expect("read"), READ_BYTES);
        buffer
    }

    async fn write(file: &Self::File, at: u64, data: &'static [u8]) {
        file.write_all_at(data, at).await.0.expect("write");
    }

    async fn sync(file: &Self::File) {
        file.sync_all().await.expect("fsync");
    }

    async fn spawn(work: impl Future<Output = ()> + 'static) {
        tokio_uring::spawn(work).await.expect("the task");
    }
}
