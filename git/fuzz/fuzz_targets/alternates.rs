//! `objects/info/alternates`: any bytes lead to a store or an error; circles end.
//!
//! Lines may name any directory of the machine; what lies there changes nothing that is checked.

#![no_main]

use std::sync::LazyLock;

use gitring_git::ObjectId;
use gitring_git::objects::Store;
use gitring_git_fuzz::scratch::{Scratch, ask_everything};
use libfuzzer_sys::fuzz_target;

static SCRATCH: LazyLock<Scratch> = LazyLock::new(Scratch::default);

fuzz_target!(|data: &[u8]| {
    SCRATCH.write("objects/info/alternates", data);
    match Store::open(&SCRATCH.path("objects"), &Default::default()) {
        Ok(store) => ask_everything(&store, &ObjectId::from([7; 20])),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
