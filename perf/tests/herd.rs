//! The herd as bars use it.
//!
//! Goal: a summary counts those who got everything, those who left, those who were cut and those
//! who failed, each for what it is.
//! Method: small herds on a node, one of each sort of reader and all together.
//!
//! Never here: speed.

use std::time::Duration;

use gitring_perf::bars::clone_cpu;
use gitring_perf::load::herd::visit::Summary;
use gitring_perf::load::herd::{Fetch, Herd, Reader};
use gitring_tests::gitaly::Door;
use gitring_tests::node::Node;
use gitring_tests::repository::{Kind, Repository};

const SLOW: Reader = Reader::Slow { bytes_per_s: 1_000 };

fn herd(node: &Node, door: Door, fetch: &Fetch, readers: Vec<Reader>) -> Summary {
    let herd = Herd {
        address: door.address(node),
        fetch,
        threads: 2,
        connections: 3,
        readers,
        times: 2,
        slow_stay: Duration::from_millis(500),
    };
    Summary::of(&herd.run().expect("a herd runs"))
}

#[test]
fn everybody_is_counted_for_what_he_is() {
    let node = Node::start();
    let repository = Repository::create(&node.storage(), "herd", Kind::Varied);
    let body = clone_cpu::request(&clone_cpu::wants(&repository));
    let fetch = Fetch::new("herd.git", body.clone());
    let check = |fetch: &Fetch, readers: &[Reader], expected: (usize, usize, usize, usize)| {
        for door in [Door::Mux, Door::UnixMux] {
            let sum = herd(&node, door, fetch, readers.to_vec());
            let found = (sum.whole, sum.left, sum.cut, sum.failures.0);
            assert_eq!(found, expected, "{readers:?}: {}", sum.failures.1);
            let served = sum.whole + sum.cut;
            assert!(sum.first_of_packs.count() as usize >= served, "{readers:?}");
        }
    };
    check(&fetch, &[Reader::Fast; 5], (10, 0, 0, 0));
    check(&fetch, &[SLOW; 5], (0, 0, 5, 0));
    check(&fetch, &[Reader::Vanishing { after_bytes: 0 }; 5], (0, 10, 0, 0));
    let leaving = Reader::Vanishing { after_bytes: 100 };
    let sorts = [SLOW, Reader::Fast, leaving, Reader::Fast, SLOW, leaving, Reader::Fast];
    check(&fetch, &sorts, (6, 4, 2, 0));
    let nowhere = Fetch::new("nowhere.git", body);
    check(&nowhere, &[Reader::Fast; 5], (0, 0, 0, 5));
    let half = Fetch::new("herd.git", b"0032want".to_vec());
    check(&half, &[Reader::Fast], (0, 0, 0, 1));
}
