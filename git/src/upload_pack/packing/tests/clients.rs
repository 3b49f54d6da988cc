//! Random clients: what they have, what they ask, what they end up with.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use super::world::{Random, World, git, lines};
use crate::ObjectId;
use crate::pack_request::{Draft, PackRequest};
use crate::upload_pack::arguments::{DEPTH_INFINITE, Depth, Needs};
use crate::upload_pack::filter::Filter;
use crate::upload_pack::packing::COMMITS_MAX;

/// Repositories, clients of each, and spellings of each client's request.
const WORLDS: u64 = 4;
const CLIENTS: usize = 16;
const SPELLINGS: usize = 2;

const FILTERS: [&str; 5] =
    ["blob:none", "tree:1", "blob:limit=100", "combine:tree:3+blob:limit=60", "object:type=commit"];

/// What a client has.
struct Client {
    path: PathBuf,
    refs: Vec<ObjectId>,
    shallow: Vec<ObjectId>,
    filter: Option<Filter>,
}

// === impl Client ===

impl Client {
    fn new(path: PathBuf, world: &World, random: &mut Random) -> Self {
        let refs: Vec<ObjectId> = (0..random.below(3)).map(|_| recent(world, random)).collect();
        let mut shallow = Vec::new();
        if random.below(3) == 0 {
            let cut: Vec<ObjectId> = (0..4).map(|_| random.pick(&world.commits)).collect();
            shallow = world.closure(&refs, &cut);
            shallow.retain(|id| cut.contains(id));
        }
        let filter = FILTERS[random.below(FILTERS.len())];
        let filter = (random.below(4) == 0).then(|| Filter::parse(filter).unwrap());
        std::fs::create_dir(&path).unwrap();
        git(&path, &["init", "-q", "--bare", "."], b"");
        let client = Self { path, refs, shallow, filter };
        let has = PackRequest::new(Draft {
            wants: client.refs.clone(),
            shallow: (!client.shallow.is_empty()).then(|| client.shallow.clone()),
            filter: client.filter.clone(),
            ..Draft::default()
        });
        client.take(&world.build(&has), &client.shallow);
        client
    }

    fn take(&self, pack: &[u8], shallow: &[ObjectId]) {
        git(&self.path, &["index-pack", "--stdin", "--fix-thin"], pack);
        let text: String = shallow.iter().map(|id| format!("{id}\n")).collect();
        std::fs::write(self.path.join("shallow"), text).unwrap();
    }

    fn objects(&self) -> BTreeSet<ObjectId> {
        let all = ["cat-file", "--batch-all-objects", "--batch-check"];
        lines(&git(&self.path, &all, b"")).into_iter().collect()
    }

    /// What it asks for.
    fn needs(&self, world: &World, random: &mut Random) -> Needs {
        let mut wants = vec![*world.commits.last().unwrap()];
        if random.below(4) == 0 {
            let tags: Vec<ObjectId> = world.tags.values().copied().collect();
            let tag = random.pick(&tags);
            wants.extend([random.pick(&world.commits), tag].into_iter().take(1 + random.below(2)));
        }
        let commits = match random.below(8) {
            0 => 1 + random.below(5) as u32,
            1 => DEPTH_INFINITE,
            _ => 0,
        };
        Needs {
            wants,
            shallows: self.shallow.clone(),
            depth: Depth { commits, ..Depth::default() },
            filter: self.filter.clone(),
            // Partial clones fetch missing bases one by one; these clients could not.
            thin: self.filter.is_none(),
            ofs_delta: true,
            include_tag: random.below(2) == 0,
            ..Needs::default()
        }
    }

    /// Whether everything is there that its refs, old and new, reach.
    fn check(&self, wants: &[ObjectId]) {
        let mut update = String::new();
        for (number, id) in self.refs.iter().chain(wants).enumerate() {
            update += &format!("create refs/x/{number} {id}\n");
        }
        git(&self.path, &["update-ref", "--stdin"], update.as_bytes());
        if self.filter.is_some() {
            for (key, value) in [
                ("core.repositoryFormatVersion", "1"),
                ("extensions.partialClone", "origin"),
                ("remote.origin.promisor", "true"),
            ] {
                git(&self.path, &["config", key, value], b"");
            }
            for pack in std::fs::read_dir(self.path.join("objects/pack")).unwrap() {
                std::fs::write(pack.unwrap().path().with_extension("promisor"), "").unwrap();
            }
        }
        git(&self.path, &["fsck", "--connectivity-only", "--no-dangling"], b"");
    }
}

/// A commit, the last ones most often.
fn recent(world: &World, random: &mut Random) -> ObjectId {
    let back = if random.below(4) == 0 { world.commits.len() } else { 4 };
    world.commits[world.commits.len() - 1 - random.below(back)]
}

/// The same request in other words; `freely`, with wants and haves that change nothing.
fn respelled(
    world: &World,
    needs: &Needs,
    haves: &[ObjectId],
    freely: bool,
    random: &mut Random,
) -> (Needs, Vec<ObjectId>) {
    let (mut needs, mut haves) = (needs.clone(), haves.to_vec());
    if freely {
        let reached = world.closure(&needs.wants[..1], &[]);
        needs.wants.push(random.pick(&reached));
        let had = world.closure(&haves, &[]);
        let count = if had.is_empty() { 0 } else { random.below(4) };
        haves.extend((0..count).map(|_| random.pick(&had)));
    }
    haves.push(ObjectId::from_hex(format!("{:040x}", random.below(99)).as_bytes()).unwrap());
    needs.wants.extend(needs.wants.clone());
    random.shuffle(&mut needs.wants);
    random.shuffle(&mut haves);
    random.shuffle(&mut needs.shallows);
    (needs, haves)
}

/// The ids of the objects that a pack brings to whoever has `base`.
fn brought(folder: &Path, base: &Path, pack: &[u8]) -> BTreeSet<ObjectId> {
    let path = folder.join("scratch");
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir(&path).unwrap();
    git(&path, &["init", "-q", "--bare", "."], b"");
    let alternate = format!("{}\n", base.join("objects").display());
    std::fs::write(path.join("objects/info/alternates"), alternate).unwrap();
    git(&path, &["index-pack", "--stdin", "--fix-thin"], pack);
    std::fs::remove_file(path.join("objects/info/alternates")).unwrap();
    let all = ["cat-file", "--batch-all-objects", "--batch-check"];
    lines(&git(&path, &all, b"")).into_iter().collect()
}

/// Clients of one run.
#[derive(Debug, Default)]
struct Counts {
    asked: usize,
    /// Those who got another's pack.
    shared: usize,
    /// Those whose request was made after walks that ended early, and would be another else.
    cut: usize,
}

#[test]
fn whoever_shares_a_key_ends_up_complete() {
    let counts = play(COMMITS_MAX);
    assert!(counts.shared > counts.asked / 10, "keys are shared: {counts:?}");
    assert_eq!(counts.cut, 0, "{counts:?}");
}

/// The same on both sides of a bound that some walks come to and others do not.
#[test]
fn whoever_shares_a_key_ends_up_complete_where_walks_end_early() {
    let counts = play(5);
    assert!(counts.cut > 0 && counts.cut < counts.asked, "{counts:?}");
}

fn play(commits_max: usize) -> Counts {
    let mut counts = Counts::default();
    for seed in 1..=WORLDS {
        eprintln!("seed {seed}, walks of {commits_max} commits");
        let mut random = Random::new(seed);
        let folder = tempfile::tempdir().unwrap();
        let git_dir = folder.path().join("server.git");
        std::fs::create_dir(&git_dir).unwrap();
        let count = 8 + random.below(20);
        let mut world = World::new(&git_dir, &mut random, count, seed % 3 == 0);
        world.commits_max = commits_max;
        let mut packs: HashMap<[u8; 32], Vec<u8>> = HashMap::new();
        for number in 0..CLIENTS {
            let path = folder.path().join(format!("client-{number}"));
            let client = Client::new(path, &world, &mut random);
            let met = one_client(folder.path(), &world, &client, &mut packs, &mut random);
            counts.asked += 1;
            counts.shared += usize::from(met.is_shared);
            counts.cut += usize::from(met.is_cut);
        }
    }
    eprintln!("{counts:?}");
    counts
}

/// What a client met.
struct Met {
    is_shared: bool,
    is_cut: bool,
}

fn one_client(
    folder: &Path,
    world: &World,
    client: &Client,
    packs: &mut HashMap<[u8; 32], Vec<u8>>,
    random: &mut Random,
) -> Met {
    let needs = client.needs(world, random);
    let had = client.objects();
    let mut haves = client.refs.clone();
    let reached = world.closure(&client.refs, &client.shallow);
    haves.extend(
        (0..random.below(4)).filter(|_| !reached.is_empty()).map(|_| random.pick(&reached)),
    );
    let answer = world.fetch(needs.clone(), &haves);
    let request = answer.pack.unwrap();
    let digest = *request.key().unwrap().digest();
    let at_length = world.pack_after_walks_of(COMMITS_MAX, needs.clone(), &haves);
    let is_cut = digest != *at_length.key().unwrap().digest();
    // A walk that ends before it has seen all leaves more in; keys may then differ. So may one where
    // clocks run backwards.
    let freely = !world.is_backwards
        && world.commits_max == COMMITS_MAX
        && client.shallow.is_empty()
        && client.filter.is_none()
        && !needs.depth.any();
    for _ in 0..SPELLINGS {
        let (needs, haves) = respelled(world, &needs, &haves, freely, random);
        let other = world.pack_of(needs, &haves);
        let difference = crate::pack_request::fingerprint::first_difference(&request, &other);
        assert_eq!(difference, None, "{:?}", client.path);
    }
    let is_shared = packs.contains_key(&digest);
    let pack = packs.entry(digest).or_insert_with(|| world.build(&request)).clone();
    let original = PackRequest::new(Draft {
        wants: [&needs.wants[..], &more_wants(world, &answer.boundary)].concat(),
        haves: haves.clone(),
        edges: answer.boundary.iter().flat_map(|boundary| boundary.unshallow.clone()).collect(),
        shallow: request.shallow().map(<[_]>::to_vec),
        filter: needs.filter.clone(),
        ..Draft::default()
    });
    let [ours, gits] =
        [&pack, &world.build(&original)].map(|pack| brought(folder, &world.git_dir, pack));
    let lost: Vec<_> = gits.difference(&ours).filter(|id| !had.contains(*id)).collect();
    assert!(lost.is_empty(), "{:?} lost {lost:?} with {request:?}", client.path);
    let mut shallow = client.shallow.clone();
    if let Some(boundary) = &answer.boundary {
        shallow.extend(&boundary.shallow);
        shallow.retain(|id| !boundary.unshallow.contains(id));
    }
    client.take(&pack, &shallow);
    client.check(&needs.wants);
    Met { is_shared, is_cut }
}

fn more_wants(
    world: &World,
    boundary: &Option<crate::upload_pack::boundary::Boundary>,
) -> Vec<ObjectId> {
    let unshallow = boundary.iter().flat_map(|boundary| &boundary.unshallow);
    unshallow.flat_map(|id| world.parents[id].clone()).collect()
}
