//! git's trace2 events (api-trace2, "Event Format"), of which we write one: what a fetch in v2
//! asked for.
//!
//! Always true: an event is one line, appended with one write; one that cannot be written is lost
//! and nothing else.
//! Never here: other targets than a file (`GIT_TRACE2_EVENT=/absolute/path`), and git's other
//! events.

use gitring_daemon::log::timestamp;
use gitring_git::upload_pack::arguments::Needs;
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Where events go.
#[derive(Debug)]
pub struct Trace2 {
    file: PathBuf,
}

/// What is told of a fetch beside its arguments.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// Objects that both sides have.
    pub haves: usize,
    /// Objects that are wanted, those of `want-ref` included.
    pub wants: usize,
}

// === impl Trace2 ===

impl Trace2 {
    /// `target` is the value of `GIT_TRACE2_EVENT`.
    pub fn to(target: Option<&OsStr>) -> Option<Self> {
        let file = Path::new(target?);
        file.is_absolute().then(|| Self { file: file.to_owned() })
    }

    /// The event `fetch-info`, with the fields that git gives it.
    #[expect(clippy::disallowed_methods, reason = "a process of one fetch, one line")]
    pub fn fetch_info(&self, needs: &Needs, found: Found) {
        let line = fetch_info(needs, found, &timestamp(SystemTime::now()), std::process::id());
        let file = OpenOptions::new().append(true).create(true).open(&self.file);
        let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
    }
}

fn fetch_info(needs: &Needs, found: Found, time: &str, pid: u32) -> String {
    // Names of filters are fixed words: nothing in the line needs quoting.
    let filter = needs.filter.as_ref();
    let filter = filter.map_or("null".to_owned(), |filter| format!("\"{}\"", filter.config_name()));
    format!(
        "{{\"event\":\"data_json\",\"sid\":\"gitring-P{pid:08x}\",\"thread\":\"main\",\
         \"time\":\"{time}\",\"repo\":1,\"nesting\":1,\"category\":\"upload-pack\",\
         \"key\":\"fetch-info\",\"value\":{{\"haves\":{},\"wants\":{},\"want-refs\":{},\
         \"depth\":{},\"shallows\":{},\"deepen-since\":{},\"deepen-not\":{},\
         \"deepen-relative\":{},\"filter\":{filter}}}}}\n",
        found.haves,
        found.wants,
        needs.want_refs.len(),
        needs.depth.commits,
        needs.shallows.len(),
        needs.depth.since.is_some(),
        needs.depth.not.len(),
        needs.relative,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fetch_is_one_line() {
        let needs = Needs { relative: true, ..Needs::default() };
        let line = fetch_info(&needs, Found { haves: 2, wants: 1 }, "T", 7);
        assert_eq!(
            line,
            "{\"event\":\"data_json\",\"sid\":\"gitring-P00000007\",\"thread\":\"main\",\
             \"time\":\"T\",\"repo\":1,\"nesting\":1,\"category\":\"upload-pack\",\
             \"key\":\"fetch-info\",\"value\":{\"haves\":2,\"wants\":1,\"want-refs\":0,\
             \"depth\":0,\"shallows\":0,\"deepen-since\":false,\"deepen-not\":0,\
             \"deepen-relative\":true,\"filter\":null}}\n"
        );
    }
}
