//! Values from two places, and documents of which faulty parts are taken out.

use super::*;

const FILE: &str = "a = 1\n[t]\nkept = 'file'\nwins = 'file'\n[[list]]\nn = 1\n[[list]]\nn = 2\n";

fn document() -> Document<'static> {
    Document::parse(Path::new("c.toml"), FILE).unwrap()
}

#[test]
fn an_overlay_wins_value_by_value_and_errors_say_whose_they_are() {
    let toml = "\"list\" = [{ \"n\" = 3 }]\n\"t\" = { \"wins\" = \"above\", \"new\" = 7 }\n";
    let mut document = document();
    let overlay = Overlay::new("output of x", &document, toml);
    document.put_over(&overlay).unwrap();
    let highest = Overlay::new("y", &document, "last = 'y'\n");
    document.put_over(&highest).unwrap();
    let root = document.root();
    let table = root.section("t").unwrap().unwrap();
    assert_eq!(table.string("kept").unwrap(), Some("file"));
    assert_eq!(table.string("wins").unwrap(), Some("above"));
    let lists = root.sections("list").unwrap();
    assert_eq!(lists.len(), 1);
    assert_eq!(lists[0].integer("n", 0, 9).unwrap(), Some(3));
    let said = |error: SettingsError| error.to_string();
    assert_eq!(said(root.error("last", "is odd")), "y: last: is odd");
    assert_eq!(said(table.error("kept", "is odd")), "c.toml:3: t.kept: is odd");
    assert_eq!(said(table.error("wins", "is odd")), "output of x: t.wins: is odd");
    assert_eq!(said(lists[0].error("n", "is odd")), "output of x: list.n: is odd");
    assert_eq!(said(lists[0].error("none", "is odd")), "output of x: list.none: is odd");
    let refused = table.string("new").unwrap_err().to_string();
    assert_eq!(refused, "output of x: t.new: is of type integer, allowed: a string");
}

#[test]
fn what_an_error_is_about_can_be_taken_out() {
    fn check(pick: impl Fn(&Section<'_>) -> SettingsError, expected: &[&str]) {
        let mut document = document();
        let error = pick(&document.root());
        assert!(document.remove(&error), "{error}");
        assert!(!document.remove(&error), "{error}");
        let left: Vec<_> = document.leaves().into_iter().map(|leaf| leaf.path).collect();
        assert_eq!(left, expected, "{error}");
    }
    let all_but = |missing: &str| {
        let all = ["a", "t.kept", "t.wins", "list.n", "list.n"];
        all.into_iter().filter(|path| *path != missing).collect::<Vec<_>>()
    };
    check(|root| root.error("a", "x"), &all_but("a"));
    check(|root| root.section("t").unwrap().unwrap().error("wins", "x"), &all_but("t.wins"));
    check(|root| root.error("list", "x"), &all_but("list.n"));
    // A table that lacks something goes as a whole.
    check(
        |root| root.sections("list").unwrap()[1].error("none", "x"),
        &["a", "t.kept", "t.wins", "list.n"],
    );
    check(
        |root| root.section("t").unwrap().unwrap().error("none", "x"),
        &["a", "list.n", "list.n"],
    );
    let mut document = document();
    let error = document.root().error("none", "x");
    assert!(!document.remove(&error), "the root stays");
}

#[test]
fn an_overlay_that_is_no_toml_is_refused_without_a_line() {
    let mut document = document();
    let overlay = Overlay::new("output of x", &document, "a = ");
    let error = document.put_over(&overlay).unwrap_err().to_string();
    assert!(error.starts_with("output of x: "), "{error}");
}
