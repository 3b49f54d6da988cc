//! Which revisions clients may name: nothing that git could take for an option or for more than
//! one revision.
//!
//! Never here: what a revision names.

use tonic::Status;

/// What a call takes besides plain revisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::rpc::gitaly) enum Allowed {
    /// No revision at all.
    Empty,
    /// `<revision>:<path>`
    Path,
    /// Options of rev-list that stand for revisions: `--all` and the like.
    Pseudo,
}

/// Options that stand for revisions.
const PSEUDO: &[&[u8]] = &[b"--all", b"--not", b"--branches", b"--tags", b"--alternate-refs"];
/// Options that stand for the revisions of a pattern.
const PSEUDO_PREFIXES: &[&[u8]] = &[b"--branches=", b"--tags=", b"--glob="];

/// Why git is not asked for this revision, in Gitaly's words.
pub(in crate::rpc::gitaly) fn refusal(
    revision: &[u8],
    allowed: &[Allowed],
) -> Option<&'static str> {
    if allowed.contains(&Allowed::Pseudo) && is_pseudo(revision) {
        // As an argument it would end early.
        return revision.contains(&0).then_some("revision can't contain NUL");
    }
    let mut revision = revision;
    let has = |revision: &[u8], bytes: &[u8]| revision.iter().any(|byte| bytes.contains(byte));
    if revision.starts_with(b"-") {
        return Some("revision can't start with '-'");
    }
    if has(revision, b"\0") {
        return Some("revision can't contain NUL");
    }
    if allowed.contains(&Allowed::Path) {
        revision = revision.split(|byte| *byte == b':').next().unwrap_or_default();
    }
    if revision.is_empty() && !allowed.contains(&Allowed::Empty) {
        Some("empty revision")
    } else if has(revision, b" \t\n\r") {
        Some("revision can't contain whitespace")
    } else if has(revision, b":") {
        Some("revision can't contain ':'")
    } else if has(revision, b"\\") {
        Some("revision can't contain '\\'")
    } else {
        None
    }
}

/// Refuses what [`refusal`] has a reason for.
pub(in crate::rpc::gitaly) fn check(revision: &[u8], allowed: &[Allowed]) -> Result<(), Status> {
    refusal(revision, allowed).map_or(Ok(()), |why| Err(Status::invalid_argument(why)))
}

/// The same for one of several.
pub(in crate::rpc::gitaly) fn check_each<R: AsRef<[u8]>>(
    revisions: &[R],
    allowed: &[Allowed],
) -> Result<(), Status> {
    for revision in revisions {
        if let Some(why) = refusal(revision.as_ref(), allowed) {
            return Err(Status::invalid_argument(format!("invalid revision: {why}")));
        }
    }
    Ok(())
}

/// Whether this is an option that stands for revisions.
pub(in crate::rpc::gitaly) fn is_pseudo(revision: &[u8]) -> bool {
    PSEUDO.contains(&revision) || PSEUDO_PREFIXES.iter().any(|prefix| revision.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(revision: &str, allowed: &[Allowed], expected: Option<&str>) {
        assert_eq!(refusal(revision.as_bytes(), allowed), expected, "{revision:?} {allowed:?}");
    }

    #[test]
    fn revisions_that_are_refused() {
        check("main~2^{commit}", &[], None);
        check("HEAD@{0}", &[], None);
        check("a-b", &[], None);
        check("-a b\0", &[], Some("revision can't start with '-'"));
        check("a b\0", &[], Some("revision can't contain NUL"));
        check("", &[], Some("empty revision"));
        check("a:b c", &[], Some("revision can't contain whitespace"));
        check("a\nb", &[], Some("revision can't contain whitespace"));
        check("a:b\\", &[], Some("revision can't contain ':'"));
        check("a\\b", &[], Some("revision can't contain '\\'"));
    }

    #[test]
    fn some_calls_take_more() {
        check("", &[Allowed::Empty], None);
        check("a:b c\n\\", &[Allowed::Path], None);
        check("a b:c", &[Allowed::Path], Some("revision can't contain whitespace"));
        check(":c", &[Allowed::Path], Some("empty revision"));
        check("a:\0", &[Allowed::Path], Some("revision can't contain NUL"));
        for pseudo in ["--all", "--not", "--branches", "--glob=refs/x/*", "--tags="] {
            check(pseudo, &[Allowed::Pseudo], None);
            check(pseudo, &[Allowed::Path], Some("revision can't start with '-'"));
        }
        check("--glob=a\0", &[Allowed::Pseudo], Some("revision can't contain NUL"));
        check("--branch", &[Allowed::Pseudo], Some("revision can't start with '-'"));
        check("--all ", &[Allowed::Pseudo], Some("revision can't start with '-'"));
    }
}
