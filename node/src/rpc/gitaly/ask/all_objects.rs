//! Every object that lies in a repository or a quarantine, reachable or not.
//!
//! Never here: reading them.

use super::cat_file::Header;
use super::site::Site;
use super::talk::{Command, Talk};
use crate::rpc::gitaly::refs::quoted;
use tonic::Status;

/// git, counting up objects.
#[derive(Debug)]
pub(in crate::rpc::gitaly) struct AllObjects(Option<Talk>);

// === impl AllObjects ===

impl AllObjects {
    pub(in crate::rpc::gitaly) async fn begin(site: &Site) -> Result<Self, Status> {
        // In the order of packs, which neither sorts nor seeks.
        let options = ["--batch-check", "--batch-all-objects", "--buffer", "--unordered"];
        let args = options.iter().map(Into::into).collect();
        let command = Command { subcmd: "cat-file", args, input: Vec::new() };
        Ok(Self(Some(Talk::ask(site, command).await?)))
    }

    /// The next object. `None` at their end, if git has come to it.
    pub(in crate::rpc::gitaly) async fn next(&mut self) -> Result<Option<Header>, Status> {
        let Some(talk) = &mut self.0 else { return Ok(None) };
        if let Some(line) = talk.line(b'\n').await? {
            let invalid = || {
                let line = quoted(&line);
                Status::internal(format!("parsing object info: invalid info line: {line}"))
            };
            return Header::parse(&line).map(Some).ok_or_else(invalid);
        }
        if let Some(talk) = self.0.take() {
            talk.end().await?.as_result("cat-file failed")?;
        }
        Ok(None)
    }
}
