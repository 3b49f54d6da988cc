//! Git's configuration under everything else: what Gitaly 16.7 sets for `git upload-pack`.
//!
//! A repository's own configuration wins over it, `[[git.config]]` wins over both.

/// Keys and values; a key that stands here twice has two values.
const TABLE: &[(&str, &str)] = &[
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
        let (section, name) = key.split_once('.').expect("every key of the table has a dot");
        text.push_str(&format!("[{section}]\n\t{name} = {value}\n"));
    }
    text
}
