//! `git pack-objects` as a builder of packs: its arguments and its input.
//!
//! Always true: what the child is told is what `git upload-pack` would tell it for the same
//! request, except that tags of `include-tag` come as objects: the child looks at refs at a later
//! moment than the request's snapshot, and knows no hide rules.
//! Never here: starting the child.

use std::ffi::OsString;
use std::io::Write;

use crate::ObjectId;
use crate::pack_request::PackRequest;

/// Arguments behind `git`, in the order in which git's own server gives them.
pub fn arguments(request: &PackRequest, progress: bool) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = Vec::new();
    if request.shallow().is_some() {
        // An empty name: the boundary comes over the input, not from the repository's own file.
        arguments.extend(["--shallow-file", ""].map(OsString::from));
    }
    arguments.extend(["pack-objects", "--revs"].map(OsString::from));
    if request.thin() {
        arguments.push("--thin".into());
    }
    arguments.push("--stdout".into());
    if request.shallow().is_some() {
        arguments.push("--shallow".into());
    }
    if progress {
        arguments.push("--progress".into());
    }
    if request.ofs_delta() {
        arguments.push("--delta-base-offset".into());
    }
    if let Some(filter) = request.filter() {
        // One word with `=`: a filter can never be taken for an option of its own.
        arguments.push(format!("--filter={filter}").into());
    }
    arguments
}

/// What the child reads from its standard input; `tags` are those of the request's open ones that
/// go along.
pub fn input(request: &PackRequest, tags: &[ObjectId]) -> Vec<u8> {
    let lines = request.wants().len() + tags.len() + request.haves().len();
    let mut input = Vec::with_capacity((lines + request.edges().len()) * 41 + 64);
    for id in request.shallow().unwrap_or_default() {
        writeln!(input, "--shallow {id}").expect("a Vec takes every byte");
    }
    for id in request.wants().iter().chain(tags) {
        writeln!(input, "{id}").expect("a Vec takes every byte");
    }
    input.extend_from_slice(b"--not\n");
    for id in request.haves().iter().chain(request.edges()) {
        writeln!(input, "{id}").expect("a Vec takes every byte");
    }
    input.push(b'\n');
    input
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack_request::Draft;

    fn id(digit: u8) -> ObjectId {
        ObjectId::from_hex(&[b'0' + digit; 40]).unwrap()
    }

    #[test]
    fn a_shallow_request_names_the_boundary_before_the_wants() {
        let request = PackRequest::new(Draft {
            wants: vec![id(1)],
            haves: vec![id(3)],
            edges: vec![id(4)],
            shallow: Some(vec![id(5)]),
            filter: Some(crate::upload_pack::filter::Filter::BlobNone),
            thin: true,
            ofs_delta: true,
            ..Draft::default()
        });
        assert_eq!(
            arguments(&request, true).join(std::ffi::OsStr::new(" ")),
            "--shallow-file  pack-objects --revs --thin --stdout --shallow --progress \
             --delta-base-offset --filter=blob:none"
        );
        let expected =
            format!("--shallow {}\n{}\n{}\n--not\n{}\n{}\n\n", id(5), id(1), id(2), id(3), id(4));
        assert_eq!(String::from_utf8(input(&request, &[id(2)])).unwrap(), expected);
    }
}
