//! Stock clients push to us and to stock git; both servers must end up with the same.
//!
//! Goal: every kind of push, accepted and refused, in every protocol version, over HTTP and stdio.
//! Method: each scenario runs with the same client commands against stock `git receive-pack`, the
//! gateway and `gitring-node receive-pack`. Then what the client printed, its exit codes, and the
//! server's repositories are compared: refs, HEAD, logs, objects, packs, files, what `git fsck` says;
//! and nothing temporary may be left.
//!
//! Never here: what hooks of GitLab say, which no stock git asks.

mod children;
mod moments;
mod raw;
mod remains;
mod scenarios;
mod scene;
mod visible;
mod wire;

use std::sync::Mutex;

use gitring_tests::client::Served;
use gitring_tests::git;
use gitring_tests::node::Node;
use gitring_tests::stock_http::StockHttp;

use remains::Remains;
use scenarios::Scenario;
use scene::{Scene, Template};

/// Lets strangers push: the end of `[gateway]`, and behind it a place for [`Node`] to say `io_uring`.
pub(crate) const OPEN: &str =
    "receive_pack = true\n[runtime]\n[hooks]\nwithout_gitlab = \"allow\"\n";

/// What stock git needs to serve pushes over HTTP, and what the node sets for them as Gitaly does.
pub(crate) const SETTINGS: &[(&str, &str)] = &[
    ("http.receivepack", "true"),
    ("pack.writeReverseIndex", "true"),
    ("core.alternateRefsCommand", "exit 0 #"),
    ("receive.advertisePushOptions", "true"),
    ("receive.hideRefs", "refs/keep-around/"),
    ("receive.hideRefs", "refs/remotes/"),
    ("receive.hideRefs", "refs/tmp/"),
    ("transfer.fsckObjects", "true"),
];

/// Scenarios at a time.
const WORKERS: usize = 6;

/// All servers, each with a storage, and what scenes begin with.
struct Stage {
    template: Template,
    node: Node,
    stock_http: StockHttp,
    folders: [tempfile::TempDir; 3],
}

/// What a scenario left.
struct Played {
    transcript: String,
    /// Of every repository of the room.
    remains: Remains,
    /// The client's refs.
    client: String,
}

// === impl Stage ===

impl Stage {
    fn new() -> Self {
        let folders = std::array::from_fn(|_| tempfile::tempdir().expect("a temporary folder"));
        let stock_http = StockHttp::start_with(folders[0].path(), SETTINGS);
        Self { template: Template::new(), node: Node::start_with(OPEN), stock_http, folders }
    }

    /// Runs scenarios with all servers and reports every difference at once.
    fn check(&self, version: u8, scenarios: &[Scenario]) {
        let only = std::env::var("GITRING_TEST_ONLY").unwrap_or_default();
        let chosen = scenarios.iter().enumerate().filter(|(_, one)| one.name.contains(&only));
        let queue = Mutex::new(chosen);
        let faults = Mutex::new(Vec::new());
        // Most of a push is waiting for the disk.
        std::thread::scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(|| {
                    loop {
                        let next = queue.lock().expect("nobody panics").next();
                        let Some((number, scenario)) = next else { break };
                        let found = self.faults(scenario, number, version);
                        faults.lock().expect("nobody panics").extend(found);
                    }
                });
            }
        });
        let faults = faults.into_inner().expect("nobody panics");
        let log = self.node.log();
        assert!(faults.is_empty(), "{} faults\n{}\n{log}", faults.len(), faults.join("\n"));
    }

    fn faults(&self, scenario: &Scenario, number: usize, version: u8) -> Vec<String> {
        let [_, stock, ours] = self.folders.each_ref().map(tempfile::TempDir::path);
        let over_http = [Served::StockHttp(&self.stock_http), Served::Gateway(&self.node)];
        let over_stdio = [Served::Stock(stock), Served::Stdio(ours)];
        let pairs = [over_http, over_stdio];
        let pairs = pairs.iter().filter(|pair| !scenario.piped_only || pair[0].is_piped());
        let faults = pairs.filter_map(|pair| {
            let [stock, ours] = pair.map(|served| self.play(scenario, number, version, served));
            let fault = stock.and_then(|stock| stock.compare(&ours?)).err()?;
            Some(format!("{} v{version} over {}: {fault}", scenario.name, pair[1]))
        });
        faults.collect()
    }

    /// A failing command is an error, not a panic, so that one run shows every scenario that fails.
    fn play(
        &self,
        scenario: &Scenario,
        number: usize,
        version: u8,
        served: Served<'_>,
    ) -> Result<Played, String> {
        let storage = match served {
            Served::StockHttp(_) => self.folders[0].path().to_owned(),
            Served::Gateway(node) => node.storage(),
            Served::Stock(storage) | Served::Stdio(storage) => storage.to_owned(),
        };
        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let scene = Scene::new(&self.template, served, (&storage, number), version);
            (scenario.run)(&scene);
            assert_eq!(scene.started().exists(), served.is_piped(), "who served?");
            Played::of(&scene)
        }));
        played.map_err(|cause| match cause.downcast::<String>() {
            Ok(message) => format!("{served}: {message}"),
            Err(_) => format!("{served}: ended without a message"),
        })
    }
}

// === impl Played ===

impl Played {
    fn of(scene: &Scene<'_>) -> Self {
        let mut remains = Remains::default();
        for path in scene.repositories() {
            remains.add(&path, scene.room(), scene.is_piped());
        }
        let client = git::run(&scene.clone_folder(), &["for-each-ref"]);
        Self { transcript: scene.transcript(), remains, client }
    }

    /// `self` is stock git's.
    fn compare(&self, ours: &Self) -> Result<(), String> {
        if let Some(difference) = self.remains.difference(&ours.remains) {
            return Err(difference + &self.words(ours));
        }
        if ours.client != self.client {
            return Err(format!("the client's refs differ{}", self.words(ours)));
        }
        if ours.transcript != self.transcript {
            return Err(format!("output differs{}", self.words(ours)));
        }
        Ok(())
    }

    fn words(&self, ours: &Self) -> String {
        format!("\n### ours\n{}\n### stock\n{}", ours.transcript, self.transcript)
    }
}

#[test]
fn accepted() {
    Stage::new().check(0, scenarios::ACCEPTED);
}

#[test]
fn refused() {
    Stage::new().check(0, scenarios::REFUSED);
}

#[test]
fn repositories() {
    Stage::new().check(0, scenarios::REPOSITORIES);
}

#[test]
fn doctored() {
    Stage::new().check(0, scenarios::DOCTORED);
}

#[test]
fn hooks() {
    Stage::new().check(0, scenarios::HOOKS);
}

#[test]
fn other_versions() {
    for version in [1, 2] {
        Stage::new().check(version, scenarios::BASIC);
    }
}
