//! Walks through history and objects by `git rev-list`.
//!
//! Always true: revisions were checked (`revisions.rs`); none is taken for a path or an option.
//! Never here: reading what was found.

use super::revisions::is_pseudo;
use super::site::Site;
use super::talk::{Command, Talk};
use bytes::Bytes;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use tonic::Status;

/// What git is told to do.
const SUBCMD: &str = "rev-list";

/// A walk, and what it came by.
#[derive(Debug)]
pub(in crate::rpc::gitaly) struct Walk(Talk);

/// An object on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::rpc::gitaly) struct Step {
    /// In hexadecimal.
    pub(in crate::rpc::gitaly) id: Bytes,
    /// Where it was found first; empty if that has no name.
    pub(in crate::rpc::gitaly) path: Bytes,
}

// === impl Walk ===

impl Walk {
    /// Begins a walk from `revisions` that heeds these options, and these paths if there are any.
    pub(in crate::rpc::gitaly) async fn begin(
        site: &Site,
        options: Vec<OsString>,
        revisions: &[impl AsRef<[u8]>],
        paths: &[Bytes],
    ) -> Result<Self, Status> {
        let (args, input) = command_line(options, revisions, paths);
        let command = Command { subcmd: SUBCMD, args, input };
        Ok(Self(Talk::ask(site, command).await?))
    }

    /// The next object.
    pub(in crate::rpc::gitaly) async fn next(&mut self) -> Result<Option<Step>, Status> {
        let Some(id) = self.0.line(b'\n').await? else { return Ok(None) };
        let mut step = Step { id, path: Bytes::new() };
        if let Some(at) = step.id.iter().position(|byte| *byte == b' ') {
            step.path = step.id.split_off(at + 1);
            step.id.truncate(at);
        }
        Ok(Some(step))
    }

    /// Whether a walk that came to its end went well.
    pub(in crate::rpc::gitaly) async fn end(self) -> Result<(), Status> {
        self.0.end().await?.as_result("rev-list pipeline command")
    }

    /// All that it prints, which is little, if the walk went well.
    pub(in crate::rpc::gitaly) async fn answer(
        self,
        bytes_max: usize,
    ) -> Result<Option<Bytes>, Status> {
        let (answer, ended) = self.0.rest(bytes_max).await?;
        if !ended.status.success() {
            tracing::info!(complaint = ended.complaint, "git rev-list failed");
            return Ok(None);
        }
        Ok(Some(answer))
    }
}

/// Arguments and input of a walk. Plain revisions go by the input, where they may be many. Options
/// that stand for revisions must be arguments: git before 2.42 refuses them in the input.
fn command_line(
    mut options: Vec<OsString>,
    revisions: &[impl AsRef<[u8]>],
    paths: &[Bytes],
) -> (Vec<OsString>, Vec<u8>) {
    let mut input = Vec::new();
    let (mut wanted, mut unwanted) = (Vec::new(), Vec::new());
    let mut is_unwanted = false;
    for revision in revisions {
        let revision = revision.as_ref();
        if revision == b"--not" {
            is_unwanted = !is_unwanted;
            continue;
        }
        // A range has a side of either kind, a path may have lines, and what is no option may be one
        // without its first letter.
        let is_range = is_unwanted && revision.windows(2).any(|two| two == b"..");
        let is_odd = revision.contains(&b'\n') || revision.starts_with(b"^-");
        if is_pseudo(revision) || is_range || is_odd {
            let list = if is_unwanted { &mut unwanted } else { &mut wanted };
            list.push(OsString::from_vec(revision.to_vec()));
            continue;
        }
        match (is_unwanted, revision.strip_prefix(b"^")) {
            (false, _) => input.extend_from_slice(revision),
            (true, Some(wanted)) => input.extend_from_slice(wanted),
            (true, None) => {
                input.push(b'^');
                input.extend_from_slice(revision);
            }
        }
        input.push(b'\n');
    }
    options.push("--stdin".into());
    options.append(&mut wanted);
    if !unwanted.is_empty() {
        options.push("--not".into());
        options.append(&mut unwanted);
    }
    options.push("--".into());
    options.extend(paths.iter().map(|path| OsStr::from_bytes(path).to_owned()));
    (options, input)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(revisions: &[&str], paths: &[&str], args: &[&str], input: &str) {
        let paths: Vec<_> = paths.iter().map(|path| Bytes::from(path.to_string())).collect();
        let (found, text) = command_line(vec!["--count".into()], revisions, &paths);
        let found: Vec<_> = found.iter().map(|word| word.to_string_lossy()).collect();
        assert_eq!(found[0], "--count");
        assert_eq!(found[1..], *args);
        assert_eq!(String::from_utf8(text).unwrap(), input);
    }

    #[test]
    fn revisions_keep_their_meaning() {
        check(&["a", "^b", "c..d"], &[], &["--stdin", "--"], "a\n^b\nc..d\n");
        let all = ["--stdin", "--not", "--all", "--"];
        check(&["a", "b", "--not", "--all"], &[], &all, "a\nb\n");
        check(&["--not", "--all", "--not", "a"], &[], &all, "a\n");
        check(&["--not", "a", "^b"], &[], &["--stdin", "--"], "^a\nb\n");
        check(&["--not", "a..b"], &[], &["--stdin", "--not", "a..b", "--"], "");
        check(&["--not", "--not", "a"], &["x", "-y"], &["--stdin", "--", "x", "-y"], "a\n");
        check(&["--not", "^--all"], &[], &["--stdin", "--not", "^--all", "--"], "");
        check(&["HEAD:a\nb"], &[], &["--stdin", "HEAD:a\nb", "--"], "");
        check(&["--branches", "--glob=x"], &[], &["--stdin", "--branches", "--glob=x", "--"], "");
    }
}
