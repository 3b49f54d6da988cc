//! What a server says first: refs in v0 and v1, capabilities in v2.
//!
//! Always true: options of the repository change capabilities exactly as they do for stock git.
//!
//! Never here: requests.

use gitring_tests::pktline::FLUSH;
use gitring_tests::repository::Kind;
use gitring_tests::stdio::Call;

use super::{Fixture, Pair};

const KINDS: [Kind; 4] = [Kind::Varied, Kind::DetachedHead, Kind::UnbornHead, Kind::Empty];
const PROTOCOLS: [&str; 7] = [
    "",
    "version=0",
    "version=1",
    "version=2",
    // The highest known version of a list wins; what is unknown is passed over.
    "version=1:version=2:other",
    "version=9",
    "nonsense",
];

#[test]
fn every_kind_of_head_in_every_version() {
    for kind in KINDS {
        let fixture = Fixture::new(kind);
        for protocol in PROTOCOLS {
            fixture.check(&Call::advertise(protocol), b"");
            fixture.check(&Call::stateful(protocol), FLUSH);
        }
    }
}

#[test]
fn configuration_decides_capabilities() {
    let settings = [
        ("uploadpack.allowFilter", "false"),
        ("uploadpack.allowAnySHA1InWant", "false"),
        ("uploadpack.allowTipSHA1InWant", "true"),
        ("uploadpack.allowReachableSHA1InWant", "true"),
        ("uploadpack.allowRefInWant", "true"),
        ("uploadpackfilter.allow", "false"),
        ("transfer.advertiseSID", "true"),
        ("transfer.advertiseObjectInfo", "true"),
        ("lsrefs.unborn", "ignore"),
        ("lsrefs.unborn", "allow"),
        ("transfer.hideRefs", "refs/heads/many"),
        ("uploadpack.hideRefs", "refs/tags"),
        ("uploadpack.advertiseBundleURIs", "true"),
    ];
    for (key, value) in settings {
        let fixture = Fixture::new(Kind::UnbornHead);
        fixture.repository.set(key, value);
        for protocol in ["", "version=1", "version=2"] {
            fixture.check(&Call::advertise(protocol), b"");
            fixture.check(&Call::stateful(protocol), FLUSH);
        }
    }
}

#[test]
fn a_shallow_repository_says_so() {
    let fixture = Fixture::new(Kind::Varied);
    let boundary = fixture.id("main~3");
    std::fs::write(fixture.repository.path.join("shallow"), format!("{boundary}\n")).unwrap();
    for protocol in ["", "version=1", "version=2"] {
        fixture.check(&Call::advertise(protocol), b"");
    }
}

#[test]
fn the_gateway_says_the_same() {
    for kind in KINDS {
        let pair = Pair::new(kind);
        (0..=2).for_each(|version| pair.check_info_refs(version));
    }
}
