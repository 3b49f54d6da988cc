//! Goal: equal keys for equal packs, and for every client that shares a key a complete answer.
//! Method: tables of requests that must, and must not, have one key; then random clients, shallow,
//! partial and plain, that each get the pack that was built for the *first* request of their key,
//! whoever sent it. git judges: what they end up with is whole (`fsck`), and nothing is missing of
//! what their own request, as they sent it, would have brought.

mod clients;
mod world;

use crate::ObjectId;
use crate::pack_request::PackRequest;
use crate::pack_request::fingerprint::first_difference;
use crate::upload_pack::arguments::{Depth, Needs};
use crate::upload_pack::filter::Filter;
use tempfile::TempDir;
use world::{Random, World, fetch, git};

fn world(seed: u64, count: usize) -> (TempDir, World) {
    let folder = tempfile::tempdir().unwrap();
    let git_dir = folder.path().join("server.git");
    std::fs::create_dir(&git_dir).unwrap();
    let world = World::new(&git_dir, &mut Random::new(seed), count, false);
    (folder, world)
}

fn wanting(wants: &[ObjectId]) -> Needs {
    Needs { wants: wants.to_vec(), thin: true, ofs_delta: true, ..Needs::default() }
}

#[track_caller]
fn same(one: &PackRequest, two: &PackRequest) {
    assert_eq!(first_difference(one, two), None);
    assert_eq!(one.key().unwrap().digest(), two.key().unwrap().digest());
}

#[track_caller]
fn differ(one: &PackRequest, two: &PackRequest, how: &str) {
    assert_ne!(one.key().unwrap().digest(), two.key().unwrap().digest());
    let difference = first_difference(one, two).unwrap();
    assert!(difference.contains(how), "{difference}");
}

/// main, its first-parent ancestors by number of steps.
fn line(world: &World) -> Vec<ObjectId> {
    let ids = git(&world.git_dir, &["rev-list", "--first-parent", "main"], b"");
    world::lines(&ids)
}

#[test]
fn what_changes_nothing_is_not_in_the_key() {
    let (_folder, world) = world(3, 30);
    let line = line(&world);
    let unknown = ObjectId::from_hex(&[b'9'; 40]).unwrap();
    let [new, old] = [line[0], line[2]];
    let plain = world.pack_of(wanting(&[new]), &[old]);
    // A want that another reaches, a have that another reaches, one that we do not have.
    same(&plain, &world.pack_of(wanting(&[line[1], new, new]), &[old]));
    same(&plain, &world.pack_of(wanting(&[new]), &[line[4], unknown, old, line[3]]));
    same(&plain, &world.pack_of(wanting(&[new, line[3]]), &[old]));
    // Nothing to base a thin pack on.
    let clone = Needs { thin: false, ..wanting(&[new]) };
    same(&world.pack_of(clone, &[]), &world.pack_of(wanting(&[new]), &[unknown]));
    // All is had: an empty pack, of whatever.
    same(&world.pack_of(wanting(&[old]), &[new]), &world.pack_of(wanting(&[old]), &[old]));
    // Progress, and lines about shallow commits that we do not have.
    let quiet = Needs { no_progress: true, ..wanting(&[new]) };
    same(&plain, &world.pack_of(quiet, &[old]));
    // Tags: wanted, or going along.
    let tip = world.id("main");
    git(&world.git_dir, &["tag", "-a", "-m", "x", "release", "main"], b"");
    let along = Needs { include_tag: true, ..wanting(&[tip]) };
    let format = "--format=%(objecttype) %(objectname)";
    let beyond = format!("--no-merged={}", line[1]);
    let named = git(&world.git_dir, &["tag", "--merged=main", &beyond, format], b"");
    let named = String::from_utf8(named).unwrap();
    let ids = named.lines().map(|line| line.strip_prefix("tag ").unwrap().as_bytes());
    let wants: Vec<_> = ids.map(|id| ObjectId::from_hex(id).unwrap()).chain([tip]).collect();
    same(&world.pack_of(along, &[line[1]]), &world.pack_of(wanting(&wants), &[line[1]]));
}

#[test]
fn what_changes_the_pack_is_in_the_key() {
    let (_folder, world) = world(4, 30);
    let line = line(&world);
    let plain = world.pack_of(wanting(&[line[0]]), &[line[2]]);
    let check = |needs: Needs, haves: &[ObjectId], how: &str| {
        differ(&plain, &world.pack_of(needs, haves), how);
    };
    let needs = || wanting(&[line[0]]);
    check(wanting(&[line[1]]), &[line[2]], &format!("{} is in the", line[0].min(line[1])));
    check(needs(), &[line[1]], "the common haves that matter differ");
    check(needs(), &[], "the common haves that matter differ: 1:");
    check(Needs { thin: false, ..needs() }, &[line[2]], "the use of thin-pack differs: 1 and none");
    check(Needs { ofs_delta: false, ..needs() }, &[line[2]], "the use of ofs-delta differs");
    let filter = Some(Filter::BlobNone);
    check(Needs { filter, ..needs() }, &[line[2]], "the filters differ: none and blob:none");
    let depth = Depth { commits: 1, ..Depth::default() };
    check(Needs { depth, ..needs() }, &[line[2]], "the shallow boundaries differ: none and 1:");
    check(
        Needs { shallows: vec![line[2]], ..needs() },
        &[line[2]],
        "the shallow boundaries differ",
    );
    // The trap of shallow clients: an older want brings what the newer one is cut off from.
    let shallow = |wants: &[ObjectId]| {
        let needs = Needs { shallows: vec![line[1]], ..wanting(wants) };
        world.pack_of(needs, &[line[1]])
    };
    differ(&shallow(&[line[0], line[5]]), &shallow(&[line[0]]), "the wants differ");
    let key = plain.key().unwrap();
    assert_eq!(key.parts().to_string().parse(), Ok(key.parts().clone()));
}

/// A filter names a blob by a ref: the ref's value at this time is in the key.
#[test]
fn names_in_filters_become_objects() {
    let (_folder, world) = world(5, 12);
    let tip = world.id("main");
    let listed = git(&world.git_dir, &["ls-tree", "-r", "main"], b"");
    let entry = String::from_utf8(listed).unwrap().lines().next().unwrap().to_owned();
    let (entry, path) = entry.split_once('\t').unwrap();
    let id = entry.split(' ').nth(2).unwrap();
    let ask = |text: &str| {
        let filter = Some(Filter::parse(text).unwrap());
        world.pack_of(Needs { filter, ..wanting(&[tip]) }, &[])
    };
    same(&ask(&format!("sparse:oid=main:{path}")), &ask(&format!("sparse:oid={id}")));
    same(&ask("combine:tree:3+blob:none+tree:3"), &ask("combine:blob:none+tree:3"));
    for open in ["sparse:oid=main@{0}:x", "sparse:oid=nowhere", "sparse:oid=:0:x"] {
        assert_eq!(ask(open).key(), None, "{open}");
    }
}

/// With more than a short walk the tags stay open; hidden ones are not among them.
#[test]
fn tags_far_away_are_left_to_the_builder() {
    let (_folder, world) = world(6, 2_500);
    let tip = world.id("main");
    let needs = || Needs { include_tag: true, ..wanting(&[tip]) };
    let request = world.pack_of(needs(), &[]);
    assert_eq!(request.wants(), [tip]);
    assert_eq!(request.open_tags().len(), 8);
    let mut hiding = world.desk(&[("transfer.hiderefs", "refs/tags/t2")]);
    let hidden = fetch(&mut hiding, needs(), &[]).pack.unwrap();
    differ(&request, &hidden, &format!("{} is in the first only", world.tags["t2"]));
    // Who wants them all anyway asks for no walk.
    let mut all: Vec<ObjectId> = world.tags.values().copied().collect();
    all.push(tip);
    let clone = Needs { include_tag: true, ..wanting(&all) };
    same(&world.pack_of(clone, &[]), &world.pack_of(wanting(&all), &[]));
    let pack = world.build(&request);
    let count = u32::from_be_bytes(pack[8..12].try_into().unwrap());
    let merged = git(&world.git_dir, &["tag", "--merged=main"], b"");
    let merged = String::from_utf8(merged).unwrap();
    let reached = ["rev-list", "--objects", "main", "blob"];
    let arguments: Vec<&str> = reached.into_iter().chain(merged.lines()).collect();
    let expected = git(&world.git_dir, &arguments, b"");
    assert_eq!(count as usize, String::from_utf8(expected).unwrap().lines().count());
}

fn fork(folder: &TempDir, name: &str, pool: &World) -> World {
    let git_dir = folder.path().join(name);
    std::fs::create_dir(&git_dir).unwrap();
    git(&git_dir, &["init", "-q", "--bare", "."], b"");
    let objects = pool.git_dir.join("objects");
    std::fs::write(git_dir.join("objects/info/alternates"), format!("{}\n", objects.display()))
        .unwrap();
    let tip = pool.id("main").to_string();
    git(&git_dir, &["update-ref", "refs/heads/main", &tip], b"");
    let parents = pool.parents.clone();
    let (commits, tags) = (pool.commits.clone(), pool.tags.clone());
    let (is_backwards, commits_max) = (false, pool.commits_max);
    World { git_dir, commits, parents, tags, is_backwards, commits_max }
}

fn commit_on(world: &World, parent: ObjectId, text: &str) -> ObjectId {
    let tree = world.id(&format!("{parent}^{{tree}}")).to_string();
    let who = "A <a@example.com> 900000 +0000";
    let input = format!("tree {tree}\nparent {parent}\nauthor {who}\ncommitter {who}\n\n{text}\n");
    let arguments = ["hash-object", "-t", "commit", "-w", "--stdin"];
    world::lines(&git(&world.git_dir, &arguments, input.as_bytes()))[0]
}

#[test]
fn forks_share_what_is_their_pools_and_nothing_else() {
    let (folder, pool) = world(7, 20);
    let [one, two] = ["one.git", "two:2.git"].map(|name| fork(&folder, name, &pool));
    let [tip, old] = [pool.id("main"), pool.id("main~2")];
    let asked = [&pool, &one, &two].map(|world| world.pack_of(wanting(&[tip]), &[old]));
    same(&asked[0], &asked[1]);
    same(&asked[1], &asked[2]);
    let objects = |pack: Vec<u8>| u32::from_be_bytes(pack[8..12].try_into().unwrap());
    let [of_pool, of_one, of_two] =
        [(&pool, &asked[0]), (&one, &asked[1]), (&two, &asked[2])].map(|(at, what)| at.build(what));
    assert_eq!(objects(of_pool.clone()), objects(of_one));
    assert_eq!(objects(of_pool), objects(of_two));
    // A commit that both forks came to have, each in its own store.
    let own = [&one, &two].map(|world| commit_on(world, tip, "own"));
    assert_eq!(own[0], own[1]);
    let asked = [&one, &two].map(|world| world.pack_of(wanting(&[own[0]]), &[tip]));
    differ(&asked[0], &asked[1], "the object stores differ");
    assert_eq!(objects(two.build(&asked[1])), 1);
    // The pool lost what the fork has: the pack is whole all the same.
    let request = one.pack_of(wanting(&[tip]), &[]);
    let (tree, whole) = (pool.id("main^{tree}").to_string(), pool.build(&request));
    let content = git(&pool.git_dir, &["cat-file", "tree", &tree], b"");
    let packs = pool.git_dir.join("objects/pack");
    std::fs::rename(&packs, folder.path().join("packs")).unwrap();
    git(&pool.git_dir, &["unpack-objects", "-q"], &whole);
    git(&one.git_dir, &["repack", "-adq"], b"");
    git(&one.git_dir, &["hash-object", "-t", "tree", "-w", "--stdin"], &content);
    std::fs::remove_file(pool.git_dir.join("objects").join(&tree[..2]).join(&tree[2..])).unwrap();
    let request = one.pack_of(wanting(&[tip]), &[]);
    assert_eq!(request.store().behind, Some(one.git_dir.join("objects")));
    assert_eq!(objects(one.build(&request)), objects(whole));
}

#[test]
fn a_repository_made_again_shares_nothing() {
    let (folder, first) = world(8, 10);
    let path = first.git_dir.clone();
    let tip = first.id("main");
    let before = first.pack_of(wanting(&[tip]), &[]);
    let kept = folder.path().join("kept");
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        git(
            folder.path(),
            &["clone", "-q", "--mirror", &from.to_string_lossy(), &to.to_string_lossy()],
            b"",
        );
    };
    copy(&path, &kept);
    std::fs::remove_dir_all(&path).unwrap();
    copy(&kept, &path);
    let after = first.pack_of(wanting(&[tip]), &[]);
    differ(&before, &after, "the object stores differ");
    let repacked = first.pack_of(wanting(&[tip]), &[]);
    git(&path, &["repack", "-adq"], b"");
    git(&path, &["update-ref", "-d", "refs/heads/1"], b"");
    same(&after, &repacked);
    same(&after, &first.pack_of(wanting(&[tip]), &[]));
}
