//! `demo measure FILE COMMAND...`: a stock server between pipes that are counted.
//!
//! Always true: the command's input, output and exit code pass through unchanged; one line
//! `<bytes> <cpu ms>` is added to FILE when it has ended.
//!
//! Never here: the node. Its bytes and CPU time are read from outside.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

/// A clock tick of `/proc/<pid>/stat` in milliseconds (USER_HZ is 100 on Linux).
const TICK_MS: u64 = 10;

/// Runs the command and writes its line.
pub(crate) fn run(file: &Path, command: &[OsString]) -> ExitCode {
    match serve(file, command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("demo measure: {error}");
            ExitCode::FAILURE
        }
    }
}

/// User and system time of a process and of its reaped children, in milliseconds; 0 if it is gone.
pub(crate) fn cpu_ms(pid: &str) -> u64 {
    // proc(5): utime, stime, cutime, cstime are fields 14 to 17; the name may hold blanks.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    fields.skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>() * TICK_MS
}

fn serve(file: &Path, command: &[OsString]) -> io::Result<ExitCode> {
    let (program, arguments) =
        command.split_first().ok_or_else(|| io::Error::other("no command given"))?;
    let mut child = Command::new(program).args(arguments).stdout(Stdio::piped()).spawn()?;
    let own_before = cpu_ms("self");
    let bytes = child.stdout.take().map_or(Ok(0), |mut stdout| pass_on(&mut stdout))?;
    let own = cpu_ms("self") - own_before;
    let status = child.wait()?;
    // What remains behind our own share of copying is the child's, reaped just now.
    let cpu = cpu_ms("self").saturating_sub(own_before + own);
    let line = format!("{bytes} {cpu}\n");
    OpenOptions::new().append(true).create(true).open(file)?.write_all(line.as_bytes())?;
    Ok(ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)))
}

fn pass_on(from: &mut impl Read) -> io::Result<u64> {
    let mut to = io::stdout().lock();
    let (mut buffer, mut total) = (vec![0; 128 * 1024], 0);
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok(total);
        }
        to.write_all(&buffer[..read])?;
        // A client waits for every answer: nothing may stay behind in our buffer.
        to.flush()?;
        total += read as u64;
    }
}
