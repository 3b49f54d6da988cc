//! Goal: the walk chooses what `git rev-list` chooses, clocks running backwards or not.
//! Method: random histories, dates included; every choice is made by both.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use super::selected;
use crate::ObjectId;
use crate::history::{Cancel, History};
use crate::objects::{Store, StoreOptions};

const COMMITS: u64 = 40;

/// xorshift64 (Marsaglia)
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn git(folder: &Path, arguments: &[String], input: &[u8]) -> String {
    let mut git = Command::new("git");
    git.args(arguments).current_dir(folder).env("GIT_CONFIG_NOSYSTEM", "1").env("HOME", "/none");
    let mut child = git.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

/// A repository with commits of any age on one another; their ids, parents first.
fn history(folder: &Path, random: &mut Random) -> Vec<ObjectId> {
    git(folder, &words("init -q --bare ."), b"");
    let mut stream = String::new();
    for number in 1..=COMMITS {
        let at = 1_000 + random.below(2_000);
        stream += &format!("commit refs/heads/{number}\nmark :{number}\n");
        stream += &format!("committer C <c@example.com> {at} +0000\ndata 1\n{}\n", number % 10);
        let near = number.min(5);
        for word in ["from", "merge"].iter().take(random.below(3) as usize) {
            let parent = number - random.below(near);
            if parent < number {
                stream += &format!("{word} :{parent}\n");
            }
        }
        stream += "\n";
    }
    git(folder, &words("fast-import --quiet --export-marks=marks"), stream.as_bytes());
    let names: Vec<String> = (1..=COMMITS).map(|number| format!("refs/heads/{number}")).collect();
    let ids = git(folder, &[words("rev-parse"), names].concat(), b"");
    ids.lines().map(|id| ObjectId::from_hex(id.as_bytes()).unwrap()).collect()
}

/// One choice by us and by git.
fn check(folder: &Path, tips: &[ObjectId], excluded: &[ObjectId], since: Option<i64>) {
    let store = Store::open(&folder.join("objects"), &StoreOptions::default()).unwrap();
    let mut history = History::new(Arc::new(store), Cancel::default());
    let (mine, not) = (history.commits(tips).unwrap(), history.commits(excluded).unwrap());
    let mut ours: Vec<String> = selected(&mut history, &mine, &not, since)
        .unwrap()
        .into_iter()
        .map(|node| history.id(node).to_string())
        .collect();
    let mut arguments = words("rev-list");
    arguments.extend(since.map(|since| format!("--max-age={since}")));
    arguments.push("--not".into());
    arguments.extend(excluded.iter().map(ToString::to_string));
    arguments.push("--not".into());
    arguments.extend(tips.iter().map(ToString::to_string));
    let mut gits: Vec<String> = git(folder, &arguments, b"").lines().map(str::to_owned).collect();
    ours.sort();
    gits.sort();
    assert_eq!(ours, gits, "{arguments:?}");
}

#[test]
fn any_choice_is_gits() {
    for seed in 1..=8 {
        eprintln!("seed {seed}");
        let mut random = Random(seed * 0x9e37_79b9);
        let folder = tempfile::tempdir().unwrap();
        let ids = history(folder.path(), &mut random);
        for _ in 0..25 {
            let mut some = |most| {
                let count = random.below(most);
                let any = |_| ids[random.below(COMMITS) as usize];
                (0..count).map(any).collect::<Vec<ObjectId>>()
            };
            let (tips, excluded) = ([some(3), vec![ids[COMMITS as usize - 1]]].concat(), some(4));
            let since = (random.below(2) == 0).then(|| 1_000 + random.below(1_500) as i64);
            check(folder.path(), &tips, &excluded, since);
        }
    }
}
