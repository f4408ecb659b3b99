//! What a shard says that it holds, and what it is told to hold, as it is kept: labels are shared between one report and
//! the next, and with what discovery has found. A million targets as they come over the wire would take gigabytes.

use std::ops::Deref;
use std::sync::Arc;

use model::Labels;
use proto::convert::{labels_from_coordination, labels_to_coordination};
use proto::coordination::target_report::Health;
use proto::coordination::{
    Engine, LastError, ReportResponse, StopScrape, Target, TargetColumns, TargetReport, TargetState,
};
use proto::push;

use crate::churn::PerHour;

/// A report of a shard; see [`ReportResponse`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    pub(crate) epoch: u64,
    pub(crate) version: u64,
    pub(crate) config_hash: String,
    /// Ascending by id. Shared with the report before, or with the push that the shard has taken since, where these have
    /// the same.
    pub(crate) targets: Arc<[Told]>,
    /// How the scrapes of each go, in the same order.
    pub(super) scores: Vec<Score>,
    /// Of the targets; see [`push::digest`].
    pub(crate) digest: u64,
    pub(crate) engine: Option<Engine>,
    pub(crate) protocol: u32,
    pub(crate) stop: Option<StopScrape>,
}

/// A target that a shard holds, and how its scrapes go there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held<'a> {
    pub(crate) target: &'a Told,
    score: &'a Score,
}

/// How the scrapes of a target go; see [`TargetReport`].
#[derive(Debug, Clone)]
pub(crate) struct Score {
    pub(crate) health: Health,
    /// `None`: there is none.
    pub(crate) last_error: Option<Arc<str>>,
    pub(crate) last_scrape_ms: i64,
    pub(crate) last_scrape_duration_seconds: f64,
    pub(crate) scrapes: u64,
    pub(crate) good_scrapes: u64,
    pub(crate) samples_post_relabel: u64,
    pub(crate) churn: PerHour,
}

/// A target as a shard is told to hold it; see [`Target`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) id: u64,
    pub(crate) job: Arc<str>,
    pub(crate) labels: Labels,
    pub(crate) state: TargetState,
    /// A hint, as the next one.
    pub(crate) series: u64,
    pub(crate) churn: PerHour,
}

impl Told {
    /// As it goes over the wire.
    pub(crate) fn to_wire(&self) -> Target {
        Target {
            id: self.id,
            job: self.job.to_string(),
            labels: labels_to_coordination(&self.labels),
            state: self.state.into(),
            series: self.series,
            churn_per_hour: self.churn.get(),
        }
    }

    /// Of targets as they go over the wire.
    pub(crate) fn digest<'a>(targets: impl Iterator<Item = &'a Self>) -> u64 {
        push::finish(targets.map(Self::share))
    }

    /// Its share of a digest.
    pub(super) fn share(&self) -> u64 {
        push::digest_of(self.id, &self.job, self.state.into(), self.labels.iter())
    }

    /// Whether it is the same in all but the hints.
    pub(crate) fn is_as(&self, other: &Self) -> bool {
        self.state == other.state && self.job == other.job && self.labels == other.labels
    }

    /// As it came over the wire; what is equal in a `known` one is shared with that.
    pub(crate) fn from_wire(target: &Target, known: Option<&Self>) -> Self {
        let is_same = |known: &&Self| {
            let labels = target.labels.iter();
            *known.job == *target.job
                && labels
                    .map(|label| (label.name.as_str(), label.value.as_str()))
                    .eq(known.labels.iter())
        };
        let (job, labels) = match known.filter(is_same) {
            Some(known) => (Arc::clone(&known.job), known.labels.clone()),
            None => (Arc::from(target.job.as_str()), labels_from_coordination(&target.labels)),
        };
        let (series, churn) = (target.series, target.churn_per_hour.into());
        Self { id: target.id, job, labels, state: target.state(), series, churn }
    }
}

impl Held<'_> {
    /// Its series and those that end an hour, as last counted or told.
    pub(crate) fn hints(&self) -> (u64, PerHour) {
        let Score { samples_post_relabel: counted, churn, .. } = *self.score;
        let series = if counted > 0 { counted } else { self.target.series };
        let churn = if churn == PerHour::UNKNOWN { self.target.churn } else { churn };
        (series, churn)
    }
}

impl<'a> Deref for Held<'a> {
    type Target = Score;

    fn deref(&self) -> &'a Score {
        self.score
    }
}

impl Score {
    /// Of a target that its shard has said nothing of yet.
    const NONE: Self = Self {
        health: Health::Unspecified,
        last_error: None,
        last_scrape_ms: 0,
        last_scrape_duration_seconds: 0.0,
        scrapes: 0,
        good_scrapes: 0,
        samples_post_relabel: 0,
        churn: PerHour::UNKNOWN,
    };

    fn from_wire(report: &TargetReport) -> Self {
        let error = report.last_error.as_str();
        Self {
            health: report.health(),
            last_error: Some(error).filter(|error| !error.is_empty()).map(Arc::from),
            last_scrape_ms: report.last_scrape_ms,
            last_scrape_duration_seconds: report.last_scrape_duration_seconds,
            scrapes: report.scrapes,
            good_scrapes: report.good_scrapes,
            samples_post_relabel: report.samples_post_relabel,
            churn: report.churn_per_hour.into(),
        }
    }

    /// Of each target, from columns that go together.
    fn from_columns(columns: TargetColumns) -> Vec<Self> {
        let score = |at: usize| Self {
            health: Health::try_from(columns.health[at]).unwrap_or_default(),
            last_error: None,
            last_scrape_ms: columns.last_scrape_ms[at],
            last_scrape_duration_seconds: columns.last_scrape_duration_seconds[at],
            scrapes: columns.scrapes[at],
            good_scrapes: columns.good_scrapes[at],
            samples_post_relabel: columns.samples_post_relabel[at],
            churn: columns.churn_per_hour[at].checked_sub(1).into(),
        };
        let mut scores: Vec<Self> = (0..columns.health.len()).map(score).collect();
        for LastError { at, error } in columns.last_errors {
            if let Some(score) = scores.get_mut(at as usize) {
                score.last_error = Some(error.into());
            }
        }
        scores
    }
}

impl Report {
    /// As it came over the wire; what is equal in the `known` targets, which ascend by id, is shared with them. A report
    /// without labels is of the `known` targets, whose digest was `asked` for. An error says that it has others.
    pub(crate) fn from_wire(
        mut report: ReportResponse,
        asked: u64,
        known: &Arc<[Told]>,
    ) -> Result<Self, String> {
        let (columns, mut held) = (report.columns.take(), std::mem::take(&mut report.targets));
        held.sort_by_key(id_of);
        if held.iter().any(|held| held.target.is_none()) {
            return Err("not believed: it reports a target without saying which".to_owned());
        }
        let without = columns.is_some() || report.without_labels;
        let is_known = match &columns {
            Some(columns) => columns.count() == Some(known.len()),
            None => held.iter().map(id_of).eq(known.iter().map(|told| told.id)),
        };
        if without && !is_known {
            let count = columns.map_or(held.len(), |columns| columns.health.len());
            let (version, known) = (report.version, known.len());
            return Err(format!(
                "not believed: it reports {count} targets as version {version} without labels, which are not the {known} that are known"
            ));
        }
        let targets = if without { Arc::clone(known) } else { told(&held, known) };
        Ok(Self {
            digest: if without { asked } else { Told::digest(targets.iter()) },
            targets,
            scores: match columns {
                Some(columns) => Score::from_columns(columns),
                None => held.iter().map(Score::from_wire).collect(),
            },
            epoch: report.epoch,
            version: report.version,
            config_hash: report.config_hash,
            engine: report.engine,
            protocol: report.protocol,
            stop: report.stop,
        })
    }

    /// The same with what the shard has taken since: `targets`, of that digest.
    pub(crate) fn with_targets(&self, targets: &Arc<[Told]>, digest: u64) -> Self {
        let score = |told: &Told| match self.targets.binary_search_by_key(&told.id, |held| held.id)
        {
            Ok(at) => self.scores.get(at).cloned().unwrap_or(Score::NONE),
            Err(_) => Score::NONE,
        };
        Self {
            epoch: self.epoch,
            version: self.version,
            config_hash: self.config_hash.clone(),
            targets: Arc::clone(targets),
            scores: targets.iter().map(score).collect(),
            digest,
            engine: self.engine.clone(),
            protocol: self.protocol,
            stop: self.stop.clone(),
        }
    }

    /// Targets whose size or churn is not what another report of the shard has said, or all if that had other targets.
    pub(crate) fn news(&self, other: Option<&Self>) -> impl Iterator<Item = Held<'_>> {
        let other = other.filter(|other| Arc::ptr_eq(&other.targets, &self.targets));
        self.held().enumerate().filter_map(move |(at, held)| {
            let before = other.and_then(|other| other.scores.get(at));
            let counted = |score: &Score| (score.samples_post_relabel, score.churn);
            let is_same = before.is_some_and(|score| counted(score) == counted(&held));
            (!is_same).then_some(held)
        })
    }

    /// The targets with what is said of them, ascending by id.
    pub(crate) fn held(&self) -> impl Iterator<Item = Held<'_>> {
        self.targets.iter().zip(&self.scores).map(|(target, score)| Held { target, score })
    }
}

/// The targets of a report, in the same order.
fn told(held: &[TargetReport], known: &[Told]) -> Arc<[Told]> {
    let told = |target| Told::from_wire(target, find(known, target.id));
    held.iter().filter_map(|held| held.target.as_ref()).map(told).collect()
}

fn id_of(held: &TargetReport) -> u64 {
    held.target.as_ref().map_or(0, |target| target.id)
}

/// The target of an id among some that ascend by it.
fn find(targets: &[Told], id: u64) -> Option<&Told> {
    let at = targets.binary_search_by_key(&id, |told| told.id).ok()?;
    targets.get(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(id: u64, env: &str) -> Told {
        Told {
            id,
            job: Arc::from("pods"),
            labels: Labels::from_pairs([("__address__", "host:1"), ("env", env)]),
            state: TargetState::Joining,
            series: 7,
            churn: Some(30).into(),
        }
    }

    #[test]
    fn a_target_is_the_same_after_the_wire() {
        let told = told(5, "prod");
        assert_eq!(Told::from_wire(&told.to_wire(), None), told);
    }

    #[test]
    fn labels_are_shared_with_what_is_known_where_they_are_equal_and_only_there() {
        let before = told(5, "prod");
        let mut wire = told(5, "prod").to_wire();
        wire.set_state(TargetState::Active);
        let same = Told::from_wire(&wire, Some(&before));
        assert!(Arc::ptr_eq(&same.job, &before.job));
        assert_eq!((same.state, &same.labels), (TargetState::Active, &before.labels));
        let other = Told::from_wire(&told(5, "qa").to_wire(), Some(&before));
        assert!(!Arc::ptr_eq(&other.job, &before.job));
        assert_eq!(other, told(5, "qa"));
    }

    #[test]
    fn a_report_has_what_its_shard_said_of_each_target() {
        let held = TargetReport {
            target: Some(told(5, "prod").to_wire()),
            health: Health::Down.into(),
            last_error: "refused".to_owned(),
            scrapes: 9,
            samples_post_relabel: 3,
            churn_per_hour: Some(0),
            ..TargetReport::default()
        };
        let wire =
            ReportResponse { epoch: 2, version: 4, targets: vec![held], ..Default::default() };
        let known: Arc<[Told]> = Arc::from([told(1, "prod"), told(5, "prod")]);
        let report = Report::from_wire(wire, 0, &known).unwrap();
        let held: Vec<Held<'_>> = report.held().collect();
        let [held] = held.as_slice() else { panic!("{report:?}") };
        assert_eq!(*held.target, told(5, "prod"));
        assert!(Arc::ptr_eq(&held.target.job, &known[1].job));
        assert_eq!((report.epoch, report.version, held.scrapes), (2, 4, 9));
        assert_eq!((held.health, held.last_error.as_deref()), (Health::Down, Some("refused")));
        assert_eq!((held.samples_post_relabel, held.churn.get()), (3, Some(0)));
    }

    #[test]
    fn a_report_without_labels_has_those_that_are_known_and_is_refused_where_they_are_not() {
        let known: Arc<[Told]> = Arc::from([told(5, "prod")]);
        let digest = Told::digest(known.iter());
        let target = Target { id: 5, state: TargetState::Joining.into(), ..Target::default() };
        let held = TargetReport { target: Some(target), scrapes: 3, ..TargetReport::default() };
        let wire = ReportResponse {
            targets: vec![held],
            without_labels: true,
            ..ReportResponse::default()
        };
        let report = Report::from_wire(wire.clone(), digest, &known).unwrap();
        assert!(Arc::ptr_eq(&report.targets, &known));
        assert_eq!((report.held().next().unwrap().scrapes, report.digest), (3, digest));
        for other in [&[][..], &[told(6, "prod")], &[told(5, "prod"), told(6, "prod")]] {
            let error = Report::from_wire(wire.clone(), digest, &Arc::from(other)).unwrap_err();
            assert!(error.starts_with("not believed: it reports 1 targets"), "{error}");
        }
    }

    #[test]
    fn a_report_in_columns_is_the_same_as_one_of_messages_and_is_refused_where_they_do_not_fit() {
        let known: Arc<[Told]> = Arc::from([told(5, "prod"), told(6, "prod")]);
        let held = |told: &Told, scrapes, last_error: &str, churn_per_hour| TargetReport {
            target: Some(Target { labels: Vec::new(), job: String::new(), ..told.to_wire() }),
            health: Health::Up.into(),
            last_error: last_error.to_owned(),
            last_scrape_ms: 1_000 * 7,
            last_scrape_duration_seconds: 0.5,
            scrapes,
            good_scrapes: 2,
            samples_scraped: 9,
            samples_post_relabel: 8,
            churn_per_hour,
        };
        let targets = vec![held(&known[0], 3, "", Some(0)), held(&known[1], 4, "refused", None)];
        let columns = Some(TargetColumns::of(targets.clone().into_iter()));
        let messages = ReportResponse { targets, without_labels: true, ..Default::default() };
        let wire = ReportResponse { columns, targets: Vec::new(), ..messages.clone() };
        let said = |wire: ReportResponse| {
            let report = Report::from_wire(wire, 77, &known).unwrap();
            assert!(Arc::ptr_eq(&report.targets, &known));
            format!("{report:?}")
        };
        assert_eq!(said(wire.clone()), said(messages));
        let error = |wire: &ReportResponse, known: &[Told]| {
            Report::from_wire(wire.clone(), 77, &Arc::from(known)).unwrap_err()
        };
        let text = "not believed: it reports 2 targets as version 0 without labels, which are not the 1 that are known";
        assert_eq!(error(&wire, &known[..1]), text);
        let mut ragged = wire;
        ragged.columns.as_mut().unwrap().scrapes.pop();
        assert!(error(&ragged, &known).starts_with("not believed: "));
    }

    #[test]
    fn a_report_that_names_no_target_is_not_believed() {
        let targets = vec![TargetReport::default()];
        let nameless = ReportResponse { targets, ..ReportResponse::default() };
        let error = Report::from_wire(nameless, 0, &Arc::default()).unwrap_err();
        assert!(error.starts_with("not believed: "), "{error}");
    }

    #[test]
    fn what_was_taken_since_a_report_has_the_scores_that_are_known() {
        let held = TargetReport {
            target: Some(told(5, "prod").to_wire()),
            scrapes: 3,
            ..TargetReport::default()
        };
        let wire = ReportResponse { targets: vec![held], ..ReportResponse::default() };
        let report = Report::from_wire(wire, 0, &Arc::default()).unwrap();
        let taken: Arc<[Told]> = Arc::from([told(4, "prod"), told(5, "qa")]);
        assert_eq!(report.news(Some(&report)).count(), 0);
        let before = report;
        let report = before.with_targets(&taken, 77);
        assert_eq!(report.news(Some(&before)).count(), 2, "it has other targets");
        let scrapes: Vec<(u64, u64)> =
            report.held().map(|held| (held.target.id, held.scrapes)).collect();
        assert_eq!((scrapes, report.digest), (vec![(4, 0), (5, 3)], 77));
    }
}
