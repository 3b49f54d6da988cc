//! Memory that files are read into.
//!
//! Always true: it begins at a page, as O_DIRECT wants it, and never moves while the buffer lives;
//! a registered buffer comes back to its ring when it is dropped, wherever that happens.
//! Never here: who reads into it.

use std::sync::{Arc, Mutex, PoisonError};

/// What O_DIRECT asks of addresses on any disk: the page size of the machines that matter.
const ALIGNMENT_BYTES: usize = 4096;

/// Owned bytes, zero at first.
#[derive(Debug)]
pub struct Buffer {
    /// Longer than what is used of it by up to one alignment; never grows.
    memory: Vec<u8>,
    start: usize,
    length_bytes: usize,
    registered: Option<Registered>,
}

#[derive(Debug)]
struct Registered {
    index: u16,
    home: Arc<Registry>,
}

/// The buffers that a ring has registered with the kernel and that nobody uses now.
#[derive(Debug, Default)]
pub(super) struct Registry {
    idle: Mutex<Vec<(u16, Vec<u8>)>>,
}

// === impl Buffer ===

impl Buffer {
    /// A new one.
    pub fn new(length_bytes: usize) -> Self {
        Self::over(vec![0; length_bytes + ALIGNMENT_BYTES - 1], None)
    }

    fn over(memory: Vec<u8>, registered: Option<Registered>) -> Self {
        // Never `usize::MAX`: for bytes every address can be reached.
        let start = memory.as_ptr().align_offset(ALIGNMENT_BYTES);
        let length_bytes = memory.len() + 1 - ALIGNMENT_BYTES;
        Self { memory, start, length_bytes, registered }
    }

    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.length_bytes]
    }

    /// All of it, to be filled.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.length_bytes]
    }

    /// Its number among the registered buffers of its ring.
    pub(super) fn index(&self) -> Option<u16> {
        self.registered.as_ref().map(|registered| registered.index)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(Registered { index, home }) = self.registered.take() {
            let mut idle = home.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.push((index, std::mem::take(&mut self.memory)));
        }
    }
}

// === impl Registry ===

impl Registry {
    /// `count` buffers of `length_bytes`, to be registered in the order of their numbers.
    pub(super) fn new(count: u16, length_bytes: usize) -> Arc<Self> {
        let this = Arc::new(Self::default());
        let numbered = |index| (index, vec![0; length_bytes + ALIGNMENT_BYTES - 1]);
        this.lock().extend((0..count).map(numbered));
        this
    }

    /// A buffer that nobody uses.
    pub(super) fn take(self: &Arc<Self>) -> Option<Buffer> {
        let (index, memory) = self.lock().pop()?;
        Some(Buffer::over(memory, Some(Registered { index, home: Arc::clone(self) })))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(u16, Vec<u8>)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
