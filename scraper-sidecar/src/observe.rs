//! What the shard has really scraped since it was given its targets. Pure: each look at Prometheus makes new scores from
//! the last ones.
//!
//! A scrape counts when its start time is later than all seen before and than the moment the target was given to this
//! shard. Looks are about a second apart, so a target that is scraped more often is under-counted, never over-counted.
//! After a restart of Prometheus, or of this sidecar, a target has to prove itself anew.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use model::Labels;

use promconf::shard_file::OWN_PARAM_PREFIX;
use promconf::target::PARAM_PREFIX;

use crate::assignment::Target;
use crate::churn::{Added, Churn, Stretch};
use crate::prometheus::{ActiveTarget, Health, Samples, Size};

/// What is known about one target.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Score {
    /// Of which stay of the target this is; see [`Target::given_ms`].
    pub(crate) given_ms: i64,
    pub(crate) health: Health,
    pub(crate) last_error: String,
    pub(crate) last_scrape: Option<Timestamp>,
    pub(crate) last_scrape_duration_seconds: f64,
    /// Since the target was given.
    pub(crate) scrapes: u64,
    /// Successful ones in a row, up to the last.
    pub(crate) good_scrapes: u64,
    /// Of the last successful scrape that could be told apart from other targets'.
    pub(crate) size: Size,
    /// The last scrape under the labels, and at the URL, that it has now.
    pub(crate) labelled: Option<Timestamp>,
    pub(crate) churn: Churn,
}

impl Score {
    pub(crate) fn new(given_ms: i64) -> Self {
        Self {
            given_ms,
            health: Health::Unknown,
            last_error: String::new(),
            last_scrape: None,
            last_scrape_duration_seconds: 0.0,
            scrapes: 0,
            good_scrapes: 0,
            size: Size::default(),
            labelled: None,
            churn: Churn::default(),
        }
    }
}

/// Of all targets, by id, with the start time of the Prometheus process that they are about, and when that has read its
/// configuration.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Scores {
    pub(crate) by_target: HashMap<u64, Score>,
    process_start: Option<f64>,
    loaded: Option<f64>,
}

/// One look at Prometheus.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// Start of the process in seconds since the epoch, where it was told.
    pub(crate) process_start: Option<f64>,
    /// When it has read its configuration last, in seconds since the epoch, where it was told.
    pub(crate) loaded: Option<f64>,
    pub(crate) targets: Vec<ActiveTarget>,
    /// `None` when the query failed: sizes stay.
    pub(crate) samples: Option<Samples>,
    /// What scrapes have added in a stretch of time, by public labels, where that was asked for; none: nothing.
    pub(crate) added: Option<(Stretch, HashMap<Labels, Added>)>,
}

/// One of Prometheus' loops, with what is known by its public labels.
struct Loop {
    size: Option<Size>,
    /// `None`: it cannot be told apart from another one.
    added: Option<Added>,
    active: ActiveTarget,
}

impl Scores {
    /// The scores after a look. Targets that are not assigned (any more) are forgotten.
    pub(crate) fn after(&self, assigned: &[Target], look: Look) -> Self {
        let process_start = look.process_start.or(self.process_start);
        let restarted = self.process_start.is_some() && self.process_start != process_start;
        let loaded = look.loaded.or(self.loaded);
        let anew = restarted || self.loaded.is_some() && self.loaded != loaded;
        let shared = labels_of_several(&look.targets);
        let samples = look.samples.unwrap_or_default();
        let (stretch, added) = look.added.unzip();
        let added = added.unwrap_or_default();
        let mut seen: HashMap<u64, Vec<Loop>> = HashMap::new();
        for active in look.targets {
            let alone = Some(&active.public).filter(|public| !shared.contains(public));
            let size = alone.and_then(|public| samples.get(public).copied());
            let added = alone.map(|public| added.get(public).copied().unwrap_or_default());
            seen.entry(active.id).or_default().push(Loop { size, added, active });
        }
        let by_target = assigned
            .iter()
            .map(|target| {
                let mut score = self.of(target);
                if restarted {
                    score.good_scrapes = 0;
                }
                match seen.remove(&target.id).and_then(|all| current(target, all)) {
                    Some(Loop { size, added, active }) => {
                        if is_labelled(target, &active) {
                            score.labelled = active.last_scrape;
                        }
                        score.churn.see(&active, anew);
                        score.look_at(active, size);
                        if let Some((stretch, added)) = stretch.zip(added) {
                            score.churn.take(stretch, added, score.size.post_relabel);
                        }
                    }
                    None => score.not_there(),
                }
                (target.id, score)
            })
            .collect();
        Self { by_target, process_start, loaded }
    }

    /// The score of an assigned target; a fresh one when what is known is about an earlier stay.
    pub(crate) fn of(&self, target: &Target) -> Score {
        let known = self.by_target.get(&target.id);
        known.filter(|score| score.given_ms == target.given_ms).cloned().unwrap_or_else(|| Score {
            churn: Churn::told(target.churn_per_hour),
            ..Score::new(target.given_ms)
        })
    }
}

/// Of loops with one id the one that counts: under the labels that the target has now, where its labels have changed.
fn current(target: &Target, all: Vec<Loop>) -> Option<Loop> {
    all.into_iter().max_by_key(|candidate| is_labelled(target, &candidate.active))
}

/// Whether a loop scrapes a target as it is to be scraped now: under its labels, and at its URL.
fn is_labelled(target: &Target, active: &ActiveTarget) -> bool {
    let is_own_param = |name: &str| name.starts_with(OWN_PARAM_PREFIX);
    let mut params = 0;
    let (hidden, public): (Vec<_>, Vec<_>) =
        target.labels.iter().partition(|(name, _)| name.starts_with("__"));
    let is_written =
        hidden.into_iter().all(|(name, value)| match name.strip_prefix(PARAM_PREFIX) {
            Some(param) => {
                params += 1;
                active.hidden.get(&format!("{OWN_PARAM_PREFIX}{param}")) == Some(value)
            }
            None => active.hidden.get(name) == Some(value),
        });
    is_written
        && public.into_iter().eq(active.public.iter())
        && active.hidden.iter().filter(|(name, _)| is_own_param(name)).count() == params
}

/// Public labels that more than one target has: their series overwrite each other, so no size can be told.
fn labels_of_several(targets: &[ActiveTarget]) -> HashSet<Labels> {
    let mut once = HashSet::with_capacity(targets.len());
    targets
        .iter()
        .filter(|target| !once.insert(&target.public))
        .map(|target| target.public.clone())
        .collect()
}

impl Score {
    fn look_at(&mut self, active: ActiveTarget, size: Option<Size>) {
        let ActiveTarget { health, last_error, last_scrape, last_scrape_duration_seconds, .. } =
            active;
        let counts = |time: &Timestamp| {
            time.as_millisecond() >= self.given_ms
                && self.last_scrape.is_none_or(|last| *time > last)
        };
        if last_scrape.as_ref().is_some_and(counts) {
            self.scrapes += 1;
            self.good_scrapes += 1;
        }
        if health != Health::Up || last_scrape.is_none() {
            self.good_scrapes = 0;
        }
        if let Some(size) = size.filter(|_| health == Health::Up) {
            self.size = size;
        }
        self.health = health;
        self.last_error = last_error;
        self.last_scrape = last_scrape.or(self.last_scrape);
        self.last_scrape_duration_seconds = last_scrape_duration_seconds;
    }

    /// Prometheus has not taken it up yet, or has lost it.
    fn not_there(&mut self) {
        self.health = Health::Unknown;
        self.last_error.clear();
        self.good_scrapes = 0;
        self.churn.not_there();
    }
}

#[cfg(test)]
mod tests;
