//! `gitring-node top`: the status page of a running node, in a terminal.
//!
//! Always true: nothing that a client has chosen, a repository's name for example, can steer the
//! terminal.
//! Never here: figures of its own; everything is read from `/status.json`.

mod fetch;
mod view;

use clap::Args;
use gitring_node::config::Config;
use std::io::{IsTerminal, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// Of what is no terminal.
const COLUMNS_DEFAULT: usize = 120;

/// What to look at, and how.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// HOST:PORT of the node's prometheus_listen_addr, or its configuration file
    #[arg(default_value = "127.0.0.1:9236")]
    node: String,
    /// Print one picture and end
    #[arg(long)]
    once: bool,
    /// Print what the node says, one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Looks every second until it is interrupted; the exit status.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let address = match address(&arguments.node) {
        Ok(address) => address,
        Err(error) => {
            eprintln!("gitring-node: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut out = std::io::stdout();
    let is_terminal = out.is_terminal() && !arguments.json;
    loop {
        let picture = match fetch::status(address) {
            Ok(status) if arguments.json => format!("{status}\n"),
            Ok(status) => view::picture(&status, columns()),
            Err(error) if arguments.once || !is_terminal => {
                eprintln!("gitring-node: {address}: {error}");
                return ExitCode::FAILURE;
            }
            // It may be restarting.
            Err(error) => format!("{address}: {error}\n"),
        };
        let picture = if is_terminal && !arguments.once { redrawn(&picture) } else { picture };
        if out.write_all(picture.as_bytes()).and_then(|()| out.flush()).is_err() {
            // Nobody reads any more.
            return ExitCode::SUCCESS;
        }
        if arguments.once {
            return ExitCode::SUCCESS;
        }
        pause();
    }
}

#[expect(clippy::disallowed_methods, reason = "a program of its own, without reactors")]
fn pause() {
    std::thread::sleep(INTERVAL);
}

#[expect(clippy::disallowed_methods, reason = "a program of its own, without reactors")]
fn address(node: &str) -> Result<SocketAddr, String> {
    if Path::new(node).is_file() {
        let config = Config::load(Path::new(node));
        let config = config.map_err(|error| gitring_daemon::log::chain(&error))?;
        let address = config.prometheus_listen_addr;
        return address.ok_or_else(|| format!("{node}: prometheus_listen_addr is not set"));
    }
    let mut found = node.to_socket_addrs().map_err(|error| {
        format!("'{node}' is neither host:port nor a configuration file: {error}")
    })?;
    found.next().ok_or_else(|| format!("'{node}' has no address"))
}

fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stdout());
    let columns = size.map_or(0, |size| usize::from(size.ws_col));
    if columns == 0 { COLUMNS_DEFAULT } else { columns }
}

/// Over the last picture, without a moment of an empty screen (ECMA-48: CUP, EL, ED).
fn redrawn(picture: &str) -> String {
    format!("\x1b[H{}\x1b[J", picture.replace('\n', "\x1b[K\n"))
}
