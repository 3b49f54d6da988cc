//! Generated history as a stream for `git fast-import`.
//!
//! Always true:
//! - A stream depends on its arguments alone; dates grow by a minute from one commit to the next.
//! - `:N` names the N-th object with a mark, blobs and commits counted together.
//!
//! Never here: repositories on disk; `repository` feeds streams into them.

use crate::random::Random;

/// Date of the first commit, seconds since 1970.
const EPOCH: u64 = 1_600_000_000;

/// A stream being written.
#[derive(Debug)]
pub struct Stream {
    bytes: Vec<u8>,
    marks: usize,
    date: u64,
    random: Random,
}

/// The mark of an object in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark(usize);

// === impl Stream ===

impl Stream {
    /// An empty stream whose contents follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self { bytes: Vec::new(), marks: 0, date: EPOCH, random: Random::new(seed) }
    }

    /// The finished stream.
    pub fn finish(mut self) -> Vec<u8> {
        self.line("done");
        self.bytes
    }

    /// A blob with these bytes.
    pub fn blob(&mut self, content: &[u8]) -> Mark {
        self.line("blob");
        let mark = self.mark();
        self.data(content);
        mark
    }

    /// A blob of some lines of words, as source text is.
    pub fn text(&mut self, lines: usize) -> Mark {
        let text: String = (0..lines).map(|_| self.sentence()).collect();
        self.blob(text.as_bytes())
    }

    /// A blob of `length` bytes that do not compress.
    pub fn noise(&mut self, length: usize) -> Mark {
        let bytes = self.random.bytes(length);
        self.blob(&bytes)
    }

    /// A commit on `branch` with these parents and these changes in fast-import's words.
    pub fn commit(&mut self, branch: &str, parents: &[Mark], changes: &[String]) -> Mark {
        self.date += 60;
        let who = format!("A U Thor <author@example.com> {} +0000", self.date);
        self.line(&format!("commit {branch}"));
        let mark = self.mark();
        self.line(&format!("author {who}"));
        self.line(&format!("committer {who}"));
        let message = format!("commit {}\n\n{}", mark.0, self.sentence());
        self.data(message.as_bytes());
        for (at, parent) in parents.iter().enumerate() {
            let word = if at == 0 { "from" } else { "merge" };
            self.line(&format!("{word} :{}", parent.0));
        }
        changes.iter().for_each(|change| self.line(change));
        mark
    }

    /// A commit that writes one new text at `path`.
    pub fn commit_text(&mut self, branch: &str, parents: &[Mark], path: &str) -> Mark {
        let text = self.text(12);
        self.commit(branch, parents, &[write(path, text)])
    }

    /// Points a ref at a commit.
    pub fn reset(&mut self, name: &str, target: Mark) {
        self.line(&format!("reset {name}"));
        self.line(&format!("from :{}\n", target.0));
    }

    /// An annotated tag `refs/tags/<name>`.
    pub fn tag(&mut self, name: &str, target: Mark) -> Mark {
        self.line(&format!("tag {name}"));
        let mark = self.mark();
        self.line(&format!("from :{}", target.0));
        self.line(&format!("tagger A U Thor <author@example.com> {} +0000", self.date));
        self.data(format!("tag {name}\n").as_bytes());
        mark
    }

    /// The next commit is made `seconds` after the first date; then dates grow again.
    pub fn at(&mut self, seconds: u64) {
        self.date = EPOCH + seconds - 60;
    }

    /// A number below `bound` from the stream's own generator.
    pub fn below(&mut self, bound: usize) -> usize {
        self.random.below(bound)
    }

    fn sentence(&mut self) -> String {
        const WORDS: [&str; 16] = [
            "pack", "object", "tree", "commit", "delta", "ring", "reader", "writer", "window",
            "base", "ref", "tag", "shallow", "filter", "have", "want",
        ];
        let words: Vec<&str> = (0..6).map(|_| WORDS[self.random.below(WORDS.len())]).collect();
        format!("{} {}\n", words.join(" "), self.random.below(10_000))
    }

    fn mark(&mut self) -> Mark {
        self.marks += 1;
        self.line(&format!("mark :{}", self.marks));
        Mark(self.marks)
    }

    fn data(&mut self, content: &[u8]) {
        self.line(&format!("data {}", content.len()));
        self.bytes.extend_from_slice(content);
        self.bytes.push(b'\n');
    }

    fn line(&mut self, line: &str) {
        self.bytes.extend_from_slice(line.as_bytes());
        self.bytes.push(b'\n');
    }
}

// === impl Mark ===

impl Mark {
    /// `N` of `:N`.
    pub fn number(self) -> usize {
        self.0
    }
}

/// The change that puts a blob at `path`.
pub fn write(path: &str, blob: Mark) -> String {
    format!("M 100644 :{} {path}", blob.0)
}

/// A history with everything that a fetch can meet, small enough for a hundred clones.
///
/// Linear and merged work, an octopus, renames, deep folders, binary files, many branches,
/// annotated and nested tags, tags of a blob and of a tree (the last two: [`crate::repository`]).
pub fn varied(seed: u64) -> Vec<u8> {
    let mut s = Stream::new(seed);
    let noise = s.noise(9_000);
    let readme = s.text(40);
    let start = ["README".to_owned(), "assets/logo.bin".to_owned()];
    let changes = [write(&start[0], readme), write(&start[1], noise)];
    let mut tip = s.commit("refs/heads/main", &[], &changes);
    let mut tips = Vec::new();
    for round in 0..40 {
        let path = format!("src/part{}/file{}.txt", s.below(6), s.below(8));
        let next = s.commit_text("refs/heads/main", &[tip], &path);
        tip = match round {
            7 => {
                let deep: Vec<String> = (0..24).map(|depth| format!("d{depth}")).collect();
                s.commit_text("refs/heads/main", &[next], &format!("{}/leaf.txt", deep.join("/")))
            }
            12 => s.commit("refs/heads/main", &[next], &["R README docs/README".to_owned()]),
            19 => s.commit("refs/heads/main", &[next], &["D assets/logo.bin".to_owned()]),
            _ if round % 6 == 5 => {
                let branch = format!("refs/heads/topic/{round}");
                let side = s.commit_text(&branch, &[tip], &format!("topic/{round}.txt"));
                let side = s.commit_text(&branch, &[side], &format!("topic/{round}.txt"));
                tips.push(side);
                s.commit_text("refs/heads/main", &[next, side], &format!("merged/{round}.txt"))
            }
            _ => next,
        };
        if round % 10 == 9 {
            s.tag(&format!("v{}", round / 10), tip);
        }
    }
    let octopus: Vec<Mark> = std::iter::once(tip).chain(tips.iter().copied().take(4)).collect();
    tip = s.commit_text("refs/heads/main", &octopus, "octopus.txt");
    let tag = s.tag("v9", tip);
    s.tag("v9-signed-off", tag);
    s.reset("refs/tags/light", tips[0]);
    s.commit_text("refs/heads/orphan", &[], "alone.txt");
    for n in 0..20 {
        let target = tips[n % tips.len()];
        s.reset(&format!("refs/heads/many/{n:02}"), target);
    }
    s.finish()
}

/// `count` branches, each with a commit of its own, and an annotated tag for every fourth one.
///
/// `name` makes the ref name of a branch from its number.
pub fn many_refs(count: usize, name: impl Fn(usize) -> String) -> Vec<u8> {
    let mut s = Stream::new(21);
    let mut tip = s.commit_text("refs/heads/main", &[], "file.txt");
    for n in 1..=count {
        tip = s.commit(&name(n), &[tip], &[]);
        if n % 4 == 0 {
            s.tag(&format!("t{n}"), tip);
        }
    }
    s.finish()
}

/// `commits` commits of text and of bytes that do not compress, 30 kB each: a big pack soon.
pub fn heavy(commits: usize) -> Vec<u8> {
    let mut s = Stream::new(31);
    let mut tip = s.commit_text("refs/heads/main", &[], "file.txt");
    for n in 0..commits {
        let (text, noise) = (s.text(60), s.noise(30_000));
        let changes = [
            write(&format!("src/{}/{}.txt", n % 13, n % 101), text),
            write(&format!("data/{}/{}.bin", n % 7, n % 97), noise),
        ];
        tip = s.commit("refs/heads/main", &[tip], &changes);
    }
    s.finish()
}

/// More work on `main` and a new tag, for a repository that holds [`varied`].
pub fn continued(main: &str, seed: u64) -> Vec<u8> {
    let mut s = Stream::new(seed);
    let text = s.text(9);
    s.date += 100_000_000;
    s.line(&format!(
        "commit refs/heads/main\nmark :900\ncommitter C <c@example.com> {} +0000",
        s.date
    ));
    s.data(b"continued\n");
    s.line(&format!("from {main}"));
    s.line(&write("src/part0/later.txt", text));
    let tip = s.commit_text("refs/heads/main", &[Mark(900)], "src/part1/later.txt");
    let tip = s.commit_text("refs/heads/later", &[tip], "src/part2/later.txt");
    s.tag("v10", tip);
    s.finish()
}
