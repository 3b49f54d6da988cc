//! Clients of one thread: those that ask and ask again, the slow ones, the vanishing ones.
//!
//! Always true: when the time is over everything ends at once; what was under way is not counted,
//! but for the bytes that had come.
//!
//! Never here: what is asked.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gitring_daemon::client::ConnectError;
use gitring_tests::random::Random;
use tokio::task::JoinSet;
use tonic::{Code, Status};

use super::exchange::exchange;
use super::figures::Figures;
use super::kind::Kind;
use super::line::{Dial, Line};
use super::mix::Mix;
use super::script::Script;
use super::watch::{Leave, Watch};

/// After a request that the connection failed: a server that is away is not asked at full speed.
const FAILURE_PAUSE: Duration = Duration::from_millis(20);

/// Between two pieces that a slow client reads.
const SLOW_PAUSE: Duration = Duration::from_millis(100);

/// Between two connections of a vanishing client, at most. The kernel keeps the port of each for a
/// minute, and has 28,000.
const VANISHED_MAX: Duration = Duration::from_millis(100);

/// What clients of one thread do.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) dial: Dial,
    pub(super) script: Arc<Script>,
    pub(super) mix: Mix,
    pub(super) time: Duration,
    pub(super) connections: usize,
    pub(super) in_flight: usize,
    pub(super) slow: usize,
    pub(super) vanishing: usize,
    pub(super) seed: u64,
}

/// What they counted.
#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) kinds: Vec<(Kind, Figures)>,
    pub(super) slow: Figures,
    pub(super) vanishing: Figures,
    pub(super) elapsed: Duration,
}

/// Figures that clients of one thread write together.
type Book = Rc<RefCell<Figures>>;

// === impl Part ===

impl Part {
    /// Makes load until the time is over. To be called within a `LocalSet`.
    pub(super) async fn play(self) -> Result<Counted, ConnectError> {
        let mut lines = Vec::new();
        for _ in 0..self.connections {
            lines.push(Rc::new(Line::open(self.dial.clone()).await?));
        }
        let part = Rc::new(self);
        let books: Rc<[(Kind, Book)]> = part.mix.kinds().map(|k| (k, Book::default())).collect();
        let (slow, vanishing) = (Book::default(), Book::default());
        let mut random = Random::new(part.seed);
        let mut clients = JoinSet::new();
        let line = |at: usize| Rc::clone(&lines[at % lines.len()]);
        for at in 0..part.in_flight {
            let random = Random::new(random.next_u64());
            clients.spawn_local(Rc::clone(&part).ask(line(at), Rc::clone(&books), random));
        }
        for at in 0..part.slow {
            clients.spawn_local(Rc::clone(&part).trickle(line(at), Rc::clone(&slow)));
        }
        for _ in 0..part.vanishing {
            let random = Random::new(random.next_u64());
            clients.spawn_local(Rc::clone(&part).vanish(Rc::clone(&vanishing), random));
        }
        let began = Instant::now();
        tokio::time::sleep(part.time).await;
        let elapsed = began.elapsed();
        clients.shutdown().await;
        let kinds = books.iter().map(|(kind, book)| (*kind, book.take())).collect();
        Ok(Counted { kinds, slow: slow.take(), vanishing: vanishing.take(), elapsed })
    }

    /// One request after the other.
    async fn ask(self: Rc<Self>, line: Rc<Line>, books: Rc<[(Kind, Book)]>, mut random: Random) {
        loop {
            let (kind, ask) = self.script.choose(&self.mix, &mut random);
            let Some((_, book)) = books.iter().find(|(known, _)| *known == kind) else { return };
            let watch = Watch::new(book, None);
            let asking = async {
                let client = line.client().await?;
                exchange(&client, ask, ask.message(&mut random), &watch, Duration::ZERO).await
            };
            let answered = asking.await;
            note(book, &watch, answered).await;
        }
    }

    /// One clone after the other, each read at a trickle.
    async fn trickle(self: Rc<Self>, line: Rc<Line>, book: Book) {
        let ask = self.script.of(Kind::Clone);
        loop {
            let watch = Watch::new(&book, None);
            let asking = async {
                let message = ask.message(&mut Random::new(self.seed));
                exchange(&line.client().await?, ask, message, &watch, SLOW_PAUSE).await
            };
            let answered = asking.await;
            note(&book, &watch, answered).await;
        }
    }

    /// Clones on connections of their own, which are dropped half way.
    async fn vanish(self: Rc<Self>, book: Book, mut random: Random) {
        let ask = self.script.of(Kind::Clone);
        loop {
            let leave = Rc::new(Leave::random(&mut random));
            let watch = Watch::new(&book, Some(Rc::clone(&leave)));
            let asking = async {
                let client = self.dial.connect().await;
                let client = client.map_err(|error| Status::unavailable(error.to_string()))?;
                let message = ask.message(&mut random);
                exchange(&client, ask, message, &watch, Duration::ZERO).await
            };
            let answered = tokio::select! {
                answered = asking => answered,
                () = leave.left() => Ok(()),
            };
            note(&book, &watch, answered).await;
            let pause = VANISHED_MAX.mul_f64(random.below(1000) as f64 / 1000.0);
            tokio::time::sleep(pause).await;
        }
    }
}

async fn note(book: &Book, watch: &Watch, answered: Result<(), Status>) {
    let code = match answered {
        Ok(()) => {
            let is_empty = !watch.is_cut() && !watch.has_pieces();
            book.borrow_mut().answered(watch.elapsed(), is_empty);
            Code::Ok
        }
        Err(status) => {
            book.borrow_mut().failed(&status);
            status.code()
        }
    };
    if code == Code::Unavailable {
        tokio::time::sleep(FAILURE_PAUSE).await;
    }
}
