//! Stock git as a command, in a closed environment.
//!
//! Always true:
//! - Neither the user's nor the system's configuration is read; dates and names are fixed.
//! - A command that must succeed and does not ends the test with its output.
//!
//! Never here: which git serves; `Command`s built here are clients and tools.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Dates of everything that git writes here, unless a stream says otherwise.
const DATE: &str = "1700000000 +0000";

/// The stock git that tests use: `GITRING_STOCK_GIT`, else the one in `PATH`.
pub fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("GITRING_STOCK_GIT") {
        return PathBuf::from(path);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join("git"))
        .find(|candidate| candidate.is_file())
        .expect("git is in PATH")
}

/// A git command that runs in `folder` without any outside configuration.
pub fn command(folder: &Path) -> Command {
    let mut command = Command::new(program());
    close_environment(&mut command);
    command.current_dir(folder);
    command
}

/// Leaves `PATH` and `HOME=/nonexistent` only, and fixes names and dates.
pub fn close_environment(command: &mut Command) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.env_clear().env("PATH", path).env("HOME", "/nonexistent");
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C");
    for role in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{role}_NAME"), "A U Thor");
        command.env(format!("GIT_{role}_EMAIL"), "author@example.com");
        command.env(format!("GIT_{role}_DATE"), DATE);
    }
    // Temporary directories may belong to somebody else in containers.
    command.env("GIT_CONFIG_COUNT", "1");
    command.env("GIT_CONFIG_KEY_0", "safe.directory").env("GIT_CONFIG_VALUE_0", "*");
}

/// Runs git and returns what it printed, without the last line feed.
///
/// # Panics
/// If git fails; the message holds its output.
pub fn run<A: AsRef<OsStr>>(folder: &Path, arguments: &[A]) -> String {
    let output = try_run(folder, arguments);
    assert!(output.status.success(), "{}", describe(arguments, &output));
    String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned()
}

/// Runs git and returns how it ended.
pub fn try_run<A: AsRef<OsStr>>(folder: &Path, arguments: &[A]) -> Output {
    let output = command(folder).args(arguments).stdin(Stdio::null()).output();
    output.expect("git can be started")
}

/// Runs git with `input` on its standard input.
///
/// # Panics
/// If git fails; the message holds its output.
pub fn run_with<A: AsRef<OsStr>>(folder: &Path, arguments: &[A], input: &[u8]) -> String {
    let mut command = command(folder);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = feed(command, input);
    assert!(output.status.success(), "{}", describe(arguments, &output));
    String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned()
}

/// Runs a command whose three streams are pipes, writing while reading.
pub fn feed(mut command: Command, input: &[u8]) -> Output {
    let mut child = command.spawn().expect("the command can be started");
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    std::thread::scope(|scope| {
        // A command may end before it has read everything: a broken pipe is its answer.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().expect("the output can be read")
    })
}

/// A failed command and its output, for a panic message.
pub fn describe<A: AsRef<OsStr>>(arguments: &[A], output: &Output) -> String {
    let words: Vec<_> = arguments.iter().map(|word| word.as_ref().to_string_lossy()).collect();
    format!(
        "git {} ended with {}\nstdout: {}\nstderr: {}",
        words.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
