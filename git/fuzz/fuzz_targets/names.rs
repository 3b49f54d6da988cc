//! What clients name: revisions, namespaces, filters, prefixes of ids, fingerprints of packs.

#![no_main]

use std::str::FromStr;
use std::sync::LazyLock;

use bstr::ByteSlice;
use gitring_git::objects::Prefix;
use gitring_git::pack_request::Parts;
use gitring_git::refs::Namespace;
use gitring_git::revision::{Budget, Revision};
use gitring_git::upload_pack::filter::Filter;
use gitring_git_fuzz::scratch::{Scratch, is_ref_name};
use libfuzzer_sys::fuzz_target;

static SCRATCH: LazyLock<Scratch> = LazyLock::new(Scratch::default);

fuzz_target!(|data: &[u8]| {
    let Some((which, data)) = data.split_first() else { return };
    match which % 5 {
        0 => {
            let snapshot = SCRATCH.snapshot().expect("an empty repository");
            let revision = Revision::parse(data.as_bstr());
            drop(revision.resolve(&snapshot, &mut Budget::default()));
        }
        1 => {
            if let Ok(namespace) = Namespace::parse(data) {
                let prefix = namespace.prefix();
                assert!(prefix.is_empty() || prefix.starts_with(b"refs/namespaces/"));
            }
        }
        2 => {
            let Ok(text) = std::str::from_utf8(data) else { return };
            if let Err(error) = Filter::parse(text) {
                assert!(!error.to_string().is_empty());
            }
        }
        3 => drop(Prefix::parse(data)),
        _ => {
            let Ok(text) = std::str::from_utf8(data) else { return };
            if let Ok(parts) = Parts::from_str(text) {
                assert_eq!(Parts::from_str(&parts.to_string()).ok().as_ref(), Some(&parts));
            }
            drop(is_ref_name(data));
        }
    }
});
