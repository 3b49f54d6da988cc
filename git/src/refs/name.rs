//! The names that refs may have (git-check-ref-format(1)).
//!
//! Always true: pure; a valid name cannot lead out of the directory in which it is looked up.
//! Never here: where refs are.

/// Whether git accepts `name`, with or without a slash (`--allow-onelevel`).
pub fn is_valid(name: &[u8]) -> bool {
    name != b"@" && !name.ends_with(b".") && name.split(|byte| *byte == b'/').all(is_component)
}

/// Whether a name that is not valid is at least harmless as a path: below `refs/` without `..`,
/// or of capitals and underscores only. Git takes such refs as broken and dies of others.
pub(crate) fn is_safe(name: &[u8]) -> bool {
    match name.strip_prefix(b"refs/") {
        Some(rest) => {
            !rest.is_empty()
                && rest.split(|byte| *byte == b'/').all(|part| !matches!(part, b"" | b"." | b".."))
        }
        None => name.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'_'),
    }
}

/// One part between slashes.
fn is_component(part: &[u8]) -> bool {
    if part.is_empty() || part[0] == b'.' || part.ends_with(b".lock") {
        return false;
    }
    let mut previous = 0;
    part.iter().all(|&byte| {
        let refused = match byte {
            ..=b' ' | 0x7f | b'*' | b':' | b'?' | b'[' | b'\\' | b'^' | b'~' => true,
            b'.' => previous == b'.',
            b'{' => previous == b'@',
            _ => false,
        };
        previous = byte;
        !refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bstr::BStr;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    fn check(name: &[u8], case: &str) {
        let status = std::process::Command::new("git")
            .args(["check-ref-format", "--allow-onelevel"])
            .arg(OsStr::from_bytes(name))
            .status()
            .unwrap();
        assert_eq!(is_valid(name), status.success(), "{case}: {:?}", BStr::new(name));
    }

    #[test]
    fn names_are_judged_as_git_judges_them() {
        for name in [
            "refs/heads/main",
            "HEAD",
            "@",
            "a/@",
            "@/a",
            "a@b",
            "a@{b",
            "@{",
            "a{",
            "a..b",
            "a.",
            "a./b",
            ".a",
            "a/.b",
            "a.lock",
            "a.lock/b",
            "alock",
            "a/.lock",
            "/a",
            "a/",
            "a//b",
            "",
            "a b",
            "a\tb",
            "a\x7fb",
            "a~",
            "a^",
            "a:b",
            "a?",
            "a*",
            "a[",
            "a]",
            "a\\b",
            "\u{e9}",
            "refs/heads/-x",
            "a.b.c",
            "..",
            ".",
        ] {
            check(name.as_bytes(), "table");
        }
    }

    #[test]
    fn random_names_are_judged_as_git_judges_them() {
        let pieces: &[&[u8]] =
            &[b"a", b"/", b".", b"@", b"{", b".lock", b"-", b"\xff", b"refs", b"*", b"}", b"\x01"];
        for seed in 1..=150_u64 {
            let mut random = seed;
            let mut name = b"r".to_vec();
            for _ in 0..1 + seed % 5 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
                name.extend_from_slice(pieces[(random >> 33) as usize % pieces.len()]);
            }
            check(&name, &format!("seed {seed}"));
        }
    }
}
