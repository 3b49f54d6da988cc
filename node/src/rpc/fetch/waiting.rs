//! What people read who wait for their pack, or may not.
//!
//! Never here: who that is.

use crate::limits::{Place, Reason, Refusal};

/// Where a client stands.
pub(super) fn place(place: Place) -> String {
    let Place { before, members } = place;
    let nth = ordinal(before + 1);
    match members {
        0 | 1 => format!("Your pack is {nth} in the queue.\n"),
        _ => format!("Your pack is {nth} in the queue: one for the {members} of you.\n"),
    }
}

/// Why it is sent away, and when it may come again.
pub(super) fn refused(refusal: &Refusal) -> String {
    let why = match refusal.reason {
        Reason::Size => "too many packs wait to be built already",
        Reason::Time => "it was not the turn of your pack in time",
        Reason::Rate => "you ask too often",
    };
    let seconds = refusal.retry_after.as_secs_f64().ceil().max(1.0);
    let unit = if seconds > 1.0 { "seconds" } else { "second" };
    format!("The server is busy: {why} ({refusal}). Please try again in {seconds} {unit}.\n")
}

fn ordinal(number: usize) -> String {
    let suffix = match (number % 100, number % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{number}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn sentences() {
        fn check(before: usize, members: usize, expected: &str) {
            assert_eq!(place(Place { before, members }), expected);
        }
        check(0, 1, "Your pack is 1st in the queue.\n");
        check(11, 40, "Your pack is 12th in the queue: one for the 40 of you.\n");
        for (number, expected) in
            [(2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (13, "13th"), (21, "21st")]
        {
            assert_eq!(ordinal(number), expected);
        }
        assert_eq!([ordinal(112), ordinal(122)], ["112th", "122nd"]);
        let retry_after = Duration::from_millis(2_100);
        let refusal = Refusal { reason: Reason::Size, retry_after, is_own_share: false };
        let expected = "The server is busy: too many packs wait to be built already (maximum queue \
                        size reached). Please try again in 3 seconds.\n";
        assert_eq!(refused(&refusal), expected);
    }
}
