//! Every unary method that is built, against what git says of the same repository.

use gitring_daemon::client::Client;
use gitring_proto::gitaly::commit_service_client::CommitServiceClient;
use gitring_proto::gitaly::ref_service_client::RefServiceClient;
use gitring_proto::gitaly::repository_service_client::RepositoryServiceClient;
use gitring_proto::gitaly::server_service_client::ServerServiceClient;
use gitring_proto::gitaly::{
    CreateRepositoryRequest, DiskStatisticsRequest, FindBranchRequest, FindCommitRequest,
    FindDefaultBranchNameRequest, GitCommit, HasLocalBranchesRequest, ListRefsRequest,
    ObjectFormat, ObjectFormatRequest, ReadinessCheckRequest, RefExistsRequest,
    RemoveRepositoryRequest, RepositoryExistsRequest, RepositorySizeRequest, ServerInfoRequest,
    readiness_check_response,
};
use gitring_tests::git;
use gitring_tests::gitaly::{DOORS, connect, named, refusal, run};
use gitring_tests::random::Random;
use gitring_tests::repository::Repository;
use tonic::{Code, Status};

use super::node_with_varied;

async fn exists(client: &Client, path: &str) -> Result<bool, Status> {
    let request = RepositoryExistsRequest { repository: named(path) };
    let mut repositories = RepositoryServiceClient::new(client.clone());
    repositories.repository_exists(request).await.map(|reply| reply.into_inner().exists)
}

async fn find_commit(client: &Client, revision: &str) -> Result<Option<GitCommit>, Status> {
    let revision = revision.to_owned().into();
    let request = FindCommitRequest { repository: named("varied.git"), revision, trailers: false };
    let mut commits = CommitServiceClient::new(client.clone());
    commits.find_commit(request).await.map(|reply| reply.into_inner().commit)
}

/// A commit as `git log` shows it in the same order.
fn shown(commit: &GitCommit) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let author = commit.author.clone().unwrap_or_default();
    let seconds = author.date.map_or(0, |date| date.seconds);
    format!(
        "{} {} {}|{}|{} {} {}|{}",
        commit.id,
        commit.tree_id,
        commit.parent_ids.join(" "),
        text(&commit.subject),
        text(&author.name),
        text(&author.email),
        seconds,
        text(&commit.body).trim_end(),
    )
}

async fn check_refs(client: &Client, repository: &Repository) {
    let mut refs = RefServiceClient::new(client.clone());
    for (name, expected) in [
        ("refs/heads/main", true),
        ("refs/tags/v0", true),
        ("refs/heads/nothing", false),
        ("refs/heads", false),
    ] {
        let request =
            RefExistsRequest { repository: named("varied.git"), r#ref: name.to_owned().into() };
        let found = refs.ref_exists(request).await.expect(name).into_inner().value;
        assert_eq!(found, expected, "{name}");
    }
    let request = RefExistsRequest { repository: named("varied.git"), r#ref: "main".into() };
    assert_eq!(refusal(refs.ref_exists(request).await).0, Code::InvalidArgument);
    let request =
        FindDefaultBranchNameRequest { repository: named("varied.git"), ..Default::default() };
    let name = refs.find_default_branch_name(request).await.expect("a branch").into_inner().name;
    assert_eq!(name, "refs/heads/main");
    let request = FindBranchRequest { repository: named("varied.git"), name: "main".into() };
    let branch = refs.find_branch(request).await.expect("main").into_inner().branch;
    let branch = branch.expect("main is there");
    let target = branch.target_commit.map(|commit| commit.id);
    assert_eq!((&branch.name[..], target), (&b"main"[..], Some(repository.id("main"))));
    let request = FindBranchRequest { repository: named("varied.git"), name: "nothing".into() };
    assert!(refs.find_branch(request).await.expect("an answer").into_inner().branch.is_none());
    for (head, patterns) in [(false, vec!["refs/"]), (true, vec!["refs/heads/", "refs/tags/"])] {
        let request = ListRefsRequest {
            repository: named("varied.git"),
            patterns: patterns.iter().map(|pattern| (*pattern).to_owned().into()).collect(),
            head,
            ..Default::default()
        };
        let mut pages = refs.list_refs(request).await.expect("refs").into_inner();
        let mut found = Vec::new();
        while let Some(page) = pages.message().await.expect("the stream goes on") {
            found.extend(
                page.references
                    .into_iter()
                    .map(|one| format!("{} {}", one.target, String::from_utf8_lossy(&one.name))),
            );
        }
        let mut words = vec!["for-each-ref", "--format=%(objectname) %(refname)"];
        words.extend(patterns);
        let mut expected = repository.git(&words);
        if head {
            expected = format!("{} HEAD\n{expected}", repository.id("HEAD"));
        }
        assert_eq!(found.join("\n"), expected, "head {head}");
    }
}

async fn check_commits(client: &Client, repository: &Repository) {
    for revision in ["main", "main~3", "refs/heads/main", "v1", "HEAD", &repository.id("main~1")] {
        let commit = find_commit(client, revision).await.expect(revision).expect(revision);
        let format = "--format=%H %T %P|%s|%an %ae %at|%B";
        let expected = repository.git(&["log", "-1", format, &format!("{revision}^{{commit}}")]);
        assert_eq!(shown(&commit), expected.trim_end(), "{revision}");
    }
    for revision in ["nothing", "main~100000", &"0".repeat(39), &"1".repeat(40)] {
        assert_eq!(find_commit(client, revision).await.expect("an answer"), None, "{revision}");
    }
    for (revision, text) in [("", "empty revision"), ("-x", "revision can't start with '-'")] {
        let (code, found) = refusal(find_commit(client, revision).await);
        assert_eq!((code, &*found), (Code::InvalidArgument, text));
    }
}

async fn check_server(client: &Client) {
    let mut server = ServerServiceClient::new(client.clone());
    let info = server.server_info(ServerInfoRequest {}).await.expect("a server").into_inner();
    let version = git::run("/".as_ref(), &["version"]);
    assert_eq!(Some(&*info.git_version), version.strip_prefix("git version "));
    let [storage] = &info.storage_statuses[..] else { panic!("{info:?}") };
    assert_eq!((&*storage.storage_name, storage.readable), ("default", true));
    assert!(storage.writeable && storage.replication_factor == 1, "{storage:?}");
    let disks = server.disk_statistics(DiskStatisticsRequest {}).await.expect("disks");
    let [disk] = &disks.into_inner().storage_statuses[..] else { panic!("not one storage") };
    assert!(disk.storage_name == "default" && disk.available > 0 && disk.used > 0, "{disk:?}");
    let ready = server.readiness_check(ReadinessCheckRequest::default()).await;
    let ready = ready.expect("a server").into_inner().result;
    assert!(matches!(ready, Some(readiness_check_response::Result::OkResponse(_))), "{ready:?}");
}

async fn check_life(client: &Client, storage: &std::path::Path) {
    let mut repositories = RepositoryServiceClient::new(client.clone());
    let path = "@hashed/ab/cd/abcd.git";
    assert!(!exists(client, path).await.expect("an answer"));
    let create = |format: ObjectFormat| CreateRepositoryRequest {
        repository: named(path),
        default_branch: "trunk".into(),
        object_format: format.into(),
    };
    repositories.create_repository(create(ObjectFormat::Sha1)).await.expect("created");
    assert!(exists(client, path).await.expect("an answer"));
    let (code, _) = refusal(repositories.create_repository(create(ObjectFormat::Sha1)).await);
    assert_eq!(code, Code::AlreadyExists);
    let folder = storage.join(path);
    assert_eq!(git::run(&folder, &["symbolic-ref", "HEAD"]), "refs/heads/trunk");
    git::run(&folder, &["fsck", "--strict"]);
    let request = ObjectFormatRequest { repository: named(path) };
    let format = repositories.object_format(request).await.expect("a format").into_inner().format;
    assert_eq!(format, i32::from(ObjectFormat::Sha1));
    let request = HasLocalBranchesRequest { repository: named(path) };
    assert!(!repositories.has_local_branches(request).await.expect("an answer").into_inner().value);
    let request = RemoveRepositoryRequest { repository: named(path) };
    repositories.remove_repository(request.clone()).await.expect("removed");
    assert!(!exists(client, path).await.expect("an answer") && !folder.exists());
    assert_eq!(refusal(repositories.remove_repository(request).await).0, Code::NotFound);
}

async fn check_repositories(client: &Client) {
    assert!(exists(client, "varied.git").await.expect("an answer"));
    assert!(!exists(client, "nothing.git").await.expect("an answer"));
    for path in ["../varied.git", "a/../../b.git"] {
        assert_eq!(refusal(exists(client, path).await).0, Code::InvalidArgument, "{path}");
    }
    let mut repositories = RepositoryServiceClient::new(client.clone());
    let request = HasLocalBranchesRequest { repository: named("varied.git") };
    assert!(repositories.has_local_branches(request).await.expect("an answer").into_inner().value);
    let request = RepositorySizeRequest { repository: named("varied.git") };
    let size = repositories.repository_size(request).await.expect("a size").into_inner().size;
    // In kilobytes; the hooks that `git init` copies count as well.
    assert!((10..100_000).contains(&size), "{size}");
    let mut elsewhere = named("varied.git");
    elsewhere.as_mut().expect("named").storage_name = "elsewhere".to_owned();
    let request = RepositoryExistsRequest { repository: elsewhere };
    let (code, _) = refusal(repositories.repository_exists(request).await);
    assert_eq!(code, Code::InvalidArgument);
}

#[test]
fn answers_are_gits_on_every_kind_of_connection() {
    let (node, repository) = node_with_varied("");
    for door in DOORS {
        eprintln!("{door:?}");
        run(async {
            let client = connect(&node, door, "").await;
            check_repositories(&client).await;
            check_refs(&client, &repository).await;
            check_commits(&client, &repository).await;
            check_server(&client).await;
            check_life(&client, &node.storage()).await;
        });
    }
}

/// What the three calls that are mostly answered without a worker say of `varied.git`.
async fn glances(client: &Client, name: &str) -> Result<(bool, Option<String>, String), Status> {
    let mut refs = RefServiceClient::new(client.clone());
    let r#ref = name.to_owned().into();
    let request = RefExistsRequest { repository: named("varied.git"), r#ref };
    let exists = refs.ref_exists(request).await?.into_inner().value;
    let commit = find_commit(client, name).await?.map(|commit| commit.id);
    let repository = named("varied.git");
    let request = FindDefaultBranchNameRequest { repository, ..Default::default() };
    let branch = refs.find_default_branch_name(request).await?.into_inner().name;
    Ok((exists, commit, String::from_utf8_lossy(&branch).into_owned()))
}

/// Goal: no call is answered from before the last write, by a worker or without one.
/// Method: a seeded sequence of what git and an administrator do; after each step every call is
/// made three times, of which the later ones meet what the first one left in memory.
#[test]
fn writes_and_calls_alternate() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
    eprintln!("SEED={seed}");
    let mut random = Random::new(seed);
    let (node, repository) = node_with_varied("");
    let other = repository.copy("other");
    repository.git(&["repack", "-adq"]);
    run(async {
        let client = connect(&node, DOORS[0], "").await;
        for step in 0..120 {
            let name = format!("refs/heads/{}", ["a", "b", "c/d"][random.below(3)]);
            let revision = format!("main~{}", random.below(4));
            match random.below(14) {
                0 => drop(repository.git(&["pack-refs", "--all"])),
                1 => drop(repository.git(&["update-ref", "-d", &name])),
                2 => drop(repository.git(&["symbolic-ref", "HEAD", "refs/heads/b"])),
                3 => drop(repository.git(&["symbolic-ref", "HEAD", "refs/heads/main"])),
                4 => drop(repository.set("core.useReplaceRefs", ["true", "false"][step % 2])),
                5 => drop(repository.git(&["repack", "-adfq"])),
                6 => swap(&repository, &other),
                _ => drop(repository.git(&["update-ref", &name, &revision])),
            }
            let id = git::try_run(&repository.path, &["rev-parse", "--verify", "-q", &name]);
            let id = Some(String::from_utf8_lossy(&id.stdout).trim().to_owned());
            let id = id.filter(|id| !id.is_empty());
            let head = repository.git(&["symbolic-ref", "HEAD"]);
            let is_born = git::try_run(&repository.path, &["rev-parse", "-q", "--verify", "HEAD"]);
            let branch = if is_born.status.success() { &*head } else { "refs/heads/main" };
            let expected = (id.is_some(), id, branch.to_owned());
            for time in 0..3 {
                let found = glances(&client, &name).await.expect("answers");
                assert_eq!(found, expected, "step {step}, time {time}");
            }
        }
        std::fs::rename(&repository.path, node.storage().join("gone.git")).expect("it is there");
        assert_eq!(refusal(glances(&client, "main").await).0, Code::NotFound);
    });
}

/// Another repository takes the place of the first one, whose place is free again afterwards.
fn swap(repository: &Repository, other: &Repository) {
    let away = repository.path.with_file_name("away.git");
    for (from, to) in
        [(&repository.path, &away), (&other.path, &repository.path), (&away, &other.path)]
    {
        std::fs::rename(from, to).expect("it is there");
    }
}

/// What other git processes write is seen at once.
#[test]
fn changes_behind_the_node_are_seen() {
    let (node, repository) = node_with_varied("");
    run(async {
        let client = connect(&node, DOORS[0], "").await;
        for at in 0..20 {
            let revision = format!("main~{}", at % 4);
            repository.git(&["update-ref", "refs/heads/moving", &revision]);
            if at % 5 == 4 {
                repository.git(&["pack-refs", "--all"]);
            }
            let commit = find_commit(&client, "moving").await.expect("an answer");
            assert_eq!(commit.expect("a commit").id, repository.id(&revision), "{at}");
        }
    });
}
