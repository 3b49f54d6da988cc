//! The rules beside a naive model of them.

use super::*;
use crate::limits::claim::Name;
use std::collections::BTreeMap;

/// Numbers that look random and come again with the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888);
        usize::try_from(self.0 >> 33).unwrap() % below
    }
}

fn claim(key: usize, client: usize) -> Claim {
    Claim { key: Name::new(&format!("key {key}")), client: Name::new(&format!("client {client}")) }
}

/// One who waits, in the model: by when it came, under which claims.
#[derive(Debug, Clone)]
struct Waiter {
    ticket: Ticket,
    /// When each claim was made, how often.
    claims: Vec<(Claim, u64, usize)>,
}

/// Everything in plain lists, looked through from the beginning each time.
#[derive(Debug, Default)]
struct Model {
    limit: usize,
    queue_max: usize,
    running: Vec<Claim>,
    waiting: Vec<Waiter>,
    /// When each client of each key last had its turn, or began to wait.
    since: BTreeMap<(Name, Name), u64>,
    clock: u64,
    outcomes: Vec<(Ticket, Option<Claim>)>,
}

impl Model {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn has_room(&self, key: &Name) -> bool {
        self.limit == 0
            || self.running.iter().filter(|running| running.key == *key).count() < self.limit
    }

    fn queued(&self, key: &Name) -> usize {
        let under = |waiter: &&Waiter| waiter.claims.iter().any(|(own, ..)| own.key == *key);
        self.waiting.iter().filter(under).count()
    }

    fn of_client(&self, claim: &Claim) -> Vec<(u64, Ticket)> {
        let mut line: Vec<_> = self
            .waiting
            .iter()
            .flat_map(|waiter| waiter.claims.iter().map(|claim| (claim, waiter.ticket)))
            .filter(|((own, ..), _)| own == claim)
            .map(|((_, at, _), ticket)| (*at, ticket))
            .collect();
        line.sort_unstable();
        line
    }

    fn clients(&self, key: &Name) -> Vec<(u64, Claim)> {
        let claims = self.waiting.iter().flat_map(|waiter| &waiter.claims);
        let mut clients: Vec<(u64, Claim)> = claims
            .filter(|(own, ..)| own.key == *key)
            .map(|(own, ..)| (self.since[&(own.key.clone(), own.client.clone())], own.clone()))
            .collect();
        clients.sort_by_key(|(since, _)| *since);
        clients.dedup();
        clients
    }

    fn let_in(&mut self, key: &Name) {
        while self.has_room(key) {
            let Some((_, claim)) = self.clients(key).into_iter().next() else { return };
            let (_, ticket) = self.of_client(&claim)[0];
            let now = self.tick();
            self.since.insert((claim.key.clone(), claim.client.clone()), now);
            self.waiting.retain(|waiter| waiter.ticket != ticket);
            self.running.push(claim.clone());
            self.outcomes.push((ticket, Some(claim)));
        }
    }

    fn push(&mut self, ticket: Ticket, claim: &Claim) {
        let now = self.tick();
        if self.of_client(claim).is_empty() {
            self.since.insert((claim.key.clone(), claim.client.clone()), now);
        }
        let waiter = self.waiting.iter_mut().find(|waiter| waiter.ticket == ticket).unwrap();
        match waiter.claims.iter_mut().find(|(own, ..)| own == claim) {
            Some((.., times)) => *times += 1,
            None => waiter.claims.push((claim.clone(), now, 1)),
        }
    }

    /// Whether there is, or was made, room for one more of this claim.
    fn make_room(&mut self, claim: &Claim) -> bool {
        if self.queued(&claim.key) < self.queue_max {
            return true;
        }
        let mut lines: Vec<(usize, u64, Claim)> = self
            .clients(&claim.key)
            .into_iter()
            .map(|(since, claim)| (self.of_client(&claim).len(), since, claim))
            .collect();
        lines.sort_by_key(|(length, since, _)| (*length, *since));
        let Some((length, _, greediest)) = lines.pop() else { return false };
        if length <= self.of_client(claim).len() + 1 {
            return false;
        }
        let alone = |ticket: Ticket| {
            let waiter = self.waiting.iter().find(|waiter| waiter.ticket == ticket).unwrap();
            waiter.claims.len() == 1 && waiter.claims[0].2 == 1
        };
        let line = self.of_client(&greediest);
        let Some((_, last)) = line.into_iter().rev().find(|(_, ticket)| alone(*ticket)) else {
            return false;
        };
        self.waiting.retain(|waiter| waiter.ticket != last);
        self.outcomes.push((last, None));
        true
    }

    fn before(&self, ticket: Ticket) -> Option<usize> {
        let waiter = self.waiting.iter().find(|waiter| waiter.ticket == ticket)?;
        let mut best = usize::MAX;
        for (claim, ..) in &waiter.claims {
            // Let everybody in under this key, one by one, until it is its turn.
            let mut order: Vec<(usize, u64, Ticket)> = Vec::new();
            for (since, client) in self.clients(&claim.key) {
                let line = self.of_client(&client).into_iter().enumerate();
                order.extend(line.map(|(round, (_, ticket))| (round, since, ticket)));
            }
            order.sort_unstable();
            let mut seen = Vec::new();
            for (_, _, other) in order {
                if other == ticket {
                    best = best.min(seen.len());
                    break;
                }
                if !seen.contains(&other) {
                    seen.push(other);
                }
            }
        }
        Some(best)
    }
}

/// The two, side by side.
struct Pair {
    limiter: Limiter,
    model: Model,
    now: Instant,
}

impl Pair {
    fn new(limit: usize, queue_max: usize) -> Self {
        let limiter = Limiter::new(Settings { limit, queue_max, wait_max: None });
        Self { limiter, model: Model { limit, queue_max, ..Model::default() }, now: Instant::now() }
    }

    fn ask(&mut self, claims: &[Claim]) {
        let asked = self.limiter.ask(claims, self.now);
        let model = &mut self.model;
        if let Some(claim) = claims.iter().find(|claim| model.has_room(&claim.key)) {
            model.running.push(claim.clone());
            assert_eq!(asked, Asked::Granted(claim.clone()));
        } else if claims.iter().any(|claim| model.make_room(claim)) {
            let Asked::Queued(ticket) = asked else { panic!("{asked:?}") };
            model.waiting.push(Waiter { ticket, claims: Vec::new() });
            claims.iter().for_each(|claim| model.push(ticket, claim));
        } else {
            assert!(matches!(asked, Asked::Refused(_)), "{asked:?}");
        }
    }

    fn join(&mut self, ticket: Ticket, claim: &Claim) {
        self.limiter.join(ticket, claim, self.now);
        if self.model.has_room(&claim.key) {
            self.model.waiting.retain(|waiter| waiter.ticket != ticket);
            self.model.running.push(claim.clone());
            self.model.outcomes.push((ticket, Some(claim.clone())));
        } else {
            self.model.push(ticket, claim);
        }
    }

    fn leave(&mut self, ticket: Ticket, claim: &Claim) {
        self.limiter.leave(ticket, claim);
        let model = &mut self.model;
        let waiter = model.waiting.iter_mut().find(|waiter| waiter.ticket == ticket).unwrap();
        for (.., times) in waiter.claims.iter_mut().filter(|(own, ..)| own == claim) {
            *times -= 1;
        }
        waiter.claims.retain(|(.., times)| *times > 0);
        model.waiting.retain(|waiter| !waiter.claims.is_empty());
    }

    fn release(&mut self, at: usize) {
        let claim = self.model.running.swap_remove(at);
        self.limiter.release(&claim, self.now);
        self.model.let_in(&claim.key);
    }

    fn set_limit(&mut self, limit: usize) {
        self.limiter.set(Settings { limit, ..self.limiter.settings() });
        self.model.limit = limit;
        let keys: Vec<Name> = (0..KEYS).map(|key| claim(key, 0).key).collect();
        keys.iter().for_each(|key| self.model.let_in(key));
    }

    fn compare(&mut self, when: &str) {
        let outcomes = self.limiter.take_outcomes().into_iter();
        let mut told: Vec<(Ticket, Option<Claim>)> = outcomes
            .map(|(ticket, outcome)| match outcome {
                Outcome::Granted(claim) => (ticket, Some(claim)),
                Outcome::Refused(refusal) => {
                    assert!(refusal.is_own_share, "{when}: {refusal:?}");
                    (ticket, None)
                }
            })
            .collect();
        let mut expected = std::mem::take(&mut self.model.outcomes);
        // With several keys at once their order means nothing.
        told.sort_by_key(|(ticket, _)| *ticket);
        expected.sort_by_key(|(ticket, _)| *ticket);
        assert_eq!(told, expected, "{when}");
        let model = &self.model;
        assert_eq!(self.limiter.totals(), (model.running.len(), model.waiting.len()), "{when}");
        for key in 0..KEYS {
            let key = claim(key, 0).key;
            let running = model.running.iter().filter(|running| running.key == key).count();
            assert_eq!(self.limiter.load(&key), (running, model.queued(&key)), "{when}: {key}");
            let known = running > 0 || model.queued(&key) > 0;
            assert_eq!(self.limiter.lanes.contains_key(&key), known, "{when}: {key}");
        }
        for waiter in &model.waiting {
            let before = self.limiter.before(waiter.ticket);
            assert_eq!(before, model.before(waiter.ticket), "{when}: {waiter:?}");
        }
    }
}

const KEYS: usize = 3;
const CLIENTS: usize = 4;

#[test]
fn it_does_what_a_naive_model_does() {
    for seed in 1..=150 {
        let mut random = Random(seed);
        let mut pair = Pair::new(1 + random.below(3), 1 + random.below(6));
        for step in 0..150 {
            let when = format!("seed {seed}, step {step}");
            let drawn = claim(random.below(KEYS), random.below(CLIENTS));
            pair.now += Duration::from_millis(random.below(50) as u64);
            let (running, waiting) = (pair.model.running.len(), pair.model.waiting.len());
            match random.below(10) {
                0..=3 => pair.ask(std::slice::from_ref(&drawn)),
                4 => pair.ask(&[drawn, claim(random.below(KEYS), random.below(CLIENTS))]),
                5 if waiting > 0 => {
                    let ticket = pair.model.waiting[random.below(waiting)].ticket;
                    pair.join(ticket, &drawn);
                }
                6 if waiting > 0 => {
                    let waiter = pair.model.waiting[random.below(waiting)].clone();
                    let (claim, ..) = &waiter.claims[random.below(waiter.claims.len())];
                    pair.leave(waiter.ticket, claim);
                }
                7 if random.below(5) == 0 => pair.set_limit(1 + random.below(4)),
                7..=9 if running > 0 => pair.release(random.below(running)),
                _ => {}
            }
            pair.compare(&when);
        }
        while !pair.model.running.is_empty() {
            pair.release(0);
            pair.compare(&format!("seed {seed}, at the end"));
        }
        assert!(pair.limiter.lanes.is_empty() && pair.limiter.tickets.is_empty(), "seed {seed}");
    }
}

#[test]
fn each_quiet_client_gets_its_share_beside_a_noisy_one() {
    for seed in 1..=20 {
        let mut random = Random(seed);
        let settings = Settings { limit: 2, queue_max: 40, wait_max: None };
        let (mut limiter, now) = (Limiter::new(settings), Instant::now());
        let mut running = Vec::new();
        let ask = |limiter: &mut Limiter, running: &mut Vec<Claim>, client| match limiter
            .ask(&[claim(0, client)], now)
        {
            Asked::Granted(claim) => running.push(claim),
            Asked::Queued(_) | Asked::Refused(_) => {}
        };
        let mut turns = [0_usize; 10];
        for round in 0..500 {
            // The noisy one asks all the time; each other has one request at a time.
            (0..1 + random.below(20)).for_each(|_| ask(&mut limiter, &mut running, 0));
            let (_, queued) = limiter.totals();
            assert!(queued <= 40);
            for client in 1..10 {
                let name = claim(0, client).client;
                let is_there = running.iter().any(|claim| claim.client == name)
                    || limiter.lanes.values().any(|lane| lane.turns.waiting(&name) > 0);
                if !is_there {
                    ask(&mut limiter, &mut running, client);
                }
            }
            let ended = running.swap_remove(random.below(running.len()));
            limiter.release(&ended, now);
            let client = ended.client.as_str().trim_start_matches("client ");
            turns[client.parse::<usize>().unwrap()] += usize::from(round >= 20);
            let granted =
                limiter.take_outcomes().into_iter().filter_map(|(_, outcome)| match outcome {
                    Outcome::Granted(claim) => Some(claim),
                    Outcome::Refused(_) => None,
                });
            running.extend(granted);
        }
        // 480 turns for ten: 48 each.
        let (least, most) = (turns[1..].iter().min().unwrap(), turns.iter().max().unwrap());
        assert!(*least >= 40 && *most <= 75, "seed {seed}: {turns:?}");
    }
}

#[test]
fn a_refusal_says_when_the_queue_will_have_drained() {
    let settings = Settings { limit: 4, queue_max: 20, wait_max: None };
    let (mut limiter, start) = (Limiter::new(settings), Instant::now());
    for client in 0..24 {
        assert!(!matches!(limiter.ask(&[claim(0, client)], start), Asked::Refused(_)));
    }
    // Each takes a second, and four are in at once: twenty have left after five.
    let mut running: Vec<Claim> = (0..4).map(|client| claim(0, client)).collect();
    for second in 1..=3 {
        let now = start + Duration::from_secs(second);
        running.drain(..).for_each(|claim| limiter.release(&claim, now));
        running = limiter
            .take_outcomes()
            .into_iter()
            .map(|(_, outcome)| match outcome {
                Outcome::Granted(claim) => claim,
                Outcome::Refused(refusal) => panic!("{refusal:?}"),
            })
            .collect();
        for more in 0..4 {
            let client = 100 + usize::try_from(second).unwrap() * 4 + more;
            limiter.ask(&[claim(0, client)], now);
        }
    }
    let Asked::Refused(refusal) = limiter.ask(&[claim(0, 99)], start + Duration::from_secs(3))
    else {
        panic!("the queue is full");
    };
    assert_eq!((refusal.reason, refusal.is_own_share), (Reason::Size, false));
    let retry_s = refusal.retry_after.as_secs_f64();
    assert!((4.0..7.0).contains(&retry_s), "{retry_s}");
    let late = limiter.too_late(&claim(0, 0).key, start + Duration::from_secs(33));
    assert!(late.retry_after >= Duration::from_secs(300), "it stands still: {late:?}");
}
