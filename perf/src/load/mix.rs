//! How often each kind of request is made.
//!
//! Always true: a mix has at least one kind, and no kind twice.
//!
//! Never here: when a request is made.

use std::str::FromStr;

use gitring_tests::random::Random;

use super::kind::{Kind, UnknownKind};

/// Of one weight: their sum stays a small number.
const WEIGHT_MAX: u32 = 1_000_000;

/// Kinds with their weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mix {
    /// Each kind with the sum of the weights up to and with its own.
    ends: Vec<(Kind, u32)>,
}

/// Why a text is no mix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MixError {
    /// It names a kind that does not exist.
    #[error(transparent)]
    Kind(#[from] UnknownKind),
    /// A part without `=`.
    #[error("'{0}' is not NAME=WEIGHT")]
    NoWeight(String),
    /// No number, or too great a one.
    #[error("'{0}' has no weight between 0 and {WEIGHT_MAX}")]
    Weight(String),
    /// A kind stands there twice.
    #[error("{0} stands there twice")]
    Twice(Kind),
    /// Nothing would be asked for.
    #[error("every weight is 0")]
    Nothing,
}

// === impl Mix ===

impl Mix {
    /// One kind and no other.
    pub fn only(kind: Kind) -> Self {
        Self { ends: vec![(kind, 1)] }
    }

    /// The kinds that will be asked for.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> {
        self.ends.iter().map(|(kind, _)| *kind)
    }

    /// Whether some kind needs a connection with a mux.
    pub fn has_sidechannels(&self) -> bool {
        self.kinds().any(Kind::has_sidechannel)
    }

    /// The next kind.
    pub fn choose(&self, random: &mut Random) -> Kind {
        let (last, total) = self.ends[self.ends.len() - 1];
        let at = random.below(total as usize);
        let found = self.ends.iter().find(|(_, end)| at < *end as usize);
        found.map_or(last, |(kind, _)| *kind)
    }
}

impl FromStr for Mix {
    type Err = MixError;

    /// Reads `NAME=WEIGHT,…`. A weight of 0 leaves a kind out.
    fn from_str(text: &str) -> Result<Self, MixError> {
        let mut ends: Vec<(Kind, u32)> = Vec::new();
        let mut total = 0;
        for part in text.split(',') {
            let (name, weight) =
                part.split_once('=').ok_or_else(|| MixError::NoWeight(part.to_owned()))?;
            let kind: Kind = name.parse()?;
            let weight = weight.parse().ok().filter(|weight| *weight <= WEIGHT_MAX);
            let weight: u32 = weight.ok_or_else(|| MixError::Weight(part.to_owned()))?;
            if ends.iter().any(|(known, _)| *known == kind) {
                return Err(MixError::Twice(kind));
            }
            if weight > 0 {
                total += weight;
                ends.push((kind, total));
            }
        }
        if ends.is_empty() { Err(MixError::Nothing) } else { Ok(Self { ends }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&[(Kind, u32)], &str>) {
        let mix: Result<Mix, _> = text.parse();
        let found = mix.as_ref().map(|mix| &mix.ends[..]).map_err(ToString::to_string);
        assert_eq!(found, expected.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn mixes_and_what_is_none() {
        check("clone=1", Ok(&[(Kind::Clone, 1)]));
        check("clone=1,fetch=30", Ok(&[(Kind::Clone, 1), (Kind::Fetch, 31)]));
        check("clone=0,ls-refs=2", Ok(&[(Kind::LsRefs, 2)]));
        check("clone=0", Err("every weight is 0"));
        check("clone", Err("'clone' is not NAME=WEIGHT"));
        check("", Err("'' is not NAME=WEIGHT"));
        check("clone=1,", Err("'' is not NAME=WEIGHT"));
        check("clone=-1", Err("'clone=-1' has no weight between 0 and 1000000"));
        check("clone=1000001", Err("'clone=1000001' has no weight between 0 and 1000000"));
        check("fetch=1,fetch=0,fetch=2", Err("fetch stands there twice"));
        check("push=1", Err(&UnknownKind("push".to_owned()).to_string()));
        for kind in Kind::ALL {
            check(&format!("{kind}=7"), Ok(&[(kind, 7)]));
        }
    }

    #[test]
    fn kinds_come_as_often_as_their_weights_say() {
        let mix: Mix = "clone=1,fetch=9,ls-refs=90".parse().unwrap();
        let mut random = Random::new(1);
        let chosen: Vec<Kind> = (0..10_000).map(|_| mix.choose(&mut random)).collect();
        for (kind, expected) in [(Kind::Clone, 100), (Kind::Fetch, 900), (Kind::LsRefs, 9_000)] {
            let count = chosen.iter().filter(|chosen| **chosen == kind).count();
            assert!(count.abs_diff(expected) < expected / 3, "{kind}: {count}");
        }
    }
}
