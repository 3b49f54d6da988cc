//! Goal: after a loss of power at any moment every acknowledged update is there, and of each
//! transaction all or nothing.
//! Method: threads with refs of their own run random transactions through a recorder; then, for
//! many moments and seeds, what may be left is built, recovered, and compared with what was
//! acknowledged by then.

use super::*;
use crate::files::recorder::{Loss, Recorder};
use std::sync::Mutex;

/// What a thread's refs are; those that do not exist are not in it.
type Model = BTreeMap<BString, ObjectId>;

/// A moment, and what a thread's refs were or may be from then on.
#[derive(Debug, Clone)]
enum Note {
    /// Acknowledged.
    Is(Model),
    /// About to become.
    MayBe(Model),
}

struct Case {
    sandbox: Sandbox,
    recorder: Arc<Recorder>,
    /// Of each thread, in order.
    notes: Vec<Vec<(usize, Note)>>,
}

const THREADS: usize = 3;

fn names(thread: usize) -> Vec<BString> {
    let name = |n: usize| match n % 3 {
        0 => format!("refs/heads/t{thread}/n{n}"),
        1 => format!("refs/heads/t{thread}-n{n}"),
        _ => format!("refs/tags/deep{thread}/{n}/x/y"),
    };
    (0..9).map(name).map(BString::from).collect()
}

fn run(seed: u64, steps: usize) -> Case {
    let sandbox = Sandbox::new(6);
    let mut random = Random::new(seed);
    let mut start = vec![Model::new(); THREADS];
    for (thread, model) in start.iter_mut().enumerate() {
        for name in names(thread) {
            if random.below(2) == 0 {
                let id = *random.pick(&sandbox.commits);
                sandbox.git(&["update-ref", &name.to_string(), &id.to_string()]);
                model.insert(name, id);
            }
        }
        if random.below(2) == 0 {
            sandbox.git(&["pack-refs", "--all", "--prune"]);
        }
    }
    let recorder = Recorder::new(&sandbox.git_dir, &["objects", "hooks", "info"]).unwrap();
    let notes: Vec<_> = start.iter().map(|model| vec![(0, Note::Is(model.clone()))]).collect();
    let notes = Mutex::new(notes);
    std::thread::scope(|scope| {
        for (thread, mut model) in start.into_iter().enumerate() {
            let (sandbox, recorder, notes) = (&sandbox, &recorder, &notes);
            scope.spawn(move || {
                let mut random = Random::new(seed * 100 + thread as u64);
                let (files, objects) = sandbox.open();
                let files = files.with_calls(Arc::clone(recorder) as Arc<dyn FileCalls>);
                // packed-refs is locked by others for as long as this machine is slow.
                let mut files = RefFiles { packed_timeout: Duration::from_secs(60), ..files };
                for _ in 0..steps {
                    files.pack_min = *random.pick(&[2, 4, usize::MAX]);
                    let updates = transaction(&mut random, &sandbox.commits, thread, &mut model);
                    let note = |note: Note| {
                        notes.lock().unwrap()[thread].push((recorder.moments(), note));
                    };
                    note(Note::MayBe(model.clone()));
                    prepare(&files, &objects, updates).unwrap().commit().unwrap();
                    note(Note::Is(model.clone()));
                }
            });
        }
    });
    Case { sandbox, recorder, notes: notes.into_inner().unwrap() }
}

/// A transaction of one to all refs of a thread; the model becomes what it makes.
fn transaction(
    random: &mut Random,
    commits: &[ObjectId],
    thread: usize,
    model: &mut Model,
) -> Vec<Update> {
    let mut names = names(thread);
    let count = match random.below(4) {
        0 | 1 => 1,
        2 => 2,
        _ => names.len(),
    };
    let mut updates = Vec::new();
    for _ in 0..count {
        let name = names.swap_remove(random.below(names.len()));
        let old = model.get(&name).map_or(Expected::Absent, |id| Expected::Is(*id));
        if model.contains_key(&name) && random.below(3) == 0 {
            model.remove(&name);
            updates.push(Update::new(name, old, Change::Delete));
        } else {
            let id = *random.pick(commits);
            model.insert(name.clone(), id);
            updates.push(Update::new(name, old, Change::Set(id)));
        }
    }
    updates
}

// === impl Case ===

impl Case {
    /// Builds and checks what may be left at one moment.
    fn check(&self, moment: usize, loss: Loss, seed: u64, asks_git: bool) -> Recovered {
        let case = format!("moment {moment} {loss:?} seed {seed}");
        let root = tempfile::tempdir_in(shm()).unwrap();
        let git_dir = root.path().join("left.git");
        std::fs::create_dir(&git_dir).unwrap();
        self.recorder.remains(moment, loss, seed).build(&git_dir).unwrap();
        let objects = self.sandbox.git_dir.join("objects");
        std::os::unix::fs::symlink(objects, git_dir.join("objects")).unwrap();
        let (files, _) = open(&git_dir);
        let files = files.with_calls(crate::files::System::volatile());
        check_decided(&files, &case);
        let recovered = recover(&files).unwrap_or_else(|error| panic!("{case}: {error}"));
        let found = refs(&git_dir, &case);
        for (thread, notes) in self.notes.iter().enumerate() {
            let own: Model = found
                .iter()
                .filter(|(name, _)| names(thread).contains(name))
                .map(|(name, id)| (name.clone(), *id))
                .collect();
            let mut allowed = Vec::new();
            for (at, note) in notes.iter().filter(|(at, _)| *at <= moment) {
                match note {
                    Note::Is(model) => allowed = vec![model],
                    Note::MayBe(model) if *at < moment => allowed.push(model),
                    Note::MayBe(_) => {}
                }
            }
            assert!(allowed.contains(&&own), "{case}: thread {thread} {own:#?} {allowed:#?}");
        }
        let left: Vec<_> = std::fs::read_dir(files.room()).into_iter().flatten().collect();
        assert!(left.is_empty(), "{case}: {left:?}");
        // Everything can be written again.
        if let Some((name, id)) = found.first_key_value() {
            let update = Update::new(name.clone(), Expected::Is(*id), Change::Verify);
            let (_, objects) = open(&git_dir);
            drop(prepare(&files, &objects, vec![update]).unwrap_or_else(|e| panic!("{case}: {e}")));
        }
        if asks_git {
            self.ask_git(&git_dir, &found, &case);
        }
        recovered
    }

    fn ask_git(&self, git_dir: &Path, found: &Model, case: &str) {
        let told =
            command(git_dir, &["for-each-ref", "--format=%(objectname) %(refname)"]).output();
        let told = String::from_utf8(told.unwrap().stdout).unwrap();
        let ours: String = found.iter().map(|(name, id)| format!("{id} {name}\n")).collect();
        assert_eq!(told, ours, "{case}");
        let fsck = command(git_dir, &["fsck", "--connectivity-only"]).output().unwrap();
        assert!(fsck.status.success(), "{case}: {fsck:?}");
        let mut locks = Vec::new();
        list(&git_dir.join("refs"), "refs", &mut locks);
        locks.retain(|name| name.ends_with(".lock"));
        assert!(locks.is_empty(), "{case}: {locks:?}");
    }
}

/// Until a decided journal is carried out nobody can write to its refs, git included.
fn check_decided(files: &RefFiles, case: &str) {
    for entry in std::fs::read_dir(files.room()).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "decided") {
            continue;
        }
        let text = std::fs::read(&path).unwrap();
        for entry in journal::parse(&text, &files.room()).unwrap_or_else(|| panic!("{case}")) {
            let file = match &entry {
                journal::Entry::Packed(_) => files.packed(),
                journal::Entry::Set(name, _) | journal::Entry::Drop(name) => {
                    files.file(name.as_ref())
                }
            };
            assert!(lock::path_of(&file).exists(), "{case}: {entry:?} is not locked");
        }
    }
}

/// Memory if there is some: thousands of trees.
fn shm() -> PathBuf {
    let shm = PathBuf::from("/dev/shm");
    if shm.is_dir() { shm } else { std::env::temp_dir() }
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_half_there() {
    let (mut states, mut total) = (0, Recovered::default());
    for seed in 1..=8 {
        let case = run(seed, 10);
        let mut random = Random::new(seed);
        for _ in 0..300 {
            let moment = random.below(case.recorder.moments() + 1);
            let loss = *random.pick(&[Loss::Nothing, Loss::Latest, Loss::Any, Loss::Halves]);
            let recovered = case.check(moment, loss, seed * 1_000 + states, states % 60 == 0);
            states += 1;
            total.finished += recovered.finished;
            total.undone += recovered.undone;
            total.locks += recovered.locks;
        }
    }
    println!("seeds 1 to 8, {states} states after a loss of power: {total:?}");
    assert!(total.finished > 0 && total.undone > 0 && total.locks > 0);
}
