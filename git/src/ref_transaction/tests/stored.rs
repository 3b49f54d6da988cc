//! What is written: logs, packed refs, deep directories, journals; and how it is found again.

use super::*;
use crate::refs::packed::PackedRefs;
use packed_search::Packed;

#[test]
fn logs_are_kept_where_git_keeps_them() {
    let sandbox = Sandbox::new(3);
    let (c0, c1, c2) = (sandbox.commits[0], sandbox.commits[1], sandbox.commits[2]);
    write(&sandbox, vec![set("refs/heads/main", c0)]).unwrap();
    assert!(!sandbox.git_dir.join("logs").exists());
    sandbox.git(&["config", "core.logAllRefUpdates", "true"]);
    let log = |update: Update| {
        let (files, objects) = sandbox.open();
        let files = files.with_log_entry(Some("A B <a@b>".into()), "push\nagain");
        prepare(&files, &objects, vec![update]).unwrap().commit().unwrap();
    };
    log(set("refs/heads/main", c1));
    log(set("refs/heads/main", c2));
    log(set("refs/tags/t", c2));
    sandbox.git(&["config", "--unset", "core.logAllRefUpdates"]);
    log(set("refs/heads/main", c0));
    for name in ["refs/heads/main", "HEAD"] {
        let told = sandbox.git(&["log", "-g", "--format=%H %gn <%ge> %gs", name]);
        let line = |id| format!("{id} A B <a@b> push again");
        assert_eq!(told, [line(c0), line(c2), line(c1)].join("\n"), "{name}");
    }
    assert!(!sandbox.git_dir.join("logs/refs/tags").exists());
    log(Update::new("refs/heads/main", Expected::Any, Change::Delete));
    assert!(!sandbox.git_dir.join("logs/refs/heads/main").exists());
    let told = std::fs::read_to_string(sandbox.git_dir.join("logs/HEAD")).unwrap();
    assert!(told.lines().last().unwrap().contains(&"0".repeat(40)), "{told}");
}

#[test]
fn searching_packed_refs_finds_what_parsing_finds() {
    for seed in 1..=6_u64 {
        let mut random = Random::new(seed);
        let count = [0, 1, 50, 2_000, 5_000, 9_000][seed as usize - 1];
        let mut names = BTreeSet::new();
        for _ in 0..count {
            let long = "x".repeat(if random.below(50) == 0 { random.below(3_000) } else { 3 });
            names.insert(format!("refs/heads/{:x}/{long}", random.below(1 << 20)));
        }
        let mut text = "# pack-refs with: peeled fully-peeled sorted \n".to_owned();
        for name in &names {
            let id = format!("{:040x}", random.below(1 << 40) + 1);
            text.push_str(&format!("{id} {name}\n"));
            if random.below(3) == 0 {
                text.push_str(&format!("^{id}\n"));
            }
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("packed-refs");
        std::fs::write(&path, &text).unwrap();
        let (searched, parsed) =
            (Packed::open(&path, false).unwrap(), PackedRefs::read(&path).unwrap());
        assert!(matches!(searched, Packed::Open { .. }));
        let mut asked: Vec<String> = names.iter().step_by(7).cloned().collect();
        asked.extend(names.last().cloned());
        asked.extend(asked.clone().iter().map(|name| name[..name.len() - 1].to_owned()));
        asked.extend([
            "refs/".to_owned(),
            "a".to_owned(),
            "z".to_owned(),
            "refs/heads/8".to_owned(),
        ]);
        for name in asked {
            let name = bstr::BStr::new(name.as_bytes());
            let expected = parsed.get(name).map(|found| found.target);
            assert_eq!(searched.get(name).unwrap(), expected, "seed {seed} {name}");
            let below = parsed.at_or_after(name).filter(|found| found.starts_with(name));
            assert_eq!(searched.first_below(name).unwrap(), below.map(BString::from));
        }
    }
}

#[test]
fn many_new_values_go_to_packed_refs() {
    let sandbox = Sandbox::new(2);
    let (c0, c1) = (sandbox.commits[0], sandbox.commits[1]);
    sandbox.git(&["tag", "-a", "-m", "t", "annotated", &c0.to_string()]);
    let tag = ObjectId::from_hex(sandbox.git(&["rev-parse", "annotated"]).as_bytes()).unwrap();
    write(&sandbox, vec![set("refs/heads/n/7", c0), set("refs/heads/gone", c0)]).unwrap();
    let mut updates: Vec<_> = (0..300).map(|n| set(&format!("refs/heads/n/{n}"), c1)).collect();
    updates.extend((0..300).map(|n| set(&format!("refs/tags/n/{n}"), tag)));
    updates.push(Update::new("refs/heads/gone", Expected::Is(c0), Change::Delete));
    write(&sandbox, updates).unwrap();
    assert_eq!(sandbox.files(), ["refs/tags/annotated"]);
    let told = sandbox.git(&["show-ref", "-d"]);
    let peeled =
        told.lines().filter(|line| line.ends_with("^{}") && line.starts_with(&c0.to_string()));
    assert_eq!(peeled.count(), 301);
    assert_eq!(told.lines().filter(|line| line.starts_with(&c1.to_string())).count(), 300);
    assert!(!told.contains("gone"));
}

#[test]
fn deep_names_can_be_made_and_removed() {
    let sandbox = Sandbox::new(1);
    let name = format!("refs/heads/{}x", "d/".repeat(90));
    write(&sandbox, vec![set(&name, sandbox.commits[0])]).unwrap();
    assert_eq!(sandbox.git(&["rev-parse", &name]), sandbox.commits[0].to_string());
    write(&sandbox, vec![Update::new(name, Expected::Any, Change::Delete)]).unwrap();
    assert!(!sandbox.git_dir.join("refs/heads/d").exists());
    let name = format!("refs/heads/{}x", "d/".repeat(110));
    assert!(
        write(&sandbox, vec![set(&name, sandbox.commits[0])]).unwrap_err().contains("bad name")
    );
}

#[test]
fn damaged_journals_are_no_journals() {
    let room = Path::new("/room");
    let good = b"gitring refs 1\npacked 1-2.3\nset HEAD ref: refs/heads/x\ndrop refs/a\nend 4\n";
    let expected = vec![
        journal::Entry::Packed("/room/1-2.3".into()),
        journal::Entry::Set("HEAD".into(), b"ref: refs/heads/x\n".to_vec()),
        journal::Entry::Drop("refs/a".into()),
    ];
    assert_eq!(journal::parse(good, room), Some(expected));
    for length in 0..good.len() {
        assert_eq!(journal::parse(&good[..length], room), None, "{length}");
    }
    assert_eq!(journal::parse(b"gitring refs 1\npacked ../x\nend 2\n", room), None);
}

/// Goal: a snapshot taken after a commit has what was committed, also while it is cached.
#[test]
fn snapshots_see_each_commit() {
    let sandbox = Sandbox::new(4);
    let repository = repository(&sandbox.git_dir);
    let (mut files, objects) = sandbox.open();
    files.calls = crate::files::System::volatile();
    let mut random = Random::new(1);
    for n in 0..400 {
        let name = *random.pick(&["refs/heads/a", "refs/heads/d/e", "refs/tags/x/y"]);
        let id = *random.pick(&sandbox.commits);
        let is_gone = random.below(4) == 0;
        let change = if is_gone { Change::Delete } else { Change::Set(id) };
        files.pack_min = *random.pick(&[1, usize::MAX]);
        let update = Update::new(name, Expected::Any, change);
        prepare(&files, &objects, vec![update]).unwrap().commit().unwrap();
        let snapshot = repository.snapshot().unwrap();
        let found = snapshot.find(name.into()).map(|found| found.target);
        assert_eq!(found, (!is_gone).then_some(id), "{n}");
        if random.below(8) == 0 {
            std::thread::sleep(Duration::from_millis(25));
        }
    }
}
