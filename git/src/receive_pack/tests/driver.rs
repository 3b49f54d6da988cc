//! A push as a node does it, in one thread and with git's own children: machine, desk, quarantine,
//! child, judge; `git update-ref` stands for the transactions of references.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use super::super::judge::settle_atomic;
use super::*;
use crate::history::Cancel;
use crate::objects::Store;
use crate::quarantine::Quarantine;
use crate::repository::{Environment, Repository, Snapshot};
use crate::sideband::{self, Band};
use crate::unpack::{self, Child, Header};

/// What the push was accepted by.
struct Accepted(());

/// The client's side of a stateless push, and what it was told.
struct Driver<'a> {
    git_dir: &'a Path,
    snapshot: Arc<Snapshot>,
    settings: Settings,
    /// What the client has not been asked for yet.
    input: &'a [u8],
    output: Vec<u8>,
}

/// Plays `input` to the repository, as `git receive-pack --stateless-rpc` would; what it says.
pub(super) fn push(git_dir: &Path, input: &[u8]) -> Vec<u8> {
    let repository = Repository::open(git_dir, Environment::default()).unwrap();
    let snapshot = repository.snapshot().unwrap();
    let settings = Settings::of(&snapshot.config, &snapshot).unwrap();
    let mut driver = Driver { git_dir, snapshot, settings, input, output: Vec::new() };
    driver.converse();
    let left: Vec<_> = std::fs::read_dir(git_dir.join("objects")).unwrap().collect();
    let is_left = |name: &str| name.starts_with("tmp_objdir");
    assert!(!left.iter().any(|one| is_left(one.as_ref().unwrap().file_name().to_str().unwrap())));
    driver.output
}

// === impl Driver ===

impl Driver<'_> {
    fn converse(&mut self) {
        let server = Server { explain_errors: false, ..server() };
        let mut machine =
            ReceivePack::new(Version::V0, Mode::Stateless, server, self.settings.clone());
        let mut step = machine.on(Event::Start);
        loop {
            self.output.extend_from_slice(&step.send);
            step = match step.next {
                Next::Read => match pkt_line::decode(self.input).unwrap() {
                    Decoded::Packet { packet, length_bytes } => {
                        self.input = &self.input[length_bytes..];
                        machine.on(Event::Packet(packet))
                    }
                    Decoded::Incomplete { .. } => machine.on(Event::End),
                },
                Next::Receive(request) => {
                    let outcome = self.receive(*request);
                    machine.on(Event::Received(outcome))
                }
                Next::PostReceive => machine.on(Event::Finished),
                Next::Done | Next::Fail(_) => return,
                Next::Ask(_) | Next::Fallback { .. } => panic!("{:?}", step.next),
            };
        }
    }

    fn receive(&mut self, mut request: PushRequest) -> Outcome {
        let mut quarantine = None;
        if request.has_pack() {
            match self.unpack(&request) {
                Ok(unpacked) => quarantine = Some(unpacked),
                Err(reason) => return Outcome::not_unpacked(request, reason),
            }
        }
        let store = match &quarantine {
            None => Arc::clone(&self.snapshot.store),
            Some(quarantine) => self.with_quarantine(quarantine),
        };
        let (settings, cancel) = (self.settings.clone(), Cancel::default());
        let mut judge = Judge::new(Arc::clone(&self.snapshot), store, server(), settings, cancel);
        let messages = judge.objects(&mut request).unwrap();
        self.tell(&request, &messages);
        if !request.commands.iter().any(|one| one.state.is_open()) {
            return Outcome::of(request);
        }
        let messages = judge.updates(&mut request).unwrap();
        self.tell(&request, &messages);
        if let Some(quarantine) = quarantine {
            drop(quarantine.migrate(&Accepted(())).unwrap());
        }
        self.update_refs(&mut request);
        Outcome::of(request)
    }

    fn with_quarantine(&self, quarantine: &Quarantine<Accepted>) -> Arc<Store> {
        Arc::new(self.snapshot.store.with_quarantine(quarantine.path()).unwrap())
    }

    fn unpack(&mut self, request: &PushRequest) -> Result<Quarantine<Accepted>, String> {
        let front = &self.input[..self.input.len().min(unpack::HEADER_BYTES)];
        let header = Header::parse(front).map_err(|error| error.to_string())?;
        let quarantine = Quarantine::create(&self.git_dir.join("objects")).unwrap();
        let shallow_file = (!request.shallow.is_empty())
            .then(|| quarantine.write_shallow(&request.shallow).unwrap());
        let child = Child::of(&header, &self.settings);
        let shallow_file = shallow_file.as_deref();
        let arguments = unpack::arguments(child, &header, request, &self.settings, shallow_file);
        let mut git = Command::new("git");
        git.args(arguments).current_dir(self.git_dir).envs(quarantine.environment(None));
        git.env("GIT_CONFIG_NOSYSTEM", "1").env("HOME", "/none").env("GIT_DIR", self.git_dir);
        git.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut git = git.spawn().unwrap();
        let (mut stdin, rest) = (git.stdin.take().unwrap(), &self.input[unpack::HEADER_BYTES..]);
        let output = std::thread::scope(|scope| {
            // A child that refuses does not read to the end.
            scope.spawn(move || drop(std::io::Write::write_all(&mut stdin, rest)));
            git.wait_with_output().unwrap()
        });
        if let Some(width) = request.sideband {
            sideband::push(&mut self.output, Band::Progress, width, &output.stderr);
        }
        unpack::finish(child, output.status.success(), &output.stdout)?;
        quarantine.sync().unwrap();
        Ok(quarantine)
    }

    fn tell(&mut self, request: &PushRequest, messages: &[Message]) {
        let Some(width) = request.sideband else { return };
        for message in messages {
            sideband::push(&mut self.output, Band::Progress, width, message.line().as_bytes());
        }
    }

    fn update_refs(&self, request: &mut PushRequest) {
        if request.atomic {
            let all: String =
                (0..request.commands.len()).map(|at| line(&request.commands.get(at))).collect();
            if !all.is_empty() && !self.update_ref(&all) {
                let open = request.commands.iter_mut().filter(|one| one.state.is_open());
                open.for_each(|command| command.state.refuse("atomic transaction failed"));
            }
            settle_atomic(request);
            return;
        }
        for at in 0..request.commands.len() {
            let line = line(&request.commands.get(at));
            if !line.is_empty() && !self.update_ref(&line) {
                request.commands.state_mut(at).refuse("failed to update ref");
            }
        }
    }

    fn update_ref(&self, lines: &str) -> bool {
        let mut git = Command::new("git");
        git.args(["update-ref", "--stdin"]).current_dir(self.git_dir).env("HOME", "/none");
        git.stdin(Stdio::piped()).stderr(Stdio::null());
        let mut git = git.spawn().unwrap();
        std::io::Write::write_all(&mut git.stdin.take().unwrap(), lines.as_bytes()).unwrap();
        git.wait().unwrap().success()
    }
}

use super::Command as Command_;

fn line(command: &Command_) -> String {
    let Command_ { name, old, new, state } = command;
    match (command.is_deletion(), state.is_old_unchecked) {
        _ if !state.is_open() => String::new(),
        (true, true) if state.did_not_exist => String::new(),
        (true, true) => format!("delete {name}\n"),
        (true, false) => format!("delete {name} {old}\n"),
        (false, _) => format!("update {name} {new} {old}\n"),
    }
}
