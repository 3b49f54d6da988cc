//! Loading: configuration files in git's order, their includes, and what they depend on.
//!
//! Always true: every file that was read, or would have been had it existed, is in `depends_on`
//! with a stamp taken before it was read.
//! Never: more than `INCLUDES_MAX` files or files over `FILE_BYTES_MAX`.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use bstr::BString;

pub(crate) use super::condition::expand;
use super::condition::{self, Place, Verdict};
use super::environment::normalise_key;
use super::{Config, ConfigError, Entry, parse};
use crate::stamp::Stamp;

/// `MAX_INCLUDE_DEPTH` of git.
const INCLUDE_DEPTH_MAX: usize = 10;
/// Ten levels that include each other several times would otherwise not end.
const INCLUDES_MAX: usize = 1_000;
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Where settings come from, lowest precedence first.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sources<'a> {
    pub(crate) defaults: &'a [(String, String)],
    /// System and global files; one that may not be read counts as absent.
    pub(crate) files: &'a [PathBuf],
    /// `config` of the repository, and `config.worktree` where that is enabled.
    pub(crate) repository: &'a [PathBuf],
    pub(crate) overrides: &'a [(String, Option<String>)],
    /// For `gitdir:` conditions.
    pub(crate) git_dir: Option<&'a Path>,
    pub(crate) home: Option<&'a Path>,
}

/// What [`load`] found.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    pub(crate) depends_on: Vec<(PathBuf, Stamp)>,
    /// A conditional include was left out because its condition is not evaluated here.
    pub(crate) unevaluated_include: bool,
}

/// Reads all sources.
pub(crate) fn load(sources: &Sources<'_>) -> Result<Loaded, ConfigError> {
    let mut loader =
        Loader { sources, entries: Vec::new(), depends_on: Vec::new(), unevaluated_include: false };
    for (key, value) in sources.defaults {
        loader.setting(normalise_key(key)?.into(), Some(value.as_str().into()), None, 0)?;
    }
    for path in sources.files {
        loader.file(path, 0, true)?;
    }
    let own_from = loader.entries.len();
    for path in sources.repository {
        loader.file(path, 0, false)?;
    }
    let own = own_from..loader.entries.len();
    for (key, value) in sources.overrides {
        let value = value.as_deref().map(BString::from);
        loader.setting(normalise_key(key)?.into(), value, None, 0)?;
    }
    Ok(Loaded {
        config: Config::with_own(loader.entries, own),
        depends_on: loader.depends_on,
        unevaluated_include: loader.unevaluated_include,
    })
}

/// The settings of one file without its includes; none if there is no such file.
pub(crate) fn read_file(path: &Path) -> Result<Option<Vec<Entry>>, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.to_path_buf(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
    };
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(ConfigError::TooLarge { path: path.to_path_buf() });
    }
    let entries = parse::parse(&text);
    let entries =
        entries.map_err(|bad| ConfigError::Syntax { path: path.to_path_buf(), line: bad.0 })?;
    Ok(Some(entries))
}

struct Loader<'a> {
    sources: &'a Sources<'a>,
    entries: Vec<Entry>,
    depends_on: Vec<(PathBuf, Stamp)>,
    unevaluated_include: bool,
}

// === impl Loader ===

impl Loader<'_> {
    fn file(
        &mut self,
        path: &Path,
        depth: usize,
        may_be_forbidden: bool,
    ) -> Result<(), ConfigError> {
        if self.depends_on.len() >= INCLUDES_MAX {
            return Err(ConfigError::TooLarge { path: path.to_path_buf() });
        }
        // A path that cannot be stated gets a stamp that it will never have again.
        let stamp = Stamp::of(path).unwrap_or(Stamp::absent());
        self.depends_on.push((path.to_path_buf(), stamp));
        let entries = match read_file(path) {
            Ok(entries) => entries.unwrap_or_default(),
            Err(ConfigError::Read { source, .. })
                if may_be_forbidden && source.kind() == ErrorKind::PermissionDenied =>
            {
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        for Entry { key, value } in entries {
            self.setting(key, value, Some(path), depth)?;
        }
        Ok(())
    }

    fn setting(
        &mut self,
        key: BString,
        value: Option<BString>,
        file: Option<&Path>,
        depth: usize,
    ) -> Result<(), ConfigError> {
        let include = self.included(&key, value.as_ref(), file)?;
        self.entries.push(Entry { key, value });
        let Some(path) = include else { return Ok(()) };
        if depth >= INCLUDE_DEPTH_MAX && path.exists() {
            return Err(refused(file, "exceeded maximum include depth (10)".to_owned()));
        }
        self.file(&path, depth + 1, false)
    }

    /// The file that a setting includes, if it is an include whose condition holds.
    fn included(
        &mut self,
        key: &BString,
        value: Option<&BString>,
        file: Option<&Path>,
    ) -> Result<Option<PathBuf>, ConfigError> {
        if key != "include.path" {
            let condition = key.strip_prefix(b"includeif.");
            let Some(condition) = condition.and_then(|rest| rest.strip_suffix(b".path")) else {
                return Ok(None);
            };
            let place = Place { git_dir: self.sources.git_dir, home: self.sources.home, file };
            match condition::evaluate(condition, &place) {
                Verdict::Holds => {}
                Verdict::Fails => return Ok(None),
                Verdict::Unknown => {
                    self.unevaluated_include = true;
                    return Ok(None);
                }
            }
        }
        let Some(value) = value else {
            return Err(refused(file, "missing value for 'include.path'".to_owned()));
        };
        if value.starts_with(b"%(prefix)/")
            || (value.starts_with(b"~") && !value.starts_with(b"~/"))
        {
            self.unevaluated_include = true;
            return Ok(None);
        }
        let Some(path) = condition::expand(value, self.sources.home) else {
            return Err(refused(file, format!("could not expand include path '{value}'")));
        };
        if path.is_absolute() {
            return Ok(Some(path));
        }
        let Some(parent) = file.and_then(Path::parent) else {
            return Err(refused(None, "relative config includes must come from files".to_owned()));
        };
        Ok(Some(parent.join(path)))
    }
}

fn refused(file: Option<&Path>, reason: String) -> ConfigError {
    ConfigError::Include { path: file.map(Path::to_path_buf).unwrap_or_default(), reason }
}
