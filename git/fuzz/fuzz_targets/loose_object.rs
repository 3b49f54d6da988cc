//! Loose objects: any inflated bytes, and any bytes as they lie on disk, are an object or an error;
//! commits and tags among them are parsed.
//!
//! Input: one byte that says what stands before the rest (a header for a commit, tag, tree or
//! blob of the right length; none; or nothing is deflated), then the content.

#![no_main]

use std::sync::LazyLock;

use gitring_git::ObjectId;
use gitring_git_fuzz::scratch::{Scratch, ask_and_compare, deflate};
use libfuzzer_sys::fuzz_target;

const HEX: &str = "aa11111111111111111111111111111111111111";

static SCRATCH: LazyLock<Scratch> = LazyLock::new(|| {
    let scratch = Scratch::default();
    std::fs::create_dir(scratch.path("objects/aa")).expect("a directory can be made");
    scratch
});

fuzz_target!(|data: &[u8]| {
    let Some((form, content)) = data.split_first() else { return };
    let name = ["commit", "tag", "tree", "blob"].get(usize::from(form % 6));
    let file = match (name, form % 6) {
        (Some(name), _) => {
            deflate(&[format!("{name} {}\0", content.len()).as_bytes(), content].concat())
        }
        (None, 4) => deflate(content),
        (None, _) => content.to_vec(),
    };
    SCRATCH.write(&format!("objects/aa/{}", &HEX[2..]), &file);
    let id = ObjectId::from_hex(HEX.as_bytes()).expect("an id");
    let store = SCRATCH.store();
    ask_and_compare(&store, &id);
    if name.is_some() {
        let object = store.read(&id).expect("whole").expect("there");
        assert_eq!(object.data, content);
    }
});
