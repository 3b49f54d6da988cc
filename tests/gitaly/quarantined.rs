//! A push on its way: a repository, and beside it the objects of a push that nobody has accepted.
//!
//! Always true: git made every object, and answers with the same object directories as the node.

use std::process::Stdio;

use gitring_daemon::client::Client;
use gitring_proto::gitaly::Repository as Named;
use gitring_tests::git;
use gitring_tests::gitaly::{Door, connect, named};
use gitring_tests::node::Node;
use gitring_tests::repository::Repository;
use tonic::{Status, Streaming};

use super::node_with_varied;

/// Where the push keeps its objects, as git would call it.
pub(crate) const QUARANTINE: &str = "objects/tmp_objdir-incoming-abc";

/// Which objects are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// Those of the repository.
    Plain,
    /// Those of the push as well.
    Pushed,
    /// Those of the push alone, as GitLab looks for what is new.
    Alone,
}

/// A node with `varied.git` and a push to it.
pub(crate) struct Push {
    pub(crate) node: Node,
    pub(crate) repository: Repository,
    /// A commit on top of `main`, in a pack.
    pub(crate) first: String,
    /// A merge of `first` and `orphan`, loose.
    pub(crate) merge: String,
}

// === impl Push ===

impl Push {
    pub(crate) fn begin() -> Self {
        let (node, repository) = node_with_varied("");
        let quarantine = repository.path.join(QUARANTINE);
        std::fs::create_dir_all(quarantine.join("pack")).expect("a quarantine");
        let mut push = Self { node, repository, first: String::new(), merge: String::new() };
        let digest = "0123456789abcdef".repeat(4);
        let pointer = format!(
            "version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize 12345\n"
        );
        let big: Vec<u8> = (0..300_000_u32).map(|at| (at % 251) as u8).collect();
        let module = "1".repeat(40);
        let files = [
            ("100644", "new.txt", b"new\n".to_vec()),
            ("100755", "run/me/now/script", b"#!/bin/sh\n".to_vec()),
            ("100644", "empty", Vec::new()),
            ("100644", "big.bin", big),
            ("100644", "lfs.bin", pointer.into_bytes()),
            ("120000", "link", b"new.txt".to_vec()),
            ("100644", "a b\"\u{e4}.txt", b"odd\n".to_vec()),
            ("100644", "octopus.txt", b"changed\n".to_vec()),
        ];
        let mut index = format!("160000 {module}\tmodule\n");
        for (mode, path, content) in files {
            let id = push.git_with(View::Pushed, &["hash-object", "-w", "--stdin"], &content);
            index += &format!("{mode} {id}\t{path}\n");
        }
        push.first = push.commit("main", &index, &["main"]);
        let first = push.first.clone();
        push.merge = push.commit(&first, "", &["orphan", &first]);
        // The first one in a pack, the second one loose.
        let listed = push.git(View::Pushed, &["rev-list", "--objects", &first, "^main"]);
        let pack = quarantine.join("pack/pack");
        let pack = ["pack-objects", "-q", &pack.to_string_lossy()];
        push.git_with(View::Pushed, &pack, listed.as_bytes());
        push.git(View::Pushed, &["prune-packed"]);
        push
    }

    /// A commit of the tree of `base` with these entries in addition.
    fn commit(&self, base: &str, index: &str, parents: &[&str]) -> String {
        let file = self.repository.path.join("index.of-a-test");
        let run = |words: &[&str], input: &str| {
            let mut command = self.command(View::Pushed);
            command.env("GIT_INDEX_FILE", &file).args(words);
            text(command, words, input.as_bytes())
        };
        run(&["read-tree", base], "");
        run(&["update-index", "--index-info"], index);
        let tree = run(&["write-tree", "--missing-ok"], "");
        std::fs::remove_file(&file).expect("the index was written");
        let mut words = vec!["commit-tree", "-m", "pushed", &tree];
        parents.iter().for_each(|parent| words.extend(["-p", parent]));
        self.git(View::Pushed, &words)
    }

    fn command(&self, view: View) -> std::process::Command {
        let mut command = git::command(&self.repository.path);
        if view != View::Plain {
            command.env("GIT_OBJECT_DIRECTORY", self.repository.path.join(QUARANTINE));
        }
        if view == View::Pushed {
            let objects = self.repository.path.join("objects");
            command.env("GIT_ALTERNATE_OBJECT_DIRECTORIES", objects);
        }
        command
    }

    /// What git says that looks at the same objects.
    pub(crate) fn git(&self, view: View, words: &[&str]) -> String {
        self.git_with(view, words, b"")
    }

    /// The same with something to read.
    pub(crate) fn git_with(&self, view: View, words: &[&str], input: &[u8]) -> String {
        let mut command = self.command(view);
        command.args(words);
        text(command, words, input)
    }

    /// The repository as messages name it.
    pub(crate) fn named(&self, view: View) -> Option<Named> {
        let mut named = named("varied.git");
        let repository = named.as_mut().expect("named");
        if view != View::Plain {
            QUARANTINE.clone_into(&mut repository.git_object_directory);
        }
        if view == View::Pushed {
            repository.git_alternate_object_directories.push("objects".to_owned());
        }
        named
    }

    pub(crate) async fn client(&self) -> Client {
        connect(&self.node, Door::Unix, "").await
    }
}

fn text(mut command: std::process::Command, words: &[&str], input: &[u8]) -> String {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = git::feed(command, input);
    assert!(output.status.success(), "{}", git::describe(words, &output));
    String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned()
}

/// All messages of an answer.
pub(crate) async fn all<M>(
    reply: Result<tonic::Response<Streaming<M>>, Status>,
) -> Result<Vec<M>, Status> {
    let mut stream = reply?.into_inner();
    let mut messages = Vec::new();
    while let Some(message) = stream.message().await? {
        messages.push(message);
    }
    Ok(messages)
}

/// The lines of a text, sorted.
pub(crate) fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}
