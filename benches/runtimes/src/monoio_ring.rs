//! monoio on its io_uring driver.

use crate::candidate::{Aligned, Candidate, READ_BYTES};
use std::fs::File;
use std::future::Future;
use std::rc::Rc;

/// monoio 0.2.
pub struct Monoio;

impl Candidate for Monoio {
    const NAME: &'static str = "monoio";
    type File = Rc<monoio::fs::File>;
    type Buffer = Aligned;

    fn run(work: impl Future<Output = ()> + 'static) {
        let runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new().build();
        runtime.expect("a runtime").block_on(work);
    }

    fn file(file: File) -> Self::File {
        Rc::new(monoio::fs::File::from_std(file).expect("a file"))
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
        monoio::spawn(work).await;
    }
}
