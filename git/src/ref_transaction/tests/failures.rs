//! Goal: a disk that fails at any call leaves all or nothing of a transaction, once it works again and
//! [`recover`] was called, and what was told: an error of `prepare`, or that nothing was changed, means
//! that nothing was; success that all was.
//! Method: calls that fail once, or from some call on for good.

use super::*;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Calls of which some fail.
#[derive(Debug)]
struct Failing {
    calls: Arc<dyn FileCalls>,
    left: AtomicUsize,
    is_for_good: bool,
}

// === impl Failing ===

impl Failing {
    fn call(&self) -> io::Result<()> {
        let left = self.left.load(Ordering::SeqCst);
        if left == 0 && !self.is_for_good {
            self.left.store(usize::MAX, Ordering::SeqCst);
        } else if left != 0 && left != usize::MAX {
            self.left.store(left - 1, Ordering::SeqCst);
        }
        if left == 0 { Err(io::Error::from_raw_os_error(libc::EIO)) } else { Ok(()) }
    }
}

impl FileCalls for Failing {
    fn create_new(&self, path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
        self.call().and_then(|()| self.calls.create_new(path, content, mode))
    }

    fn append(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        self.call().and_then(|()| self.calls.append(path, content))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call().and_then(|()| self.calls.link(from, to))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call().and_then(|()| self.calls.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call().and_then(|()| self.calls.remove(path))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.call().and_then(|()| self.calls.create_dir(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.call().and_then(|()| self.calls.remove_dir(path))
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        self.call().and_then(|()| self.calls.sync(path))
    }

    fn sync_many(&self, paths: &[PathBuf]) -> io::Result<()> {
        self.call().and_then(|()| self.calls.sync_many(paths))
    }
}

/// Runs a transaction whose call number `at` fails; whether a call failed at all.
fn check(change: usize, pack_min: usize, at: usize, is_for_good: bool) -> bool {
    let case = format!("change {change} packed from {pack_min} call {at} for good {is_for_good}");
    let sandbox = Sandbox::new(2);
    let (c0, c1) = (sandbox.commits[0], sandbox.commits[1]);
    let (mut files, objects) = sandbox.open();
    files.calls = crate::files::System::volatile();
    files.pack_min = pack_min;
    let before = ["refs/heads/a", "refs/heads/b/c"].map(|name| set(name, c0)).to_vec();
    prepare(&files, &objects, before).unwrap().commit().unwrap();
    sandbox.git(&["pack-refs", "--all"]);
    let updates = match change {
        0 => vec![set("refs/heads/a", c1)],
        1 => vec![Update::new("refs/heads/a", Expected::Is(c0), Change::Delete)],
        _ => vec![
            set("refs/heads/a", c1),
            set("refs/heads/new/x", c1),
            Update::new("refs/heads/b/c", Expected::Is(c0), Change::Delete),
        ],
    };
    let old = refs(&sandbox.git_dir, &case);
    let failing = Failing { calls: files.calls.clone(), left: AtomicUsize::new(at), is_for_good };
    let failing = Arc::new(failing);
    let faulty = files.clone().with_calls(Arc::clone(&failing) as Arc<dyn FileCalls>);
    let (mut may_be_old, mut may_be_new) = (true, true);
    match prepare(&faulty, &objects, updates.clone()).map(Prepared::commit) {
        Err(_) | Ok(Err(CommitError::Nothing { .. })) => may_be_new = false,
        Ok(Err(CommitError::Uncertain { .. })) => {}
        Ok(Ok(())) => may_be_old = false,
    }
    let has_failed = !matches!(failing.left.load(Ordering::SeqCst), 1..usize::MAX);
    // The session of the faulty calls ends: with it go locks that could not be removed.
    end_sessions();
    drop((faulty, failing));
    recover_all(&sandbox, &files, &case);
    let found = refs(&sandbox.git_dir, &case);
    if found == old {
        assert!(may_be_old, "{case}: nothing was done");
        let prepared = prepare(&files, &objects, updates);
        prepared.unwrap_or_else(|error| panic!("{case}: {error}")).commit().unwrap();
    } else {
        assert!(may_be_new, "{case}: something was done");
    }
    let found = refs(&sandbox.git_dir, &case);
    let expected: &[(&str, ObjectId)] = match change {
        0 => &[("refs/heads/a", c1), ("refs/heads/b/c", c0)],
        1 => &[("refs/heads/b/c", c0)],
        _ => &[("refs/heads/a", c1), ("refs/heads/new/x", c1)],
    };
    let expected = expected.iter().map(|(name, id)| (BString::from(*name), *id)).collect();
    assert_eq!(found, expected, "{case}");
    has_failed
}

#[test]
fn a_disk_that_fails_at_any_call_leaves_all_or_nothing() {
    let mut count = 0;
    for (change, pack_min) in [(0, 9), (1, 9), (2, 9), (2, 1)] {
        for is_for_good in [false, true] {
            let mut at = 0;
            while check(change, pack_min, at, is_for_good) {
                at += 1;
            }
            count += at;
        }
    }
    println!("{count} failures of single calls and of disks");
    assert!(count > 100);
}
