//! Texts of tags and what is read of them.

use super::*;

fn check(data: &str, tagger: Option<(&str, i64)>, message: &str, signature: Signature) {
    let details = Details::parse(data.as_bytes());
    let found = details
        .tagger
        .map(|person| (person.name.to_str().unwrap(), person.seconds.unwrap_or_default()));
    assert_eq!(found, tagger, "{data}");
    assert_eq!(details.message, message.as_bytes(), "{data}");
    assert_eq!(details.signature, signature, "{data}");
}

#[test]
fn tags_are_read_as_gitaly_reads_them() {
    let head = "object 0123\ntype commit\ntag v1\n";
    let tagger = "tagger T <t@x> 12 +0100\n";
    let signed = |name: &str| format!("text\n-----BEGIN {name}-----\nabc\n-----END {name}-----\n");
    let check_signed = |name: &str, signature| {
        let message = signed(name);
        check(&format!("{head}{tagger}\n{message}"), Some(("T", 12)), &message, signature);
    };
    check(&format!("{head}{tagger}\nm\n"), Some(("T", 12)), "m\n", Signature::None);
    check(&format!("{head}{tagger}\n"), Some(("T", 12)), "", Signature::None);
    check(&format!("{head}{tagger}"), Some(("T", 12)), "", Signature::None);
    check(&format!("{head}tagger T <t@x> 12"), Some(("T", 12)), "", Signature::None);
    check(
        &format!("{head}\nm\n\ntagger X <x> 1\n"),
        None,
        "m\n\ntagger X <x> 1\n",
        Signature::None,
    );
    check_signed("PGP SIGNATURE", Signature::Pgp);
    check_signed("PGP MESSAGE", Signature::Pgp);
    check_signed("SIGNED MESSAGE", Signature::X509);
    check_signed("SSH SIGNATURE", Signature::Ssh);
    check_signed("NOTHING", Signature::None);
    let alone = "-----BEGIN PGP SIGNATURE-----\nabc\n";
    check(&format!("{head}\n{alone}"), None, alone, Signature::None);
    let cut = "text\n-----BEGIN PGP SIGNATURE-----";
    check(&format!("{head}\n{cut}"), None, cut, Signature::None);
    check("", None, "", Signature::None);
}
