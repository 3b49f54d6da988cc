//! Request lines and headers, and what is made of them.

use super::*;
use hyper::Request;

fn parts(line: &str, headers: &[(&str, &str)]) -> Parts {
    let (method, uri) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

/// `expected` is `path operation version` or `status text`.
fn check(line: &str, headers: &[(&str, &str)], expected: &str) {
    check_where(false, line, headers, expected);
}

fn check_where(takes_pushes: bool, line: &str, headers: &[(&str, &str)], expected: &str) {
    let found = match parse(&parts(line, headers), takes_pushes) {
        Ok(asked) => {
            let gzip = if asked.gzip { " gzip" } else { "" };
            let head = if asked.head_only { " head" } else { "" };
            let version = asked.version.number();
            format!("{} {} v{version}{gzip}{head}", asked.repository, asked.service.name())
        }
        Err(refusal) => format!("{} {}", refusal.status.as_u16(), refusal.text),
    };
    assert_eq!(found, expected, "{line} {headers:?}");
}

#[test]
fn paths_are_decoded_once() {
    let bad = "400 the repository path has a component that is empty, '.' or '..'";
    let check = |path: &str, expected| {
        check(&format!("GET {path}/info/refs?service=git-upload-pack"), &[], expected);
    };
    check("/a.git", "a.git InfoRefs v0");
    check("/g/h/a.git", "g/h/a.git InfoRefs v0");
    check("/g%2Fa%20b.git", "g/a b.git InfoRefs v0");
    check("/%C3%BC.git", "ü.git InfoRefs v0");
    check("/%252e%252e/a.git", "%2e%2e/a.git InfoRefs v0");
    check("/info/refs", "info/refs InfoRefs v0");
    check("/../a.git", bad);
    check("/%2e%2e/a.git", bad);
    check("/x/%2E./a.git", bad);
    check("/x//a.git", bad);
    check("/a.git/", bad);
    check("/a%00.git", "400 the repository path has a control character");
    check("/a%0a.git", "400 the repository path has a control character");
    check("//a.git", "400 the repository path is absolute");
    check("/%2Fetc/a.git", "400 the repository path is absolute");
    check("", "400 the repository path is empty");
    check("/a%2.git", "400 the path is not percent-encoded UTF-8");
    check("/a%zz.git", "400 the path is not percent-encoded UTF-8");
    check("/a%+1.git", "400 the path is not percent-encoded UTF-8");
    check("/%ff.git", "400 the path is not percent-encoded UTF-8");
}

#[test]
fn methods_services_and_types_are_checked() {
    let nothing = "404 nothing here: this server speaks git's smart HTTP protocol";
    let post = ("content-type", "application/x-git-upload-pack-request");
    let service = "service=git-upload-pack";
    check("GET /", &[], nothing);
    check("GET /a.git/HEAD", &[], nothing);
    check("GET /a.git/objects/info/packs", &[], nothing);
    check(&format!("HEAD /a/info/refs?{service}"), &[], "a InfoRefs v0 head");
    check(&format!("GET /a/info/refs?x=1&{service}&y"), &[], "a InfoRefs v0");
    let allowed = "405 method not allowed, allowed here: GET, HEAD";
    check(&format!("POST /a/info/refs?{service}"), &[], allowed);
    let dumb = "403 the dumb protocol is not served: use git 1.6.6 or later";
    check("GET /a/info/refs", &[], dumb);
    check("GET /a/info/refs?xservice=git-upload-pack", &[], dumb);
    check("GET /a/info/refs?service=git-upload-archive", &[], "403 this service does not exist");
    let push = "403 pushes are not enabled on this server";
    check("GET /a/info/refs?service=git-receive-pack", &[], push);
    check("POST /a/git-receive-pack", &[], push);
    check("POST /a/git-upload-pack", &[post], "a UploadPack v0");
    check("GET /a/git-upload-pack", &[], "405 method not allowed, allowed here: POST");
    let kind = "415 the content type must be application/x-git-upload-pack-request";
    check("POST /a/git-upload-pack", &[], kind);
    check("POST /a/git-upload-pack", &[("content-type", "text/plain")], kind);
    let coding = |coding| [post, ("content-encoding", coding)];
    check("POST /a/git-upload-pack", &coding("gzip"), "a UploadPack v0 gzip");
    check("POST /a/git-upload-pack", &coding("X-GZIP"), "a UploadPack v0 gzip");
    check("POST /a/git-upload-pack", &coding("identity"), "a UploadPack v0");
    let encoding = "415 the content encoding must be gzip or none";
    check("POST /a/git-upload-pack", &coding("br"), encoding);
    check("POST /a/git-upload-pack", &coding("gzip, gzip"), encoding);
}

#[test]
fn pushes_are_taken_where_they_are_enabled() {
    let check = |line: &str, headers: &[(&str, &str)], expected| {
        check_where(true, line, headers, expected);
    };
    check("GET /a/info/refs?service=git-receive-pack", &[], "a InfoRefsReceivePack v0");
    let post = ("content-type", "application/x-git-receive-pack-request");
    check("POST /a/git-receive-pack", &[post], "a ReceivePack v0");
    let kind = "415 the content type must be application/x-git-receive-pack-request";
    check("POST /a/git-receive-pack", &[], kind);
    let fetch = ("content-type", "application/x-git-upload-pack-request");
    check("POST /a/git-receive-pack", &[fetch], kind);
    check("GET /a/git-receive-pack", &[post], "405 method not allowed, allowed here: POST");
}

#[test]
fn the_highest_known_version_counts() {
    let check = |keys: &str, expected: &str| {
        let line = "GET /a/info/refs?service=git-upload-pack";
        check(line, &[("git-protocol", keys)], &format!("a InfoRefs {expected}"));
    };
    check("version=2", "v2");
    check("version=1", "v1");
    check("version=0", "v0");
    check("version=1:version=2", "v2");
    check("version=2:version=1", "v2");
    check("side=x:version=2:version=9", "v2");
    check("version=3", "v0");
    check("version=02", "v0");
    check("Version=2", "v0");
    check("", "v0");
    check(&format!("version=2:{}", "x".repeat(246)), "v2");
    check(&format!("version=2:{}", "x".repeat(247)), "v0");
}

#[test]
fn no_request_leads_out_of_the_storage() {
    let examples = [
        "GET /a%20b/c.git/info/refs?service=git-upload-pack\nGit-Protocol: version=2:version=1",
        "POST /g/a.git/git-upload-pack\nContent-Type: application/x-git-upload-pack-request\n\
         Content-Encoding: gzip",
        "HEAD /%2e%2e/%2Fetc/info/refs?service=git-receive-pack&x=%00",
    ];
    crate::mutations::each(&examples.map(Vec::from), |input| {
        let text = String::from_utf8_lossy(input);
        let (line, headers) = text.split_once('\n').unwrap_or((&text, ""));
        let (method, uri) = line.split_once(' ').unwrap_or((line, "/"));
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers.lines().filter_map(|line| line.split_once(": ")) {
            request = request.header(name, value);
        }
        let Ok(request) = request.body(()) else { return };
        for takes_pushes in [false, true] {
            if let Ok(asked) = parse(&request.clone().into_parts().0, takes_pushes) {
                let path = asked.repository.as_str();
                let is_plain = |part| !matches!(part, "" | "." | "..");
                assert!(path.split('/').all(is_plain) && !path.contains('\0'), "{text}");
                assert!(takes_pushes || !matches!(asked.service, Service::ReceivePack(_)));
            }
        }
    });
}
