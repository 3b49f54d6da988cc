//! `packed-refs`: any bytes are a sorted list of refs or an error, and can be listed to clients.

#![no_main]

use std::sync::LazyLock;

use gitring_git::pkt_line::{self, Decoded};
use gitring_git::upload_pack::Settings;
use gitring_git::upload_pack::refs::View;
use gitring_git_fuzz::scratch::{Scratch, is_ref_name};
use libfuzzer_sys::fuzz_target;

static SCRATCH: LazyLock<Scratch> = LazyLock::new(Scratch::default);

fuzz_target!(|data: &[u8]| {
    SCRATCH.write("packed-refs", data);
    let snapshot = match SCRATCH.snapshot() {
        Ok(snapshot) => snapshot,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert!(snapshot.refs.is_sorted_by(|a, b| a.name < b.name));
    for one in snapshot.refs.iter() {
        assert!(one.is_broken() || is_ref_name(&one.name), "{}", one.name);
        assert_eq!(snapshot.find(one.name.as_ref()), Some(one));
    }
    let settings = Settings::from_config(&snapshot.config).expect("no configuration");
    let namespace = Default::default();
    let view = View::new(&snapshot, &namespace, &settings.hide);
    let listed = view.ls_refs(&Default::default()).expect("no object is read");
    check_lines(&listed);
    check_lines(&view.advertisement("").expect("no object is read"));
});

/// Packets up to a flush, and nothing behind it.
fn check_lines(mut lines: &[u8]) {
    while lines != pkt_line::FLUSH {
        let Ok(Decoded::Packet { length_bytes, .. }) = pkt_line::decode(lines) else {
            panic!("{lines:?}");
        };
        lines = &lines[length_bytes..];
    }
}
