//! Conversations: whatever a client says, every machine ends, sends nothing but packets, and says
//! nothing behind its last word.
//!
//! Input: four digits for version, mode, configuration and form (odd: lines of text; even: raw
//! pkt-lines; from 2 on errors are explained), then what the client says.

#![no_main]

use std::collections::HashSet;

use gitring_git::ObjectId;
use gitring_git::config::Config;
use gitring_git::pack_request::PackRequest;
use gitring_git::pkt_line::{self, Decoded};
use gitring_git::upload_pack::boundary::Boundary;
use gitring_git::upload_pack::question::{Acknowledgments, FetchAnswer, HaveAnswer, HavesAnswer};
use gitring_git::upload_pack::{
    Answer, Event, Mode, Next, Question, Server, Settings, Step, UploadPack, Version,
};
use libfuzzer_sys::fuzz_target;

const CONFIGURATIONS: [&[&str]; 5] = [
    &[],
    &["uploadpack.allowfilter", "uploadpack.allowrefinwant", "transfer.advertiseobjectinfo"],
    &["uploadpack.allowsidebandall", "uploadpack.allowanysha1inwant"],
    &["transfer.advertisesid"],
    &["uploadpack.allowfilter", "uploadpack.allowtipsha1inwant"],
];

fuzz_target!(|data: &[u8]| {
    let [version, mode, configuration, form, client @ ..] = data else { return };
    let version = [Version::V0, Version::V1, Version::V2][usize::from(version % 3)];
    let mode = [Mode::Stateful, Mode::Stateless, Mode::Advertise][usize::from(mode % 3)];
    let configuration = CONFIGURATIONS[usize::from(configuration % 5)];
    let server = Server {
        agent: "fuzz".into(),
        namespace: Default::default(),
        explain_errors: form & 2 != 0,
    };
    let framed = if form & 1 == 1 { frame(client) } else { client.to_vec() };
    let machine = UploadPack::new(version, mode, server, settings(configuration));
    converse(machine, &framed);
});

fn settings(keys: &[&str]) -> Settings {
    let on: Vec<_> = keys.iter().map(|key| ((*key).to_owned(), Some("true".into()))).collect();
    let config = Config::default().with_overrides(&on).expect("known keys");
    Settings::from_config(&config).expect("known values")
}

/// Lines as packets; `0000` to `0002` stand for themselves.
fn frame(text: &[u8]) -> Vec<u8> {
    let mut framed = Vec::new();
    for line in text.split(|byte| *byte == b'\n') {
        match line {
            b"0000" | b"0001" | b"0002" => framed.extend_from_slice(line),
            _ => {
                let kept = line.len().min(pkt_line::PAYLOAD_BYTES_MAX);
                pkt_line::push(&mut framed, &line[..kept]);
            }
        }
    }
    framed
}

fn converse(mut machine: UploadPack, client: &[u8]) {
    let (mut rest, mut world, mut ended) = (client, World::default(), false);
    let mut step = machine.on(Event::Start);
    // A packet leads to a question, its answer, a pack and its end at most.
    let mut steps_left = 16 + client.len();
    loop {
        check_packets(&step.send);
        steps_left = steps_left.checked_sub(1).expect("conversations end");
        step = match step.next {
            Next::Read => match pkt_line::decode(rest) {
                Ok(Decoded::Packet { packet, length_bytes }) => {
                    rest = &rest[length_bytes..];
                    machine.on(Event::Packet(packet))
                }
                Ok(Decoded::Incomplete { .. }) | Err(_) => {
                    assert!(!ended, "nothing is read behind the end");
                    ended = true;
                    machine.on(Event::End)
                }
            },
            Next::Ask(question) => machine.on(Event::Answer(Box::new(world.answer(question)))),
            Next::ServePack(..) => machine.on(Event::Served),
            Next::Fallback { request, .. } if !request.is_empty() => {
                check_packets(&request);
                machine.on(Event::Served)
            }
            Next::Fallback { .. } => return,
            Next::Done | Next::Fail(_) => break,
        };
    }
    let Step { send, next } = machine.on(Event::End);
    assert!(send.is_empty() && matches!(next, Next::Done | Next::Fail(_)), "{next:?}");
}

fn check_packets(mut sent: &[u8]) {
    while !sent.is_empty() {
        let Ok(Decoded::Packet { length_bytes, .. }) = pkt_line::decode(sent) else {
            panic!("{}", String::from_utf8_lossy(sent));
        };
        sent = &sent[length_bytes..];
    }
}

/// Objects whose first byte is even exist; three in common are enough.
#[derive(Default)]
struct World {
    common: HashSet<ObjectId>,
}

// === impl World ===

impl World {
    fn has(id: &ObjectId) -> bool {
        id.as_slice()[0].is_multiple_of(2)
    }

    fn ready(&self) -> bool {
        self.common.len() >= 3
    }

    fn have(&mut self, id: ObjectId) -> HaveAnswer {
        if !Self::has(&id) {
            return HaveAnswer::Unknown { id, ready: self.ready() };
        }
        self.common.insert(id);
        HaveAnswer::Known { id, common: self.common.len() }
    }

    fn answer(&mut self, question: Question) -> Answer {
        match question {
            Question::Advertise { capabilities } => {
                let mut lines = Vec::new();
                pkt_line::push_text(&mut lines, format_args!("{capabilities}\n"));
                Answer::Lines([&lines, pkt_line::FLUSH].concat().into())
            }
            Question::LsRefs(_) | Question::ObjectInfo(_) => {
                Answer::Lines(pkt_line::FLUSH.into())
            }
            Question::Boundary(needs) => match needs.wants.iter().find(|want| !Self::has(want)) {
                Some(want) if want.as_slice()[1] == 0 => Answer::RefusedQuietly("no".into()),
                Some(want) => Answer::Refused(format!("upload-pack: not our ref {want}")),
                None => Answer::Boundary(needs.depth.any().then(|| Boundary {
                    shallow: needs.wants.clone(),
                    unshallow: needs.shallows.clone(),
                })),
            },
            Question::Haves { ids, judge_end, .. } => Answer::Haves(HavesAnswer {
                haves: ids.into_iter().map(|id| self.have(id)).collect(),
                ready_at_end: judge_end && self.ready(),
            }),
            Question::Pack => Answer::Pack(Box::default()),
            Question::Tags(_) => Answer::Tags(Vec::new()),
            Question::Fetch(fetch) => {
                let common: Vec<_> = fetch.haves.into_iter().filter(Self::has).collect();
                let ready = !fetch.wait_for_done && common.len() >= 3;
                let talks = !common.is_empty() && !fetch.done;
                Answer::Fetch(Box::new(FetchAnswer {
                    pack: (!talks || ready).then(PackRequest::default),
                    acknowledgments: talks.then_some(Acknowledgments { common, ready }),
                    ..FetchAnswer::default()
                }))
            }
        }
    }
}
