//! Arguments as `git receive-pack` gives them (git's builtin/receive-pack.c, `unpack`).

use super::*;
use crate::config::Config;
use crate::sideband::Width;

fn settings(text: &str) -> Settings {
    let pairs = text.split_whitespace().map(|pair| pair.split_once('=').unwrap());
    let overrides: Vec<_> =
        pairs.map(|(key, value)| (key.to_owned(), Some(value.to_owned()))).collect();
    Settings::from_config(&Config::default().with_overrides(&overrides).unwrap()).unwrap()
}

fn check(text: &str, objects: u32, quiet: bool, bands: bool, expected: &str) {
    let settings = settings(text);
    let header = Header { version: 2, objects };
    let sideband = bands.then_some(Width::Large);
    let mut request = PushRequest::default();
    (request.quiet, request.sideband) = (quiet, sideband);
    let child = Child::of(&header, &settings);
    let shallow_file = quiet.then(|| Path::new("/q/shallow"));
    let arguments = arguments(child, &header, &request, &settings, shallow_file);
    assert_eq!(arguments.join(std::ffi::OsStr::new(" ")), expected);
}

#[test]
fn children_are_told_what_git_tells_them() {
    check("", 99, false, true, "-c core.fsync=none unpack-objects --pack_header=2,99");
    check(
        "transfer.fsckobjects=1 receive.fsck.badtimezone=ignore receive.maxinputsize=7",
        99,
        true,
        true,
        "-c core.fsync=none --shallow-file /q/shallow unpack-objects --pack_header=2,99 -q \
         --strict=badtimezone=ignore --max-input-size=7",
    );
    check(
        "transfer.fsckobjects=1",
        100,
        false,
        true,
        "-c core.fsync=none index-pack --stdin --pack_header=2,100 --keep=gitring push \
         --show-resolving-progress --report-end-of-input --strict --fix-thin",
    );
    check(
        "receive.unpacklimit=1 receive.maxinputsize=1k",
        1,
        true,
        false,
        "-c core.fsync=none --shallow-file /q/shallow index-pack --stdin --pack_header=2,1 \
         --keep=gitring push --fix-thin --max-input-size=1024",
    );
}

#[test]
fn headers_are_packs_or_gits_words() {
    let check = |bytes: &[u8], expected: Result<(u32, u32), &str>| {
        let header = Header::parse(bytes).map(|header| (header.version, header.objects));
        assert_eq!(header.map_err(|error| error.to_string()), expected.map_err(str::to_owned));
    };
    check(b"PACK\0\0\0\x02\0\0\x01\x02", Ok((2, 258)));
    check(b"PACK\0\0\0\x03\xff\xff\xff\xff rest", Ok((3, u32::MAX)));
    check(b"PACK\0\0\0\x04\0\0\0\0", Err("protocol error (pack version unsupported)"));
    check(b"pack\0\0\0\x02\0\0\0\0", Err("protocol error (pack signature mismatch detected)"));
    check(b"PACK\0\0\0\x02\0\0\0", Err("eof before pack header was fully read"));
    check(b"", Err("eof before pack header was fully read"));
}

#[test]
fn a_child_has_to_end_well() {
    let check = |child, success, stdout: &str, expected| {
        assert_eq!(finish(child, success, stdout.as_bytes()), expected, "{child:?} {stdout}");
    };
    check(Child::UnpackObjects, true, "", Ok(()));
    check(Child::UnpackObjects, false, "", Err("unpack-objects abnormal exit"));
    check(Child::IndexPack, true, "keep\t1234\n", Ok(()));
    check(Child::IndexPack, true, "pack\t1234\n", Ok(()));
    check(Child::IndexPack, true, "", Err("index-pack abnormal exit"));
    check(Child::IndexPack, false, "keep\t1234\n", Err("index-pack abnormal exit"));
}
