//! Snapshots for writers: settings and objects as they are, refs that may be older.

use super::*;

/// Goal: what writers are given is never older than a change of settings, and reads no refs again.
#[test]
fn settings_are_current_and_refs_may_be_older() {
    let sandbox = Sandbox::new(2);
    let repository = Repository::open(&sandbox.git_dir, Environment::default()).unwrap();
    let key = "core.filesreflocktimeout";
    let timeout = || repository.settings().unwrap().config.integer(key).ok().flatten();
    assert_eq!(timeout(), None);
    // Until stamps say for certain what was read.
    std::thread::sleep(Duration::from_millis(50));
    let before = repository.snapshot().unwrap();
    let main = sandbox.git(&["rev-parse", "refs/keep/c0002"]);
    sandbox.git(&["update-ref", "refs/keep/new", &main]);
    let settings = repository.settings().unwrap();
    assert!(Arc::ptr_eq(&before, &settings), "no ref was read again");
    assert_eq!(repository.snapshot().unwrap().refs.len(), 3);
    for (n, value) in [(1, 7), (2, 8), (3, 9)] {
        sandbox.git(&["config", key, &value.to_string()]);
        assert_eq!(timeout(), Some(value), "change {n}");
    }
    sandbox.git(&["config", "core.repositoryFormatVersion", "1"]);
    sandbox.git(&["config", "extensions.refStorage", "reftable"]);
    let unsupported = repository.settings().unwrap().unsupported;
    assert_eq!(unsupported, Some(Unsupported::Reftable));
}
