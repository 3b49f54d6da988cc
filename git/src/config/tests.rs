//! Configuration compared with `git config`.

use std::path::Path;
use std::process::Command;

use super::environment::{EnvironmentError, counted, normalise_key, parameters};
use super::load::{Sources, load};
use super::*;

/// `git config` with nothing of this machine in its environment.
fn git_config(directory: &Path, arguments: &[&str]) -> Option<Vec<u8>> {
    let output = Command::new("git")
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", directory)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .current_dir(directory)
        .arg("config")
        .args(arguments)
        .output()
        .unwrap();
    output.status.success().then_some(output.stdout)
}

/// The format of `git config --list -z`.
fn listed(config: &Config) -> Vec<u8> {
    let mut text = Vec::new();
    for (key, value) in config.entries() {
        text.extend_from_slice(key);
        if let Some(value) = value {
            text.push(b'\n');
            text.extend_from_slice(value);
        }
        text.push(0);
    }
    text
}

fn check_as_git_parses(directory: &Path, text: &[u8], case: &str) {
    let path = directory.join("file");
    std::fs::write(&path, text).unwrap();
    let output = Command::new("git")
        .args(["config", "-z", "-l", "-f"])
        .arg(&path)
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    let shown = bstr::BStr::new(text);
    match parse::parse(text) {
        Ok(entries) => {
            assert!(output.status.success(), "{case}: git refuses {shown:?}");
            let ours = listed(&Config::new(entries));
            assert_eq!(ours.as_bstr(), output.stdout.as_bstr(), "{case}: {shown:?}");
        }
        Err(bad) => {
            let message = String::from_utf8_lossy(&output.stderr).into_owned();
            let expected = format!("bad config line {} ", bad.0);
            assert!(message.contains(&expected), "{case}: {shown:?}: {message} {bad:?}");
        }
    }
}

#[test]
fn files_parse_as_git_parses_them() {
    let directory = tempfile::tempdir().unwrap();
    let table: &[&[u8]] = &[
        b"",
        b"[core]\n\tbare = true\n",
        b"\xef\xbb\xbf[core]\r\n\tbare = true\r\n",
        b"[Core] Bare\n[core]bare=\n",
        b"[a.B.c]\nX = 1\n[a \"B.c\"]\nx = 2",
        b"[a \"q\\\"u\\\\o\\te\"]\nkey = v",
        b"[a]\nb = one \\\n  two \\\n three # comment\nc = \"x # y\" z ; w\n",
        b"[a]\nb = \"tab\\there\\n\\b\\\\ \\\" end \"  \n",
        b"[a]\nb = x\ty  z \t \n",
        b"# only\n; comments\n",
        b"[a] ; comment\nb = 1 # two\n",
        b"[a]\nb = \"open\nc = d\n",
        b"[a]\nb = \\x\n",
        b"[a]\n1b = c\n",
        b"[a\nb = c\n",
        b"[a \"b\" ]\nc = d\n",
        b"[a \"b\n\"]\nc = d\n",
        b"[a]\nb c = d\n",
        b"[a]\n\n\nb_c = d\n",
        b"key = without section\n",
        b"[]\nx = 1\n",
        b"[a]\nb = c\\",
        b"[a]\nb = \"c\\",
        b"[a",
        b"[a \"b\"",
        b"[a]\nb\r\nc = d\re\n",
        b"[a]\nb\x0b = c\n",
    ];
    for text in table {
        check_as_git_parses(directory.path(), text, "table");
    }
}

#[test]
fn random_files_parse_as_git_parses_them() {
    let directory = tempfile::tempdir().unwrap();
    let pieces: &[&str] = &[
        "[",
        "]",
        "\"",
        "\\",
        "\n",
        "\n",
        " ",
        "\t",
        "\r\n",
        "=",
        "#",
        ";",
        "a",
        "B",
        "core",
        "-",
        ".",
        "[a]\n",
        "[s \"T\"]\n",
        "k = v\n",
        "x",
        "\u{e9}",
        "\\n",
        "\\\n",
        "\"q\"",
    ];
    for seed in 1..=200_u64 {
        let mut random = seed;
        let mut text = String::from("[start]\n");
        for _ in 0..seed % 24 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(seed | 1);
            text.push_str(pieces[(random >> 33) as usize % pieces.len()]);
        }
        check_as_git_parses(directory.path(), text.as_bytes(), &format!("seed {seed}"));
    }
}

#[test]
fn values_have_gits_types() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    for value in [
        "true",
        "YES",
        "oN",
        "false",
        "No",
        "off",
        "",
        "0",
        "1",
        "-1",
        "007",
        "0x10",
        "1k",
        "2M",
        "3g",
        "1kb",
        "x",
        "tru",
        " 1",
        "99999999999999999999",
        "9g",
        "2147483648",
        "+5",
        "08",
        "0x",
        "9223372036854775807",
        "-9223372036854775808",
        "8589934592g",
        "- 1",
    ] {
        std::fs::write(&path, format!("[a]\nb = \"{value}\"\n")).unwrap();
        let config = Config::new(parse::parse(&std::fs::read(&path).unwrap()).unwrap());
        let ask = |kind| {
            let answer = git_config(directory.path(), &["-f", "file", kind, "a.b"]);
            answer.map(|text| String::from_utf8(text).unwrap().trim().to_owned())
        };
        let boolean = config.boolean("a.b").ok().map(|value| value.unwrap().to_string());
        assert_eq!(boolean, ask("--bool"), "{value:?} as a boolean");
        let integer = config.integer("a.b").ok().map(|value| value.unwrap().to_string());
        assert_eq!(integer, ask("--int"), "{value:?} as an integer");
    }
    let config = Config::new(parse::parse(b"[a]\nb\n").unwrap());
    assert_eq!(config.boolean("a.b"), Ok(Some(true)));
    assert!(config.integer("a.b").is_err());
    assert_eq!(config.string("a.b"), None);
}

#[test]
fn includes_are_followed_as_git_follows_them() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path().canonicalize().unwrap();
    let repository = root.join("work/Project.git");
    let init = Command::new("git").args(["init", "-q", "--bare"]).arg(&repository).output();
    assert!(init.unwrap().status.success());
    std::fs::create_dir(root.join("more")).unwrap();
    std::os::unix::fs::symlink(root.join("work"), root.join("link")).unwrap();
    std::fs::write(root.join("more/one"), "[x]\n\tone = 1\n[include]\n\tpath = two\n").unwrap();
    std::fs::write(root.join("more/two"), "[x]\n\ttwo = 2\n").unwrap();
    let conditions = [
        "gitdir:work/",
        "gitdir:Project.git",
        "gitdir:project.git",
        "gitdir/i:project.git",
        "gitdir:~/work/",
        "gitdir:~/wo*/Project.git",
        "gitdir:~/*",
        "gitdir:~/**",
        "gitdir:./work/",
        "gitdir:**/Project.*",
        "gitdir:/nowhere/",
        "gitdir:Proj[a-f]ct.git",
        "gitdir:Proj[!a-f]ct.git",
        "gitdir:Pro?ect.git",
        "gitdir:*/Project.git",
        "gitdir:~/link/",
        "gitdir:Proj[[:lower:]]ct.git",
        "gitdir:wor\\\\k/**/Project.git",
        "gitdir:work/**/Project.git",
        "gitdir:w**/Project.git",
    ];
    let mut global = String::from("[include]\n\tpath = more/one\n\tpath = absent\n");
    for (n, condition) in conditions.iter().enumerate() {
        std::fs::write(root.join(format!("c{n}")), format!("[c]\n\tcase{n} = yes\n")).unwrap();
        global.push_str(&format!("[includeIf \"{condition}\"]\n\tpath = ~/c{n}\n"));
    }
    std::fs::write(root.join(".gitconfig"), global).unwrap();
    let overrides = parameters("'include.path'='/nowhere/at/all' 'X.y'='z'").unwrap();
    let loaded = load(&Sources {
        files: &[root.join(".config/git/config"), root.join(".gitconfig")],
        repository: &[repository.join("config")],
        overrides: &overrides,
        git_dir: Some(&repository),
        home: Some(&root),
        ..Sources::default()
    })
    .unwrap();
    let output = Command::new("git")
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", &root)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_PARAMETERS", "'include.path'='/nowhere/at/all' 'X.y'='z'")
        .current_dir(&repository)
        .args(["config", "--list", "-z", "--includes"])
        .output()
        .unwrap();
    assert!(output.status.success());
    assert_eq!(listed(&loaded.config).as_bstr(), output.stdout.as_bstr());
    assert!(!loaded.unevaluated_include);
    for path in ["absent", "more/two", "c0", ".config/git/config"] {
        assert!(loaded.depends_on.iter().any(|(known, _)| known == &root.join(path)), "{path}");
    }
}

#[test]
fn includes_have_limits() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("config");
    let check = |text: &str| {
        std::fs::write(&path, text).unwrap();
        load(&Sources { repository: std::slice::from_ref(&path), ..Sources::default() })
    };
    let deep = check("[include]\n\tpath = config\n");
    assert!(deep.unwrap_err().to_string().contains("exceeded maximum include depth"));
    let unknown = check("[includeIf \"onbranch:main\"]\n\tpath = other\n");
    assert!(unknown.unwrap().unevaluated_include);
    assert!(matches!(check("[a]\nb = \"\n"), Err(ConfigError::Syntax { line: 2, .. })));
}

#[test]
fn overrides_win_and_share_their_base() {
    let base = Config::new(parse::parse(b"[a]\nb = 1\nc = 2\n").unwrap());
    let over = base.with_overrides(&[("A.B".to_owned(), Some("3".to_owned()))]).unwrap();
    assert_eq!(over.string("a.b"), Some("3".into()));
    assert_eq!(over.string("a.c"), Some("2".into()));
    assert!(Arc::ptr_eq(&base.base, &over.base));
    assert!(base.with_overrides(&[("nodot".to_owned(), None)]).is_err());
}

#[test]
fn parameters_are_what_git_reads() {
    let directory = tempfile::tempdir().unwrap();
    for text in [
        "",
        "'a.b=c'",
        "'a.b'='c'",
        "'A.Sub.B'='c d' 'x.y'",
        "'a.b'=",
        "'a.b'='it'\\''s'",
        "'a.b'=c",
        "'a.b' ='c'",
        "a.b=c",
        "'a.b=c",
        "'=x'",
        "''",
        "'a.b=c''d'",
        "'nodot=c'",
        "'a.b=x=y'",
        "'a.1=c'",
        "'a.=c'",
        "'a_b.c=d'",
        "'a.b'='c'x",
        "'a.b!'\\!'=c'",
        "'a.b'='c' ",
    ] {
        let output = Command::new("git")
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_PARAMETERS", text)
            .current_dir(directory.path())
            .args(["config", "--list", "-z"])
            .output()
            .unwrap();
        match parameters(text) {
            Ok(settings) => {
                assert!(output.status.success(), "git refuses {text:?}");
                let ours = Config::default().with_overrides(&settings).unwrap();
                assert_eq!(listed(&ours).as_bstr(), output.stdout.as_bstr(), "{text:?}");
            }
            Err(error) => {
                let message = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(message.contains(&error.to_string()), "{text:?}: {error}: {message}");
            }
        }
    }
}

#[test]
fn counted_settings_have_gits_limits() {
    let check = |count: &str, expected: Result<usize, EnvironmentError>| {
        let variable = |name: &str| match name {
            "GIT_CONFIG_KEY_0" | "GIT_CONFIG_KEY_1" => Some("A.b".to_owned()),
            "GIT_CONFIG_VALUE_0" => Some("1".to_owned()),
            _ => None,
        };
        assert_eq!(counted(count, variable).map(|settings| settings.len()), expected, "{count:?}");
    };
    check("", Ok(0));
    check("0", Ok(0));
    check("1", Ok(1));
    check("2", Err(EnvironmentError::MissingValue(1)));
    check("10", Err(EnvironmentError::MissingValue(1)));
    check("1x", Err(EnvironmentError::Count));
    check("2147483648", Err(EnvironmentError::TooMany));
    check("-1", Err(EnvironmentError::TooMany));
    assert_eq!(normalise_key("Url.HTTP://X.insteadOf").unwrap(), "url.HTTP://X.insteadof");
}
