//! Requests that must be refused, and in the words that git uses.
//!
//! Always true: an error reaches the client as `ERR` or on band 3 exactly where stock git sends
//! one; where stock git just ends, so do we.
//!
//! Never here: floods and broken connections; see `hostile`.

use gitring_tests::pktline::{self, request};
use gitring_tests::repository::Kind;
use gitring_tests::stdio::Call;

use super::Fixture;

const MISSING: &str = "want 00000000000000000000000000000000deadbeef";

#[test]
fn version_2_refuses_in_gits_words() {
    let fixture = Fixture::new(Kind::Varied);
    fixture.repository.set("transfer.advertiseObjectInfo", "true");
    let head = ["command=fetch", "object-format=sha1", "delim"];
    let requests: [&[&str]; 16] = [
        &["command=nonsense", "flush"],
        &["command=fetch", "command=ls-refs", "flush"],
        &["nonsense", "flush"],
        &["object-format=sha1", "flush"],
        &["command=ls-refs", "object-format=sha256", "delim", "flush"],
        &["command=ls-refs", "object-format=none", "delim", "flush"],
        &["command=ls-refs", "unknown=1", "delim", "flush"],
        &["command=ls-refs", "delim", "nonsense", "flush"],
        &["command=fetch", "delim", "nonsense", "flush"],
        &["command=object-info", "delim", "size", "flush"],
        &["command=ls-refs", "server-option=x", "delim", "flush"],
        &[head[0], head[1], head[2], MISSING, "done", "flush"],
        &[head[0], head[1], head[2], "want short", "done", "flush"],
        &[head[0], head[1], head[2], "deepen 0", "done", "flush"],
        &[head[0], head[1], head[2], "deepen 1", "deepen-since 5", "done", "flush"],
        &[head[0], head[1], head[2], "filter nonsense", "done", "flush"],
    ];
    for lines in requests {
        fixture.check_v2(lines);
    }
}

#[test]
fn version_0_refuses_in_gits_words() {
    let fixture = Fixture::new(Kind::Varied);
    fixture.repository.set("uploadpack.allowAnySHA1InWant", "false");
    let (main, hidden) = (fixture.id("main"), fixture.id("main~3"));
    let want = format!("want {main} multi_ack_detailed side-band-64k");
    let unadvertised = format!("want {hidden}");
    let requests: [&[&str]; 9] = [
        &["nonsense", "flush"],
        &[MISSING, "flush", "done"],
        &["want short", "flush", "done"],
        &[&unadvertised, "flush", "done"],
        &[&want, "nonsense", "flush", "done"],
        &[&want, "deepen nonsense", "flush", "done"],
        &[&want, "deepen 0", "flush", "done"],
        &[&want, "filter blob:none", "flush", "done"],
        &[&want, "flush", "have nonsense", "done"],
    ];
    for lines in requests {
        for call in [Call::stateful(""), Call::stateless(""), Call::stateless("version=1")] {
            fixture.check(&call, &request(lines));
        }
    }
}

/// Wants that no advertised ref names, under each policy.
#[test]
fn want_policies_of_version_0() {
    for policy in ["allowTipSHA1InWant", "allowReachableSHA1InWant", "allowAnySHA1InWant"] {
        let fixture = Fixture::new(Kind::Varied);
        fixture.repository.set("uploadpack.allowAnySHA1InWant", "false");
        fixture.repository.set(&format!("uploadpack.{policy}"), "true");
        fixture.repository.set("transfer.hideRefs", "refs/heads/orphan");
        let tree = fixture.id("main^{tree}");
        for id in [fixture.id("orphan"), fixture.id("main~3"), tree] {
            let want = format!("want {id} side-band-64k no-progress ofs-delta");
            let lines = [want.as_str(), "flush", "done"];
            fixture.check(&Call::stateful(""), &request(&lines));
            fixture.check(&Call::stateless(""), &request(&lines));
        }
    }
}

#[test]
fn broken_framing() {
    let fixture = Fixture::new(Kind::Varied);
    let inputs: [&[u8]; 9] = [
        b"",
        b"0",
        b"0003",
        b"000",
        b"zzzz",
        b"-001",
        b"0014command=ls-refs\n",
        b"fff0command=ls-refs",
        b"0004",
    ];
    for input in inputs {
        for protocol in ["", "version=1", "version=2"] {
            fixture.check(&Call::stateless(protocol), input);
            fixture.check(&Call::stateful(protocol), input);
        }
    }
    // 65,520 bytes are the longest packet (gitprotocol-common): as long an argument is unknown.
    let mut input = request(&["command=ls-refs", "delim"]);
    input.extend(pktline::data(vec![b'x'; 65_516]));
    fixture.check(&Call::stateless("version=2"), &input);
}
