//! Git's configuration under everything else: what Gitaly 16.7 sets for `git upload-pack` and
//! `git receive-pack`, and Gitaly 16.11 for syncs and locks.
//!
//! A repository's own configuration wins over it, `[[git.config]]` wins over both.

/// Keys and values; a key that stands here twice has two values.
const TABLE: &[(&str, &str)] = &[
    // What git children write is on a disk before they say so, as what we write.
    ("core.fsync", "objects,derived-metadata,reference"),
    ("core.fsyncMethod", "fsync"),
    // Locks are held while other nodes vote, so they are waited for longer than git waits.
    ("core.packedRefsTimeout", "10000"),
    ("core.filesRefLockTimeout", "1000"),
    ("gc.auto", "0"),
    ("maintenance.auto", "0"),
    ("core.autocrlf", "input"),
    ("core.useReplaceRefs", "false"),
    ("core.bigFileThreshold", "50m"),
    ("uploadpack.allowFilter", "true"),
    ("uploadpack.allowAnySHA1InWant", "true"),
    ("uploadpack.hideRefs", "refs/keep-around/"),
    ("uploadpack.hideRefs", "refs/remotes/"),
    ("uploadpack.hideRefs", "refs/tmp/"),
    ("pack.windowMemory", "100m"),
    ("pack.writeReverseIndex", "true"),
    ("pack.useBitmapBoundaryTraversal", "true"),
    // The refs of a pool are no concern of those who push to its members.
    ("core.alternateRefsCommand", "exit 0 #"),
    ("receive.advertisePushOptions", "true"),
    // GitLab's own refs, which nobody pushes to.
    ("receive.hideRefs", "refs/environments/"),
    ("receive.hideRefs", "refs/keep-around/"),
    ("receive.hideRefs", "refs/merge-requests/"),
    ("receive.hideRefs", "refs/pipelines/"),
    ("receive.hideRefs", "refs/remotes/"),
    ("receive.hideRefs", "refs/tmp/"),
    // What strangers send is checked, but for three harmless mistakes of old clients.
    ("transfer.fsckObjects", "true"),
    ("receive.fsck.badTimezone", "ignore"),
    ("receive.fsck.missingSpaceBeforeDate", "ignore"),
    ("receive.fsck.zeroPaddedFilemode", "ignore"),
];

/// The table and what depends on the machine.
pub fn all() -> Vec<(String, String)> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = cores.ilog2().max(1);
    let fixed = TABLE.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    fixed.chain([("pack.threads".to_owned(), threads.to_string())]).collect()
}

/// [`all`] in the syntax of git-config(1). git of this process serves repositories that belong to
/// other users as well, hence `safe.directory`.
pub fn file() -> String {
    let mut text = "[safe]\n\tdirectory = *\n".to_owned();
    for (key, value) in all() {
        let (section, name) = key.rsplit_once('.').expect("every key of the table has a dot");
        let section = match section.split_once('.') {
            Some((section, subsection)) => format!("{section} \"{subsection}\""),
            None => section.to_owned(),
        };
        text.push_str(&format!("[{section}]\n\t{name} = \"{value}\"\n"));
    }
    text
}
