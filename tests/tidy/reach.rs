//! Files that nobody compiles and crates that nobody builds.
//!
//! Always true:
//! - A Rust file is a root that cargo knows, or its parent declares it with `mod`.
//!
//! Never here: reading files; `tidy` does that.

use super::source::mask;

/// Rust files of one crate that no root reaches. Paths are relative to the crate.
pub(crate) fn unreached(folder: &str, manifest: &str, files: &[(String, String)]) -> Vec<String> {
    let lost = files.iter().filter(|(path, _)| {
        !is_root(manifest, path)
            && !parents(path).iter().any(|parent| declares(files, parent, path))
    });
    lost.map(|(path, _)| format!("{folder}/{path}: no module declares it")).collect()
}

/// Crates that the members list of the workspace does not name.
pub(crate) fn missing_members(manifest: &str, folders: &[String]) -> Vec<String> {
    let list = manifest.split("members = [").nth(1).and_then(|rest| rest.split(']').next());
    let list = list.unwrap_or_default();
    let missing = folders.iter().filter(|name| !list.contains(&format!("\"{name}\"")));
    missing.map(|name| format!("{name}: not a member of the workspace")).collect()
}

/// Whether cargo itself starts at this file: named in the manifest, or in a place it looks at.
fn is_root(manifest: &str, path: &str) -> bool {
    let named = manifest.contains(&format!("path = \"{path}\""));
    let by_place = matches!(path, "src/lib.rs" | "src/main.rs" | "build.rs")
        || ["src/bin/", "tests/", "benches/", "examples/"].iter().any(|place| {
            // `tests/a.rs`, or `tests/a/main.rs`
            path.strip_prefix(place).is_some_and(|rest| match rest.split_once('/') {
                Some((_, rest)) => rest == "main.rs",
                None => true,
            })
        });
    named || by_place
}

/// Files that may declare `path`: `a/b.rs` belongs to `a.rs`, `a/main.rs`, `a/lib.rs`, `a/mod.rs`.
fn parents(path: &str) -> Vec<String> {
    match path.rsplit_once('/') {
        None => vec!["main.rs".to_owned(), "lib.rs".to_owned()],
        Some((folder, _)) => {
            let inside = ["main.rs", "lib.rs", "mod.rs"].map(|name| format!("{folder}/{name}"));
            inside.into_iter().chain([format!("{folder}.rs")]).collect()
        }
    }
}

fn declares(files: &[(String, String)], parent: &str, path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).trim_end_matches(".rs");
    files
        .iter()
        .any(|(file, source)| file == parent && mask(source).contains(&format!("mod {name};")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forgotten_file_is_found() {
        fn check(files: &[(&str, &str)], lost: &[&str]) {
            let files: Vec<_> =
                files.iter().map(|(path, source)| (path.to_string(), source.to_string())).collect();
            let manifest = "[[test]]\npath = \"main.rs\"\n";
            let found = unreached("x", manifest, &files);
            let lost: Vec<_> =
                lost.iter().map(|path| format!("x/{path}: no module declares it")).collect();
            assert_eq!(found, lost);
        }
        check(&[("main.rs", "mod a;"), ("a.rs", "mod b;"), ("a/b.rs", "")], &[]);
        check(&[("main.rs", "// mod a;"), ("a.rs", "")], &["a.rs"]);
        check(&[("main.rs", "mod a;"), ("a.rs", ""), ("a/b.rs", "")], &["a/b.rs"]);
        check(&[("src/lib.rs", "pub(crate) mod a;"), ("src/a.rs", ""), ("tests/t.rs", "")], &[]);
        check(&[("tests/t/main.rs", "mod a;"), ("tests/t/a.rs", "")], &[]);
        check(&[("tests/t/main.rs", ""), ("tests/t/a.rs", "")], &["tests/t/a.rs"]);
    }

    #[test]
    fn a_crate_outside_the_workspace_is_found() {
        let manifest = "[workspace]\nmembers = [\"git\", \"tests\"]\n";
        let folders = ["git", "node"].map(str::to_owned);
        assert_eq!(missing_members(manifest, &folders), ["node: not a member of the workspace"]);
    }
}
