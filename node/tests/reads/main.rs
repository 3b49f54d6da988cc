//! Refs and commits over gRPC: read in process, and by git where that cannot tell.
//!
//! Always true: both ways give the same answers.

#![expect(clippy::disallowed_methods, reason = "a test prepares files and runs git")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../storages/client.rs"]
mod client;

use client::Client;
use gitring_proto::gitaly::list_refs_request::SortBy;
use gitring_proto::gitaly::{
    FindBranchRequest, FindCommitRequest, FindDefaultBranchNameRequest, GitCommit, ListRefsRequest,
    RefExistsRequest, Repository, SignatureType,
};
use std::path::Path;
use std::process::Command;
use tonic::Code;

/// A node with one repository, and what is asked of it.
struct Asker {
    client: Client,
    repository: Option<Repository>,
}

fn git(directory: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    command.args(args).current_dir(directory).env("GIT_CONFIG_NOSYSTEM", "1");
    for role in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{role}_NAME"), "A").env(format!("GIT_{role}_EMAIL"), "a@b");
        command.env(format!("GIT_{role}_DATE"), "1700000000 +0100");
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "git {args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

// === impl Asker ===

impl Asker {
    /// With branches `main`, `a/b` and 25 more, tag `v1`.
    async fn start(format: &str, settings: &[(&str, &str)]) -> Self {
        let client = Client::start().await;
        let path = client.dir.path().join("storage/one.git");
        let format = format!("--object-format={format}");
        let init = ["init", "-q", "--bare", "-b", "main", &format, path.to_str().unwrap()];
        git(Path::new("/"), &init);
        let tree = git(&path, &["hash-object", "-t", "tree", "-w", "/dev/null"]);
        let commit = |message: &str| git(&path, &["commit-tree", &tree, "-m", message]);
        let id = commit("subject\n\nbody\n\nSigned-off-by: me\nKey: value");
        git(&path, &["update-ref", "refs/heads/main", &id]);
        git(&path, &["update-ref", "refs/heads/a/b", &id]);
        for n in 10..35 {
            git(&path, &["update-ref", &format!("refs/heads/n/{n}"), &id]);
        }
        git(&path, &["tag", "-a", "-m", "v1", "v1", &id]);
        for (key, value) in settings {
            git(&path, &["config", key, value]);
        }
        let repository = Repository {
            storage_name: "default".to_owned(),
            relative_path: "one.git".to_owned(),
            ..Repository::default()
        };
        Self { client, repository: Some(repository) }
    }

    async fn commit(&mut self, revision: &str) -> Result<Option<GitCommit>, (Code, String)> {
        let repository = self.repository.clone();
        let revision = revision.to_owned().into();
        let request = FindCommitRequest { repository, revision, trailers: true };
        let found = self.client.commits.find_commit(request).await;
        found.map(|found| found.into_inner().commit).map_err(said)
    }

    async fn default_branch(&mut self, head_only: bool) -> Vec<u8> {
        let repository = self.repository.clone();
        let request = FindDefaultBranchNameRequest { repository, head_only };
        self.client.refs.find_default_branch_name(request).await.unwrap().into_inner().name.to_vec()
    }

    async fn exists(&mut self, name: &str) -> Result<bool, (Code, String)> {
        let repository = self.repository.clone();
        let request = RefExistsRequest { repository, r#ref: name.to_owned().into() };
        self.client
            .refs
            .ref_exists(request)
            .await
            .map(|found| found.into_inner().value)
            .map_err(said)
    }

    async fn branch(&mut self, name: &str) -> Result<Option<String>, (Code, String)> {
        let repository = self.repository.clone();
        let request = FindBranchRequest { repository, name: name.to_owned().into() };
        let found = self.client.refs.find_branch(request).await.map_err(said)?.into_inner().branch;
        Ok(found.map(|found| {
            let subject = found.target_commit.unwrap().subject;
            format!(
                "{} {}",
                String::from_utf8_lossy(&found.name),
                String::from_utf8_lossy(&subject)
            )
        }))
    }

    /// Lengths of messages and all names.
    async fn list(&mut self, patterns: &[&str], points_at: &[&str]) -> (Vec<usize>, Vec<String>) {
        let bytes = |texts: &[&str]| texts.iter().map(|one| (*one).to_owned().into()).collect();
        let request = ListRefsRequest {
            repository: self.repository.clone(),
            patterns: bytes(patterns),
            head: true,
            sort_by: Some(SortBy { key: 1, direction: 1 }),
            pointing_at_oids: bytes(points_at),
            peel_tags: true,
            pagination_params: None,
        };
        let mut stream = self.client.refs.list_refs(request).await.unwrap().into_inner();
        let (mut lengths, mut names) = (Vec::new(), Vec::new());
        while let Some(message) = stream.message().await.unwrap() {
            lengths.push(message.references.len());
            for one in message.references {
                let peeled = if one.peeled_target.is_empty() { "" } else { "^{}" };
                names.push(format!("{}{peeled}", String::from_utf8_lossy(&one.name)));
            }
        }
        (lengths, names)
    }
}

fn said(status: tonic::Status) -> (Code, String) {
    (status.code(), status.message().to_owned())
}

async fn check(asker: &mut Asker) {
    let commit = asker.commit("main").await.unwrap().unwrap();
    assert_eq!(commit.subject, "subject");
    assert_eq!(commit.body, "subject\n\nbody\n\nSigned-off-by: me\nKey: value\n");
    assert_eq!((commit.body_size, commit.signature_type()), (44, SignatureType::None));
    let author = commit.author.clone().unwrap();
    assert_eq!(
        (author.name, author.email, author.timezone),
        ("A".into(), "a@b".into(), "+0100".into())
    );
    assert_eq!(author.date.unwrap().seconds, 1_700_000_000);
    let trailers: Vec<_> = commit.trailers.iter().map(|one| (&*one.key, &*one.value)).collect();
    assert_eq!(trailers, [(&b"Signed-off-by"[..], &b"me"[..]), (b"Key", b"value")]);
    for revision in ["v1", "HEAD", "heads/a/b^0", &commit.id] {
        assert_eq!(asker.commit(revision).await.unwrap().unwrap(), commit, "{revision}");
    }
    assert_eq!(asker.commit("nothing").await, Ok(None));
    assert_eq!(asker.commit("v1^{tree}").await, Ok(None));
    let refused = (Code::InvalidArgument, "empty revision".to_owned());
    assert_eq!(asker.commit("").await, Err(refused));
    assert_eq!(asker.default_branch(false).await, b"refs/heads/main");
    assert_eq!(asker.default_branch(true).await, b"refs/heads/main");
    assert_eq!(asker.exists("refs/heads/a/b").await, Ok(true));
    assert_eq!(asker.exists("refs/heads/a").await, Ok(false));
    let refused = (Code::InvalidArgument, "invalid refname".to_owned());
    assert_eq!(asker.exists("HEAD").await, Err(refused));
    assert_eq!(asker.branch("a/b").await, Ok(Some("a/b subject".to_owned())));
    assert_eq!(asker.branch("b").await, Ok(None));
    let text = "target reference is ambiguous: reference is ambiguous: conflicts with";
    let refused = (Code::InvalidArgument, format!("{text} \"refs/heads/a/b\""));
    assert_eq!(asker.branch("a").await, Err(refused));
    let (lengths, names) = asker.list(&["refs/"], &[]).await;
    assert_eq!(lengths, [21, 8]);
    assert_eq!(
        (&*names[0], &*names[1], &*names[28]),
        ("HEAD", "refs/heads/a/b", "refs/tags/v1^{}")
    );
    let (lengths, names) = asker.list(&["refs/tags/*"], &["main"]).await;
    assert_eq!((lengths, &*names[1]), (vec![2], "refs/tags/v1^{}"));
    assert_eq!(asker.list(&["nothing"], &[]).await, (vec![], vec![]));
}

#[tokio::test]
async fn in_process() {
    check(&mut Asker::start("sha1", &[]).await).await;
}

#[tokio::test]
async fn by_git_where_objects_are_stored_in_another_way() {
    check(&mut Asker::start("sha256", &[]).await).await;
}

#[tokio::test]
async fn by_git_where_its_settings_matter() {
    check(&mut Asker::start("sha1", &[("mailmap.file", "/nowhere"), ("trailer.x.key", "X")]).await)
        .await;
}
