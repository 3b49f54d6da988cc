//! GitLab's messages as pushers read them, byte for byte as Gitaly prints them.
//!
//! Always true: widths are counted in bytes, as Gitaly does.

use super::HookError;
use crate::gitlab::{Message, MessageKind};

/// A terminal of 80 columns, less the `remote: ` that git puts before each line.
const WIDTH: usize = 72;
/// Text keeps two columns from either side.
const TEXT_WIDTH: usize = WIDTH - 4;

/// What is printed. With an error, the text is what was printed before it was noticed.
pub(super) fn format(messages: &[Message]) -> (String, Result<(), HookError>) {
    let mut text = String::new();
    for message in messages {
        text.push('\n');
        match &message.kind {
            MessageKind::Basic => text.push_str(&message.text),
            MessageKind::Alert => alert(&message.text, &mut text),
            MessageKind::Other(kind) => return (text, Err(HookError::MessageKind(kind.clone()))),
        }
        text.push_str("\n\n");
    }
    (text, Ok(()))
}

fn alert(message: &str, text: &mut String) {
    let rule = "=".repeat(WIDTH);
    text.push_str(&rule);
    text.push_str("\n\n");
    let mut line = String::new();
    for word in message.split_whitespace() {
        // The space behind the last word counts, and a word that is too long follows an empty line
        // where it is the first.
        if line.len() + 1 + word.len() > TEXT_WIDTH {
            center(&line, text);
            text.push('\n');
            line.clear();
        }
        line.push_str(word);
        line.push(' ');
    }
    center(&line, text);
    text.push_str("\n\n");
    text.push_str(&rule);
}

fn center(line: &str, text: &mut String) {
    let line = line.trim();
    text.push_str(&" ".repeat(WIDTH.saturating_sub(line.len()) / 2));
    text.push_str(line);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(messages: &[(MessageKind, &str)], expected: &str, works: bool) {
        let messages: Vec<Message> = messages
            .iter()
            .map(|(kind, text)| Message { kind: kind.clone(), text: (*text).to_owned() })
            .collect();
        let (text, outcome) = format(&messages);
        assert_eq!((&*text, outcome.is_ok()), (expected, works), "{messages:?}");
    }

    fn alert(lines: &[(usize, &str)]) -> String {
        let rule = "=".repeat(72);
        let lines = lines.iter().map(|(columns, line)| format!("{}{line}", " ".repeat(*columns)));
        let lines = lines.collect::<Vec<_>>().join("\n");
        format!("\n{rule}\n\n{lines}\n\n{rule}\n\n")
    }

    /// Columns and breaks were computed apart from this code, by Gitaly's rules.
    #[test]
    fn messages_look_as_in_gitaly() {
        use MessageKind::{Alert, Basic, Other};
        check(&[], "", true);
        check(&[(Basic, "one\ntwo ")], "\none\ntwo \n\n", true);
        check(&[(Basic, "a"), (Basic, "b")], "\na\n\n\nb\n\n", true);
        check(&[(Basic, "a"), (Other("x".into()), "b")], "\na\n\n\n", false);
        check(&[(Alert, "even")], &alert(&[(34, "even")]), true);
        check(&[(Alert, " odd \n")], &alert(&[(34, "odd")]), true);
        check(&[(Alert, "")], &alert(&[(36, "")]), true);
        // 66 characters and a space leave room for one more that has one.
        let (fits, breaks) = ("x".repeat(65), "x".repeat(66));
        check(&[(Alert, &format!("{fits} y"))], &alert(&[(2, &format!("{fits} y"))]), true);
        check(&[(Alert, &format!("{breaks} y"))], &alert(&[(3, &breaks), (35, "y")]), true);
        // A word that is too long has a line of its own, after an empty one if it is the first.
        let long = "x".repeat(80);
        check(&[(Alert, &long)], &alert(&[(36, ""), (0, &long)]), true);
        check(
            &[(Alert, &format!("a {long} b"))],
            &alert(&[(35, "a"), (0, &long), (35, "b")]),
            true,
        );
        // Bytes count, not columns.
        check(&[(Alert, "ähm")], &alert(&[(34, "ähm")]), true);
    }
}
