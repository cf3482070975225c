//! Which connectors an operator means.

use crate::id::{PoolName, SiteName, ThingName};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Which connectors are meant: `all`, `pool=NAME`, `site=NAME` or `name=NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Selector {
    /// Every registered connector.
    All,
    /// The members of a pool.
    Pool(PoolName),
    /// The members of a site.
    Site(SiteName),
    /// One connector.
    Name(ThingName),
}

/// Why a text is not a [`Selector`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("selector {text:?} is not usable: {problem}; use all, pool=NAME, site=NAME or name=NAME")]
pub struct SelectorError {
    /// The text as given.
    pub text: String,
    /// What is wrong with it.
    pub problem: String,
}

impl std::str::FromStr for Selector {
    type Err = SelectorError;
    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let bad = |problem: String| SelectorError { text: text.to_owned(), problem };
        if text == "all" {
            return Ok(Self::All);
        }
        let (key, value) = text.split_once('=').ok_or_else(|| bad("it has no =".into()))?;
        match key {
            "pool" => PoolName::new(value).map(Self::Pool).map_err(|e| bad(e.to_string())),
            "site" => SiteName::new(value).map(Self::Site).map_err(|e| bad(e.to_string())),
            "name" => ThingName::new(value).map(Self::Name).map_err(|e| bad(e.to_string())),
            other => Err(bad(format!("nothing is called {other:?}"))),
        }
    }
}

impl TryFrom<String> for Selector {
    type Error = SelectorError;
    fn try_from(text: String) -> Result<Self, SelectorError> {
        text.parse()
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Pool(pool) => write!(f, "pool={pool}"),
            Self::Site(site) => write!(f, "site={site}"),
            Self::Name(name) => write!(f, "name={name}"),
        }
    }
}

impl From<Selector> for String {
    fn from(selector: Selector) -> String {
        selector.to_string()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn selectors_round_trip_and_refuse_the_rest() {
        for text in ["all", "pool=blue", "site=x", "name=h-1"] {
            assert_eq!(text.parse::<Selector>().map(|s| s.to_string()), Ok(text.to_owned()));
        }
        let message = "pol=x".parse::<Selector>().map_err(|e| e.to_string()).unwrap_err();
        assert_eq!(
            message,
            "selector \"pol=x\" is not usable: nothing is called \"pol\"; use all, pool=NAME, site=NAME or name=NAME"
        );
        assert!("pool=".parse::<Selector>().is_err());
    }
}
