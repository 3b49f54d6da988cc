//! Loose refs and HEAD beside `packed-refs`: any bytes are a sorted list of refs or an error.
//!
//! Input: parts between bytes 0xff: HEAD, two loose refs, one below a directory, `packed-refs`.

#![no_main]

use std::fs;
use std::sync::LazyLock;

use gitring_git_fuzz::scratch::{Scratch, is_ref_name};
use libfuzzer_sys::fuzz_target;

static SCRATCH: LazyLock<Scratch> = LazyLock::new(Scratch::default);

const FILES: [&str; 5] =
    ["HEAD", "refs/heads/main", "refs/heads/other", "refs/tags/below/v1", "packed-refs"];

fuzz_target!(|data: &[u8]| {
    fs::create_dir_all(SCRATCH.path("refs/tags/below")).expect("a directory can be made");
    let mut parts = data.split(|byte| *byte == 0xff);
    for file in FILES {
        SCRATCH.write(file, parts.next().unwrap_or_default());
    }
    let snapshot = match SCRATCH.snapshot() {
        Ok(snapshot) => snapshot,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert!(snapshot.refs.is_sorted_by(|a, b| a.name < b.name));
    for one in snapshot.refs.iter() {
        assert!(one.is_broken() || is_ref_name(&one.name), "{}", one.name);
        assert_eq!(snapshot.find(one.name.as_ref()), Some(one));
    }
});
