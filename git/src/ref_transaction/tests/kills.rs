//! Goal: what was acknowledged survives kill -9, and of each transaction all or nothing is there.
//! Method: a child process runs transactions in three threads and tells of each before and after;
//! it is killed at a random instant; the parent recovers, compares, and starts the next one.

use super::*;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

const DIRECTORY: &str = "GITRING_TEST_KILLED";
const THREADS: usize = 3;
const KILLS: u64 = 250;

type Model = BTreeMap<String, String>;

fn names(thread: usize) -> Vec<String> {
    (0..4).map(|n| format!("refs/heads/t{thread}/{n}")).collect()
}

fn told(git_dir: &Path, case: &str) -> Vec<Model> {
    let found = refs(git_dir, case);
    let own = |thread| {
        let id = |name: &String| Some((name.clone(), found.get(name.as_bytes())?.to_string()));
        names(thread).iter().filter_map(id).collect()
    };
    (0..THREADS).map(own).collect()
}

/// The child: does nothing unless it was started by the other test.
#[test]
fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let (directory, seed) = directory.split_once(' ').unwrap();
    let (git_dir, seed) = (Path::new(directory), seed.parse::<u64>().unwrap());
    let known = refs(git_dir, "child");
    let commits: Vec<_> =
        known.iter().filter(|(name, _)| name.starts_with(b"refs/keep/")).collect();
    let (files, objects) = open(git_dir);
    // What the kernel has survives the process.
    let files = files.with_calls(crate::files::System::volatile());
    let tell = |line: String| std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
    // Ends the line that the test harness has begun.
    tell("\n".to_owned());
    std::thread::scope(|scope| {
        for (thread, mut model) in told(git_dir, "child").into_iter().enumerate() {
            let (mut files, objects, commits) = (files.clone(), &objects, &commits);
            scope.spawn(move || {
                let mut random = Random::new(seed * 10 + thread as u64);
                loop {
                    files.pack_min = *random.pick(&[2, usize::MAX, usize::MAX]);
                    let mut updates = Vec::new();
                    let mut names = names(thread);
                    names.truncate(*random.pick(&[1, 2, 4]));
                    for name in names {
                        if model.contains_key(&name) && random.below(3) == 0 {
                            model.remove(&name);
                            updates.push(Update::new(name, Expected::Any, Change::Delete));
                        } else {
                            let id = *random.pick(commits).1;
                            model.insert(name.clone(), id.to_string());
                            updates.push(Update::new(name, Expected::Any, Change::Set(id)));
                        }
                    }
                    let is: Vec<_> =
                        model.iter().map(|(name, id)| format!("{name}={id}")).collect();
                    tell(format!("M {thread} {}\n", is.join(",")));
                    match prepare(&files, objects, updates) {
                        Ok(prepared) => prepared.commit().unwrap(),
                        Err(error) => panic!("{error}"),
                    }
                    tell(format!("A {thread}\n"));
                }
            });
        }
    });
}

fn parse(text: &str) -> Model {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, id)| (name.to_owned(), id.to_owned())).collect()
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let sandbox = Sandbox::new(4);
    for (n, id) in sandbox.commits.iter().enumerate() {
        sandbox.git(&["update-ref", &format!("refs/keep/{n}"), &id.to_string()]);
    }
    let (files, _) = sandbox.open();
    let (mut acknowledged, mut total) = (0, Recovered::default());
    let mut allowed: Vec<Vec<Model>> = vec![vec![Model::new()]; THREADS];
    for seed in 1..=KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args([
            "--exact",
            "ref_transaction::tests::kills::child",
            "--nocapture",
            "--test-threads=1",
        ]);
        child.env(DIRECTORY, format!("{} {seed}", sandbox.git_dir.display()));
        let mut child = child.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut random = Random::new(seed);
        // The first transaction begins after so many lines of the test's own.
        let lines_max = 4 + random.below(40);
        let mut killed = false;
        for (n, line) in output.lines().enumerate() {
            let line = line.unwrap();
            let words: Vec<_> = line.splitn(3, ' ').collect();
            match words.as_slice() {
                ["M", thread, model] => {
                    allowed[thread.parse::<usize>().unwrap()].push(parse(model))
                }
                ["A", thread] => {
                    let allowed = &mut allowed[thread.parse::<usize>().unwrap()];
                    allowed.drain(..allowed.len() - 1);
                    acknowledged += 1;
                }
                _ => {}
            }
            if n >= lines_max && !killed {
                std::thread::sleep(Duration::from_micros(random.below(1_500) as u64));
                child.kill().unwrap();
                killed = true;
            }
        }
        child.wait().unwrap();
        let case = format!("seed {seed}");
        let recovered = recover_all(&sandbox, &files, &case);
        total.finished += recovered.finished;
        total.undone += recovered.undone;
        total.locks += recovered.locks;
        for (thread, model) in told(&sandbox.git_dir, &case).into_iter().enumerate() {
            assert!(allowed[thread].contains(&model), "{case}: {model:#?} {:#?}", allowed[thread]);
            allowed[thread] = vec![model];
        }
        if seed % 25 == 0 {
            sandbox.git(&["fsck", "--connectivity-only"]);
        }
    }
    println!("seeds 1 to {KILLS}, killed as often: {acknowledged} acknowledged, {total:?}");
}
