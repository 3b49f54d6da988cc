//! `config_command`: a program whose JSON goes over the file, by Gitaly's names.
//!
//! As Gitaly runs it: without arguments, found in PATH if its name has no slash, in the environment
//! and the directory of the node, with nothing on standard input. Ours are the limits of time and
//! output.
//!
//! Always true: no process of its group is left that this module started; what it printed is in
//! no error but what it said on standard error.
//! Never here: what the values mean; they count as the file's.

use gitring_daemon::settings::{Document, Overlay, SettingsError};
use serde_json::{Map, Value};
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

/// How long it may take: it asks a vault, perhaps.
const TIME_MAX: Duration = Duration::from_secs(60);
/// Most of a configuration.
const OUTPUT_BYTES_MAX: u64 = 1 << 20;
/// Kept of what it complains about.
const COMPLAINT_BYTES_MAX: u64 = 4096;
/// Between two looks whether a program that has closed its outputs has ended.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How the service manager talks to the node, and to nobody below it.
const MANAGER_VARIABLES: [&str; 4] =
    ["NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID"];

/// Why there is no output.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error("cannot be run: {0}")]
    Start(#[source] io::Error),
    #[error("its output cannot be read: {0}")]
    Read(#[source] io::Error),
    #[error("{status}, stderr: {complaint:?}")]
    Failed { status: ExitStatus, complaint: String },
    #[error("took longer than {} s and was killed", TIME_MAX.as_secs())]
    TooSlow,
    #[error("printed more than {OUTPUT_BYTES_MAX} bytes and was killed")]
    TooMuch,
    #[error("printed no JSON: {0}")]
    NoJson(#[source] serde_json::Error),
    #[error("printed JSON that is no object")]
    NoObject,
}

/// What `config_command` of a document says; `None` if there is none.
pub(super) fn overlay(document: &Document<'_>) -> Result<Option<Overlay>, SettingsError> {
    let root = document.root();
    let Some(program) = root.string("config_command")?.filter(|program| !program.is_empty()) else {
        return Ok(None);
    };
    let toml = run(program, TIME_MAX).and_then(|output| to_toml(&output));
    match toml {
        Ok(toml) => Ok(Some(Overlay::new(format!("output of {program}"), document, &toml))),
        Err(error) => Err(root.error("config_command", format!("'{program}': {error}"))),
    }
}

/// Its standard output.
#[expect(clippy::disallowed_methods, reason = "start-up: no reactor runs yet")]
fn run(program: &str, time_max: Duration) -> Result<Vec<u8>, CommandError> {
    let ends = Instant::now() + time_max;
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    for variable in MANAGER_VARIABLES {
        command.env_remove(variable);
    }
    let mut running = Running(command.spawn().map_err(CommandError::Start)?);
    let output = reader(running.0.stdout.take(), OUTPUT_BYTES_MAX + 1, false)?;
    let complaint = reader(running.0.stderr.take(), COMPLAINT_BYTES_MAX, true)?;
    let output = received(&output, ends)?;
    if output.len() as u64 > OUTPUT_BYTES_MAX {
        return Err(CommandError::TooMuch);
    }
    let complaint = received(&complaint, ends)?;
    let status = running.wait(ends)?;
    if status.success() {
        Ok(output)
    } else {
        let complaint = String::from_utf8_lossy(&complaint).into_owned();
        Err(CommandError::Failed { status, complaint })
    }
}

/// Reads `bytes_max` on a thread; what comes behind them is read as well where it `goes_on`.
fn reader(
    pipe: Option<impl Read + Send + 'static>,
    bytes_max: u64,
    goes_on: bool,
) -> Result<Receiver<io::Result<Vec<u8>>>, CommandError> {
    let (sender, receiver) = sync_channel(1);
    let read = move || {
        let Some(mut pipe) = pipe else { return };
        let mut kept = Vec::new();
        let mut result = (&mut pipe).take(bytes_max).read_to_end(&mut kept);
        if goes_on && result.is_ok() {
            result = io::copy(&mut pipe, &mut io::sink()).map(|_| 0);
        }
        // Nobody waits any more where the time is over.
        let _ = sender.send(result.map(|_| kept));
    };
    let named = std::thread::Builder::new().name("config-command".to_owned());
    named.spawn(read).map_err(CommandError::Start)?;
    Ok(receiver)
}

fn received(
    receiver: &Receiver<io::Result<Vec<u8>>>,
    ends: Instant,
) -> Result<Vec<u8>, CommandError> {
    match receiver.recv_timeout(ends.saturating_duration_since(Instant::now())) {
        Ok(read) => read.map_err(CommandError::Read),
        Err(RecvTimeoutError::Timeout) => Err(CommandError::TooSlow),
        Err(RecvTimeoutError::Disconnected) => {
            Err(CommandError::Read(io::ErrorKind::BrokenPipe.into()))
        }
    }
}

/// A program that ends with this value, and with it its group.
struct Running(Child);

// === impl Running ===

impl Running {
    fn wait(&mut self, ends: Instant) -> Result<ExitStatus, CommandError> {
        loop {
            if let Some(status) = self.0.try_wait().map_err(CommandError::Read)? {
                return Ok(status);
            }
            if Instant::now() > ends {
                return Err(CommandError::TooSlow);
            }
            #[expect(clippy::disallowed_methods, reason = "start-up: no reactor runs yet")]
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            let group = rustix::process::Pid::from_child(&self.0);
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            // It was killed, so this does not take long.
            let _ = self.0.wait();
        }
    }
}

/// TOML that says what the JSON says.
fn to_toml(output: &[u8]) -> Result<String, CommandError> {
    match serde_json::from_slice(output).map_err(CommandError::NoJson)? {
        Value::Object(object) => {
            let entries = renamed("", object).into_iter();
            let lines =
                entries.map(|(key, value)| format!("{} = {}\n", quoted(&key), toml(&value)));
            Ok(lines.collect())
        }
        Value::Null => Ok(String::new()),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(CommandError::NoObject)
        }
    }
}

/// An object below `path` with the names of the TOML file, and without nulls, which leave a value
/// as it is. Go does not tell case apart in names; the last of two counts.
fn renamed(path: &str, object: Map<String, Value>) -> Map<String, Value> {
    let entries = object.into_iter().filter(|(_, value)| !value.is_null());
    let entries = entries.map(|(key, value)| {
        let key = key.to_ascii_lowercase();
        let path = format!("{path}.{key}");
        let key = match path.as_str() {
            ".tls.cert_path" => "certificate_path".to_owned(),
            ".gitlab.http_settings" => "http-settings".to_owned(),
            _ => key,
        };
        (key, renamed_below(&path, value))
    });
    entries.collect()
}

fn renamed_below(path: &str, value: Value) -> Value {
    match value {
        Value::Object(below) => Value::Object(renamed(path, below)),
        Value::Array(items) => {
            let items = items.into_iter().filter(|item| !item.is_null());
            Value::Array(items.map(|item| renamed_below(path, item)).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

/// On one line, as TOML allows where tables stand in values.
fn toml(value: &Value) -> String {
    match value {
        // All were taken out.
        Value::Null => "\"\"".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", "))
        }
        Value::Object(object) => {
            let entries =
                object.iter().map(|(key, value)| format!("{} = {}", quoted(key), toml(value)));
            format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
    }
}

/// JSON's strings are TOML's, but for DEL.
fn quoted(text: &str) -> String {
    Value::from(text).to_string().replace('\x7f', "\\u007f")
}

#[cfg(test)]
mod tests;
