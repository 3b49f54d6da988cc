//! The same random transactions for us and for `git update-ref --stdin`, in two repositories.

use super::*;
use std::io::Write;
use std::process::Stdio;

const NAMES: [&str; 10] = [
    "refs/heads/a",
    "refs/heads/a/b",
    "refs/heads/a/b/c",
    "refs/heads/b",
    "refs/heads/main",
    "refs/tags/t",
    "refs/tags/t/u",
    "refs/x/symbolic",
    "HEAD",
    "refs/heads/b/c",
];

/// One transaction in the words of `git update-ref --stdin`.
fn stdin(updates: &[Update]) -> String {
    let mut text = "start\n".to_owned();
    let zeros = ObjectId::null(gix_hash::Kind::Sha1);
    for update in updates {
        if !update.is_followed {
            text.push_str("option no-deref\n");
        }
        let old = match update.old {
            Expected::Any => String::new(),
            Expected::Absent => format!(" {zeros}"),
            Expected::Is(id) => format!(" {id}"),
        };
        let name = &update.name;
        text.push_str(&match update.change {
            Change::Set(id) => format!("update {name} {id}{old}\n"),
            Change::Delete => format!("delete {name}{old}\n"),
            Change::Verify => format!("verify {name}{old}\n"),
            Change::Point(_) => unreachable!("git 2.39 has no such command"),
        });
    }
    text + "prepare\ncommit\n"
}

fn by_git(sandbox: &Sandbox, updates: &[Update]) -> Result<(), String> {
    let mut child = command(&sandbox.git_dir, &["update-ref", "--stdin"]);
    child.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    // It may refuse before it has read all.
    let _ = child.stdin.take().unwrap().write_all(stdin(updates).as_bytes());
    let output = child.wait_with_output().unwrap();
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said.lines().next().unwrap_or_default();
    let line = line.trim_start_matches("fatal: ").trim_start_matches("prepare: ");
    Err(line.replace(sandbox.git_dir.to_str().unwrap(), "DIR"))
}

fn by_us(sandbox: &Sandbox, updates: &[Update]) -> Result<(), String> {
    let (files, objects) = sandbox.open();
    let files = files.with_calls(crate::files::System::volatile());
    let prepared = prepare(&files, &objects, updates.to_vec());
    let said = |error: PrepareError| error.to_string();
    prepared.map_err(said)?.commit().map_err(|error| error.to_string())
}

fn random_update(random: &mut Random, sandbox: &Sandbox, name: &str) -> Update {
    let id = *random.pick(&sandbox.commits);
    let old = match random.below(6) {
        0 => Expected::Absent,
        1 => Expected::Is(*random.pick(&sandbox.commits)),
        2 => {
            let now = sandbox.try_git(&["rev-parse", "-q", "--verify", name]);
            ObjectId::from_hex(now.stdout.trim_ascii()).map_or(Expected::Absent, Expected::Is)
        }
        _ => Expected::Any,
    };
    let change = match random.below(8) {
        // Without HEAD it is no repository; git does it, we do not.
        0..3 if name != "HEAD" => Change::Delete,
        3 if old != Expected::Any => Change::Verify,
        4 if random.below(4) == 0 => {
            Change::Set(ObjectId::from_hex(b"1234567890123456789012345678901234567890").unwrap())
        }
        5 if random.below(4) == 0 => Change::Set(ObjectId::empty_tree(gix_hash::Kind::Sha1)),
        _ => Change::Set(id),
    };
    // git's command for a deletion refuses an old value of zeros.
    let is_odd = change == Change::Delete && old == Expected::Absent;
    let old = if is_odd { Expected::Any } else { old };
    let is_followed = random.below(4) != 0;
    Update { name: name.into(), old, change, is_followed }
}

#[test]
fn random_transactions_end_as_gits_do() {
    let (mut good, mut bad) = (0, 0);
    for seed in 1..=12 {
        let mut random = Random::new(seed);
        let (ours, gits) = (Sandbox::new(4), Sandbox::new(0));
        std::fs::remove_dir_all(gits.git_dir.join("objects")).unwrap();
        let objects = ours.git_dir.join("objects");
        std::os::unix::fs::symlink(objects, gits.git_dir.join("objects")).unwrap();
        for sandbox in [&ours, &gits] {
            sandbox.git(&["symbolic-ref", "refs/x/symbolic", "refs/heads/b"]);
        }
        for step in 0..50 {
            let mut names: Vec<_> = (0..=random.below(3)).map(|_| *random.pick(&NAMES)).collect();
            // git takes them as they come, we in order: the first error is the same in order.
            names.sort_unstable();
            let updates: Vec<_> =
                names.iter().map(|name| random_update(&mut random, &ours, name)).collect();
            let case = format!("seed {seed} step {step}: {updates:?}");
            let (mine, its) = (by_us(&ours, &updates), by_git(&gits, &updates));
            assert_eq!(mine.is_ok(), its.is_ok(), "{case}: {mine:?} {its:?}");
            if updates.len() == 1 {
                assert_eq!(mine, its, "{case}");
            }
            if mine.is_ok() {
                good += 1
            } else {
                bad += 1
            }
            assert_eq!(ours.told_by_git(), gits.told_by_git(), "{case}");
            assert_eq!(ours.files(), gits.files(), "{case}");
            if random.below(6) == 0 {
                for sandbox in [&ours, &gits] {
                    sandbox.git(&["pack-refs", "--all", "--prune"]);
                }
            }
        }
    }
    println!("{good} transactions committed, {bad} refused, as by git");
}
