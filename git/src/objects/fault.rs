//! The SIGBUS guard: read-only file maps whose bad pages become a mark instead of a dead process.
//!
//! Always true: a page that the kernel could not fill is replaced by zeroes only after the mark of
//! its map was set, so whoever checks the mark after reading never takes those zeroes for data; a
//! map leaves the table before it is unmapped.
//!
//! Never here: what a file contains, and any other unsafe code of this crate.
#![allow(unsafe_code, reason = "signal handlers and file maps cannot be had without it")]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, Once, OnceLock, PoisonError};

/// Maps guarded at once. Half of Linux's default `vm.max_map_count` (65,530): a guarded map that
/// faulted takes two kernel areas.
const MAPS_MAX: usize = 32_000;
/// Pages that one mincore(2) is asked for: 2 MiB of a file, half a KiB of stack.
const RESIDENCE_PAGES: usize = 512;

/// A read-only shared map of a file, or of a part of one, known to the guard for as long as it
/// lives: a page that cannot be read becomes zeroes and a mark, instead of the end of the process.
#[derive(Debug)]
pub struct GuardedMap {
    // Fields drop in this order: deregistered first, then unmapped.
    registration: Registration,
    map: memmap2::Mmap,
}

/// One row of the table; `len_bytes` is zero in a row that is free.
struct Row {
    start: AtomicUsize,
    len_bytes: AtomicUsize,
    faulted: AtomicBool,
}

/// A claimed row of [`ROWS`], freed when dropped.
#[derive(Debug)]
struct Registration(usize);

/// Rows given out so far, and those given back.
struct Claims {
    fresh: usize,
    freed: Vec<usize>,
}

static ROWS: [Row; MAPS_MAX] = [const {
    Row {
        start: AtomicUsize::new(0),
        len_bytes: AtomicUsize::new(0),
        faulted: AtomicBool::new(false),
    }
}; MAPS_MAX];
/// Rows below this index may be in use; the handler looks no further.
static ROWS_USED: AtomicUsize = AtomicUsize::new(0);
static CLAIMS: Mutex<Claims> = Mutex::new(Claims { fresh: 0, freed: Vec::new() });
static INSTALL: Once = Once::new();
/// What handled SIGBUS before us: Rust's own stack overflow handler, as a rule.
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();
static PAGE_BYTES: AtomicUsize = AtomicUsize::new(4096);

/// Sets the handler, once per process.
pub(super) fn install() {
    INSTALL.call_once(|| {
        // SAFETY: sysconf has no preconditions; sigaction gets valid pointers to initialised
        // structures, and the handler only touches atomics, mmap, sigaction and raise. PREVIOUS is
        // set before the handler can run.
        unsafe {
            let page = libc::sysconf(libc::_SC_PAGESIZE);
            PAGE_BYTES.store(usize::try_from(page).unwrap_or(4096), Ordering::SeqCst);
            let mut previous: libc::sigaction = std::mem::zeroed();
            libc::sigaction(libc::SIGBUS, std::ptr::null(), &raw mut previous);
            PREVIOUS.get_or_init(|| previous);
            let mut ours: libc::sigaction = std::mem::zeroed();
            let handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) = on_sigbus;
            ours.sa_sigaction = handler as usize;
            ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigemptyset(&raw mut ours.sa_mask);
            libc::sigaction(libc::SIGBUS, &raw const ours, std::ptr::null_mut());
        }
    });
}

// === impl GuardedMap ===

impl GuardedMap {
    /// Maps the whole of `file`, which must not be empty. `None`: the table is full.
    pub(super) fn new(file: &File) -> io::Result<Option<Self>> {
        install();
        let Some(registration) = Registration::claim() else { return Ok(None) };
        // SAFETY: the map is read-only and every reader takes its bytes as untrusted: a file that
        // changes or shrinks under it yields other bytes or zeroes with a mark, never a wild read.
        let map = unsafe { memmap2::Mmap::map(file)? };
        registration.cover(&map);
        Ok(Some(Self { registration, map }))
    }

    /// Maps `length_bytes` from `offset_bytes`, a multiple of the page size. The file may end before
    /// or within them: bytes that it grows by show in the map, those beyond its end are a fault for
    /// whoever reads them. `None`: the table is full.
    ///
    /// # Errors
    /// mmap(2)'s: a length of zero, an odd offset, too many maps.
    pub fn part(
        file: impl AsFd,
        offset_bytes: u64,
        length_bytes: usize,
    ) -> io::Result<Option<Self>> {
        install();
        let Some(registration) = Registration::claim() else { return Ok(None) };
        let mut options = memmap2::MmapOptions::new();
        options.offset(offset_bytes).len(length_bytes);
        // SAFETY: as in `new`; the descriptor is borrowed, and so open, during the call.
        let map = unsafe { options.map(file.as_fd().as_raw_fd())? };
        registration.cover(&map);
        Ok(Some(Self { registration, map }))
    }

    /// The bytes; to be trusted only if [`GuardedMap::is_faulted`] is false after reading them.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Whether any page of this map could not be read.
    pub fn is_faulted(&self) -> bool {
        ROWS[self.registration.0].faulted.load(Ordering::SeqCst)
    }

    /// Where the first page of `range` begins that is not in memory, at the least `range.start`;
    /// `None` if reading the range waits for no disk. The kernel tells the owner of a file and
    /// those who may write it; for all others every page counts as resident.
    ///
    /// mincore(2) and not cachestat(2), which is faster on large ranges (0.3 against 1 to 4 µs for
    /// 256 KiB), but needs Linux 6.5 and counts pages that are still being read.
    ///
    /// # Errors
    /// The range leads out of the map, or the system refuses.
    pub fn first_absent(&self, range: Range<usize>) -> io::Result<Option<usize>> {
        if range.end > self.map.len() || range.start > range.end {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let page_bytes = PAGE_BYTES.load(Ordering::SeqCst);
        let mut residence = [0_u8; RESIDENCE_PAGES];
        let mut at = range.start - range.start % page_bytes;
        while at < range.end {
            let length_bytes = (range.end - at).min(RESIDENCE_PAGES * page_bytes);
            // SAFETY: [at, at + length_bytes) lies in our map and begins at a page, as maps do;
            // mincore writes one byte for each of its at most RESIDENCE_PAGES pages.
            let asked = unsafe {
                let start = self.map.as_ptr().add(at).cast_mut().cast();
                libc::mincore(start, length_bytes, residence.as_mut_ptr())
            };
            if asked != 0 {
                return Err(io::Error::last_os_error());
            }
            let pages = length_bytes.div_ceil(page_bytes);
            if let Some(page) = residence[..pages].iter().position(|page| page & 1 == 0) {
                return Ok(Some((at + page * page_bytes).max(range.start)));
            }
            at += length_bytes;
        }
        Ok(None)
    }
}

// === impl Registration ===

impl Registration {
    fn claim() -> Option<Self> {
        let mut claims = CLAIMS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(row) = claims.freed.pop() {
            return Some(Self(row));
        }
        if claims.fresh == MAPS_MAX {
            return None;
        }
        claims.fresh += 1;
        ROWS_USED.store(claims.fresh, Ordering::SeqCst);
        Some(Self(claims.fresh - 1))
    }

    fn cover(&self, map: &[u8]) {
        let row = &ROWS[self.0];
        row.faulted.store(false, Ordering::SeqCst);
        row.start.store(map.as_ptr().addr(), Ordering::SeqCst);
        row.len_bytes.store(map.len(), Ordering::SeqCst);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let row = &ROWS[self.0];
        row.len_bytes.store(0, Ordering::SeqCst);
        row.start.store(0, Ordering::SeqCst);
        CLAIMS.lock().unwrap_or_else(PoisonError::into_inner).freed.push(self.0);
    }
}

// === the handler ===

extern "C" fn on_sigbus(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: with SA_SIGINFO the kernel passes a valid siginfo_t; si_addr is meaningful because a
    // positive si_code says that a memory access raised the signal.
    let (by_access, address) = unsafe { ((*info).si_code > 0, (*info).si_addr().addr()) };
    if by_access && replace_with_zeroes(address) {
        return;
    }
    // Not ours: the access happens again under the previous handler, as if we had never been.
    // SAFETY: sigaction and raise are async-signal-safe; PREVIOUS was set before the handler.
    unsafe {
        if let Some(previous) = PREVIOUS.get() {
            libc::sigaction(libc::SIGBUS, &raw const *previous, std::ptr::null_mut());
        }
        if !by_access {
            libc::raise(libc::SIGBUS);
        }
    }
}

/// Marks the map around `address` and puts zeroes from that page to the map's end: all of a marked
/// map is refused anyway, and one area in place of a page each keeps the kernel's areas few.
fn replace_with_zeroes(address: usize) -> bool {
    let used = ROWS_USED.load(Ordering::SeqCst).min(MAPS_MAX);
    for row in &ROWS[..used] {
        let start = row.start.load(Ordering::SeqCst);
        let len_bytes = row.len_bytes.load(Ordering::SeqCst);
        // A row that changes hands meanwhile shows another start. The map that is being read
        // cannot be among those: its reader keeps it.
        if start != row.start.load(Ordering::SeqCst) || address.wrapping_sub(start) >= len_bytes {
            continue;
        }
        row.faulted.store(true, Ordering::SeqCst);
        let page = address & !(PAGE_BYTES.load(Ordering::SeqCst) - 1);
        return map_zeroes(page, start + len_bytes - page);
    }
    false
}

fn map_zeroes(page: usize, len_bytes: usize) -> bool {
    // SAFETY: [page, page + len_bytes) lies inside one live map of ours, whose owner cannot unmap
    // it while the interrupted thread reads from it; the new pages are readable like the old ones.
    // errno is put back because the interrupted code may be about to look at it.
    unsafe {
        let errno = *libc::__errno_location();
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
        let at = std::ptr::without_provenance_mut(page);
        let mapped = libc::mmap(at, len_bytes, libc::PROT_READ, flags, -1, 0);
        *libc::__errno_location() = errno;
        mapped != libc::MAP_FAILED
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    const CHILD: &str = "GITRING_TEST_FOREIGN_FAULT";

    fn truncated(guarded: bool) -> u8 {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, &[b'x'; 20_000]).unwrap();
        install();
        let ours = GuardedMap::new(&file).unwrap().unwrap();
        // SAFETY: read once below, where the fault is what the test is about.
        let foreign = unsafe { memmap2::Mmap::map(&file).unwrap() };
        file.set_len(5_000).unwrap();
        let byte = if guarded { ours.bytes()[19_000] } else { foreign[19_000] };
        assert!(ours.is_faulted());
        byte
    }

    #[test]
    fn a_part_follows_the_file_as_it_grows_and_shrinks() {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, &[b'x'; 10_000]).unwrap();
        let part = GuardedMap::part(&file, 4096, 16_384).unwrap().unwrap();
        assert_eq!(part.bytes()[5_903], b'x');
        assert_eq!(part.first_absent(0..5_904).unwrap(), None);
        assert_eq!(part.first_absent(100..16_384).unwrap(), Some(8_192), "beyond the end");
        assert_eq!(part.first_absent(9_000..9_001).unwrap(), Some(9_000));
        assert!(part.first_absent(0..16_385).is_err());
        io::Write::write_all(&mut file, &[b'y'; 10_000]).unwrap();
        assert_eq!(part.bytes()[15_903], b'y');
        assert!(!part.is_faulted());
        file.set_len(4096).unwrap();
        assert_eq!(part.bytes()[15_903], 0);
        assert!(part.is_faulted());
    }

    #[test]
    fn zeroes_stand_in_for_pages_that_are_gone() {
        assert_eq!(truncated(true), 0);
    }

    /// Started again by the test below, in a process of its own.
    #[test]
    fn reads_a_map_of_somebody_else() {
        if std::env::var_os(CHILD).is_some() {
            truncated(false);
        }
    }

    #[test]
    fn faults_in_other_maps_kill_as_they_would_without_us() {
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "objects::fault::tests::reads_a_map_of_somebody_else"])
            .env(CHILD, "1")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.signal(), Some(libc::SIGBUS), "{status}");
    }
}
