//! What each method does and where its requests name repositories, from the options of
//! `gitaly/lint.proto`.
//!
//! The coordinator routes by this table; the node labels metrics and picks limits by it.
//!
//! Always true: the table is sorted by path, and a path occurs once.
//! Never here: reading a field out of a request; the paths say which one it is.

/// What a method does to a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Reads.
    Accessor,
    /// Changes what clients see: refs, objects, configuration, existence.
    Mutator,
    /// Changes how a repository is stored, and nothing that clients see.
    Maintenance,
    /// Methods of intercepted services have no operation.
    Unspecified,
}

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// One repository, see [`Method::target_repository`]. Intercepted methods count as such.
    Repository,
    /// A whole storage, see [`Method::storage`].
    Storage,
    /// A part of a storage that has its own write-ahead log.
    Partition,
}

/// One RPC.
///
/// The three paths are field numbers from the request down, for instance `[1, 2]` for field 2 of
/// the message in field 1. Fields of a oneof are part of a path like any other: only some messages
/// of a client's stream then hold the field, usually the first.
#[derive(Debug, PartialEq, Eq)]
pub struct Method {
    /// `gitaly.CommitService`
    pub service: &'static str,
    /// `FindCommit`
    pub name: &'static str,
    /// `/gitaly.CommitService/FindCommit`, as in `:path` of HTTP/2.
    pub path: &'static str,
    /// What it does.
    pub operation: Operation,
    /// What it is about.
    pub scope: Scope,
    /// A proxy answers it itself.
    pub intercepted: bool,
    /// The client sends a stream of requests.
    pub client_streaming: bool,
    /// The server sends a stream of responses.
    pub server_streaming: bool,
    /// Marked as such in the newest version that has the method.
    pub deprecated: bool,
    /// Way to the `gitaly.Repository` that is read or changed; ends inside of an object pool.
    pub target_repository: Option<&'static [u32]>,
    /// Way to another `gitaly.Repository` that the method needs; ends inside of an object pool.
    pub additional_repository: Option<&'static [u32]>,
    /// Way to the name of a storage.
    pub storage: Option<&'static [u32]>,
}

static METHODS: &[Method] = &include!(concat!(env!("OUT_DIR"), "/methods.rs"));

/// Every method of the package `gitaly`, sorted by path.
pub fn all() -> &'static [Method] {
    METHODS
}

/// The method with this `:path`; `None` for other packages, health and reflection among them.
pub fn find(path: &str) -> Option<&'static Method> {
    let place = METHODS.binary_search_by(|method| method.path.cmp(path)).ok()?;
    METHODS.get(place)
}

#[cfg(test)]
mod tests;
