//! Commits as Gitaly shows them, and trailers compared with those of `git log`.

use super::trailers::shown_trailers;
use super::*;
use crate::config::Config;
use crate::objects::tests::fixture::{Fixture, Random};
use std::io::Write;

fn check_person(line: &str, name: &str, email: &str, seconds: Option<i64>, timezone: &str) {
    let expected = Person {
        name: name.as_bytes(),
        email: email.as_bytes(),
        seconds,
        timezone: timezone.as_bytes(),
    };
    assert_eq!(Person::parse(line.as_bytes()), expected, "{line}");
}

#[test]
fn persons() {
    let nonsense = Some(9_223_371_974_719_179_007);
    check_person(
        "Jane Doe <jane@x> 1625121079 +0000",
        "Jane Doe",
        "jane@x",
        Some(1_625_121_079),
        "+0000",
    );
    check_person("Jane <> 12 +0000", "Jane", "", Some(12), "+0000");
    check_person("<jane@x> 12 -0730", "", "jane@x", Some(12), "-0730");
    check_person("Jane  <jane@x>  12\t+0000 ", "Jane ", "jane@x", Some(12), "+0000");
    check_person("Jane <jane@x>", "Jane", "jane@x", None, "");
    check_person("Jane <jane@x> 12", "Jane", "jane@x", Some(12), "");
    check_person("Jane <jane@x> 12 +0000 more", "Jane", "jane@x", Some(12), "");
    check_person("Jane <jane@x", "Jane", "", None, "");
    check_person("Jane jane@x> 12 +0000", "Jane jane@x> 12 +0000", "", None, "");
    check_person("Jane <jane <x>> 12 +0000", "Jane", "jane <x", nonsense, "");
    check_person("Jane <jane@x> -1 +0200", "Jane", "jane@x", nonsense, "+0200");
    check_person("Jane <jane@x> +1 +0200", "Jane", "jane@x", Some(1), "+0200");
    check_person("Jane <jane@x> 9007199254740992 +0", "Jane", "jane@x", Some(1 << 53), "+0");
    check_person("Jane <jane@x> 9007199254740993 +0", "Jane", "jane@x", nonsense, "+0");
    check_person("Jane <jane@x> 99999999999999999999 +0", "Jane", "jane@x", nonsense, "+0");
    check_person("Jane <jane@x> never", "Jane", "jane@x", nonsense, "");
    check_person("Jane <jane@x>\u{a0}12\u{2003}+1", "Jane", "jane@x", Some(12), "+1");
    check_person("", "", "", None, "");
}

fn check(data: &str, expected: Details<'_>) {
    assert_eq!(Details::parse(data.as_bytes()), expected, "{data}");
}

#[test]
fn headers_and_messages() {
    let message = |message: &'static str, subject: &'static str| Details {
        message: message.as_bytes(),
        subject: subject.as_bytes(),
        ..Details::default()
    };
    check("", Details::default());
    check("tree 12", Details { tree: b"12", ..Details::default() });
    check(
        "tree 12\nparent 3\nparent 4\n\n",
        Details { tree: b"12", parents: vec![b"3", b"4"], ..Details::default() },
    );
    check(
        "encoding a\nnothing\n encoding b\nencoding c\n",
        Details { encoding: b"c", ..Details::default() },
    );
    check("\nsubject\n\nbody\n", message("subject\n\nbody\n", "subject"));
    check("\nsubject", message("subject", "subject"));
    check("\n\nsubject", message("\nsubject", ""));
    check("\nsubject\r\r\nbody", message("subject\r\r\nbody", "subject"));
    let author = Some(Person { name: b"A", ..Person::default() });
    check("author B\nauthor A\n\n", Details { author, ..Details::default() });
}

#[test]
fn signatures() {
    let signed = |header: &str, signature, encoding: &str| {
        let data = format!("{header}\n\nsubject\n");
        let details = Details::parse(data.as_bytes());
        let found = (details.signature, details.encoding, details.subject);
        assert_eq!(found, (signature, encoding.as_bytes(), &b"subject"[..]), "{header}");
    };
    let pgp = "-----BEGIN PGP SIGNATURE-----";
    signed(&format!("gpgsig {pgp}\n \n abc\n -----END"), Signature::Pgp, "");
    signed(&format!("gpgsig-sha256 {pgp}\n abc"), Signature::Pgp, "");
    signed("gpgsig -----BEGIN PGP MESSAGE-----\n abc", Signature::Pgp, "");
    signed("gpgsig -----BEGIN SIGNED MESSAGE-----", Signature::X509, "");
    signed("gpgsig -----BEGIN SSH SIGNATURE-----\n abc", Signature::Ssh, "");
    signed("gpgsig -----BEGIN SSH SIGNATURE-----\r\n abc", Signature::None, "");
    signed(&format!("gpgsig-other {pgp}\n abc\nencoding x"), Signature::None, "x");
    signed(&format!("encoding x\ngpgsig {pgp}\n abc"), Signature::Pgp, "x");
    signed(&format!("gpgsig {pgp}\n abc\nencoding x"), Signature::Pgp, "");
    signed(&format!("gpgsig abc\n abc\ngpgsig {pgp}\n x\nencoding x"), Signature::None, "");
}

#[test]
fn long_messages_are_shown_in_part() {
    for length in [BODY_BYTES_MAX - 1, BODY_BYTES_MAX, BODY_BYTES_MAX + 1] {
        let data = format!("\n{}", "x".repeat(length));
        let details = Details::parse(data.as_bytes());
        assert_eq!(details.body().len(), length.min(BODY_BYTES_MAX));
        assert_eq!((details.message.len(), details.subject.len()), (length, length));
    }
}

/// Compares the trailers of each message with what `git log` prints of it.
fn check_trailers(messages: &[String], case: &str) {
    let fixture = Fixture::empty();
    let mut input = Vec::new();
    for message in messages {
        write!(input, "commit refs/heads/main\ncommitter C <c@x> 1 +0000\n").unwrap();
        write!(input, "data {}\n{message}\n", message.len()).unwrap();
    }
    fixture.git_with(&["fast-import", "--quiet"], &input);
    let format = "--format=%x02%(trailers:unfold,separator=%x01)%x03";
    let log = fixture.git(&["log", "--reverse", "--topo-order", format, "main"]);
    let log = String::from_utf8(log).unwrap();
    let expected: Vec<_> =
        log.split('\u{2}').skip(1).map(|item| item.split('\u{3}').next()).collect();
    assert_eq!(expected.len(), messages.len());
    for (message, expected) in messages.iter().zip(expected) {
        let found = shown_trailers(message.as_bytes()).iter().map(|byte| (*byte).max(1)).collect();
        let found = String::from_utf8(found).unwrap();
        assert_eq!(Some(found.as_str()), expected, "{case}: {message:?}");
    }
}

#[test]
fn trailers_are_those_of_git_log() {
    let messages = [
        "",
        "subject",
        "subject\n",
        "Key: value\n",
        "subject\n\nKey: value",
        "\n\n \nsubject\n\nKey: value\n",
        "s\n\nKey: value\nOther-Key :  more \n",
        "s\n\nbody\nKey: value\n",
        "s\n\nbody\n\nKey: value\n\n\n",
        "s\n\nKey: value\n continued\n\ttwice\nB: c\n",
        "s\n\n continued\nKey: value\n",
        "s\n\nnot one\nnot two\nSigned-off-by: me\n",
        "s\n\na\nb\nc\nd\nSigned-off-by: me\n",
        "s\n\n(cherry picked from commit 12)\n",
        "s\n\nx\n(cherry picked from commit 12)\nKey: value\n",
        "s\n\nKey: value\n\n# comment\n",
        "s\n\nKey: value\n# comment: x\nB: c\n",
        "# a\n\nKey: v\n",
        "s\n\nKey: value\n\nConflicts:\n\tfile\n",
        "s\n\nKey: value\nConflicts:\n\tfile\nB: c\n",
        "s\n\nKey: value\n# ------------------------ >8 ------------------------\ndiff: x\n",
        "# ------------------------ >8 ------------------------\ndiff: x\n",
        "s\n\nKey: value\n---\nB: c\n",
        "s\n\n: value\n",
        "s\n\nKey with spaces: value\n",
        "s\n\nKey with spaces : value\n",
        "s\n\nKey_x: v\n",
        "s\n\nKey:\n\n",
        "s\n\nKey: \r\nB: c\r\n",
        "s\n \nKey: value\n",
        "s\n\nhttps://example.org\n",
        "s\n\nSigned-off-by: me\n\n \n",
        "s\n\nK: v\n  \n w\n",
        "s\n\n\u{e9}: v\n",
        "s\n\nKey: \u{e9}\n",
    ]
    .map(str::to_owned);
    check_trailers(&messages, "table");
}

#[test]
fn random_messages_have_the_trailers_of_git_log() {
    let pieces = [
        "subject",
        "Key: value",
        "Other-Key: more",
        "Signed-off-by: me <me@x>",
        "Signed-off-by:",
        "K",
        ":",
        " ",
        "(cherry picked from commit 12)",
        " continued",
        "\tfolded",
        "# comment",
        "Conflicts:",
        "\tpath",
        "",
        "",
        "\n",
        "\r",
        "text of a body",
        "a b: c",
        "a b",
        "---",
        "-: x",
        "x:",
        "K : v",
        "K\t: v",
        "# ------------------------ >8 ------------------------",
        "Not_one: v",
    ];
    for seed in 1..=8 {
        let mut random = Random(seed * 104_729);
        let message = |random: &mut Random| {
            let end = if random.below(3) == 0 { "" } else { "\n" };
            let lines = (0..random.below(12)).map(|_| pieces[random.below(pieces.len())]);
            format!("{}{end}", lines.collect::<Vec<_>>().join("\n"))
        };
        let messages: Vec<_> = (0..1_500).map(|_| message(&mut random)).collect();
        check_trailers(&messages, &format!("seed {seed}"));
    }
}

#[test]
fn trailers_that_are_too_large_end_the_list() {
    let found = |message: &str| {
        let data = format!("\ns\n\n{message}");
        let found = trailers(&Details::parse(data.as_bytes()), &Config::default());
        let Resolved::Found(found) = found else { panic!("{message}") };
        found.len()
    };
    let value = |bytes: usize| format!("A: b\nB: {}\nC: d\n", "x".repeat(bytes));
    let key = |bytes: usize| format!("A: b\n{}: x\nC: d\n", "B".repeat(bytes));
    assert_eq!([found(&value(512)), found(&value(513))], [3, 1]);
    assert_eq!([found(&key(128)), found(&key(129))], [3, 1]);
    assert_eq!([found(&"A: b\n".repeat(64)), found(&"A: b\n".repeat(70))], [64, 64]);
    // In one line of git's output all of them or none.
    assert_eq!([found(&"A: b\n".repeat(13_107)), found(&"A: b\n".repeat(13_108))], [64, 0]);
    assert_eq!(found("A: b\nnot: \n"), 2);
}

#[test]
fn other_settings_and_encodings_are_left_to_git() {
    let is_left = |data: &str, key: &str| {
        let config = Config::default().with_overrides(&[(key.to_owned(), None)]).unwrap();
        trailers(&Details::parse(data.as_bytes()), &config) == Resolved::Unsupported
    };
    let plain = "tree 1\n\ns\n\nA: b\n";
    for key in
        ["trailer.separators", "trailer.sign.key", "core.commentChar", "i18n.logOutputEncoding"]
    {
        assert!(is_left(plain, key), "{key}");
    }
    assert!(!is_left(plain, "core.bare"));
    assert!(is_left("encoding latin1\n\ns\n\nA: b\n", "core.bare"));
    assert!(is_left("tree 1\n\ns\n\nA: \0b\n", "core.bare"));
}
