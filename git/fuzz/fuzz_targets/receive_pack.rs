//! Pushes: whatever a client says, the machine ends, sends nothing but packets, says nothing behind
//! its last word, and keeps no more than its limits allow.
//!
//! Input: four digits for version, mode, configuration and form (odd: lines of text;
//! even: raw pkt-lines; from 2 on errors are explained), then what the client says.

#![no_main]

use gitring_git::config::Config;
use gitring_git::pkt_line::{self, Decoded};
use gitring_git::receive_pack::{
    Answer, Event, Mode, Next, Outcome, PushRequest, Question, ReceivePack, Server, Settings, Step,
    Version,
};
use gitring_git::unpack::{self, Child, Header};
use libfuzzer_sys::fuzz_target;

const CONFIGURATIONS: [&[&str]; 4] = [
    &[],
    &["receive.advertisepushoptions", "receive.fsckobjects"],
    &["transfer.advertisesid"],
    &["receive.shallowupdate"],
];

fuzz_target!(|data: &[u8]| {
    let [version, mode, configuration, form, client @ ..] = data else { return };
    let version = [Version::V0, Version::V1, Version::V2][usize::from(version % 3)];
    let mode = [Mode::Stateful, Mode::Stateless, Mode::Advertise][usize::from(mode % 3)];
    let settings = settings(CONFIGURATIONS[usize::from(configuration % 4)]);
    let server = Server {
        agent: "fuzz".into(),
        namespace: Default::default(),
        explain_errors: form & 2 != 0,
    };
    let framed = if form & 1 == 1 { frame(client) } else { client.to_vec() };
    let machine = ReceivePack::new(version, mode, server, settings.clone());
    converse(machine, &settings, &framed);
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

fn converse(mut machine: ReceivePack, settings: &Settings, client: &[u8]) {
    let (mut rest, mut ended) = (client, false);
    let mut step = machine.on(Event::Start);
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
            Next::Ask(Question::Advertise { capabilities }) => {
                let mut lines = Vec::new();
                pkt_line::push_text(&mut lines, format_args!("{capabilities}\n"));
                let lines = [&lines, pkt_line::FLUSH].concat();
                machine.on(Event::Answer(Box::new(Answer::Lines(lines.into()))))
            }
            Next::Receive(request) => {
                check_request(&request, client);
                machine.on(Event::Received(receive(*request, settings, rest)))
            }
            Next::PostReceive => machine.on(Event::Finished),
            Next::Fallback { request, .. } => return assert!(request.is_empty()),
            Next::Done | Next::Fail(_) => break,
        };
    }
    let Step { send, next } = machine.on(Event::End);
    assert!(send.is_empty() && matches!(next, Next::Done | Next::Fail(_)), "{next:?}");
}

/// What is kept was said.
fn check_request(request: &PushRequest, client: &[u8]) {
    assert!(!request.commands.is_empty());
    let names: usize = request.commands.iter().map(|command| command.name.len() + 82).sum();
    let options: usize = request.push_options.iter().map(|option| option.len() + 4).sum();
    assert!(names + options + request.shallow.len() * 48 <= client.len());
}

/// Refuses what has an odd first byte.
fn receive(mut request: PushRequest, settings: &Settings, pack: &[u8]) -> Outcome {
    if request.has_pack() {
        let front = &pack[..pack.len().min(unpack::HEADER_BYTES)];
        let header = match Header::parse(front) {
            Ok(header) => header,
            Err(error) => return Outcome::not_unpacked(&request, error.to_string()),
        };
        let child = Child::of(&header, settings);
        assert!(!unpack::arguments(child, &header, &request, settings, None).is_empty());
    }
    for command in &mut request.commands {
        if !command.new.as_slice()[0].is_multiple_of(2) {
            command.refuse(command.name.to_string());
        }
    }
    Outcome::of(&request)
}

fn check_packets(mut sent: &[u8]) {
    while !sent.is_empty() {
        let Ok(Decoded::Packet { length_bytes, .. }) = pkt_line::decode(sent) else {
            panic!("{}", String::from_utf8_lossy(sent));
        };
        sent = &sent[length_bytes..];
    }
}
