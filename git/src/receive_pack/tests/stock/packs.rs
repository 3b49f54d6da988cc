//! Packs that are not taken, or not whole; shallow clients.

use super::*;

#[test]
fn what_is_not_whole_is_refused() {
    let scene = Scene::new();
    // Of the source's history the pack has only the last commit; or there is no pack at all.
    let missing = "missing necessary objects";
    scene.check(
        &[],
        &[FORWARD, "refs/heads/x ->old"],
        Some("main ^main~1"),
        &format!("[unpack ok][ng refs/heads/main {missing}][ok refs/heads/x]00000000"),
    );
    let unpack =
        |reason: &str| format!("[unpack {reason}][ng refs/heads/main unpacker error]00000000");
    let header = scene.request("report-status side-band-64k", &[FORWARD], None);
    let whole = scene.request("report-status side-band-64k", &[FORWARD], Some("main ^old"));
    let mut damaged = whole.clone();
    let middle = (header.len() + whole.len()) / 2;
    damaged[middle] ^= 0xff;
    for (request, expected) in [
        (&header[..], unpack("eof before pack header was fully read")),
        (
            &[&header[..], b"PACKPACKPACK"].concat(),
            unpack("protocol error (pack version unsupported)"),
        ),
        (
            &[&header[..], b"0000PACKPACK"].concat(),
            unpack("protocol error (pack signature mismatch detected)"),
        ),
        (&whole[..whole.len() - 9], unpack("unpack-objects abnormal exit")),
        (&damaged, unpack("unpack-objects abnormal exit")),
    ] {
        let left = scene.check_bytes(&[], request, "damaged");
        assert_eq!(left.report, expected);
    }
    let left = scene.check_bytes(&["receive.unpackLimit=1"], &damaged, "damaged, kept");
    assert_eq!(left.report, unpack("index-pack abnormal exit"));
    let left = scene.check_bytes(&["receive.maxInputSize=500"], &whole, "too large");
    assert_eq!(left.report, unpack("index-pack abnormal exit"));
}

#[test]
fn fsck_is_gits_own() {
    let scene = Scene::new();
    let commit = String::from_utf8(scene.source.git(&["cat-file", "commit", "main"])).unwrap();
    let bad = commit.replace("<c@example.org> ", "<c@example.org>");
    let arguments = ["hash-object", "-t", "commit", "-w", "--literally", "--stdin"];
    let bad = scene.source.git_with(&arguments, bad.as_bytes());
    scene.source.git(&["update-ref", "refs/heads/bad", std::str::from_utf8(&bad).unwrap().trim()]);
    let (push, pack) = (["refs/heads/bad ->bad"], Some("bad ^old"));
    scene.check(&[], &push, pack, "[unpack ok][ok refs/heads/bad]00000000");
    let strict = &["receive.fsckObjects=true"];
    let refused = "[unpack unpack-objects abnormal exit][ng refs/heads/bad unpacker error]00000000";
    scene.check(strict, &push, pack, refused);
    let lenient = &["receive.fsck.missingSpaceBeforeDate=ignore", "receive.fsck.badDate=ignore"];
    scene.check(lenient, &push, pack, "[unpack ok][ok refs/heads/bad]00000000");
}

#[test]
fn shallow_clients_push_what_is_not_shallow() {
    let scene = Scene::new();
    let request = |shallow: &str, command: &str, objects: &str| {
        let mut request = Vec::new();
        let shallow = scene.source.id(shallow);
        pkt_line::push_text(&mut request, format_args!("shallow {shallow}"));
        let rest = scene.request("report-status side-band-64k", &[command], Some(objects));
        request.extend(rest);
        request
    };
    let told = |left: Left| left.report;
    // The boundary is what the target's branch points to.
    let fine = request("old", FORWARD, "main ^old");
    assert_eq!(
        told(scene.check_bytes(&[], &fine, "ours")),
        "[unpack ok][ok refs/heads/main]00000000"
    );
    // The boundary is new; so is that of a history that the target does not have.
    let refused = "shallow update not allowed";
    let new = request("main~2", FORWARD, "main ^main~3");
    let expected = format!("[unpack ok][ng refs/heads/main {refused}]00000000");
    assert_eq!(told(scene.check_bytes(&[], &new, "theirs")), expected);
    let other = request("other~1", "refs/heads/other ->other", "other ^other~2");
    let expected = format!("[unpack ok][ng refs/heads/other {refused}]00000000");
    assert_eq!(told(scene.check_bytes(&[], &other, "strangers")), expected);
}
