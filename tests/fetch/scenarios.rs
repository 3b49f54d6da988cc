//! What clients do: one row per kind of fetch.
//!
//! Always true: a scenario leaves a clone in `clone`, and returns what the client printed where
//! that is part of the answer.
//!
//! Never here: expectations; stock git gives them.

use std::ops::RangeInclusive;

use gitring_tests::client::Client;

/// One kind of fetch.
pub(crate) struct Scenario {
    /// For messages.
    pub(crate) name: &'static str,
    /// Protocol versions in which a client can ask for it.
    pub(crate) versions: RangeInclusive<u8>,
    /// The client's commands.
    pub(crate) run: fn(&Client<'_>) -> String,
}

const fn row(name: &'static str, run: fn(&Client<'_>) -> String) -> Scenario {
    Scenario { name, versions: 0..=2, run }
}

const fn row_v2(name: &'static str, run: fn(&Client<'_>) -> String) -> Scenario {
    Scenario { name, versions: 2..=2, run }
}

/// Everything, for the repository with a branch as HEAD.
pub(crate) const ALL: &[Scenario] = &[
    row("full", |c| clone(c, &[])),
    row("mirror", |c| clone(c, &["--mirror"])),
    row("no tags", |c| clone(c, &["--no-tags"])),
    row("single branch", |c| clone(c, &["--single-branch", "-b", "topic/5"])),
    row("single tag", |c| clone(c, &["--single-branch", "-b", "v9-signed-off"])),
    row("orphan branch", |c| clone(c, &["--single-branch", "-b", "orphan"])),
    row("list", list),
    row("depth 1", |c| clone(c, &["--depth", "1"])),
    row("depth 1 of all branches", |c| clone(c, &["--depth", "1", "--no-single-branch"])),
    row("depth 3", |c| clone(c, &["--depth", "3", "--no-single-branch"])),
    row("depth 1 mirror", |c| clone(c, &["--depth", "1", "--mirror"])),
    row("depth beyond the history", |c| clone(c, &["--depth", "1000"])),
    row("shallow since", |c| clone(c, &["--shallow-since=1600001800", "--bare"])),
    row("shallow exclude", |c| clone(c, &["--shallow-exclude=v1", "--bare"])),
    row("shallow exclude two", |c| {
        clone(c, &["--shallow-exclude=v0", "--shallow-exclude=topic/11", "--no-single-branch"])
    }),
    row("deepen", |c| then(c, &["--depth", "2"], &["--depth", "5"])),
    row("deepen relative", |c| then(c, &["--depth", "2"], &["--deepen", "3"])),
    row("deepen since", |c| then(c, &["--depth", "2"], &["--shallow-since=1600001500"])),
    row("deepen exclude", |c| then(c, &["--depth", "2"], &["--shallow-exclude=v0"])),
    row("shorten", |c| then(c, &["--depth", "9"], &["--depth", "2"])),
    row("unshallow", |c| then(c, &["--depth", "2"], &["--unshallow"])),
    row("unshallow all", |c| then(c, &["--depth", "2", "--no-single-branch"], &["--unshallow"])),
    row("shallow incremental", |c| grown(c, &["--depth", "2"], &["--tags"])),
    row("shallow incremental depth 1", |c| grown(c, &["--depth", "1"], &["--depth", "1"])),
    row("full made shallow", |c| then(c, &[], &["--depth", "2"])),
    row("blob:none", |c| clone(c, &["--filter=blob:none", "--no-checkout"])),
    row("blob:none with checkout", |c| clone(c, &["--filter=blob:none"])),
    row("blob:limit", |c| clone(c, &["--filter=blob:limit=1k", "--bare"])),
    row("tree:0", |c| clone(c, &["--filter=tree:0", "--bare"])),
    row("tree:2", |c| clone(c, &["--filter=tree:2", "--mirror"])),
    row("object:type", |c| clone(c, &["--filter=object:type=commit", "--bare"])),
    row("combined filter", |c| clone(c, &["--filter=blob:none", "--filter=tree:3", "--bare"])),
    row("sparse filter", |c| {
        c.clone_of("varied", &["--bare", "--filter=sparse:oid=refs/blobs/readme"]);
        String::new()
    }),
    row("blob:none depth 1", |c| clone(c, &["--filter=blob:none", "--depth", "1", "--bare"])),
    row("blob:none incremental", |c| grown(c, &["--filter=blob:none", "--no-checkout"], &[])),
    row("incremental", |c| grown(c, &[], &[])),
    row("incremental mirror", |c| grown(c, &["--mirror"], &["--prune"])),
    row("incremental without tags", |c| grown(c, &["--no-tags"], &["--no-tags"])),
    row("incremental with work of our own", own_work),
    row("unrelated client", unrelated),
    row("no-op", |c| then(c, &[], &[])),
    row("by id", by_id),
    row("tag following", tag_following),
    row("several refspecs", several),
    row("refetch", |c| then(c, &["--filter=blob:none", "--no-checkout"], &["--refetch"])),
    row("skipping negotiator", |c| with_negotiator(c, "skipping")),
    row("noop negotiator", |c| with_negotiator(c, "noop")),
    row_v2("negotiate only", negotiate_only),
    row_v2("server option", |c| then(c, &["--server-option=one"], &["-o", "two"])),
];

/// For every shape on disk: what reads all refs and objects, and what reads parts of them.
pub(crate) const SHAPED: &[Scenario] = &[
    row("mirror", |c| clone(c, &["--mirror"])),
    row("depth 3", |c| clone(c, &["--depth", "3", "--no-single-branch"])),
    row("incremental", |c| grown(c, &[], &[])),
];

/// For repositories whose HEAD is detached or names nothing.
pub(crate) const UNBORN: &[Scenario] = &[
    row("full", |c| clone(c, &[])),
    row("mirror", |c| clone(c, &["--mirror"])),
    row("list", list),
];

fn clone(client: &Client<'_>, options: &[&str]) -> String {
    client.clone_of("varied", options);
    String::new()
}

/// A clone, and a fetch from the same repository.
fn then(client: &Client<'_>, options: &[&str], fetch: &[&str]) -> String {
    client.clone_of("varied", options);
    client.git(&[&["fetch", "-q"], fetch, &["origin"]].concat())
}

/// A clone, and a fetch from the repository that has grown meanwhile.
fn grown(client: &Client<'_>, options: &[&str], fetch: &[&str]) -> String {
    client.clone_of("varied", options);
    client.turn_to("grown");
    client.git(&[&["fetch", "-q"], fetch, &["origin"]].concat())
}

fn list(client: &Client<'_>) -> String {
    client.clone_of("varied", &["--bare"]);
    let all = client.git(&["ls-remote", "--symref", "origin"]);
    let tags = client.git(&["ls-remote", "--tags", "origin", "v*"]);
    let refs = client.git(&["ls-remote", "--refs", "--heads", "origin"]);
    format!("{all}\n{tags}\n{refs}")
}

/// Commits that the server does not know must not confuse the negotiation.
fn own_work(client: &Client<'_>) -> String {
    client.clone_of("varied", &["-b", "main"]);
    for n in 0..40 {
        client.git(&["commit", "-q", "--allow-empty", "-m", &format!("own {n}")]);
    }
    client.turn_to("grown");
    client.git(&["fetch", "-q", "origin"])
}

/// A client that has nothing in common with the server, but many commits to offer.
fn unrelated(client: &Client<'_>) -> String {
    client.outside(&["init", "-q", "-b", "mine", "clone"]);
    for n in 0..40 {
        client.git(&["commit", "-q", "--allow-empty", "-m", &format!("own {n}")]);
    }
    client.git(&["remote", "add", "origin", &client.url("varied")]);
    client.git(&["fetch", "-q", "origin"])
}

/// `init` instead of `clone`, with a remote `origin`.
fn fresh(client: &Client<'_>) {
    client.outside(&["init", "-q", "--bare", "clone"]);
    client.git(&["remote", "add", "origin", &client.url("varied")]);
}

fn by_id(client: &Client<'_>) -> String {
    fresh(client);
    let listed = client.git(&["ls-remote", "origin", "refs/heads/topic/5"]);
    let id = listed.split('\t').next().unwrap_or_default();
    client.git(&["fetch", "-q", "origin", id]);
    // A commit that no ref names: the parent of what was just fetched.
    let parent = client.git(&["rev-parse", &format!("{id}^")]);
    client.outside(&["init", "-q", "--bare", "second"]);
    client.git(&["update-ref", "refs/heads/by-id", id]);
    client.git(&["fetch", "-q", "--depth", "1", "origin", parent.trim()])
}

fn tag_following(client: &Client<'_>) -> String {
    fresh(client);
    client.git(&["fetch", "-q", "origin", "refs/heads/main:refs/heads/main"]);
    client.git(&["fetch", "-q", "--depth", "2", "origin", "+refs/heads/topic/*:refs/x/*"])
}

fn several(client: &Client<'_>) -> String {
    fresh(client);
    let wanted = ["refs/tags/tree:refs/tags/tree", "refs/tags/blob:refs/tags/blob"];
    client.git(&["fetch", "-q", "--no-tags", "origin", wanted[0], wanted[1]]);
    client.git(&["fetch", "-q", "--no-tags", "origin", "HEAD", "refs/heads/many/*:refs/many/*"])
}

fn with_negotiator(client: &Client<'_>, name: &str) -> String {
    client.clone_of("varied", &[]);
    client.git(&["config", "fetch.negotiationAlgorithm", name]);
    client.turn_to("grown");
    client.git(&["fetch", "-q", "origin"])
}

/// Prints the commits that both sides have, and fetches nothing.
fn negotiate_only(client: &Client<'_>) -> String {
    client.clone_of("varied", &["-b", "main"]);
    client.git(&["commit", "-q", "--allow-empty", "-m", "own"]);
    client.turn_to("grown");
    client.git(&["fetch", "-q", "--negotiate-only", "--negotiation-tip=HEAD", "origin"])
}
