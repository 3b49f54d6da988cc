//! Streams that end well, fail late, have a deadline, or are dropped.

use super::*;
use std::rc::Rc;
use tokio::task::LocalSet;
use tonic::codegen::tokio_stream::StreamExt;

/// Lengths of the pieces, and the failure at the end.
async fn gather(mut stream: Pieces<Bytes>) -> (Vec<usize>, Option<String>) {
    let (mut lengths, mut failure) = (Vec::new(), None);
    while let Some(next) = stream.next().await {
        match next {
            Ok(bytes) => lengths.push(bytes.len()),
            Err(status) => failure = Some(status.message().to_owned()),
        }
    }
    (lengths, failure)
}

fn write_and_end(failing: bool) -> Pieces<Bytes> {
    pieces(Lease::default(), move |sender| {
        Box::pin(async move {
            let mut output = PieceOutput::new(sender, |bytes| bytes, Some(|bytes| bytes));
            let big = Bytes::from(vec![7; 300 * PIECE_BYTES_MAX + 1]);
            output.write(big).await.unwrap();
            output.complain(b"why");
            output.finish().await.unwrap();
            if failing { Err(Status::internal("late")) } else { Ok(()) }
        })
    })
}

/// Goal: every message arrives, in order, and a failure after the last of them.
#[tokio::test]
async fn messages_come_before_the_failure() {
    let run = async {
        for failing in [false, true] {
            let (lengths, failure) = gather(write_and_end(failing)).await;
            let whole = vec![PIECE_BYTES_MAX; 300];
            assert_eq!(lengths, [&whole[..], &[1, 3]].concat());
            assert_eq!(failure.as_deref(), failing.then_some("late"));
        }
    };
    LocalSet::new().run_until(run).await;
}

/// Goal: work ends at the deadline though nobody takes its messages, and with its stream.
#[tokio::test(start_paused = true)]
async fn work_ends_with_its_deadline_and_with_its_stream() {
    struct Held(Rc<std::cell::Cell<usize>>);
    impl Drop for Held {
        fn drop(&mut self) {
            self.0.set(self.0.get() - 1);
        }
    }
    let held = Rc::new(std::cell::Cell::new(0));
    let start = |limit: Option<Duration>| {
        let deadline = limit.map(|limit| tokio::time::Instant::now().into_std() + limit);
        held.set(held.get() + 1);
        let child = Held(Rc::clone(&held));
        pieces(Lease { deadline, ..Lease::default() }, move |sender| {
            Box::pin(async move {
                let _child = child;
                while sender.send(Bytes::new()).await.is_ok() {}
                Ok(())
            })
        })
    };
    let run = async {
        let stream = start(Some(Duration::from_secs(5)));
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert_eq!(held.get(), 0, "the deadline ends work that waits for its client");
        let (lengths, failure) = gather(stream).await;
        assert_eq!((lengths.len(), failure.as_deref()), (2, Some("context deadline exceeded")));
        let stream = start(None);
        tokio::time::sleep(Duration::from_secs(200)).await;
        assert_eq!(held.get(), 1);
        tokio::time::sleep(Duration::from_secs(200)).await;
        assert_eq!(held.get(), 0, "a client that takes nothing has gone");
        drop(stream);
        let stream = start(None);
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(stream);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(held.get(), 0);
    };
    LocalSet::new().run_until(run).await;
}
