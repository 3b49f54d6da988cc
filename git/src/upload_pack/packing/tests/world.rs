//! A random repository, the desk of a request to it, and packs as `git pack-objects` builds them.
//!
//! Always true: what is in it follows from the seed.
//! Never here: what is expected.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::ObjectId;
use crate::history::Cancel;
use crate::pack_objects;
use crate::pack_request::PackRequest;
use crate::repository::{Environment, Repository};
use crate::upload_pack::arguments::Needs;
use crate::upload_pack::packing::COMMITS_MAX;
use crate::upload_pack::question::FetchAnswer;
use crate::upload_pack::v2::Fetch;
use crate::upload_pack::{Answer, Desk, Question, Server, Settings};

/// xorshift64 (Marsaglia)
pub(super) struct Random(u64);

/// A bare repository that serves.
pub(super) struct World {
    pub(super) git_dir: PathBuf,
    /// Parents before children.
    pub(super) commits: Vec<ObjectId>,
    pub(super) parents: HashMap<ObjectId, Vec<ObjectId>>,
    /// Annotated tags, by name.
    pub(super) tags: BTreeMap<String, ObjectId>,
    /// Its clocks cannot be trusted.
    pub(super) is_backwards: bool,
    /// How long walks may be.
    pub(super) commits_max: usize,
}

// === impl Random ===

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    pub(super) fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    pub(super) fn shuffle<T>(&mut self, list: &mut [T]) {
        for at in (1..list.len()).rev() {
            list.swap(at, self.below(at + 1));
        }
    }
}

/// Runs git, which must succeed.
pub(super) fn git(folder: &Path, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    run(Command::new("git").args(arguments), folder, input)
}

fn run(git: &mut Command, folder: &Path, input: &[u8]) -> Vec<u8> {
    git.current_dir(folder).env("GIT_CONFIG_NOSYSTEM", "1").env("HOME", "/none");
    for role in ["AUTHOR", "COMMITTER"] {
        git.env(format!("GIT_{role}_DATE"), "1600000000 +0000");
        git.env(format!("GIT_{role}_NAME"), "A").env(format!("GIT_{role}_EMAIL"), "a@example.com");
    }
    let pipes = git.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feeding = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    let _ = feeding.join().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{git:?}: {said}");
    output.stdout
}

pub(super) fn lines(text: &[u8]) -> Vec<ObjectId> {
    let id = |line: &str| ObjectId::from_hex(line.split(' ').next().unwrap().as_bytes()).unwrap();
    std::str::from_utf8(text).unwrap().lines().map(id).collect()
}

// === impl World ===

impl World {
    /// A history of `count` commits that branches and merges, with tags of commits, of a tag and of
    /// a blob; with `backwards`, its dates mean nothing.
    pub(super) fn new(folder: &Path, random: &mut Random, count: usize, backwards: bool) -> Self {
        git(folder, &["init", "-q", "--bare", "."], b"");
        let mut stream = String::new();
        for number in 1..=count {
            let wrong = if backwards { random.below(6_000) } else { 0 };
            let at = 100_000 + number * 60 + wrong;
            stream += &format!("commit refs/heads/{number}\nmark :{number}\n");
            stream += &format!("committer C <c@example.com> {at} +0000\ndata 0\n");
            let back = |random: &mut Random| 1 + random.below(3).min(number - 2);
            if number > 1 && (number > 6 || random.below(4) > 0) {
                stream += &format!("from :{}\n", number - back(random));
                if random.below(3) == 0 {
                    stream += &format!("merge :{}\n", number - back(random));
                }
            }
            let text = format!("{} of {number}\n", "line\n".repeat(random.below(40)));
            let (dir, file) = (random.below(3), random.below(4));
            stream += &format!("M 100644 inline d{dir}/f{file}\ndata {}\n{text}\n", text.len());
        }
        for tag in 1..=6 {
            let from = 1 + random.below(count);
            stream +=
                &format!("tag t{tag}\nfrom :{from}\ntagger T <t@example.com> 1 +0000\ndata 0\n");
        }
        git(folder, &["fast-import", "--quiet"], stream.as_bytes());
        git(folder, &["tag", "-a", "-m", "x", "nested", "t1"], b"");
        let blob = format!("{count}:{}", first_file(folder, count));
        git(folder, &["tag", "-a", "-m", "x", "blob", &blob], b"");
        git(folder, &["update-ref", "refs/heads/main", &format!("refs/heads/{count}")], b"");
        let names: Vec<String> = (1..=count).map(|number| format!("refs/heads/{number}")).collect();
        let names: Vec<&str> =
            std::iter::once("rev-parse").chain(names.iter().map(String::as_str)).collect();
        let commits = lines(&git(folder, &names, b""));
        let mut parents = HashMap::new();
        for line in String::from_utf8(git(folder, &["rev-list", "--parents", "--all"], b""))
            .unwrap()
            .lines()
        {
            let mut ids = line.split(' ').map(|id| ObjectId::from_hex(id.as_bytes()).unwrap());
            parents.insert(ids.next().unwrap(), ids.collect());
        }
        let git_dir = folder.to_owned();
        let (tags, is_backwards, commits_max) = (BTreeMap::new(), backwards, COMMITS_MAX);
        let mut world = Self { git_dir, commits, parents, tags, is_backwards, commits_max };
        for name in ["t1", "t2", "t3", "t4", "t5", "t6", "nested", "blob"] {
            world.tags.insert(name.to_owned(), world.id(name));
        }
        world
    }

    pub(super) fn id(&self, name: &str) -> ObjectId {
        lines(&git(&self.git_dir, &["rev-parse", name], b""))[0]
    }

    /// What `ids` reach; shallow commits have no parents.
    pub(super) fn closure(&self, ids: &[ObjectId], shallow: &[ObjectId]) -> Vec<ObjectId> {
        let (mut seen, mut stack) = (Vec::new(), ids.to_vec());
        while let Some(id) = stack.pop() {
            if seen.contains(&id) {
                continue;
            }
            seen.push(id);
            if !shallow.contains(&id) {
                stack.extend(self.parents.get(&id).into_iter().flatten());
            }
        }
        seen
    }

    pub(super) fn pack_after_walks_of(
        &self,
        commits_max: usize,
        needs: Needs,
        haves: &[ObjectId],
    ) -> PackRequest {
        let mut desk = self.desk(&[]).with_packing_commits_max(commits_max);
        fetch(&mut desk, needs, haves).pack.unwrap()
    }

    pub(super) fn desk(&self, config: &[(&str, &str)]) -> Desk {
        let repository = Repository::open(&self.git_dir, Environment::default()).unwrap();
        let snapshot = repository.snapshot().unwrap();
        assert_eq!(snapshot.unsupported, None);
        let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), Some((*value).to_owned()));
        let overrides: Vec<_> = config.iter().map(pair).collect();
        let settings =
            Settings::from_config(&snapshot.config.with_overrides(&overrides).unwrap()).unwrap();
        let server = Server {
            agent: "git/test".into(),
            namespace: Default::default(),
            explain_errors: false,
        };
        let desk = Desk::new(snapshot, server, settings, true, Cancel::default());
        desk.with_packing_commits_max(self.commits_max)
    }

    /// The answer to a fetch whose client says `done`.
    pub(super) fn fetch(&self, needs: Needs, haves: &[ObjectId]) -> FetchAnswer {
        fetch(&mut self.desk(&[]), needs, haves)
    }

    pub(super) fn pack_of(&self, needs: Needs, haves: &[ObjectId]) -> PackRequest {
        self.fetch(needs, haves).pack.unwrap()
    }

    /// The pack as a child builds it that runs here, led to the request's store.
    pub(super) fn build(&self, request: &PackRequest) -> Vec<u8> {
        let mut tags = Vec::new();
        if !request.open_tags().is_empty() {
            let question = Question::Tags(Box::new(request.clone()));
            let answer = self.desk(&[]).answer(question).unwrap();
            let Answer::Tags(found) = answer else { panic!("{answer:?}") };
            tags = found;
        }
        let mut command = Command::new("git");
        command.args(pack_objects::arguments(request, false)).env("GIT_DIR", &self.git_dir);
        command.envs(request.store().environment());
        run(&mut command, &self.git_dir, &pack_objects::input(request, &tags))
    }
}

pub(super) fn fetch(desk: &mut Desk, needs: Needs, haves: &[ObjectId]) -> FetchAnswer {
    let fetch = Fetch { needs, haves: haves.to_vec(), done: true, wait_for_done: false };
    let answer = desk.answer(Question::Fetch(Box::new(fetch))).unwrap();
    let Answer::Fetch(answer) = answer else { panic!("{answer:?}") };
    *answer
}

fn first_file(folder: &Path, number: usize) -> String {
    let listed = git(folder, &["ls-tree", "-r", "--name-only", &number.to_string()], b"");
    String::from_utf8(listed).unwrap().lines().next().unwrap().to_owned()
}
