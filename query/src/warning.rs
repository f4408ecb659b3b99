//! What makes an answer less than complete, or worth a second look. Warnings travel with the answer; when partial
//! answers are refused, the first of them is the error.

use std::fmt;
use std::time::Duration;

/// A reason why an answer may lack data.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Warning {
    /// Nothing is configured or discovered.
    NoEndpoints,
    /// A place that lists endpoints does not answer, so that some may be unknown.
    Discovery {
        /// Coordinator or DNS name.
        source: String,
        /// Why.
        reason: String,
    },
    /// An expected endpoint has not answered yet.
    NotChecked {
        /// Which.
        endpoint: String,
    },
    /// An expected endpoint is unhealthy.
    Down {
        /// Which.
        endpoint: String,
        /// What its last check said.
        reason: String,
    },
    /// A request to an endpoint failed, at once or after some data.
    Failed {
        /// Which.
        endpoint: String,
        /// Why.
        reason: String,
    },
    /// An endpoint sent nothing for too long.
    Silent {
        /// Which.
        endpoint: String,
        /// How long.
        after: Duration,
    },
    /// An endpoint sent series in the wrong order; what follows cannot be merged.
    OutOfOrder {
        /// Which.
        endpoint: String,
    },
    /// A warning that an endpoint sent.
    FromEndpoint {
        /// Which.
        endpoint: String,
        /// Its words.
        text: String,
    },
    /// Chunks that cannot be decoded.
    Chunk {
        /// What is wrong with them.
        reason: String,
    },
    /// A `limit` cut the answer.
    Truncated,
}

impl Warning {
    /// Whether it means that data is missing: then it is an error when partial answers are refused.
    #[must_use]
    pub fn is_incomplete(&self) -> bool {
        !matches!(self, Self::Truncated)
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEndpoints => f.write_str("no endpoint is known: the answer is empty"),
            Self::Discovery { source, reason } => {
                write!(f, "endpoints of {source} may be missing: {reason}")
            }
            Self::NotChecked { endpoint } => {
                write!(f, "data of {endpoint} is missing: not checked yet")
            }
            Self::Down { endpoint, reason } => {
                write!(f, "data of {endpoint} is missing: unhealthy: {reason}")
            }
            Self::Failed { endpoint, reason } => {
                write!(f, "data of {endpoint} is incomplete: {reason}")
            }
            Self::Silent { endpoint, after } => {
                write!(f, "data of {endpoint} is incomplete: no answer within {after:?}")
            }
            Self::OutOfOrder { endpoint } => {
                write!(f, "data of {endpoint} is incomplete: its series are not in order")
            }
            Self::FromEndpoint { endpoint, text } => write!(f, "{endpoint}: {text}"),
            Self::Chunk { reason } => write!(f, "some samples are left out: {reason}"),
            Self::Truncated => f.write_str("results truncated due to limit"),
        }
    }
}

/// Most warnings kept for one answer.
const MOST: usize = 100;

/// Warnings of one answer, each once.
#[derive(Debug, Clone, Default)]
pub struct Warnings {
    list: Vec<Warning>,
}

impl Warnings {
    /// Adds one, unless it is there or there are too many.
    pub fn push(&mut self, warning: Warning) {
        if self.list.len() < MOST && !self.list.contains(&warning) {
            self.list.push(warning);
        }
    }

    /// Adds all.
    pub fn extend(&mut self, warnings: impl IntoIterator<Item = Warning>) {
        warnings.into_iter().for_each(|warning| self.push(warning));
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The same for equal answers: threads find broken chunks in any order, so that these come last and by text.
    #[must_use]
    pub fn in_order(mut self) -> Self {
        self.list.sort_by_cached_key(|warning| match warning {
            Warning::Chunk { reason } => Some(reason.clone()),
            _ => None,
        });
        self
    }

    /// As texts, in order of arrival.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        self.list.iter().map(ToString::to_string).collect()
    }
}

impl IntoIterator for Warnings {
    type Item = Warning;
    type IntoIter = std::vec::IntoIter<Warning>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_threads_found_comes_last_and_in_order_of_text() {
        let chunk = |reason: &str| Warning::Chunk { reason: reason.to_owned() };
        let mut warnings = Warnings::default();
        warnings.extend([chunk("z"), Warning::Truncated, chunk("a"), Warning::NoEndpoints]);
        let expected = [Warning::Truncated, Warning::NoEndpoints, chunk("a"), chunk("z")];
        assert_eq!(warnings.in_order().list, expected);
    }
}
