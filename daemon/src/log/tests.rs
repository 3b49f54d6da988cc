//! Lines as they are written.

use super::*;

fn check_line(format: Format, expected: &str) {
    let mut line = Line { format, text: String::new() };
    line.put("message", "two\nlines \"quoted\"");
    line.put("grpc.request.repoPath", "@hashed/a b.git");
    line.put("plain", "a/b-c.git");
    line.put("empty", "");
    line.put("control", "\u{1b}[31m");
    line.put_bare("http.status", 200_u64);
    assert_eq!(line.end(), expected);
}

#[test]
fn a_value_never_breaks_out_of_its_line() {
    check_line(
        Format::Text,
        "msg=\"two\\nlines \\\"quoted\\\"\" grpc.request.repoPath=\"@hashed/a b.git\" \
         plain=a/b-c.git empty=\"\" control=\"\\u001b[31m\" http.status=200\n",
    );
    check_line(
        Format::Json,
        "{\"msg\":\"two\\nlines \\\"quoted\\\"\",\"grpc.request.repoPath\":\"@hashed/a b.git\",\
         \"plain\":\"a/b-c.git\",\"empty\":\"\",\"control\":\"\\u001b[31m\",\"http.status\":200}\n",
    );
}

#[test]
fn times_are_utc_with_milliseconds() {
    fn check(millis: u64, expected: &str) {
        assert_eq!(timestamp(UNIX_EPOCH + Duration::from_millis(millis)), expected);
    }
    check(0, "1970-01-01T00:00:00.000Z");
    check(951_782_399_999, "2000-02-28T23:59:59.999Z");
    check(951_782_400_000, "2000-02-29T00:00:00.000Z");
    check(951_868_800_000, "2000-03-01T00:00:00.000Z");
    check(1_795_254_048_123, "2026-11-21T09:40:48.123Z");
    check(4_107_542_400_000, "2100-03-01T00:00:00.000Z");
}
