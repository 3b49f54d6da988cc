//! `[upstream]`: the Gitaly that answers what is not built.
//!
//! Always true: an address that is plainly the node's own is refused.

use super::secret_file::{self, Rule};
use crate::rpc::gitaly::UpstreamTarget;
use arc_swap::ArcSwap;
use gitring_daemon::client::Address;
use gitring_daemon::relay::Target;
use gitring_daemon::settings::{Section, SettingsError};
use gitring_proto::token::Secret;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

/// The upstream, if there is one; the node itself listens at `listen_addr` and `socket_path`.
pub(super) fn read(
    root: &Section<'_>,
    listen_addr: Option<SocketAddr>,
    socket_path: Option<&Path>,
    remarks: &mut Vec<String>,
) -> Result<Option<UpstreamTarget>, SettingsError> {
    let Some(section) = root.section("upstream")? else { return Ok(None) };
    let parse = |text: &str| text.parse().map_err(|error| format!("{error}"));
    let Some(address) = section.parsed::<Address>("address", parse)? else {
        return Err(section.error("address", "is missing, required: tcp://host:port or unix:/path"));
    };
    if is_own(&address, listen_addr, socket_path) {
        return Err(section.error("address", "is this node's own, allowed: another Gitaly's"));
    }
    let secret = Secret::new(&token(&section, remarks)?);
    Ok(Some(Arc::new(ArcSwap::from_pointee(Target { address, secret }))))
}

fn token(section: &Section<'_>, remarks: &mut Vec<String>) -> Result<Vec<u8>, SettingsError> {
    let inline = section.string("token")?.filter(|token| !token.is_empty());
    match (inline, section.string("token_file")?.filter(|file| !file.is_empty())) {
        (Some(_), Some(_)) => {
            Err(section.error("token", "is set, and so is token_file, allowed: one of them"))
        }
        (Some(token), None) => Ok(token.as_bytes().to_vec()),
        (None, None) => Ok(Vec::new()),
        (None, Some(file)) => {
            let file = Path::new(file);
            secret_file::check((section, "token_file"), file, Rule::Refuse, remarks)?;
            secret_file::read((section, "token_file"), file)
        }
    }
}

fn is_own(address: &Address, listen_addr: Option<SocketAddr>, socket_path: Option<&Path>) -> bool {
    if let Address::Unix(path) = address {
        return socket_path == Some(path);
    }
    let (Address::Tcp { host, port }, Some(own)) = (address, listen_addr) else { return false };
    let ip = match host.as_str() {
        "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        host => host.parse().ok(),
    };
    let everywhere = own.ip().is_unspecified();
    *port == own.port() && ip.is_some_and(|ip| ip == own.ip() || everywhere && ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gitring_daemon::settings::Document;
    use std::io::Write;

    fn check(text: &str, expected: Result<&str, &str>) {
        let whole = format!("[upstream]\n{text}");
        let document = Document::parse(Path::new("c.toml"), &whole).unwrap();
        let own = "0.0.0.0:8075".parse().ok();
        let found = read(&document.root(), own, Some(Path::new("/run/own.sock")), &mut Vec::new());
        let found = found.map(|target| target.unwrap().load().to_string());
        let found = found.map_err(|error| error.to_string());
        assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned), "{text}");
    }

    #[test]
    fn upstreams() {
        check("address = 'unix:/run/g.sock'", Ok("unix:/run/g.sock"));
        check("address = 'tcp://g:8075'\ntoken = 'a'", Ok("tcp://g:8075"));
        check("address = 'tcp://127.0.0.1:9999'", Ok("tcp://127.0.0.1:9999"));
        let own = Err("c.toml:2: upstream.address: is this node's own, allowed: another Gitaly's");
        check("address = 'unix:///run/own.sock'", own);
        check("address = 'tcp://localhost:8075'", own);
        check("address = 'tcp://127.0.0.1:8075'", own);
        let missing = "c.toml:1: upstream.address: is missing, required: tcp://host:port or \
                       unix:/path";
        check("", Err(missing));
        let both = "c.toml:3: upstream.token: is set, and so is token_file, allowed: one of them";
        check("address = 'unix:/g'\ntoken = 'a'\ntoken_file = '/b'", Err(both));
    }

    #[test]
    fn tokens_of_files() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let text = format!("address = 'unix:/g'\ntoken_file = '{}'", file.path().display());
        let empty = format!("c.toml:3: upstream.token_file: {} is empty", file.path().display());
        check(&text, Err(&empty));
        writeln!(file, "secret").unwrap();
        check(&text, Ok("unix:/g"));
    }
}
