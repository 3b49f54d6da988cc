//! `BlobService`'s work: file contents, listed and by their paths.
//!
//! Always true: of a blob no more is in memory than one piece.

mod get;
mod list;
mod pointer;
mod pointers;

pub(super) use self::get::get_blobs;
pub(super) use self::list::{list_all_blobs, list_blobs};
pub(super) use self::pointers::{list_all_lfs_pointers, list_lfs_pointers};

use crate::rpc::gitaly::ask::site::Site;
use crate::rpc::gitaly::ask::walk::Walk;
use std::ffi::OsString;
use tonic::Status;

/// Blobs that are asked for at once.
const BATCH: usize = 100;

/// Begins a walk that comes by blobs alone, which these options restrict further.
async fn walk(site: &Site, more: &[&str], revisions: &[String]) -> Result<Walk, Status> {
    let options = ["--in-commit-order", "--objects", "--object-names"];
    let filter = ["--filter=object:type=blob", "--filter-provided-objects"];
    let options = options.iter().chain(more).chain(&filter).map(OsString::from).collect();
    Walk::begin(site, options, revisions, &[]).await
}
