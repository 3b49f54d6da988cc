//! Commits, tags and mailmaps as people are shown them.
//!
//! Input: a mailmap, a byte 0xff, an object's content.

#![no_main]

use gitring_git::commit::{self, read_trailers};
use gitring_git::config::Config;
use gitring_git::mailmap::Mailmap;
use gitring_git::tag;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(2, |byte| *byte == 0xff);
    let (mailmap, object) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let renamed = Mailmap::parse(mailmap).rename(object).into_owned();
    let empty = Mailmap::parse(b"").rename(object).into_owned();
    assert_eq!(empty, object, "nobody is renamed");
    for content in [object, &renamed] {
        let details = commit::Details::parse(content);
        assert!(details.message.len() <= content.len() && details.body().len() <= content.len());
        assert!(content.ends_with(details.message));
        drop(commit::trailers(&details, &Config::default()));
        let details = tag::Details::parse(content);
        assert!(content.ends_with(details.message));
    }
    for trailer in read_trailers(object) {
        assert!(!trailer.key.is_empty());
    }
});
