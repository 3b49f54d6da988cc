//! The README's table of metrics against what a busy node says.

use super::{SETTLE_MAX, get};
use gitring_proto::gitaly::commit_service_client::CommitServiceClient;
use gitring_proto::gitaly::repository_service_client::RepositoryServiceClient;
use gitring_proto::gitaly::{ListCommitsByOidRequest, RepositoryExistsRequest};
use gitring_tests::gitaly::{DOORS, connect, named, run};
use gitring_tests::node::Node;
use gitring_tests::process::wait_until;
use gitring_tests::repository::{Kind, Repository};
use gitring_tests::shell::{Carrier, Shell};
use std::collections::{BTreeMap, BTreeSet};

/// A metric of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Documented {
    labels: BTreeSet<String>,
    /// Not every node has it.
    is_optional: bool,
}

/// What a scrape says of one metric.
#[derive(Debug, Default)]
struct Scraped {
    help: String,
    kind: String,
    /// Each with its value.
    series: Vec<Vec<(String, String)>>,
}

/// The words between backticks.
fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Text without what stands between parentheses.
fn bare(text: &str) -> String {
    let mut depth = 0;
    let outside = |char: &char| {
        match char {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => return depth == 0,
        }
        false
    };
    text.chars().filter(outside).collect()
}

/// The rows of the table: names, then labels up to a `;` or a `:`.
fn table(readme: &str) -> BTreeMap<String, Documented> {
    let section = readme.split("\n## Metrics and log\n").nth(1).expect("the section is there");
    let mut found = BTreeMap::new();
    let rows = section.lines().skip_while(|line| !line.starts_with("| metric | labels |")).skip(2);
    for row in rows.take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let (names, rest) = (quoted(cells[0]), bare(cells.get(1).unwrap_or(&"")));
        let labels = quoted(rest.split([';', ':']).next().unwrap_or("")).into_iter().collect();
        let metric = Documented { labels, is_optional: rest.contains("absent") };
        found.extend(names.into_iter().map(|name| (name, metric.clone())));
    }
    found
}

/// Prometheus' text format, version 0.0.4.
fn scrape(text: &str) -> BTreeMap<String, Scraped> {
    let mut found = BTreeMap::<String, Scraped>::new();
    for line in text.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "HELP", name, help] => found.entry(name.into()).or_default().help = help.into(),
            ["#", "TYPE", name, kind] => found.entry(name.into()).or_default().kind = kind.into(),
            _ => {
                let (series, _) = line.rsplit_once(' ').expect("a series has a value");
                let (name, labels) = series.split_once('{').unwrap_or((series, ""));
                let owner = ["_bucket", "_sum", "_count"]
                    .iter()
                    .filter_map(|suffix| name.strip_suffix(suffix))
                    .find(|name| found.get(*name).is_some_and(|owner| owner.kind == "histogram"));
                let owner = found.get_mut(owner.unwrap_or(name)).expect("TYPE comes first");
                owner.series.push(pairs(labels.trim_end_matches('}')));
            }
        }
    }
    found
}

fn pairs(labels: &str) -> Vec<(String, String)> {
    let pair = |label: &str| {
        let (name, value) = label.split_once("=\"").expect("a label has a value");
        (name.to_owned(), value.trim_end_matches('"').to_owned())
    };
    labels.split("\",").filter(|label| !label.is_empty()).map(pair).collect()
}

/// Fetches, a push and calls by every way there is.
fn keep_busy(node: &Node, repository: &Repository) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let shell = Shell::start(node, Carrier::Sidechannel);
    for (at, (mut git, url)) in [
        (std::process::Command::new("git"), node.url("varied.git")),
        (std::process::Command::new("git"), node.url("varied.git")),
        (shell.git(folder.path()), "ssh://git@node/varied.git".to_owned()),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("c{at}.git");
        git.current_dir(folder.path()).args(["clone", "-q", "--bare", &url, &name]);
        assert!(git.status().expect("git can be started").success(), "{url}");
    }
    let id = repository.id("main");
    run(async {
        for door in DOORS {
            let client = connect(node, door, "").await;
            let mut repositories = RepositoryServiceClient::new(client.clone());
            for at in 0..50 {
                let path = if at % 10 == 0 { "varied.git" } else { &format!("absent-{at}.git") };
                let request = RepositoryExistsRequest { repository: named(path) };
                repositories.repository_exists(request).await.expect("an answer");
            }
            let mut commits = CommitServiceClient::new(client);
            let request =
                ListCommitsByOidRequest { repository: named("varied.git"), oid: vec![id.clone()] };
            let answer = commits.list_commits_by_oid(request).await.expect("an answer");
            let mut answer = answer.into_inner();
            while answer.message().await.expect("a message").is_some() {}
        }
    });
}

/// Goal: an operator finds every metric of the README, with its labels and a word of help, and none
/// that is not there; and no label takes values that clients choose without end.
#[test]
fn every_metric_is_documented_and_bounded() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let table = table(&std::fs::read_to_string(readme).expect("the README can be read"));
    assert!(table.len() > 60, "{}", table.len());
    let node = Node::start_with("[prometheus]\ngrpc_latency_buckets = [0.5, 1]\n");
    let repository = Repository::create(&node.storage(), "varied", Kind::Varied);
    keep_busy(&node, &repository);
    wait_until("all calls have ended", SETTLE_MAX, || {
        get(&node, "/metrics").contains("{grpc_code=\"OK\",grpc_method=\"ListCommitsByOid\"")
    });
    let found = scrape(&get(&node, "/metrics"));
    let mut faults = Vec::new();
    for (name, scraped) in found.iter().filter(|(name, _)| !name.starts_with("process_")) {
        let Scraped { help, kind, series } = scraped;
        if help.is_empty() || kind.is_empty() {
            faults.push(format!("{name}: no help, or no type"));
        }
        if series.len() > 1_000 {
            faults.push(format!("{name}: {} series", series.len()));
        }
        let Some(documented) = table.get(name) else {
            faults.push(format!("{name}: not in the README"));
            continue;
        };
        for labels in series {
            let names: BTreeSet<String> =
                labels.iter().map(|(name, _)| name.clone()).filter(|name| name != "le").collect();
            if names != documented.labels {
                faults.push(format!("{name}: {names:?}, documented {:?}", documented.labels));
            }
            for (label, value) in labels {
                let is_chosen = ["absent-", "varied", "refs/", "127.0.0.1"].iter();
                if is_chosen.clone().any(|part| value.contains(part)) {
                    faults.push(format!("{name}: {label} is {value}"));
                }
            }
        }
    }
    let missing = table.iter().filter(|(name, metric)| {
        !metric.is_optional && !name.ends_with('*') && !found.contains_key(*name)
    });
    faults.extend(missing.map(|(name, _)| format!("{name}: documented, and not there")));
    faults.dedup();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let bounds: BTreeSet<&str> = found["grpc_server_handling_seconds"]
        .series
        .iter()
        .flatten()
        .filter(|(name, _)| name == "le")
        .map(|(_, bound)| bound.as_str())
        .collect();
    assert_eq!(bounds, BTreeSet::from(["+Inf", "0.5", "1"]), "grpc_latency_buckets");
}
