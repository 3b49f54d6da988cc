//! The rules of the tree, as tests: arrows, heads, sizes, names, files that nobody compiles.
//!
//! Always true:
//! - The checks are pure functions over text and have failing inputs of their own beside them.
//!
//! Never here: exceptions. A rule that needs one is changed for everybody.

mod arrows;
mod reach;
mod rules;
mod source;

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn source_files_keep_the_rules() {
    let files = rust_files();
    report(files.iter().flat_map(|(path, source)| rules::judge(path, source)).collect());
}

#[test]
fn crates_and_rooms_keep_their_arrows() {
    let mut faults = Vec::new();
    for folder in crate_folders() {
        let manifest = read(&workspace().join(&folder).join("Cargo.toml"));
        faults.extend(arrows::forbidden_dependencies(&folder, &manifest));
    }
    let files = rust_files();
    faults.extend(files.iter().flat_map(|(path, source)| arrows::upward_paths(path, source)));
    report(faults);
}

#[test]
fn dependencies_give_their_reasons() {
    report(arrows::unexplained_dependencies(&read(&workspace().join("Cargo.toml"))));
}

#[test]
fn every_crate_is_a_member() {
    let manifest = read(&workspace().join("Cargo.toml"));
    report(reach::missing_members(&manifest, &crate_folders()));
}

#[test]
fn every_file_is_reached() {
    let mut faults = Vec::new();
    let files = rust_files();
    for folder in crate_folders() {
        let manifest = read(&workspace().join(&folder).join("Cargo.toml"));
        let prefix = format!("{folder}/");
        let own: Vec<(String, String)> = files
            .iter()
            .filter(|(path, _)| path.starts_with(&prefix))
            .map(|(path, source)| (path[prefix.len()..].to_owned(), source.clone()))
            .collect();
        faults.extend(reach::unreached(&folder, &manifest, &own));
    }
    report(faults);
}

#[test]
fn every_script_of_tests_is_called() {
    let folder = workspace().join("tests");
    let callers = read(&workspace().join("Makefile"));
    let scripts = entries(&folder).into_iter().filter(|path| path.is_file());
    let names = scripts.filter(|path| path.extension().is_none());
    let names = names.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
    let unused = names.filter(|name| !callers.contains(&format!("tests/{name}")));
    report(
        unused.map(|name| format!("tests/{name}: no target of the Makefile calls it")).collect(),
    );
}

/// The root of the workspace, which is the parent of this package.
fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a member has a parent folder")
}

/// Folders of the workspace's crates; a folder with a workspace of its own is not one of them.
fn crate_folders() -> Vec<String> {
    let manifests =
        entries(workspace()).into_iter().filter(|path| path.join("Cargo.toml").exists());
    let own = manifests.filter(|path| !read(&path.join("Cargo.toml")).contains("[workspace]"));
    own.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect()
}

/// Every Rust file of the crates with its path from the root.
fn rust_files() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> =
        crate_folders().iter().map(|name| workspace().join(name)).collect();
    while let Some(folder) = folders.pop() {
        for path in entries(&folder) {
            let own_workspace = path.join("Cargo.toml").exists();
            if path.is_dir() && !own_workspace && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(workspace()).expect("found below the workspace");
                found.push((name.to_string_lossy().into_owned(), read(&path)));
            }
        }
    }
    found
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let read_dir = fs::read_dir(folder).expect("the workspace can be read");
    let mut paths: Vec<PathBuf> =
        read_dir.map(|entry| entry.expect("the folder can be read").path()).collect();
    paths.sort();
    paths
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn report(faults: Vec<String>) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}
