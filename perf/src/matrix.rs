//! Every kind of fetch on real repositories, ours beside stock git.
//!
//! Always true:
//! - Clients and commands are the same on both sides; refs, boundary and objects are compared and
//!   `git fsck` judges ours.
//! - A repository is copied first; the original is only read.
//!
//! Never here: bars. Repositories differ, so their figures are printed, not judged.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use gitring_tests::client::{Client, Served};
use gitring_tests::git;
use gitring_tests::node::Node;
use gitring_tests::picture::Picture;
use gitring_tests::process;
use gitring_tests::repository::Repository;

/// Commits of the first-parent history between the copy `older` and the whole.
const STEPS_BACK: &str = "20";

/// One kind of fetch: options of the clone, then of a fetch (`None`: no fetch).
struct Request {
    name: &'static str,
    clone: Vec<String>,
    fetch: Option<Vec<String>>,
    /// The copy to clone from; the fetch goes to the whole repository.
    from: &'static str,
}

/// What one play of a request cost.
struct Play {
    wall_seconds: f64,
    cpu_seconds: f64,
    pack_bytes: u64,
    picture: Picture,
}

/// Copies the repository into the node's storage as `whole`, and its state some steps back as
/// `older`.
pub fn prepare(node: &Node, source: &Path) {
    let whole = copy(source, &node.storage().join("whole.git"));
    whole.allow_everything();
    let older = copy(source, &node.storage().join("older.git"));
    let branch = branch(&older);
    let tip = older.git(&["rev-parse", "--verify", &format!("{branch}~{STEPS_BACK}")]);
    let refs = older.git(&["for-each-ref", "--format=delete %(refname)"]);
    let update = format!("{refs}\ncreate {branch} {tip}\n");
    let update = update.replace(&format!("delete {branch}\n"), "");
    let update = update.replace("create ", "update ");
    git::run_with(&older.path, &["update-ref", "--no-deref", "--stdin"], update.as_bytes());
    older.git(&["symbolic-ref", "HEAD", &branch]);
    older.allow_everything();
}

/// Plays requests in versions 0 and 2 and prints a row each; whether everything matched. `rows`
/// are beginnings of their names, parted by commas; the empty one is that of all.
pub fn play_all(node: &Node, rows: &str) -> bool {
    let storage = node.storage();
    let mut requests = requests(&Repository { path: storage.join("whole.git") });
    requests.retain(|request| rows.split(',').any(|row| request.name.starts_with(row)));
    println!("| request | transport | pack bytes ours / stock | wall s | CPU s | same |");
    println!("|---|---|---|---|---|---|");
    let mut all_match = true;
    for request in &requests {
        for version in [0, 2] {
            let stock = play(request, version, Served::Stock(&storage), None);
            let over_http = play(request, version, Served::Gateway(node), Some(node.pid()));
            let over_stdio = play(request, version, Served::Stdio(&storage), None);
            for (transport, ours) in [("HTTP", over_http), ("stdio", over_stdio)] {
                let difference = ours.picture.difference(&stock.picture);
                println!(
                    "| {} v{version} | {transport} | {} / {} | {:.2} / {:.2} | {:.2} / {:.2} | {} |",
                    request.name,
                    ours.pack_bytes,
                    stock.pack_bytes,
                    ours.wall_seconds,
                    stock.wall_seconds,
                    ours.cpu_seconds,
                    stock.cpu_seconds,
                    difference.as_deref().unwrap_or("yes")
                );
                all_match &= difference.is_none();
            }
        }
    }
    all_match
}

fn copy(source: &Path, target: &Path) -> Repository {
    let status = Command::new("cp").arg("-a").arg(source).arg(target).status();
    assert!(status.is_ok_and(|status| status.success()), "cannot copy {}", source.display());
    Repository { path: target.to_owned() }
}

/// The branch of HEAD, or the first one.
fn branch(repository: &Repository) -> String {
    let head = git::try_run(&repository.path, &["symbolic-ref", "-q", "HEAD"]).stdout;
    let head = String::from_utf8_lossy(&head).trim().to_owned();
    let exists = git::try_run(&repository.path, &["rev-parse", "-q", "--verify", &head]);
    if !head.is_empty() && exists.status.success() {
        return head;
    }
    let list = repository.git(&["for-each-ref", "--format=%(refname)", "--count=1", "refs/heads"]);
    assert!(!list.is_empty(), "{} has no branch", repository.path.display());
    list
}

fn requests(whole: &Repository) -> Vec<Request> {
    let branch = branch(whole);
    let short = branch.trim_start_matches("refs/heads/").to_owned();
    let date = whole.git(&["log", "-1", "--format=%ct", &format!("{branch}~{STEPS_BACK}")]);
    let since = format!("--shallow-since={date}");
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let row = |name, clone: &str, fetch: Option<&str>| Request {
        name,
        clone: words(&format!("--bare {clone}")),
        fetch: fetch.map(words),
        from: "whole",
    };
    let older =
        |name, clone: &str, fetch: &str| Request { from: "older", ..row(name, clone, Some(fetch)) };
    let all = "+refs/heads/*:refs/heads/* --no-tags";
    let one = format!("+{branch}:{branch} --no-tags");
    let mut rows = vec![
        row("full", "--no-tags", None),
        row("mirror", "--mirror", None),
        row("single branch", &format!("--single-branch -b {short}"), None),
        row("depth 1", "--depth=1 --no-tags", None),
        row("depth 20", "--depth=20 --no-tags", None),
        row("shallow since", &format!("{since} --no-tags"), None),
        row("deepen", "--depth=2 --no-tags", Some(&format!("--deepen=5 {one}"))),
        row("unshallow", "--depth=2 --no-tags", Some(&format!("--unshallow {one}"))),
        row("blob:none", "--filter=blob:none --no-tags", None),
        row("blob:limit", "--filter=blob:limit=4k --no-tags", None),
        row("tree:0", "--filter=tree:0 --no-tags", None),
        row("no-op", "--no-tags", Some(&one)),
        older("incremental, one branch", "--no-tags", &one),
        older("incremental, all branches", "--no-tags", all),
    ];
    let format = ["for-each-ref", "--sort=creatordate", "--format=%(refname)", "refs/tags"];
    let tags = whole.git(&format);
    let tags: Vec<&str> = tags.lines().collect();
    if let Some(tag) = tags.get(tags.len() * 4 / 5) {
        let tag = tag.trim_start_matches("refs/tags/");
        rows.push(row("shallow not", &format!("--shallow-exclude={tag} --no-tags"), None));
    }
    let id = whole.id(&format!("{branch}~3^{{commit}}"));
    rows.push(older("by id", "--no-tags", &format!("--no-tags {id}")));
    rows
}

/// Plays a request with one server. `node` is the process whose CPU time counts; without it the
/// server is the client's own child and its time cannot be told from the client's.
fn play(request: &Request, version: u8, served: Served<'_>, node: Option<u32>) -> Play {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let client = Client::new(folder.path(), served, version);
    let options: Vec<&str> = request.clone.iter().map(String::as_str).collect();
    let read_cpu = || match node {
        Some(pid) => process::cpu_time(pid),
        None => client.server_cpu_time(),
    };
    let (start, cpu) = (Instant::now(), read_cpu());
    client.clone_of(request.from, &options);
    let (mut wall, mut used) = (start.elapsed(), read_cpu() - cpu);
    if let Some(words) = &request.fetch {
        client.turn_to("whole");
        let (options, rest): (Vec<&str>, Vec<&str>) =
            words.iter().map(String::as_str).partition(|word| word.starts_with('-'));
        let words = [&["fetch", "-q", "--update-head-ok"], &options[..], &["origin"], &rest[..]];
        let (start, cpu) = (Instant::now(), read_cpu());
        client.git(&words.concat());
        (wall, used) = (start.elapsed(), read_cpu() - cpu);
    }
    let clone = client.clone_folder();
    if !matches!(served, Served::Stock(_)) {
        git::run(&clone, &["fsck", "--full", "--no-dangling", "--no-progress"]);
    }
    Play {
        wall_seconds: wall.as_secs_f64(),
        cpu_seconds: used.as_secs_f64(),
        pack_bytes: pack_bytes(&clone),
        picture: Picture::of(&clone),
    }
}

/// Bytes of all packs that the client holds: what servers sent, thin packs completed.
fn pack_bytes(clone: &Path) -> u64 {
    let packs = std::fs::read_dir(clone.join("objects/pack")).into_iter().flatten().flatten();
    let packs = packs.filter(|entry| entry.path().extension().is_some_and(|end| end == "pack"));
    packs.filter_map(|pack| Some(pack.metadata().ok()?.len())).sum()
}
