//! Custom hooks from archives and into archives; GNU tar is the other side.

use super::World;
use bytes::Bytes;
use gitring_node::hooks::{ArchiveError, ArchiveLimits, Intake, ReplaceError, pack, vote_of};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

const LIMITS: ArchiveLimits = ArchiveLimits { bytes_max: 1 << 20, entries_max: 20 };

fn sh(script: &str, directory: &Path) -> Vec<u8> {
    let output = Command::new("sh").args(["-ec", script]).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{script}: {output:?}");
    output.stdout
}

/// What lies below, one line an entry: mode, path, content.
fn picture(directory: &Path) -> String {
    let script = "umask 022; find . | LC_ALL=C sort | while read f; do \
                  printf '%s %s ' \"$(stat -c %a \"$f\")\" \"$f\"; \
                  if test -f \"$f\"; then cat \"$f\"; fi; echo; done";
    String::from_utf8(sh(script, directory)).unwrap()
}

/// Sets the hooks from an archive; the vote.
async fn set(world: &World, archive: &[u8]) -> Result<[u8; 20], ReplaceError> {
    let root = world.path("storage");
    let mut intake = Intake::begin(&world.workers, &root, &world.git_dir, LIMITS).await?;
    for piece in archive.chunks(1000) {
        intake.put(Bytes::copy_from_slice(piece)).await?;
    }
    let mut replacement = intake.unpack().await?;
    let vote = replacement.vote();
    replacement.publish().await?;
    assert_eq!(vote_of(&world.git_dir.join("custom_hooks")).unwrap(), vote);
    replacement.finish().await;
    Ok(vote)
}

/// Nothing is left in the storage but the repository, whose hooks nobody holds.
fn assert_clean(world: &World) {
    let left = fs::read_dir(world.path("storage/+gitaly/tmp")).unwrap().count();
    assert_eq!((left, world.git_dir.join("custom_hooks.lock").exists()), (0, false));
}

#[tokio::test]
async fn archives_become_hooks() {
    let world = World::new();
    let source = world.path("source");
    fs::create_dir(&source).unwrap();
    let hooks = world.git_dir.join("custom_hooks");
    let check = async |script: &str, expected: &str| {
        let archive = sh(&format!("umask 022; rm -rf *; {script}"), &source);
        set(&world, &archive).await.unwrap();
        assert_eq!(picture(&hooks), expected, "{script}");
        assert_clean(&world);
    };
    let make = "mkdir -p custom_hooks/pre-receive.d; echo a >custom_hooks/pre-receive; \
                chmod 755 custom_hooks/pre-receive; echo -n b >custom_hooks/pre-receive.d/x; ";
    let made = "755 . \n755 ./pre-receive a\n\n755 ./pre-receive.d \n644 ./pre-receive.d/x b\n";
    check(&format!("{make} tar -c custom_hooks"), made).await;
    check(&format!("{make} tar --format=posix -c custom_hooks"), made).await;
    check(&format!("{make} tar --format=v7 -c custom_hooks"), made).await;
    // What lies beside is passed over, be it of a kind that is refused within.
    check(&format!("{make} echo x >y; ln -s y z; tar -c y z custom_hooks"), made).await;
    // Directories need not be named.
    check(&format!("{make} tar -c custom_hooks/pre-receive custom_hooks/pre-receive.d/x"), made)
        .await;
    // The last of several counts.
    let twice = "tar -cf t custom_hooks; echo c >custom_hooks/pre-receive; tar -rf t custom_hooks/pre-receive; cat t";
    check(&format!("{make} {twice}"), &made.replace("receive a", "receive c")).await;
    // Modes are narrowed by the umask only; directories may be closed to their owner.
    let closed = "chmod 500 custom_hooks/pre-receive.d; tar -c custom_hooks; chmod 700 custom_hooks/pre-receive.d";
    check(&format!("{make} {closed}"), &made.replace("755 ./pre-receive.d", "500 ./pre-receive.d"))
        .await;
    let long = format!("custom_hooks/{}", "d/".repeat(90));
    check(&format!("mkdir -p {long}; rm -rf custom_hooks/*; tar -c custom_hooks"), "755 . \n")
        .await;
    let name = "n".repeat(200);
    check(
        &format!("mkdir custom_hooks; echo -n l >custom_hooks/{name}; tar -c custom_hooks"),
        &format!("755 . \n644 ./{name} l\n"),
    )
    .await;
    // An archive without them, and none at all, mean no hooks.
    check("echo x >y; tar -c y", "755 . \n").await;
    check(&format!("{make} tar -c custom_hooks"), made).await;
    check("true", "755 . \n").await;
}

#[tokio::test]
async fn what_is_no_file_or_leads_elsewhere_is_refused() {
    let world = World::new();
    let source = world.path("source");
    fs::create_dir_all(source.join("in")).unwrap();
    set(&world, b"").await.unwrap();
    world.hook("pre-receive", "echo old");
    let before = picture(&world.git_dir);
    let check = async |script: &str, expected: fn(&ReplaceError) -> bool| {
        let archive = sh(
            &format!("rm -rf * ../custom_hooks; mkdir custom_hooks; {script}"),
            &source.join("in"),
        );
        let refused = set(&world, &archive).await.unwrap_err();
        assert!(expected(&refused), "{script}: {refused:?}");
        // What was held goes with the next job of the one worker at the latest.
        world.workers.run(|| ()).await.unwrap();
        assert_eq!(picture(&world.git_dir), before, "{script}");
        assert_clean(&world);
        assert!(!world.path("escaped").exists() && !world.path("storage/escaped").exists());
    };
    let kind =
        |error: &ReplaceError| matches!(error, ReplaceError::Archive(ArchiveError::Kind { .. }));
    let path = |error: &ReplaceError| matches!(error, ReplaceError::Archive(ArchiveError::Path(_)));
    let malformed =
        |error: &ReplaceError| matches!(error, ReplaceError::Archive(ArchiveError::Malformed(_)));
    check("ln -s /etc/passwd custom_hooks/pre-receive; tar -c custom_hooks", kind).await;
    check("mkfifo custom_hooks/pre-receive; tar -c custom_hooks", kind).await;
    check("echo x >custom_hooks/a; ln custom_hooks/a custom_hooks/b; tar -c custom_hooks", kind)
        .await;
    // A link cannot be written through.
    let through = "ln -s ../../../../.. custom_hooks/d; tar -cf t custom_hooks; rm custom_hooks/d; \
                   mkdir custom_hooks/d; echo x >custom_hooks/d/escaped; tar -rf t custom_hooks/d/escaped; cat t";
    check(through, kind).await;
    let up = "echo x >f; tar -P --transform 's,^f,custom_hooks/../../../../escaped,' -c f";
    check(up, path).await;
    check("echo x >f; tar -P --transform 's,^f,custom_hooks/..,' -c f", path).await;
    check("head -c 3000 /dev/urandom", malformed).await;
    check("echo x >custom_hooks/a; tar -c custom_hooks | head -c 1100", malformed).await;
    check("head -c 5000 /dev/zero >custom_hooks/a; tar -c custom_hooks | head -c 3000", malformed)
        .await;
    let long =
        |error: &ReplaceError| matches!(error, ReplaceError::Archive(ArchiveError::TooLong(_)));
    check("head -c 1100000 /dev/zero >custom_hooks/a; tar -c custom_hooks", long).await;
    let many =
        |error: &ReplaceError| matches!(error, ReplaceError::Archive(ArchiveError::TooMany(20)));
    check("for i in $(seq 30); do echo >custom_hooks/$i; done; tar -c custom_hooks", many).await;
    // Holes are no data: what unpacks to gigabytes is refused as a kind of its own.
    check("truncate -s 8G custom_hooks/a; tar -cS custom_hooks", kind).await;
}

/// Goal: at no moment a reader finds fewer hooks than the old or the new ones.
#[tokio::test]
async fn replacing_is_atomic_and_excludes_others() {
    let world = World::new();
    let source = world.path("source");
    fs::create_dir(&source).unwrap();
    let archive = |word: &str| {
        let script = format!(
            "mkdir -p custom_hooks; for i in 1 2 3; do echo {word} >custom_hooks/$i; done; tar -c custom_hooks"
        );
        sh(&script, &source)
    };
    let (old, new) = (archive("old"), archive("new"));
    set(&world, &old).await.unwrap();
    let hooks = world.git_dir.join("custom_hooks");
    let reading = std::thread::spawn(move || {
        for _ in 0..2000 {
            // One descriptor: a directory that is replaced stays what it was.
            let directory = fs::File::open(&hooks).expect("there are hooks at any time");
            let inode = directory.metadata().unwrap().ino();
            let words: Vec<_> =
                (1..4).map(|name| fs::read_to_string(hooks.join(name.to_string()))).collect();
            if fs::metadata(&hooks).unwrap().ino() == inode {
                let words: Vec<_> = words.into_iter().map(Result::unwrap).collect();
                assert!(words.iter().all(|word| *word == words[0]), "{words:?}");
            }
        }
    });
    let mut turns = 0;
    while !reading.is_finished() {
        turns += 1;
        set(&world, if turns % 2 == 0 { &old } else { &new }).await.unwrap();
    }
    reading.join().unwrap();
    let root = world.path("storage");
    let first = Intake::begin(&world.workers, &root, &world.git_dir, LIMITS).await.unwrap();
    let second = set(&world, &old).await.unwrap_err();
    assert_eq!(second.to_string(), "locking hooks: file already locked");
    drop(first);
    set(&world, &old).await.unwrap();
}

#[tokio::test]
async fn votes_are_those_that_were_recorded() {
    let world = World::new();
    let source = world.path("source");
    fs::create_dir(&source).unwrap();
    let script = "umask 022; mkdir custom_hooks; printf '#!/bin/sh\\nexit 0\\n' >custom_hooks/pre-receive; \
                  chmod 755 custom_hooks/pre-receive; tar -c custom_hooks";
    let vote = set(&world, &sh(script, &source)).await.unwrap();
    let vote: String = vote.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(vote, "a5aeb88440b6a85a7b1b509270f147f6c54383eb");
}

#[tokio::test]
async fn hooks_become_archives() {
    let world = World::new();
    let root = world.path("storage");
    let archive = async || {
        let packed = pack(&world.workers, &root, &world.git_dir, LIMITS).await?;
        let Some(mut packed) = packed else { return Ok(None) };
        let mut bytes = Vec::new();
        while let Some(piece) = packed.next().await? {
            bytes.extend_from_slice(&piece);
        }
        Ok::<_, ReplaceError>(Some(bytes))
    };
    assert_eq!(archive().await.unwrap(), None);
    world.hook("pre-receive", "echo a");
    world.hook("pre-receive.d/x", "echo b");
    let hooks = world.git_dir.join("custom_hooks");
    fs::set_permissions(hooks.join("pre-receive.d"), Permissions::from_mode(0o750)).unwrap();
    std::os::unix::fs::symlink("x", hooks.join("pre-receive.d/y")).unwrap();
    let name = "n".repeat(200);
    fs::write(hooks.join(&name), vec![b'z'; 700_000]).unwrap();
    let bytes = archive().await.unwrap().unwrap();
    let target = world.path("target");
    fs::create_dir(&target).unwrap();
    fs::write(world.path("archive"), &bytes).unwrap();
    sh("tar -xpf ../archive", &target);
    assert_eq!(picture(&target.join("custom_hooks")), picture(&hooks));
    assert_eq!(fs::read_link(target.join("custom_hooks/pre-receive.d/y")).unwrap(), Path::new("x"));
    // And back, without what cannot be set.
    fs::remove_file(hooks.join("pre-receive.d/y")).unwrap();
    let before = picture(&hooks);
    let bytes = archive().await.unwrap().unwrap();
    set(&world, b"").await.unwrap();
    set(&world, &bytes).await.unwrap();
    assert_eq!(picture(&hooks), before);
    fs::write(hooks.join("more"), vec![b'z'; 700_000]).unwrap();
    let refused = archive().await.unwrap_err();
    assert!(matches!(refused, ReplaceError::Archive(ArchiveError::TooLong(_))), "{refused:?}");
    assert_clean(&world);
}

/// Goal: whatever an archive holds, it is hooks or an error, and nothing lies elsewhere.
/// Method: bytes of a real archive are changed at random places; headers get a right checksum in
/// every other round, so that their fields are believed.
#[tokio::test]
async fn damaged_archives_are_hooks_or_errors() {
    let world = World::new();
    let source = world.path("source");
    fs::create_dir(&source).unwrap();
    let script = "mkdir -p custom_hooks/a.d; echo x >custom_hooks/b; echo y >custom_hooks/a.d/c; \
                  tar -c custom_hooks";
    let whole = sh(script, &source);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % below as u64).unwrap()
    };
    let mut outcomes = [0, 0];
    for round in 0..300 {
        let mut archive = whole.clone();
        for _ in 0..=next(3) {
            let at = next(4096);
            archive[at] = [0, b'/', b'.', b'9', 0xff, u8::try_from(next(256)).unwrap()][next(6)];
        }
        if round % 2 == 0 {
            for header in archive.chunks_exact_mut(512) {
                header[148..156].fill(b' ');
                let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
                header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            }
        }
        archive.truncate(archive.len() - next(2) * next(3000));
        let outcome = set(&world, &archive).await;
        outcomes[usize::from(outcome.is_ok())] += 1;
        world.workers.run(|| ()).await.unwrap();
        assert_clean(&world);
        let names = fs::read_dir(&world.git_dir).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names.retain(|name| name != "custom_hooks");
        assert_eq!(names, ["objects"], "round {round}");
        let beside = fs::read_dir(world.path("storage")).unwrap().count();
        assert_eq!(beside, 2, "round {round}");
    }
    assert!(outcomes.iter().all(|count| *count > 20), "{outcomes:?}");
}
