//! Pages made of hostile and of plain values.

use super::*;
use crate::status::{About, Status, json};

#[test]
fn values_are_written_for_people() {
    fn check(value: Value, expected: &str) {
        assert_eq!(words(&value), expected, "{value:?}");
    }
    check(Value::Count(1_234_567), "1,234,567");
    check(Value::Count(999), "999");
    check(Value::Bytes(1023), "1023 B");
    check(Value::Bytes(1536), "1.5 KiB");
    check(Value::Bytes(300 << 30), "300 GiB");
    check(Value::Seconds(0.0), "0 s");
    check(Value::Seconds(0.000_25), "250 µs");
    check(Value::Seconds(0.034), "34 ms");
    check(Value::Seconds(59.96), "60.0 s");
    check(Value::Seconds(600.0), "10 min");
    check(Value::Seconds(7_300.0), "2.0 h");
    check(Value::Seconds(864_000.0), "10.0 days");
    check(Value::ratio(1.0, 3.0), "33.3 %");
    check(Value::ratio(1.0, 0.0), "–");
    check(Value::Fill { used: 3, max: 128, is_bytes: false }, "3 of 128");
    check(Value::Fill { used: 1 << 20, max: 1 << 30, is_bytes: true }, "1.0 MiB of 1.0 GiB");
    assert_eq!(uptime(61), "1 min 1 s");
    assert_eq!(uptime(7_380), "2 h 3 min");
    assert_eq!(uptime(86_400 * 3 + 7_200), "3 d 2 h");
}

/// A repository may be called anything.
#[test]
fn no_text_leaves_its_place() {
    const COLUMNS: &[(&str, &str)] = &[("name", "name"), ("state", "state"), ("calls", "calls")];
    let hostile = "</td><script>alert(1)</script>\"' onload=x\u{202e}\u{1b}&amp;";
    let status = Status::new(About { service: "gitring-node", version: "1" });
    status.add(2, Heading { key: "top", title: "Top" }, move || {
        let state = Value::State(hostile.to_owned(), Tone::Bad);
        let rows = vec![vec![Value::text(hostile), state, Value::Count(1)]];
        Content::Table(Table { columns: COLUMNS, rows, empty: "none" })
    });
    status.add(1, Heading { key: "first", title: "First" }, move || {
        Content::Figures(vec![Figure::new("it", "it", Value::text(hostile))])
    });
    let report = status.read();
    let page = page(&report);
    assert!(!page.contains("<script") && !page.contains("onload=x\u{202e}"), "{page}");
    assert_eq!(page.matches("&lt;script&gt;").count(), 5, "text and title, twice, and state");
    assert!(page.find("id=\"first\"") < page.find("id=\"top\""), "in the order of their places");
    assert!(!page.contains("http://") && !page.contains("https://"), "nothing from elsewhere");
    let parsed: serde_json::Value = serde_json::from_str(&json::document(&report)).unwrap();
    assert_eq!(parsed["sections"]["top"][0]["name"], hostile);
    assert_eq!(parsed["sections"]["first"]["it"], hostile);
}

#[test]
fn long_names_are_cut() {
    let Value::Text(text) = Value::text("ä".repeat(2_000)) else { panic!("text") };
    assert!(text.len() < 310 && text.ends_with("ä…"), "{text}");
}
