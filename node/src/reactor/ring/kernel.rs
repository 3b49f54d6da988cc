//! The kernel's side: one io_uring, and every operation that it may still touch memory of.
//!
//! ```text
//!   Free ──push──► Flying ──completion──► Ended ──Flight::poll──► Free
//!                    └── Flight dropped ──► Flying, unwanted ──completion──► Free
//! ```
//!
//! Always true:
//! - an operation stays in its slot from before the kernel hears of it until its completion was
//!   taken from the queue, whatever becomes of the future, the runtime or the ring;
//! - at most `RING_ENTRIES` operations are in slots, so neither queue can overflow;
//! - what is dropped has no operation in flight: the drop waits for them, and where the kernel
//!   refuses to let it wait, their memory is leaked rather than freed under the kernel.
//!
//! Never here: what the operations are for.
#![expect(unsafe_code, reason = "entries with pointers, descriptors out of completions")]

use super::Dropper;
use super::buffer::{Buffer, Registry};
use super::operation::{OPCODES, Operation};
use io_uring::{IoUring, Probe};
use std::cell::RefCell;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, Semaphore};

#[cfg(test)]
mod tests;

/// Operations of one ring that the kernel knows at once. Disks have queues of 32 to 128 at their
/// best; further operations wait in order.
pub(super) const RING_ENTRIES: u16 = 128;
/// Registered buffers of one ring, and the length of each: 2 MiB of locked memory, a quarter of
/// what an unprivileged user may have by default.
const REGISTERED_BUFFERS: u16 = 8;
const REGISTERED_BYTES: usize = 256 << 10;
/// Pause before entries are offered again that a kernel short of memory did not take.
const RETRY_PAUSE: Duration = Duration::from_millis(1);

/// One io_uring with the operations in flight. Stays on its thread.
#[derive(Debug)]
pub(super) struct Uring {
    state: RefCell<State>,
    /// One for each free slot.
    permits: Semaphore,
    /// Told when the kernel did not take what was submitted.
    refused: Rc<Notify>,
    registry: RefCell<Option<Arc<Registry>>>,
    /// For operations that nobody wants any more: one may be the last to have its file open.
    dropper: Dropper,
}

struct State {
    // Dropped before the slots, after `drain`.
    ring: IoUring,
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// Slots in [`Slot::Flying`].
    flying: usize,
}

enum Slot {
    Free,
    Flying { operation: Operation, waker: Option<Waker>, wanted: bool },
    Ended { operation: Operation, result: io::Result<u32> },
}

/// What a completion leaves to be done once the state is not borrowed any more.
enum Completed {
    Wanted(Option<Waker>),
    Unwanted(Box<Operation>),
}

/// An operation that was submitted. Dropped before its end, it leaves the operation to the ring.
struct Flight {
    uring: Rc<Uring>,
    /// `None` once the result was given out.
    slot: Option<usize>,
}

// === impl Uring ===

impl Uring {
    /// A ring that can do all operations; an error where the kernel, a sandbox or a limit refuses.
    pub(super) fn new(dropper: Dropper) -> io::Result<Rc<Self>> {
        Ok(Rc::new(Self {
            state: RefCell::new(State::new()?),
            permits: Semaphore::new(usize::from(RING_ENTRIES)),
            refused: Rc::new(Notify::new()),
            registry: RefCell::new(None),
            dropper,
        }))
    }

    /// Does `operation` alone on a new ring, waiting for it.
    pub(super) fn probe(operation: Operation) -> io::Result<(u32, Operation)> {
        let mut state = State::new()?;
        let index = state.push(operation);
        while state.flying > 0 {
            state.wait()?;
            state.complete();
        }
        match state.take(index) {
            Some((operation, result)) => Ok((result?, operation)),
            None => Err(io::Error::other("the operation has no result")),
        }
    }

    /// Waits for a place and does `operation`, which comes back with its result.
    pub(super) async fn execute(
        self: &Rc<Self>,
        operation: Operation,
    ) -> (io::Result<u32>, Operation) {
        match self.permits.acquire().await {
            // Returned by whoever frees the slot.
            Ok(permit) => permit.forget(),
            Err(_) => return (Err(io::Error::other("the ring has ended")), operation),
        }
        let slot = self.state.borrow_mut().push(operation);
        self.submit();
        // What needed no disk has been done already.
        self.reap();
        Flight { uring: Rc::clone(self), slot: Some(slot) }.await
    }

    /// Wakes whoever waits, for as long as the ring lives. To be polled by one task of its thread.
    pub(super) fn drive(self: &Rc<Self>) -> io::Result<impl Future<Output = ()> + use<>> {
        let descriptor = {
            let state = self.state.borrow();
            // SAFETY: the ring's own descriptor is open as long as the ring is, which is borrowed.
            let ring = unsafe { std::os::fd::BorrowedFd::borrow_raw(state.ring.as_raw_fd()) };
            ring.try_clone_to_owned()?
        };
        // SAFETY: the AsyncFd owns the descriptor, which nobody else has and which never changes.
        let watched = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?;
        let (uring, refused) = (Rc::downgrade(self), Rc::clone(&self.refused));
        Ok(drive(uring, watched, refused))
    }

    /// A registered buffer that nobody uses; `None` if there is none or none may be registered.
    pub(super) fn registered(&self) -> Option<Buffer> {
        let mut registry = self.registry.borrow_mut();
        registry.get_or_insert_with(|| self.register().unwrap_or_default()).take()
    }

    fn register(&self) -> io::Result<Arc<Registry>> {
        let registry = Registry::new(REGISTERED_BUFFERS, REGISTERED_BYTES);
        let mut buffers: Vec<Buffer> = std::iter::from_fn(|| registry.take()).collect();
        buffers.sort_by_key(Buffer::index);
        let parts: Vec<libc::iovec> = buffers
            .iter_mut()
            .map(|buffer| {
                let bytes = buffer.bytes_mut();
                libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() }
            })
            .collect();
        // SAFETY: the parts are live and disjoint. The kernel pins their pages: memory that is
        // freed while they are registered is not touched through any other address.
        unsafe { self.state.borrow().ring.submitter().register_buffers(&parts)? };
        Ok(registry)
    }

    fn submit(&self) {
        let mut state = self.state.borrow_mut();
        // The kernel may take some entries and leave the others.
        while !state.ring.submission().is_empty() {
            match state.ring.submit() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // EAGAIN, EBUSY: the entries stay in their queue.
                Ok(0) | Err(_) => return self.refused.notify_one(),
                Ok(_) => {}
            }
        }
    }

    fn reap(&self) {
        loop {
            // Wakers and buffers run code of others when they are used and dropped.
            let completed = self.state.borrow_mut().complete();
            match completed {
                None => return,
                Some(Completed::Wanted(Some(waker))) => waker.wake(),
                Some(Completed::Wanted(None)) => {}
                Some(Completed::Unwanted(operation)) => {
                    self.permits.add_permits(1);
                    self.dropper.drop(operation);
                }
            }
        }
    }
}

async fn drive(uring: Weak<Uring>, watched: AsyncFd<OwnedFd>, refused: Rc<Notify>) {
    loop {
        let is_refused = tokio::select! {
            ready = watched.readable() => match ready {
                Ok(mut ready) => {
                    // Cleared first: a completion that comes while we reap is a new edge.
                    ready.clear_ready();
                    false
                }
                Err(_) => return,
            },
            () = refused.notified() => true,
        };
        if is_refused {
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        let Some(uring) = uring.upgrade() else { return };
        if is_refused {
            uring.submit();
        }
        uring.reap();
    }
}

// === impl Flight ===

impl Future for Flight {
    type Output = (io::Result<u32>, Operation);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(slot) = self.slot else { return Poll::Pending };
        let mut state = self.uring.state.borrow_mut();
        if let Slot::Flying { waker, .. } = &mut state.slots[slot] {
            let known = waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker()));
            let former = if known { None } else { waker.replace(context.waker().clone()) };
            // Dropping a waker may run code of others.
            drop(state);
            drop(former);
            return Poll::Pending;
        }
        let ended = state.take(slot);
        drop(state);
        self.uring.permits.add_permits(1);
        self.slot = None;
        match ended {
            Some((operation, result)) => Poll::Ready((result, operation)),
            None => Poll::Pending,
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let Some(slot) = self.slot else { return };
        let mut state = self.uring.state.borrow_mut();
        if let Slot::Flying { waker, wanted, .. } = &mut state.slots[slot] {
            *wanted = false;
            let waker = waker.take();
            drop(state);
            drop(waker);
            return;
        }
        let ended = state.take(slot);
        drop(state);
        self.uring.permits.add_permits(1);
        drop(ended);
    }
}

// === impl State ===

impl State {
    fn new() -> io::Result<Self> {
        let entries = u32::from(RING_ENTRIES);
        // Completions wait for the thread's next system call instead of interrupting it; kernels
        // before 6.0 do not know that.
        let ring =
            match IoUring::builder().setup_coop_taskrun().setup_single_issuer().build(entries) {
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => IoUring::new(entries)?,
                built => built?,
            };
        let mut known = Probe::new();
        ring.submitter().register_probe(&mut known)?;
        if !OPCODES.iter().all(|&opcode| known.is_supported(opcode)) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let count = usize::from(RING_ENTRIES);
        let slots = std::iter::repeat_with(|| Slot::Free).take(count).collect();
        Ok(Self { ring, slots, free: (0..count).rev().collect(), flying: 0 })
    }

    /// Puts `operation` into a slot and the submission queue.
    fn push(&mut self, operation: Operation) -> usize {
        let index = self.free.pop().expect("a permit stands for each free slot");
        let slot = &mut self.slots[index];
        // Moved for the last time before its pointers are taken.
        *slot = Slot::Flying { operation, waker: None, wanted: true };
        let Slot::Flying { operation, .. } = slot else { return index };
        let entry = operation.entry().user_data(index as u64);
        self.flying += 1;
        // SAFETY: the entry's pointers lead into memory that the operation owns, and the slot
        // keeps the operation until its completion was taken.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        pushed.expect("the queue has an entry for each slot");
        index
    }

    /// Takes one completion from the queue.
    fn complete(&mut self) -> Option<Completed> {
        let entry = self.ring.completion().next()?;
        let index = usize::try_from(entry.user_data()).ok()?;
        let slot = self.slots.get_mut(index).filter(|slot| matches!(slot, Slot::Flying { .. }))?;
        let ended = std::mem::replace(slot, Slot::Free);
        let Slot::Flying { mut operation, waker, wanted } = ended else { return None };
        self.flying -= 1;
        let result = finish(&mut operation, entry.result());
        if wanted {
            self.slots[index] = Slot::Ended { operation, result };
            Some(Completed::Wanted(waker))
        } else {
            self.free.push(index);
            Some(Completed::Unwanted(Box::new(operation)))
        }
    }

    /// Empties the slot of an operation that has ended.
    fn take(&mut self, index: usize) -> Option<(Operation, io::Result<u32>)> {
        // What flies stays where it is: the kernel has its memory.
        let slot = self.slots.get_mut(index).filter(|slot| matches!(slot, Slot::Ended { .. }))?;
        let ended = std::mem::replace(slot, Slot::Free);
        let Slot::Ended { operation, result } = ended else { return None };
        self.free.push(index);
        Some((operation, result))
    }

    /// Submits, and waits for one completion or, where the kernel is short of memory, for a pause.
    fn wait(&self) -> io::Result<()> {
        let Err(error) = self.ring.submit_and_wait(1) else { return Ok(()) };
        match error.raw_os_error() {
            Some(libc::EINTR) => Ok(()),
            Some(libc::EAGAIN | libc::EBUSY) => {
                #[expect(clippy::disallowed_methods, reason = "the runtime may be gone")]
                std::thread::sleep(RETRY_PAUSE);
                Ok(())
            }
            _ => Err(error),
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        while self.flying > 0 {
            if let Err(error) = self.wait() {
                tracing::error!(%error, left = self.flying, "wait for the operations of a ring");
                std::mem::forget(std::mem::take(&mut self.slots));
                return;
            }
            while self.complete().is_some() {}
        }
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("State").field("flying", &self.flying).finish_non_exhaustive()
    }
}

/// Puts what the kernel has made into the operation that owns it from now on.
fn finish(operation: &mut Operation, result: i32) -> io::Result<u32> {
    let done =
        u32::try_from(result).map_err(|_| io::Error::from_raw_os_error(result.wrapping_neg()))?;
    if let Operation::Open { opened, .. } = operation {
        // SAFETY: a successful openat gives a new descriptor, which nobody else knows.
        *opened = Some(unsafe { OwnedFd::from_raw_fd(result) });
    }
    if let Operation::Stat { memory, stat, .. } = operation {
        // SAFETY: a successful statx has written all of the structure, which holds integers.
        *stat = Some(unsafe { memory.assume_init_read() });
    }
    Ok(done)
}
