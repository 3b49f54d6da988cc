//! What a runtime must do to be measured.
//!
//! Always true: a buffer begins at a page, as O_DIRECT wants it.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::fs::File;
use std::future::Future;
use std::ptr::NonNull;

/// Length of one read.
pub const READ_BYTES: usize = 64 << 10;
/// Where buffers begin.
pub const PAGE_BYTES: usize = 4096;

/// A runtime with file operations.
pub trait Candidate: 'static {
    /// As the table names it.
    const NAME: &'static str;
    /// An open file.
    type File: Clone + 'static;
    /// Memory for one read.
    type Buffer: 'static;

    /// Runs `work` on a new runtime, which is dropped then.
    fn run(work: impl Future<Output = ()> + 'static);
    /// Takes a file over; called within the runtime.
    fn file(file: File) -> Self::File;
    /// Memory for one read.
    fn buffer() -> Self::Buffer;
    /// Reads [`READ_BYTES`] at `offset_bytes`.
    fn read(
        file: &Self::File,
        offset_bytes: u64,
        buffer: Self::Buffer,
    ) -> impl Future<Output = Self::Buffer>;
    /// Writes all of `data`.
    fn write(file: &Self::File, offset_bytes: u64, data: &'static [u8])
    -> impl Future<Output = ()>;
    /// fsync(2).
    fn sync(file: &Self::File) -> impl Future<Output = ()>;
    /// Starts a task; the future ends with it.
    fn spawn(work: impl Future<Output = ()> + 'static) -> impl Future<Output = ()>;
}

/// Memory that begins at a page, and the allocator's block with it: what is written to it after it
/// was freed meets the allocator's own records.
pub struct Aligned(NonNull<u8>);

const LAYOUT: Layout = match Layout::from_size_align(READ_BYTES, PAGE_BYTES) {
    Ok(layout) => layout,
    Err(_) => panic!("both are powers of two"),
};

// === impl Aligned ===

impl Default for Aligned {
    fn default() -> Self {
        // SAFETY: the layout's size is not zero.
        let memory = unsafe { alloc_zeroed(LAYOUT) };
        Self(NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(LAYOUT)))
    }
}

impl Drop for Aligned {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and owned.
        unsafe { dealloc(self.0.as_ptr(), LAYOUT) }
    }
}

impl std::ops::Deref for Aligned {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: owned, initialised, of this length.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr(), READ_BYTES) }
    }
}

impl std::ops::DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_ptr(), READ_BYTES) }
    }
}

// SAFETY: the memory is on the heap, initialised, never grows and stays where it is until it is
// dropped.
unsafe impl tokio_uring::buf::IoBuf for Aligned {
    fn stable_ptr(&self) -> *const u8 {
        self.0.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        READ_BYTES
    }

    fn bytes_total(&self) -> usize {
        READ_BYTES
    }
}

// SAFETY: as above.
unsafe impl tokio_uring::buf::IoBufMut for Aligned {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.0.as_ptr()
    }

    unsafe fn set_init(&mut self, _: usize) {}
}

// SAFETY: as above.
unsafe impl monoio::buf::IoBufMut for Aligned {
    fn write_ptr(&mut self) -> *mut u8 {
        self.0.as_ptr()
    }

    fn bytes_total(&mut self) -> usize {
        READ_BYTES
    }

    unsafe fn set_init(&mut self, _: usize) {}
}
