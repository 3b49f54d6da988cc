//! Who may know whom: crates by their manifests, rooms of the node by their paths.
//!
//! Always true:
//! - A dependency that no row allows is a fault; a new crate needs a row here first.
//!
//! Never here: reading files; `tidy` does that.

use super::source::mask;

/// Folder of a crate, and the crates of ours that it may use (design: Rooms).
const CRATES: &[(&str, &[&str])] = &[
    ("proto", &[]),
    ("git", &[]),
    ("streamcache", &[]),
    ("daemon", &["proto"]),
    ("node", &["git", "streamcache", "proto", "daemon"]),
    ("coordinator", &["proto", "daemon"]),
    ("benches", ALL),
    ("perf", ALL),
    ("tests", ALL),
];
const ALL: &[&str] =
    &["proto", "git", "streamcache", "daemon", "node", "coordinator", "tests", "perf"];

/// Rooms of the node with their height: a room uses rooms of its height or below, never above, and
/// of a sibling (a room of its own height) only what stands at the sibling's door.
const NODE_ROOMS: &[(&str, u8)] = &[
    ("server", 4),
    ("config", 3),
    ("rpc", 2),
    ("storage", 1),
    ("pack_cache", 1),
    ("hooks", 1),
    ("limits", 1),
    ("adaptation", 1),
    ("gitlab", 0),
    ("reactor", 0),
    ("cgroups", 0),
];

/// Prefix of the names of our packages.
const OURS: &str = "gitring-";

/// Dependencies in the manifest of `folder` that no arrow allows.
pub(crate) fn forbidden_dependencies(folder: &str, manifest: &str) -> Vec<String> {
    let Some((_, allowed)) = CRATES.iter().find(|(name, _)| *name == folder) else {
        return vec![format!("{folder}: not in the list of crates and their arrows")];
    };
    let used = dependencies(manifest).into_iter();
    let used = used.filter_map(|name| name.strip_prefix(OURS).map(str::to_owned));
    used.filter(|name| !allowed.contains(&name.as_str()))
        .map(|name| format!("{folder}: must not depend on {name}"))
        .collect()
}

/// Lines of `[workspace.dependencies]` without a reason behind them; our own crates need none.
pub(crate) fn unexplained_dependencies(manifest: &str) -> Vec<String> {
    let lines = manifest.lines().skip_while(|line| line.trim() != "[workspace.dependencies]");
    let lines = lines.skip(1).take_while(|line| !line.starts_with('['));
    lines
        .filter(|line| line.contains('=') && !line.starts_with(['#', ' ']))
        .filter(|line| !line.starts_with(OURS) && reason(line).is_empty())
        .map(|line| format!("no reason given: {line}"))
        .collect()
}

/// Paths of one node file that lead upwards, or into the inside of a sibling.
pub(crate) fn upward_paths(path: &str, source: &str) -> Vec<String> {
    let Some(inside) = path.strip_prefix("node/src/") else { return vec![] };
    let room = inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs");
    let Some(own_height) = height(room) else { return vec![] };
    let masked = mask(source);
    let mut faults = Vec::new();
    for (at, _) in masked.match_indices("crate::") {
        let mut names = masked[at..].split("::").skip(1).map(leading_word);
        let other = names.next().unwrap_or_default();
        let Some(other_height) = height(other) else { continue };
        if other == room {
            continue;
        }
        if other_height > own_height {
            faults.push(format!("{path}: {room} looks up at {other}"));
        }
        let child = names.next().unwrap_or_default();
        let is_module = child.starts_with(|c: char| c.is_ascii_lowercase());
        let is_sibling = other_height == own_height;
        if is_sibling
            && is_module
            && masked[at..].starts_with(&format!("crate::{other}::{child}::"))
        {
            faults.push(format!("{path}: {room} reaches into {other}::{child}"));
        }
    }
    faults
}

fn height(room: &str) -> Option<u8> {
    NODE_ROOMS.iter().find(|(name, _)| *name == room).map(|(_, height)| *height)
}

fn leading_word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// Names in every kind of dependency table, those of single targets included.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut in_table = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            let header = header.trim_end_matches(']');
            in_table = header.ends_with("dependencies");
            let parts: Vec<&str> = header.rsplitn(2, '.').collect();
            if let [name, table] = parts[..]
                && table.ends_with("dependencies")
            {
                names.push(name.to_owned());
            }
        } else if in_table && !line.starts_with('#') {
            let name = line.split(['=', '.', ' ']).next().unwrap_or_default();
            names.push(name.trim_matches('"').to_owned());
            let renamed = line.split("package = \"").nth(1).and_then(|rest| rest.split('"').next());
            names.extend(renamed.map(str::to_owned));
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// The comment behind a dependency; a `#` inside quotes begins none.
fn reason(line: &str) -> &str {
    let mut quoted = false;
    for (at, c) in line.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '#' if !quoted => return line[at + 1..].trim(),
            _ => {}
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_follow_the_arrows() {
        fn check(folder: &str, manifest: &str, expected: &[&str]) {
            assert_eq!(forbidden_dependencies(folder, manifest), expected, "{manifest}");
        }
        let on = |name: &str| format!("[dependencies]\nlibc = \"1\"\n{name}.workspace = true\n");
        check("node", &on("gitring-git"), &[]);
        check("git", &on("gitring-proto"), &["git: must not depend on proto"]);
        check("node", &on("gitring-coordinator"), &["node: must not depend on coordinator"]);
        check("git", "[dev-dependencies.gitring-node]\n", &["git: must not depend on node"]);
        let hidden = "[target.'cfg(unix)'.dependencies]\nx = { package = \"gitring-node\" }\n";
        check("git", hidden, &["git: must not depend on node"]);
        check("git", "[features]\ngitring-node = []\n", &[]);
        check("more", "", &["more: not in the list of crates and their arrows"]);
    }

    #[test]
    fn every_dependency_has_a_reason() {
        fn check(line: &str, explained: bool) {
            let manifest =
                format!("a = 1\n[workspace.dependencies]\n# one each\n{line}\n[x]\nb = 1");
            assert_eq!(unexplained_dependencies(&manifest).is_empty(), explained, "{line}");
        }
        check("libc = \"0.2\" # signals", true);
        check("libc = \"0.2\"", false);
        check("libc = \"0.2\" #", false);
        check("x = { git = \"https://h/#frag\" }", false);
        check("gitring-git = { path = \"git\" }", true);
    }

    #[test]
    fn rooms_look_down_only() {
        fn check(path: &str, source: &str, expected: &[&str]) {
            assert_eq!(upward_paths(path, source), expected, "{source}");
        }
        check("node/src/server.rs", "use crate::rpc::Route;", &[]);
        let up = ["node/src/limits/queue.rs: limits looks up at rpc"];
        check("node/src/limits/queue.rs", "use crate::rpc::{Route, status};", &up);
        check("node/src/limits.rs", "// crate::rpc\nuse crate::limits::queue::Queue;", &[]);
        let into = ["node/src/hooks.rs: hooks reaches into limits::queue"];
        check("node/src/hooks.rs", "fn f(q: crate::limits::queue::Queue) {}", &into);
        check("node/src/hooks.rs", "fn f() { crate::limits::acquire() }", &[]);
        check("node/src/rpc.rs", "fn f(q: crate::limits::queue::Queue) {}", &[]);
        check("node/src/demo.rs", "use crate::server::Config;", &[]);
        check("git/src/limits.rs", "use crate::rpc::Route;", &[]);
    }
}
