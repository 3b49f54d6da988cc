//! Goal: beside git processes that write, pack, collect and read, every acknowledged update of ours
//! and of git's is there, and no reader meets an error or misses a ref.
//! Method: refs that both sides step along one line of commits, each step only from the one before:
//! the steps that were acknowledged must add up. Readers count refs that never go.

use super::*;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

const KEPT: usize = 20;
const SHARED: [&str; 3] = ["refs/heads/shared", "refs/heads/deep/a/shared", "refs/tags/shared"];
const LASTS: Duration = Duration::from_secs(8);

struct Race {
    sandbox: Sandbox,
    /// Acknowledged steps of each shared ref.
    steps: [AtomicUsize; SHARED.len()],
    is_over: AtomicBool,
}

// === impl Race ===

impl Race {
    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::SeqCst)
    }

    /// Where on the line a shared ref is.
    fn at(&self, shared: usize) -> usize {
        let (found, _) = (refs(&self.sandbox.git_dir, "race"), ());
        let id = found[SHARED[shared].as_bytes()];
        self.sandbox.commits.iter().position(|commit| *commit == id).unwrap()
    }

    /// Steps shared refs; returns how often.
    fn step(&self, seed: u64) -> usize {
        let (files, objects) = self.sandbox.open();
        let mut random = Random::new(seed);
        let mut done = 0;
        while self.goes_on() {
            let shared = random.below(SHARED.len());
            let at = self.at(shared);
            let Some(next) = self.sandbox.commits.get(at + 1) else { return done };
            let old = Expected::Is(self.sandbox.commits[at]);
            let update = Update::new(SHARED[shared], old, Change::Set(*next));
            match prepare(&files, &objects, vec![update]) {
                Ok(prepared) => {
                    prepared.commit().unwrap();
                    self.steps[shared].fetch_add(1, Ordering::SeqCst);
                    done += 1;
                }
                Err(error) => assert!(is_conflict(&error), "{error}"),
            }
        }
        done
    }

    /// The same by git.
    fn step_by_git(&self, seed: u64) -> usize {
        let mut random = Random::new(seed);
        let mut done = 0;
        while self.goes_on() {
            let shared = random.below(SHARED.len());
            let at = self.at(shared);
            let Some(next) = self.sandbox.commits.get(at + 1) else { return done };
            let (old, next) = (self.sandbox.commits[at].to_string(), next.to_string());
            let output = self.sandbox.try_git(&["update-ref", SHARED[shared], &next, &old]);
            if output.status.success() {
                self.steps[shared].fetch_add(1, Ordering::SeqCst);
                done += 1;
            }
        }
        done
    }

    /// Makes, moves and deletes refs that nobody else touches, several at a time.
    fn own(&self, thread: usize) -> usize {
        let (files, objects) = self.sandbox.open();
        let files = RefFiles { packed_timeout: Duration::from_secs(20), ..files };
        let mut random = Random::new(thread as u64);
        let mut model: BTreeMap<String, ObjectId> = BTreeMap::new();
        let mut done = 0;
        while self.goes_on() {
            let mut updates = Vec::new();
            for n in 0..=random.below(4) {
                let name = format!("refs/heads/own{thread}/d{}/x", n);
                let old = model.get(&name).map_or(Expected::Absent, |id| Expected::Is(*id));
                let change = if old != Expected::Absent && random.below(2) == 0 {
                    model.remove(&name);
                    Change::Delete
                } else {
                    let id = *random.pick(&self.sandbox.commits);
                    model.insert(name.clone(), id);
                    Change::Set(id)
                };
                updates.push(Update::new(name, old, change));
            }
            loop {
                match prepare(&files, &objects, updates.clone()) {
                    Ok(prepared) => break prepared.commit().unwrap(),
                    Err(PrepareError::Locked { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            done += 1;
            let prefix = format!("refs/heads/own{thread}/");
            let found: BTreeMap<_, _> = refs(&self.sandbox.git_dir, "race")
                .into_iter()
                .map(|(name, id)| (name.to_string(), id))
                .filter(|(name, _)| name.starts_with(&prefix))
                .collect();
            assert_eq!(found, model, "thread {thread}, transaction {done}");
        }
        done
    }

    fn run_git(&self, commands: &[&[&str]]) -> usize {
        let mut done = 0;
        while self.goes_on() {
            for arguments in commands {
                let output = self.sandbox.try_git(arguments);
                let said = String::from_utf8_lossy(&output.stderr);
                // pack-refs may find that a ref moved on before it is pruned, or is locked.
                let is_fine = |line: &str| {
                    line.contains("cannot lock ref")
                        || line.contains("File exists")
                        || line.contains("Another git process")
                        || line.contains("an editor opened")
                        || line.contains("are terminated then")
                        || line.contains("may have crashed")
                        || line.contains("remove the file manually")
                        || line.is_empty()
                        || line.contains("failed to run")
                };
                assert!(said.lines().all(is_fine), "git {arguments:?}: {said}");
            }
            done += 1;
        }
        done
    }

    fn read(&self) -> usize {
        let repository = repository(&self.sandbox.git_dir);
        let mut done = 0;
        while self.goes_on() {
            let snapshot = repository.snapshot().unwrap();
            assert_eq!(snapshot.with_prefix(b"refs/keep/").len(), KEPT);
            assert!(SHARED.iter().all(|name| snapshot.find((*name).into()).is_some()));
            assert!(snapshot.refs.iter().all(|one| !one.is_broken()));
            done += 1;
        }
        done
    }

    fn read_by_git(&self) -> usize {
        let mut done = 0;
        while self.goes_on() {
            let output = self.sandbox.try_git(&["for-each-ref", "--format=%(refname)"]);
            // A ref that goes between git's look at its directory and at its file counts as broken
            // to git, whoever deletes it.
            let is_going = |line: &str| line.contains("ignoring broken ref refs/heads/own");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && said.lines().all(is_going), "{output:?}");
            let told = String::from_utf8(output.stdout).unwrap();
            assert_eq!(told.lines().filter(|name| name.starts_with("refs/keep/")).count(), KEPT);
            assert!(SHARED.iter().all(|name| told.lines().any(|line| line == *name)), "{told}");
            done += 1;
        }
        done
    }
}

#[test]
fn beside_git_processes_nothing_is_lost() {
    let mut sandbox = Sandbox::new(1);
    // One line of commits, kept by its end.
    for n in 0..600 {
        let (tree, parent) = (format!("{}^{{tree}}", sandbox.commits[n]), sandbox.commits[n]);
        let arguments = ["commit-tree", &tree, "-p", &parent.to_string(), "-m", &n.to_string()];
        let id = sandbox.git(&arguments);
        sandbox.commits.push(ObjectId::from_hex(id.as_bytes()).unwrap());
    }
    let end = sandbox.commits[600].to_string();
    for n in 0..KEPT {
        sandbox.git(&["update-ref", &format!("refs/keep/{n}"), &end]);
    }
    for name in SHARED {
        sandbox.git(&["update-ref", name, &sandbox.commits[0].to_string()]);
    }
    let race = Race { sandbox, steps: Default::default(), is_over: AtomicBool::new(false) };
    let began = Instant::now();
    std::thread::scope(|scope| {
        let race = &race;
        let ours: Vec<_> = (1..=2).map(|seed| scope.spawn(move || race.step(seed))).collect();
        let own: Vec<_> = (1..=2).map(|thread| scope.spawn(move || race.own(thread))).collect();
        let git = scope.spawn(|| race.step_by_git(3));
        let packing = scope.spawn(|| race.run_git(&[&["pack-refs", "--all", "--prune"]]));
        let collecting = scope
            .spawn(|| race.run_git(&[&["gc", "-q", "--prune=now"], &["prune", "--expire=now"]]));
        let (reader, git_reader) =
            (scope.spawn(|| race.read()), scope.spawn(|| race.read_by_git()));
        while began.elapsed() < LASTS && !ours.iter().any(|thread| thread.is_finished()) {
            std::thread::sleep(Duration::from_millis(50));
        }
        race.is_over.store(true, Ordering::SeqCst);
        let sum = |threads: Vec<std::thread::ScopedJoinHandle<'_, usize>>| -> usize {
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        };
        println!("seeds 1 to 3; steps: ours {}, git's {}", sum(ours), git.join().unwrap());
        println!("transactions of our own refs: {}", sum(own));
        println!(
            "pack-refs {}, gc and prune {}",
            packing.join().unwrap(),
            collecting.join().unwrap()
        );
        println!("readings: ours {}, git's {}", reader.join().unwrap(), git_reader.join().unwrap());
    });
    for (shared, steps) in race.steps.iter().enumerate() {
        assert_eq!(race.at(shared), steps.load(Ordering::SeqCst), "{}", SHARED[shared]);
    }
    race.sandbox.git(&["fsck", "--connectivity-only"]);
    assert!(race.sandbox.files().iter().all(|name| !name.ends_with(".lock")));
}

/// Whether somebody else was faster or holds a lock.
fn is_conflict(error: &PrepareError) -> bool {
    use PrepareError as E;
    matches!(error, E::Locked { .. } | E::Stale { .. } | E::Exists { .. } | E::Missing { .. })
}
