//! Journals of ref transactions that a dead process left: whatever one says, nothing outside of the
//! repository's refs is written, and it is carried out, undone or an error.

#![no_main]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use gitring_git::files::System;
use gitring_git::ref_transaction::{RefFiles, recover};
use gitring_git_fuzz::scratch::Scratch;
use libfuzzer_sys::fuzz_target;

const MARKER: &[u8] = b"gitring holds this lock; see gitring/ in the git directory\n";

fuzz_target!(|data: &[u8]| {
    let scratch = Scratch::default();
    fs::create_dir(scratch.path("gitring")).expect("a directory can be made");
    scratch.write("gitring/x.1", b"# pack-refs with: peeled fully-peeled sorted \n");
    // Its process is known to be dead, so that nobody waits for it.
    scratch.write("gitring/x.session", MARKER);
    scratch.write("gitring/x.0.decided", data);
    let snapshot = scratch.snapshot().expect("an empty repository");
    let files = RefFiles::of(&snapshot).expect("a plain repository");
    let files = files.with_calls(System::volatile());
    let before = outside(&scratch);
    match recover(&files) {
        Ok(_) => {}
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    assert_eq!(outside(&scratch), before);
    drop(scratch.snapshot());
});

/// What lies in the repository and beside it, but for refs.
fn outside(scratch: &Scratch) -> BTreeSet<String> {
    let root = scratch.path("");
    let list = |path: &Path| {
        let entries = fs::read_dir(path).expect("a directory");
        let named = entries.map(|entry| entry.expect("an entry").path().display().to_string());
        named.collect::<Vec<_>>()
    };
    let is_ref = |path: &String| {
        let name = path.rsplit('/').next().unwrap_or_default();
        name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
            || ["refs", "packed-refs", "gitring"].contains(&name)
    };
    let places = ["", "objects", "objects/info", "objects/pack"];
    let found = places.iter().flat_map(|place| list(&root.join(place)));
    found.filter(|path| !is_ref(path)).collect()
}
