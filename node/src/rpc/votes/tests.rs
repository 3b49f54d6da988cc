//! Hashes are those that Gitaly 16.7 was seen to vote.

use super::*;
use std::cell::RefCell;

/// Answers all votes alike and remembers them.
#[derive(Debug)]
struct Recorder {
    reply: Reply,
    votes: RefCell<Vec<(String, Phase)>>,
}

impl Voter for Recorder {
    fn vote(&self, vote: Vote, phase: Phase) -> Voting<'_, Reply> {
        let hex = vote.iter().map(|byte| format!("{byte:02x}")).collect();
        self.votes.borrow_mut().push((hex, phase));
        Box::pin(std::future::ready(Ok(self.reply)))
    }

    fn stop(&self) -> Voting<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn is_primary(&self) -> bool {
        false
    }
}

fn recorder(reply: Reply) -> (Rc<Recorder>, Ballot) {
    let recorder = Rc::new(Recorder { reply, votes: RefCell::default() });
    let voter: Rc<dyn Voter> = Rc::clone(&recorder) as _;
    (recorder, Ballot::member(voter))
}

/// What is voted on these lines.
async fn check(lines: &str, expected: Option<&str>) {
    let (recorder, ballot) = recorder(Reply::Commit);
    ballot.prepared_updates(lines.as_bytes()).await.unwrap();
    ballot.committed_updates(lines.as_bytes()).await.unwrap();
    let phases = [Phase::Prepared, Phase::Committed];
    let expected: Vec<_> =
        expected.into_iter().flat_map(|hex| phases.map(|phase| (hex.to_owned(), phase))).collect();
    assert_eq!(*recorder.votes.borrow(), expected, "{lines}");
}

#[tokio::test]
async fn reference_transactions() {
    let zero = "0".repeat(40);
    let first = "52afc8c609ea25cec6ddf16d432af63e5d3e6a1a";
    let second = "7a63920df539886e21615395dbe0d86e488f4272";
    check(
        &format!("{zero} {first} refs/heads/main\n{zero} {first} HEAD\n"),
        Some("524533a24add8ed0281345bb0d2030f498e426f2"),
    )
    .await;
    check(
        &format!("{zero} {first} refs/heads/w\n"),
        Some("ee21b1b5c3882416b0599c62f832e85f610e6776"),
    )
    .await;
    check(
        &format!("{first} {second} refs/heads/w\n"),
        Some("a4d870affa2c5110bcd8ab051ba036e7818c1444"),
    )
    .await;
    check(&format!("{zero} {zero} refs/heads/a\n{zero} {zero} refs/heads/b\n"), None).await;
    check("", None).await;
}

#[tokio::test]
async fn hooks_and_the_last_vote() {
    let (recorder, ballot) = recorder(Reply::Commit);
    ballot.synchronize(HookName::PreReceive).await.unwrap();
    ballot.synchronize(HookName::Update).await.unwrap();
    ballot.synchronize(HookName::PostReceive).await.unwrap();
    ballot.finish().await.unwrap();
    let expected = [
        ("7475a0d87cbbee23b9a7e8ccde58a494db01611f", Phase::Synchronized),
        ("959087c30d483e52b9e8574a4bd58c4cd7070692", Phase::Synchronized),
        ("17709ba9f26ecc0b0109e3015ed9e824792841fb", Phase::Synchronized),
        ("0000000000000000000000000000000000000000", Phase::Committed),
    ];
    let expected = expected.map(|(hex, phase)| (hex.to_owned(), phase));
    assert_eq!(*recorder.votes.borrow(), expected);
}

#[tokio::test]
async fn replies_become_errors() {
    for (reply, expected, last) in [
        (Reply::Commit, Ok(()), Ok(())),
        (Reply::Abort, Err(VoteError::Aborted), Err(VoteError::Aborted)),
        (Reply::Stop, Err(VoteError::Stopped), Ok(())),
    ] {
        let (_, ballot) = recorder(reply);
        assert_eq!(ballot.prepared([1; 20]).await.map(|_| ()), expected);
        assert_eq!(ballot.committed([1; 20]).await, expected);
        assert_eq!(ballot.finish().await, last);
    }
}

/// Never answers.
#[derive(Debug)]
struct Silent;

impl Voter for Silent {
    fn vote(&self, _: Vote, _: Phase) -> Voting<'_, Reply> {
        Box::pin(std::future::pending())
    }

    fn stop(&self) -> Voting<'_, ()> {
        Box::pin(std::future::pending())
    }

    fn is_primary(&self) -> bool {
        true
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_is_waited_for_without_end() {
    let ballot = Ballot::member(Rc::new(Silent));
    assert_eq!(ballot.prepared([1; 20]).await.map(|_| ()), Err(VoteError::Timeout));
    ballot.stop().await;
}
