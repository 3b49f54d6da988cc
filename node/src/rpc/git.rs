//! The git that children run, and the environment that they run in.
//!
//! Always true: a child of the server sees nothing of the server's environment but `PATH`; a
//! child of `gitring-node upload-pack` sees what git itself would have been given.
//! Never here: starting children.

use super::wire::Call;
use std::ffi::OsString;
use std::path::PathBuf;

/// Which git, and what it may know.
#[derive(Debug)]
pub struct Git {
    /// Absolute.
    pub program: PathBuf,
    /// Where children get their configuration from.
    pub surroundings: Surroundings,
}

/// What stands around a child.
#[derive(Debug)]
pub enum Surroundings {
    /// Of the server: everything that git may know is said here.
    Closed {
        /// A file with [`super::defaults::file`]; given as the user's configuration, so that a
        /// repository's own wins over it.
        defaults_file: PathBuf,
        /// `[[git.config]]`: wins over everything.
        config: Vec<(String, String)>,
    },
    /// Of a drop-in for `git upload-pack`: the caller's variables, as they are.
    Inherited(Vec<(OsString, OsString)>),
}

/// Set for children: a `git` that leads back to us must not start another child, and so on.
pub const CHILD_MARK: &str = "GITRING_CHILD";

// === impl Git ===

impl Git {
    /// The environment of a child that serves `call`.
    pub fn environment(&self, call: &Call) -> Vec<(OsString, OsString)> {
        let version = format!("version={}", call.version.number());
        let mut environment = self.environment_under(&call.options);
        environment.push(("GIT_PROTOCOL".into(), version.into()));
        environment
    }

    /// The environment of a child that runs under the options of a request.
    pub fn environment_under(
        &self,
        options: &[(String, Option<String>)],
    ) -> Vec<(OsString, OsString)> {
        let mut environment = self.surroundings(self.settings(options));
        environment.push((CHILD_MARK.into(), "1".into()));
        environment
    }

    /// The environment of a child that serves no fetch.
    pub fn plain_environment(&self) -> Vec<(OsString, OsString)> {
        self.environment_under(&[])
    }

    /// What is set over the repository's own configuration: options of a request, and over these
    /// what the administrator fixed, as in Gitaly.
    pub fn settings(&self, options: &[(String, Option<String>)]) -> Vec<(String, Option<String>)> {
        let mut settings = options.to_vec();
        settings.extend(self.fixed());
        settings
    }

    fn fixed(&self) -> Vec<(String, Option<String>)> {
        match &self.surroundings {
            Surroundings::Closed { config, .. } => {
                config.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect()
            }
            Surroundings::Inherited(_) => Vec::new(),
        }
    }

    fn surroundings(&self, settings: Vec<(String, Option<String>)>) -> Vec<(OsString, OsString)> {
        match &self.surroundings {
            Surroundings::Inherited(variables) => {
                let mut environment = variables.clone();
                environment.retain(|(name, _)| name != "GIT_PROTOCOL");
                environment
            }
            Surroundings::Closed { defaults_file, .. } => {
                let mut environment: Vec<(OsString, OsString)> = vec![
                    ("LANG".into(), "C".into()),
                    ("LC_ALL".into(), "C".into()),
                    ("GIT_TERMINAL_PROMPT".into(), "0".into()),
                    ("GIT_CONFIG_NOSYSTEM".into(), "1".into()),
                    ("GIT_CONFIG_GLOBAL".into(), defaults_file.clone().into()),
                ];
                if let Some(path) = std::env::var_os("PATH") {
                    environment.push(("PATH".into(), path));
                }
                push_settings(&mut environment, settings);
                environment
            }
        }
    }
}

fn push_settings(
    environment: &mut Vec<(OsString, OsString)>,
    settings: Vec<(String, Option<String>)>,
) {
    environment.push(("GIT_CONFIG_COUNT".into(), settings.len().to_string().into()));
    for (index, (key, value)) in settings.into_iter().enumerate() {
        // A key without a value is `true` to git; an environment variable has one always.
        let value = value.unwrap_or_else(|| "true".to_owned());
        environment.push((format!("GIT_CONFIG_KEY_{index}").into(), key.into()));
        environment.push((format!("GIT_CONFIG_VALUE_{index}").into(), value.into()));
    }
}
