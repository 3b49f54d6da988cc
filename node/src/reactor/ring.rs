//! File operations of a reactor that never block it: an io_uring, or threads where there is none.
//!
//! ```text
//!   Ring ─► operation ─┬─► kernel   one io_uring a reactor; what is in memory is done at once
//!                      └─► pool     threads of the process: no ring, or no opcode
//! ```
//!
//! Always true:
//! - an operation owns what it touches until it has ended, also when its future was dropped: it
//!   then goes on, and its result is dropped;
//! - a reactor has at most [`IN_FLIGHT_MAX`] operations in flight; further ones wait in order, none
//!   is refused;
//! - no memory is freed while the kernel may write to it: the last holder of a ring waits for what
//!   is in flight;
//! - both ways give the same results and errors.
//!
//! The node has no use for `sync`, which `benches/runtimes` measures, for `stat` and for registered
//! buffers: it waits for no disk when it writes, and reads through maps.
//!
//! Never here: sockets and pipes, which the runtime's epoll watches; what files contain.

mod buffer;
mod kernel;
mod metrics;
mod operation;
mod pool;
#[cfg(test)]
mod tests;

pub use self::buffer::Buffer;
use self::kernel::Uring;
use self::metrics::{Means, Meters, Metrics};
use self::operation::Operation;
use self::pool::Pool;
use bytes::{Buf, Bytes};
use prometheus::Registry;
pub use rustix::fs::{Mode, OFlags, Statx};
use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use tokio::task::AbortHandle;

/// Operations of one reactor in flight at once.
pub const IN_FLIGHT_MAX: usize = kernel::RING_ENTRIES as usize;
/// Threads that wait for disks where there is no ring: a disk is at its best with as many.
const THREADS_ALONE: usize = 16;
/// Threads for what has no opcode, beside rings: lists of directories, locks.
const THREADS_BESIDE: usize = 2;

/// `[runtime] io_uring`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoUring {
    /// Wherever the system allows it.
    Auto,
    /// Never.
    Off,
}

/// What the rings of all reactors are made from.
#[derive(Debug, Clone)]
pub struct Rings {
    means: Means,
    /// `None`: nothing is done at all.
    pool: Option<Pool>,
    metrics: Metrics,
}

/// One reactor's way to files; clones share it.
#[derive(Debug, Clone)]
pub struct Ring {
    shared: Rc<Shared>,
}

/// Drops what may be slow to drop on a thread; works on any thread, also without a runtime.
#[derive(Debug, Clone)]
pub struct Dropper {
    pool: Option<Pool>,
}

#[derive(Debug)]
struct Shared {
    kernel: Option<Kernel>,
    pool: Option<Pool>,
    /// Places in the pool, as many as a ring would have.
    seats: tokio::sync::Semaphore,
    meters: Meters,
}

#[derive(Debug)]
struct Kernel {
    uring: Rc<Uring>,
    driver: AbortHandle,
}

// === impl Rings ===

impl Rings {
    /// Tries io_uring once, with a read of its own, logs what came of it and starts the threads.
    ///
    /// # Errors
    /// Where threads cannot be started; never for want of io_uring.
    pub fn start(mode: IoUring, registry: &Registry) -> io::Result<Self> {
        let (means, threads) = match mode {
            IoUring::Off => {
                tracing::info!("io_uring is off: threads do the file work");
                (Means::Pool, THREADS_ALONE)
            }
            IoUring::Auto => match probe() {
                Ok(()) => {
                    tracing::info!("io_uring does the file work");
                    (Means::Ring, THREADS_BESIDE)
                }
                Err(error) => {
                    tracing::warn!(%error, "no io_uring: threads do the file work");
                    (Means::Pool, THREADS_ALONE)
                }
            },
        };
        let pool = Some(Pool::start(threads, registry)?);
        Ok(Self { means, pool, metrics: Metrics::register(registry) })
    }

    /// For a process that does no file work: no ring and no thread. Every operation of its rings
    /// ends with [`io::ErrorKind::Unsupported`].
    pub fn idle() -> Self {
        Self { means: Means::Pool, pool: None, metrics: Metrics::register(&Registry::new()) }
    }

    /// The ring of the reactor that calls, from within its runtime. Where this one is refused, to
    /// which limits may lead, the reactor uses the threads.
    pub fn ring(&self) -> Ring {
        let kernel = match self.means {
            Means::Pool => None,
            Means::Ring => Kernel::start(Dropper { pool: self.pool.clone() })
                .inspect_err(|error| {
                    tracing::warn!(%error, "no io_uring for a reactor: threads do its file work");
                })
                .ok(),
        };
        let means = if kernel.is_some() { Means::Ring } else { Means::Pool };
        let (pool, meters) = (self.pool.clone(), self.metrics.meters(means));
        let seats = tokio::sync::Semaphore::new(IN_FLIGHT_MAX);
        Ring { shared: Rc::new(Shared { kernel, pool, seats, meters }) }
    }
}

/// Has a ring read a file: sandboxes may allow the set-up and refuse the rest.
///
/// # Errors
/// The system's, where it refuses a ring or what it was asked to do.
pub fn probe() -> io::Result<()> {
    let text = b"read by a ring";
    let file = rustix::fs::memfd_create(c"probe", rustix::fs::MemfdFlags::CLOEXEC)?;
    rustix::io::pwrite(&file, text, 0)?;
    let (file, buffer, range) = (Arc::new(file), Buffer::new(text.len()), 0..text.len());
    let read = Operation::Read { file, offset_bytes: 0, buffer, range };
    match Uring::probe(read)? {
        (_, Operation::Read { buffer, .. }) if buffer.bytes() == text => Ok(()),
        _ => Err(io::Error::other("a ring read something else than was written")),
    }
}

// === impl Kernel ===

impl Kernel {
    fn start(dropper: Dropper) -> io::Result<Self> {
        let uring = Uring::new(dropper)?;
        let driver = tokio::task::spawn_local(uring.drive()?).abort_handle();
        Ok(Self { uring, driver })
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

// === impl Ring ===

impl Ring {
    /// openat(2); O_CLOEXEC is added.
    ///
    /// # Errors
    /// The system's, as everywhere below.
    pub async fn open(&self, path: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC;
        let open = Operation::Open { path: c_path(path)?, flags, mode, opened: None };
        match self.execute(open).await {
            (Ok(_), Operation::Open { opened: Some(opened), .. }) => Ok(opened),
            (result, _) => Err(mismatch(result)),
        }
    }

    /// One read into `range` of `buffer`, from `offset_bytes`: the bytes that were read, fewer than
    /// asked for at the end of the file, and rarely before it. The buffer comes back. With O_DIRECT
    /// offset and range are multiples of what the disk asks for.
    pub async fn read(
        &self,
        file: &Arc<OwnedFd>,
        offset_bytes: u64,
        buffer: Buffer,
        range: Range<usize>,
    ) -> (io::Result<usize>, Buffer) {
        let file = Arc::clone(file);
        let mut read = Operation::Read { file, offset_bytes, buffer, range };
        loop {
            let (result, operation) = self.execute(read).await;
            match (result, operation) {
                (Err(error), operation) if error.kind() == io::ErrorKind::Interrupted => {
                    read = operation;
                }
                (result, Operation::Read { buffer, .. }) => {
                    return (result.map(|bytes| bytes as usize), buffer);
                }
                (result, _) => return (Err(mismatch(result)), Buffer::new(0)),
            }
        }
    }

    /// Writes all of `data` at `offset_bytes`.
    pub async fn write(
        &self,
        file: &Arc<OwnedFd>,
        mut offset_bytes: u64,
        mut data: Bytes,
    ) -> io::Result<()> {
        while !data.is_empty() {
            let (file, part) = (Arc::clone(file), data.clone());
            let write = Operation::Write { file, offset_bytes, data: part };
            match self.execute(write).await.0 {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    data.advance(written as usize);
                    offset_bytes += u64::from(written);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// fsync(2).
    pub async fn sync(&self, file: &Arc<OwnedFd>) -> io::Result<()> {
        self.execute(Operation::Sync { file: Arc::clone(file) }).await.0.map(drop)
    }

    /// renameat(2), over what has the name `to`.
    pub async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let rename = Operation::Rename { from: c_path(from)?, to: c_path(to)? };
        self.execute(rename).await.0.map(drop)
    }

    /// unlinkat(2), of a file.
    pub async fn unlink(&self, path: &Path) -> io::Result<()> {
        self.execute(Operation::Unlink { path: c_path(path)? }).await.0.map(drop)
    }

    /// statx(2), through symbolic links, with what stat(2) tells.
    pub async fn stat(&self, path: &Path) -> io::Result<Statx> {
        let memory = Box::new(MaybeUninit::uninit());
        let stat = Operation::Stat { path: c_path(path)?, memory, stat: None };
        match self.execute(stat).await {
            (Ok(_), Operation::Stat { stat: Some(stat), .. }) => Ok(stat),
            (result, _) => Err(mismatch(result)),
        }
    }

    /// A buffer of 256 KiB whose pages the kernel holds ready for reads with O_DIRECT; `None` if
    /// eight are in use, or the system registers none.
    pub fn registered_buffer(&self) -> Option<Buffer> {
        self.shared.kernel.as_ref()?.uring.registered()
    }

    /// Does `work`, which may wait for a disk and for nothing else, on a thread: for what has no
    /// opcode. Dropping the future before it has begun calls it off.
    ///
    /// # Errors
    /// Where the work panics.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        self.pool()?.run(work).await
    }

    /// For drops that may take as long as a disk does.
    pub fn dropper(&self) -> Dropper {
        Dropper { pool: self.shared.pool.clone() }
    }

    fn pool(&self) -> io::Result<&Pool> {
        self.shared.pool.as_ref().ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    async fn execute(&self, mut operation: Operation) -> (io::Result<u32>, Operation) {
        let shared = &self.shared;
        shared.meters.count(operation.kind());
        if let Some(kernel) = &shared.kernel {
            return kernel.uring.execute(operation).await;
        }
        let pool = match self.pool() {
            Ok(pool) => pool,
            Err(error) => return (Err(error), operation),
        };
        let _seat = shared.seats.acquire().await;
        let done = pool.run(move || {
            let result = operation.run();
            (result, operation)
        });
        match done.await {
            Ok(done) => done,
            // It panicked, and took with it what it owned.
            Err(error) => (Err(error), Operation::Unlink { path: CString::default() }),
        }
    }
}

// === impl Dropper ===

impl Dropper {
    /// Drops `what` on a thread; here and now where there is none or too many jobs wait.
    pub fn drop<T: Send + 'static>(&self, what: T) {
        match &self.pool {
            Some(pool) => pool.run_soon(move || drop(what)),
            None => drop(what),
        }
    }
}

/// The error of an operation that came back as something else than it was sent as, which only one
/// that failed does.
fn mismatch(result: io::Result<u32>) -> io::Error {
    result.err().unwrap_or_else(|| io::Error::other("the operation has no result"))
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::ErrorKind::InvalidInput.into())
}
