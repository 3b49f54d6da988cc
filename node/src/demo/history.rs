//! The generated repository: some years of invented work, as a stream for `git fast-import`.
//!
//! Always true: the same bytes on every machine; dates are fixed and the generator is seeded.
//!
//! Never here: git. Whoever calls gives the stream to a fast-import.

use std::io::{self, Write};

/// Commits on the main branch; with what merges bring about 2,000 commits in all.
const MAIN_COMMITS: usize = 1_600;

/// Files from the first commit on; work adds more.
const FILES: usize = 220;

/// A topic branch of four commits is merged after so many commits on main.
const MERGE_EVERY: usize = 16;

/// An annotated tag is made after so many commits on main.
const TAG_EVERY: usize = 80;

/// Date of the first commit, seconds since 1970.
const EPOCH: u64 = 1_500_000_000;

/// The files as they stand at one commit, and the stream they are written to.
struct Work<W> {
    out: W,
    files: Vec<Vec<String>>,
    random: u64,
    commits: u64,
}

/// Writes the whole history.
///
/// # Errors
/// Those of `out`.
pub(crate) fn write(out: impl Write) -> io::Result<()> {
    let mut work = Work { out, files: Vec::new(), random: 1, commits: 0 };
    for _ in 0..FILES {
        let length = 40 + work.below(120);
        let lines = (0..length).map(|_| work.line()).collect();
        work.files.push(lines);
    }
    let everything: Vec<usize> = (0..FILES).collect();
    let mut main = work.commit("refs/heads/main", &[], &everything)?;
    for step in 1..=MAIN_COMMITS {
        let changed = work.edit();
        let before = main;
        main = work.commit("refs/heads/main", &[main], &changed)?;
        if step % MERGE_EVERY == 0 {
            main = work.merge_topic(step / MERGE_EVERY, before, main)?;
        }
        if step % TAG_EVERY == 0 {
            work.tag(step / TAG_EVERY, main)?;
        }
    }
    writeln!(work.out, "done")?;
    work.out.flush()
}

/// Writes twenty-five more commits on `branch`, whose tip is the object `tip`.
///
/// # Errors
/// Those of `out`.
pub(crate) fn write_more(out: impl Write, branch: &str, tip: &str) -> io::Result<()> {
    // Years behind any commit of the history, so that it is the newest work.
    let mut work = Work { out, files: vec![Vec::new(); 5], random: 2, commits: 1_000_000 };
    let mut parent = tip.to_owned();
    for _ in 0..25 {
        let at = work.below(5);
        let line = work.line();
        work.files[at].push(line);
        work.head(branch)?;
        writeln!(work.out, "from {parent}")?;
        work.file(&format!("later/{at}.txt"), at)?;
        parent = format!(":{}", work.commits);
    }
    writeln!(work.out, "done")?;
    work.out.flush()
}

// === impl Work ===

impl<W: Write> Work<W> {
    /// A branch of four commits that began at `from`, merged into `main`.
    fn merge_topic(&mut self, number: usize, from: u64, main: u64) -> io::Result<u64> {
        let branch = format!("refs/heads/topic/{number:03}");
        let mut tip = from;
        for _ in 0..4 {
            // Paths of its own, so that the merge needs no resolution.
            let lines = (0..30).map(|_| self.line()).collect();
            self.files.push(lines);
            tip = self.commit(&branch, &[tip], &[self.files.len() - 1])?;
        }
        writeln!(self.out, "reset refs/merge-requests/{number}/head\nfrom :{tip}\n")?;
        let brought: Vec<usize> = (self.files.len() - 4..self.files.len()).collect();
        self.commit("refs/heads/main", &[main, tip], &brought)
    }

    /// Changes some lines in two to eleven files, mostly those that are changed often.
    fn edit(&mut self) -> Vec<usize> {
        let mut changed: Vec<usize> = (0..2 + self.below(10))
            .map(|_| {
                let bound = 1 + self.below(self.files.len());
                self.below(bound)
            })
            .collect();
        changed.sort_unstable();
        changed.dedup();
        for &file in &changed {
            for _ in 0..1 + self.below(4) {
                let at = self.below(self.files[file].len());
                self.files[file][at] = self.line();
            }
            let line = self.line();
            let at = self.below(self.files[file].len());
            self.files[file].insert(at, line);
        }
        changed
    }

    fn commit(&mut self, branch: &str, parents: &[u64], files: &[usize]) -> io::Result<u64> {
        self.head(branch)?;
        for (at, parent) in parents.iter().enumerate() {
            writeln!(self.out, "{} :{parent}", if at == 0 { "from" } else { "merge" })?;
        }
        for &file in files {
            let path = format!("src/room{:02}/shelf{}/file{file:04}.txt", file % 17, file % 5);
            self.file(&path, file)?;
        }
        Ok(self.commits)
    }

    /// Opens a commit; its mark is the number of commits so far.
    fn head(&mut self, branch: &str) -> io::Result<()> {
        self.commits += 1;
        let number = self.commits;
        let who = format!("A U Thor <author@example.com> {} +0000", EPOCH + number * 600);
        let message = format!("change {number}\n\n{}", self.line());
        write!(
            self.out,
            "commit {branch}\nmark :{number}\nauthor {who}\ncommitter {who}\ndata {}\n{message}\n",
            message.len()
        )
    }

    fn file(&mut self, path: &str, file: usize) -> io::Result<()> {
        let text = self.files[file].concat();
        write!(self.out, "M 100644 inline {path}\ndata {}\n{text}\n", text.len())
    }

    fn tag(&mut self, number: usize, target: u64) -> io::Result<()> {
        let date = EPOCH + self.commits * 600;
        let message = format!("release {number}\n");
        write!(
            self.out,
            "tag v{number}\nfrom :{target}\ntagger A U Thor <author@example.com> {date} +0000\n\
             data {}\n{message}\n",
            message.len()
        )
    }

    fn line(&mut self) -> String {
        const WORDS: [&str; 16] = [
            "alder", "birch", "cedar", "elm", "fir", "hazel", "juniper", "larch", "maple", "oak",
            "pine", "rowan", "spruce", "thorn", "willow", "yew",
        ];
        let mut line = String::new();
        for _ in 0..5 {
            line.push_str(WORDS[self.below(WORDS.len())]);
            line.push(' ');
        }
        line + &format!("{}\n", self.below(100_000))
    }

    /// A number below `bound` (xorshift64*; the state is never zero).
    fn below(&mut self, bound: usize) -> usize {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let number = self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        number as usize % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a demo that two people run shows the same ids. Method: a checksum of the stream
    /// (FNV-1a), which any change to the generator or to its constants changes.
    #[test]
    fn the_history_is_the_same_everywhere() {
        let mut stream = Vec::new();
        write(&mut stream).unwrap();
        let sum = stream.iter().fold(0xcbf2_9ce4_8422_2325_u64, |sum, &byte| {
            (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        assert_eq!(sum, 0xdb6b_e507_2253_308b);
        let commits = stream.windows(8).filter(|window| window == b"\ncommit ").count();
        assert_eq!(commits, MAIN_COMMITS + 5 * (MAIN_COMMITS / MERGE_EVERY));
    }
}
