//! Quarantines beside real git: what children write there, what gets out, what is swept.

mod crashes;

use super::*;
use crate::objects::tests::fixture::{Fixture, git_in};
use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

/// The proof of these tests.
struct Voted(());

type Ours = Quarantine<Voted>;

/// Runs git with the quarantine's environment.
fn git(repository: &Fixture, quarantine: &Ours, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut git = Command::new("git");
    git.args(arguments).current_dir(repository.dir.path()).envs(quarantine.environment(None));
    git.env("HOME", "/none").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = git.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || io::Write::write_all(&mut stdin, input).unwrap());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{arguments:?}");
        output.stdout
    })
}

/// What lies below `objects`, without directories.
fn files(objects: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut left = vec![objects.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else {
                let name = path.strip_prefix(objects).unwrap();
                found.insert(name.to_str().unwrap().to_owned());
            }
        }
    }
    found
}

/// A pack of all of a repository.
fn pack(fixture: &Fixture) -> Vec<u8> {
    fixture.git(&["pack-objects", "-q", "--all", "--stdout"])
}

fn keep_argument() -> String {
    format!("--keep={}", crate::unpack::KEEP_MESSAGE)
}

#[test]
fn objects_are_seen_once_they_are_migrated() {
    for arguments in [
        vec!["unpack-objects".to_owned(), "-q".to_owned()],
        vec!["index-pack".to_owned(), "--stdin".to_owned(), keep_argument()],
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (source, target) = (Fixture::with_history(8), Fixture::empty());
        let quarantine = Ours::create(&target.objects()).unwrap();
        git(&target, &quarantine, &arguments, &pack(&source));
        let has = |target: &Fixture| {
            let id = source.id("main").to_string();
            let mut git = Command::new("git");
            git.args(["cat-file", "-e", &id]).current_dir(target.dir.path());
            git.stderr(Stdio::null()).status().unwrap().success()
        };
        assert!(!has(&target), "{arguments:?}");
        quarantine.sync().unwrap();
        let kept = quarantine.migrate(&Voted(())).unwrap();
        assert!(has(&target), "{arguments:?}");
        let is_kept = || files(&target.objects()).iter().any(|name| name.ends_with(".keep"));
        assert_eq!(is_kept(), arguments[0] == "index-pack");
        drop(kept);
        assert!(!is_kept());
        let main = source.id("main").to_string();
        target.git(&["update-ref", "refs/heads/main", &main]);
        target.git(&["fsck", "--strict", "--no-dangling"]);
        assert!(!files(&target.objects()).iter().any(|name| name.contains("tmp_objdir")));
    }
}

#[test]
fn what_is_there_stays() {
    let (source, target) = (Fixture::with_history(3), Fixture::empty());
    let index = ["index-pack", "--stdin", &keep_argument()].map(str::to_owned);
    let index: Vec<&str> = index.iter().map(String::as_str).collect();
    let pack = pack(&source);
    let identity = |target: &Fixture| {
        let pack = target.objects().join("pack");
        let inode = |name: &String| fs::metadata(pack.join(name)).unwrap().ino();
        let all = files(&pack).into_iter().filter(|name| !name.ends_with(".keep"));
        all.map(|name| (inode(&name), name)).collect::<Vec<_>>()
    };
    let [first, second] = [(); 2].map(|()| Ours::create(&target.objects()).unwrap());
    for quarantine in [&first, &second] {
        git(&target, quarantine, &index, &pack);
    }
    let kept = first.migrate(&Voted(())).unwrap();
    let before = identity(&target);
    drop(second.migrate(&Voted(())).unwrap());
    assert_eq!(identity(&target), before);
    // The one that came second did not take the file of the first.
    assert_eq!(target.files(".keep").len(), 1);
    drop(kept);
    assert_eq!(target.files(".keep").len(), 0);
}

/// Goal: a pack that two pushes bring is kept until both have their refs.
#[test]
fn a_pack_is_kept_for_the_last_of_its_pushes() {
    let (source, target) = (Fixture::with_history(3), Fixture::empty());
    let index = ["index-pack", "--stdin", &keep_argument()].map(str::to_owned);
    let index: Vec<&str> = index.iter().map(String::as_str).collect();
    let pack = pack(&source);
    for first_leaves_first in [true, false] {
        let kept = [(); 2].map(|()| {
            let quarantine = Ours::create(&target.objects()).unwrap();
            git(&target, &quarantine, &index, &pack);
            quarantine.migrate(&Voted(())).unwrap()
        });
        let [first, second] = kept;
        let (one, other) = if first_leaves_first { (first, second) } else { (second, first) };
        drop(one);
        assert_eq!(target.files(".keep").len(), 1);
        assert_eq!(sweep(&target.objects(), usize::MAX).unwrap(), 0);
        drop(other);
        assert_eq!(target.files(".keep").len(), 0);
    }
    // Somebody else keeps it: that is left alone.
    let [packed] = &target.files(".pack")[..] else { panic!("one pack") };
    let foreign = packed.with_extension("keep");
    fs::write(&foreign, "for ever\n").unwrap();
    let quarantine = Ours::create(&target.objects()).unwrap();
    git(&target, &quarantine, &index, &pack);
    drop(quarantine.migrate(&Voted(())).unwrap());
    assert_eq!(fs::read_to_string(&foreign).unwrap(), "for ever\n");
}

/// Goal: a quarantine goes though a child that dies still writes to it.
#[test]
fn a_quarantine_that_is_written_to_goes() {
    let target = Fixture::empty();
    let quarantine = Ours::create(&target.objects()).unwrap();
    let path = quarantine.path().to_owned();
    std::thread::scope(|scope| {
        let (begun, beginning) = std::sync::mpsc::channel();
        let writer = path.clone();
        scope.spawn(move || {
            let began = std::time::Instant::now();
            for n in 0.. {
                drop(fs::create_dir(writer.join("ab")));
                drop(fs::write(writer.join(format!("ab/{n}")), "x"));
                begun.send(()).unwrap_or_default();
                if began.elapsed() > std::time::Duration::from_millis(80) {
                    break;
                }
            }
        });
        for _ in 0..10 {
            beginning.recv().unwrap();
        }
        drop(quarantine);
    });
    assert!(!path.exists());
}

#[test]
fn only_objects_get_out() {
    let target = Fixture::empty();
    let before = files(&target.objects());
    let quarantine = Ours::create(&target.objects()).unwrap();
    let shallow = quarantine.write_shallow(&[ObjectId::null(gix_hash::Kind::Sha1)]).unwrap();
    assert_eq!(fs::read_to_string(shallow).unwrap(), format!("{}\n", "0".repeat(40)));
    let write = |name: &str| {
        let path = quarantine.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    };
    for name in ["ab/tmp_obj_x", "pack/tmp_pack_x", "pack/other.pack", "info/alternates", "ABC/d"] {
        write(name);
    }
    write("ab/cdef");
    for name in ["pack-1.idx", "pack-1.pack", "pack-1.rev", "pack-1.keep"] {
        write(&format!("pack/{name}"));
    }
    drop(quarantine.migrate(&Voted(())).unwrap());
    let after: BTreeSet<_> = files(&target.objects()).difference(&before).cloned().collect();
    let expected = ["ab/cdef", "pack/pack-1.idx", "pack/pack-1.pack", "pack/pack-1.rev"];
    assert_eq!(after, expected.map(str::to_owned).into());
}

#[test]
fn an_index_comes_behind_its_pack() {
    let order = ["pack-1.idx", "pack-2.keep", "pack-1.rev", "pack-2.pack", "pack-1.pack"];
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("pack")).unwrap();
    for name in order {
        fs::write(directory.path().join("pack").join(name), name).unwrap();
    }
    let files = Contents::of(directory.path()).unwrap().files(directory.path());
    let extensions: Vec<_> = files.iter().map(|path| path.extension().unwrap()).collect();
    assert_eq!(extensions, ["keep", "pack", "pack", "rev", "idx"]);
}

#[test]
fn the_dead_are_swept_and_the_living_are_not() {
    let (source, target) = (Fixture::with_history(3), Fixture::empty());
    let living = Ours::create(&target.objects()).unwrap();
    let index = ["index-pack", "--stdin", &keep_argument()].map(str::to_owned);
    let index: Vec<&str> = index.iter().map(String::as_str).collect();
    git(&target, &living, &index, &pack(&source));
    let of_git = target.objects().join("tmp_objdir-incoming-abcdef");
    fs::create_dir(&of_git).unwrap();
    let dead = target.objects().join(format!("{NAME}abcdef"));
    fs::create_dir_all(dead.join("pack")).unwrap();
    fs::write(dead.join("pack/pack-1.pack"), "x").unwrap();
    assert_eq!(sweep(&target.objects(), usize::MAX).unwrap(), 1);
    assert!(living.path().exists() && of_git.exists() && !dead.exists());
    let kept = living.migrate(&Voted(())).unwrap();
    assert_eq!(sweep(&target.objects(), usize::MAX).unwrap(), 0);
    let [keep] = &target.files(".keep")[..] else { panic!("one pack is kept") };
    let foreign = target.objects().join("pack/pack-2.keep");
    fs::write(&foreign, "receive-pack 7 on host\n").unwrap();
    // Its process dies before refs were updated: nobody holds the lock any more.
    let again = fs::read(keep).unwrap();
    drop(kept);
    fs::write(keep, again).unwrap();
    assert_eq!(sweep(&target.objects(), usize::MAX).unwrap(), 1);
    assert!(!keep.exists() && foreign.exists());
}

#[test]
fn a_dropped_quarantine_leaves_nothing() {
    let target = Fixture::empty();
    let before = files(&target.objects());
    let quarantine = Ours::create(&target.objects()).unwrap();
    git(&target, &quarantine, &["hash-object", "-w", "--stdin"], b"content");
    assert_eq!(fs::metadata(quarantine.path()).unwrap().permissions().mode() & 0o777, 0o700);
    drop(quarantine);
    assert_eq!(files(&target.objects()), before);
}

#[test]
fn gits_own_receive_pack_knows_the_environment() {
    let root = tempfile::tempdir().unwrap();
    for name in ["plain", "with:colon", "\"quoted\" \\ and: \u{e4}"] {
        let directory = root.path().join(name);
        fs::create_dir(&directory).unwrap();
        git_in(&directory, &["init", "-q", "--bare", "."], b"");
        let id = git_in(&directory, &["hash-object", "-w", "--stdin"], b"content");
        let id = String::from_utf8(id).unwrap();
        let quarantine = Ours::create(&directory.join("objects")).unwrap();
        let mut git = Command::new("git");
        git.args(["cat-file", "-e", id.trim()]).current_dir(&directory);
        git.envs(quarantine.environment(Some(OsStr::new("/nowhere"))));
        assert!(git.status().unwrap().success(), "{name}");
    }
}

#[test]
fn shared_repositories_stay_shared() {
    let target = Fixture::empty();
    let objects = target.objects();
    fs::set_permissions(&objects, fs::Permissions::from_mode(0o2775)).unwrap();
    let quarantine = Ours::create(&objects).unwrap();
    fs::create_dir(quarantine.path().join("ab")).unwrap();
    fs::write(quarantine.path().join("ab/cd"), "x").unwrap();
    drop(quarantine.migrate(&Voted(())).unwrap());
    let mode = fs::metadata(objects.join("ab")).unwrap().permissions().mode();
    assert_eq!(mode & 0o2775, 0o2775);
}
