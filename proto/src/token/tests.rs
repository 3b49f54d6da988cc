//! Tables of tokens: who is let in, who is not, and why.

use super::*;

const NOW: i64 = 1_700_000_000;
/// HMAC-SHA256 with the key `gitring`, computed by another implementation.
const SIGNED: &str = "2f7f875122f8553a209bf408c750145c9dbf0814d481daded72ebec60150c089.1700000000";

fn secret() -> Secret {
    Secret::new(b"gitring").unwrap()
}

fn judge(header: &str, now_unix_s: i64) -> Result<Result<(), Refused>, Missing> {
    Ok(Credentials::parse(header.as_bytes())?.verify(&secret(), now_unix_s))
}

#[test]
fn headers() {
    let check = |header: &str, expected| assert_eq!(judge(header, NOW), expected, "{header}");
    check(&format!("Bearer v2.{SIGNED}"), Ok(Ok(())));
    // The scheme and the digits may be of either case.
    check(&format!("bEARER v2.{SIGNED}"), Ok(Ok(())));
    check(&format!("Bearer v2.{}", SIGNED.to_uppercase()), Ok(Ok(())));

    check("", Err(Missing::NotBearer));
    check("Bearer", Err(Missing::NotBearer));
    check(&format!("Basic v2.{SIGNED}"), Err(Missing::NotBearer));
    check(&format!("v2.{SIGNED}"), Err(Missing::NotBearer));
    check(&format!(" Bearer v2.{SIGNED}"), Err(Missing::NotBearer));
    check(&format!("Bearer\tv2.{SIGNED}"), Err(Missing::NotBearer));

    check("Bearer ", Err(Missing::Malformed));
    check("Bearer gitring", Err(Missing::Malformed));
    check("Bearer v2.00", Err(Missing::Malformed));
    check("Bearer v2.0.1700000000", Err(Missing::Malformed));
    check("Bearer v2.0g.1700000000", Err(Missing::Malformed));
    check("Bearer v2.+1.1700000000", Err(Missing::Malformed));
    check("Bearer v2.0x00.1700000000", Err(Missing::Malformed));
    check("Bearer v2.é.1700000000", Err(Missing::Malformed));

    check(&format!("Bearer v1.{SIGNED}"), Ok(Err(Refused::UnsupportedVersion)));
    check(&format!("Bearer V2.{SIGNED}"), Ok(Err(Refused::UnsupportedVersion)));
    check(&format!("Bearer  v2.{SIGNED}"), Ok(Err(Refused::UnsupportedVersion)));
    check(&format!("Bearer .{SIGNED}"), Ok(Err(Refused::UnsupportedVersion)));
    check("Bearer ..", Ok(Err(Refused::UnsupportedVersion)));
    check("Bearer a.b0.jwt", Ok(Err(Refused::UnsupportedVersion)));

    // An empty signature, a truncated one, one too long, one bit, another time.
    check("Bearer v2..1700000000", Ok(Err(Refused::WrongSignature)));
    check(&format!("Bearer v2.{}", &SIGNED[2..]), Ok(Err(Refused::WrongSignature)));
    check(&format!("Bearer v2.00{SIGNED}"), Ok(Err(Refused::WrongSignature)));
    check(&format!("Bearer v2.3{}", &SIGNED[1..]), Ok(Err(Refused::WrongSignature)));
    check(&format!("Bearer v2.{SIGNED}0"), Ok(Err(Refused::WrongSignature)));
    check(&format!("Bearer v2.{SIGNED}.0"), Ok(Err(Refused::WrongSignature)));
    check(&format!("Bearer v2.{}", SIGNED.trim_end_matches('0')), Ok(Err(Refused::WrongSignature)));
}

/// Times that the secret's holder signed and that are none: judged by the signature first.
#[test]
fn signed_messages() {
    let check = |message: &str, expected| {
        let tag = hmac::sign(&secret().0, message.as_bytes());
        let tag: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(judge(&format!("Bearer v2.{tag}.{message}"), NOW), Ok(expected), "{message}");
        let other = format!("Bearer v2.{}.{message}", "0".repeat(64));
        assert_eq!(judge(&other, NOW), Ok(Err(Refused::WrongSignature)), "{message}");
    };
    check("", Err(Refused::UnparsableTimestamp));
    check("now", Err(Refused::UnparsableTimestamp));
    check("0x10", Err(Refused::UnparsableTimestamp));
    check("1700000000.5", Err(Refused::UnparsableTimestamp));
    check(" 1700000000", Err(Refused::UnparsableTimestamp));
    check("1_700_000_000", Err(Refused::UnparsableTimestamp));
    check("9223372036854775808", Err(Refused::UnparsableTimestamp));
    check("9223372036854775807", Err(Refused::TooNew));
    check("-9223372036854775808", Err(Refused::TooOld));
    check("+1700000000", Ok(()));
    check("-5", Err(Refused::TooOld));
}

#[test]
fn the_window_includes_its_bounds() {
    let check = |late_s: i64, expected| {
        let header = sign(&secret(), NOW);
        assert_eq!(judge(&header, NOW + late_s), Ok(expected), "{late_s}");
    };
    check(0, Ok(()));
    check(30, Ok(()));
    check(31, Err(Refused::TooOld));
    check(-30, Ok(()));
    check(-31, Err(Refused::TooNew));
    check(i64::MAX - NOW, Err(Refused::TooOld));
    check(i64::MIN, Err(Refused::TooNew));
}

#[test]
fn signed_by_us() {
    assert_eq!(sign(&secret(), NOW), format!("Bearer v2.{SIGNED}"));
    let other = Secret::new(b"gitrinG").unwrap();
    let header = sign(&other, NOW);
    assert_eq!(judge(&header, NOW), Ok(Err(Refused::WrongSignature)));
    assert!(Secret::new(b"").is_none());
    assert!(!format!("{:?}", secret()).contains("gitring"));
}

#[test]
fn length_is_limited() {
    let check = |length: usize, expected: Result<Refused, Missing>| {
        let start = "Bearer v2.00.";
        let header = format!("{start}{}", "1".repeat(length - start.len()));
        assert_eq!(judge(&header, NOW).map(Result::unwrap_err), expected, "{length}");
    };
    check(HEADER_BYTES_MAX, Ok(Refused::WrongSignature));
    check(HEADER_BYTES_MAX + 1, Err(Missing::TooLong));
}

/// Messages and words of metrics are the same, but for what Gitaly does not count.
#[test]
fn words_of_refusals() {
    for refused in
        [Refused::WrongSignature, Refused::UnparsableTimestamp, Refused::TooOld, Refused::TooNew]
    {
        assert_eq!(refused.metric(), Some(refused.to_string().as_str()));
    }
    assert_eq!(Refused::UnsupportedVersion.metric(), None);
}

/// Goal: whoever of several signed is named, by place; a stranger and a late one are refused alike.
#[test]
fn one_of_several_secrets() {
    let secrets: Vec<_> = [&b"new"[..], b"old", b"spare"].map(Secret::new).into_iter().collect();
    let secrets: Vec<_> = secrets.into_iter().flatten().collect();
    let check = |secret: &[u8], now_unix_s: i64, expected| {
        let header = sign(&Secret::new(secret).unwrap(), NOW);
        let credentials = Credentials::parse(header.as_bytes()).unwrap();
        assert_eq!(credentials.verify_any(&secrets, now_unix_s), expected, "{secret:?}");
    };
    check(b"new", NOW, Ok(0));
    check(b"old", NOW, Ok(1));
    check(b"spare", NOW, Ok(2));
    check(b"spare", NOW + 31, Err(Refused::TooOld));
    check(b"stranger", NOW, Err(Refused::WrongSignature));
}
