//! Whether a report can be true. One that cannot is treated as no answer: planning on it would move targets, or raise the
//! epoch, because of a bug or a mix-up at one shard.

use std::sync::Arc;

use super::push::Push;
use super::told::{Report, Told};

/// An epoch is a number of starts of coordinators, a version a number of pushes.
const MOST_STARTS: u64 = 1 << 40;
/// Series of one scrape: its text would have ten gigabytes.
const MOST_SERIES: u64 = 100_000_000;

/// Why a report cannot be true.
pub(super) fn doubt(report: &Report) -> Option<String> {
    if report.epoch > MOST_STARTS || report.version > MOST_STARTS {
        let (epoch, version) = (report.epoch, report.version);
        return Some(format!("not believed: it reports epoch {epoch} version {version}"));
    }
    for held in report.held() {
        let (target, id) = (held.target, held.target.id);
        let series = held.samples_post_relabel.max(target.series);
        if series > MOST_SERIES {
            return Some(format!("not believed: it reports {series} series of target {id:016x}"));
        }
        if held.good_scrapes > held.scrapes {
            let (good, all) = (held.good_scrapes, held.scrapes);
            return Some(format!(
                "not believed: it reports {good} good ones of {all} scrapes of target {id:016x}"
            ));
        }
    }
    None
}

/// Why a report cannot be true beside what the shard has taken: under the same version it has other targets.
pub(super) fn contradiction(report: &Report, taken: &Push) -> Option<String> {
    if (report.epoch, report.version) != (taken.epoch, taken.version)
        || Arc::ptr_eq(&report.targets, &taken.targets)
    {
        return None;
    }
    let ids = |targets: &[Told]| targets.iter().map(|told| told.id).collect::<Vec<_>>();
    if ids(&report.targets) == ids(&taken.targets) {
        return None;
    }
    let (version, reported, taken) = (report.version, report.targets.len(), taken.targets.len());
    Some(format!(
        "not believed: it reports {reported} targets as version {version}, which are not the {taken} that it has taken"
    ))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proto::coordination::{ReportResponse, StopScrape, Target, TargetReport};

    use super::*;

    fn report(series: u64, scrapes: u64, good_scrapes: u64) -> Report {
        let target = Target { id: 7, ..Target::default() };
        let held = TargetReport {
            target: Some(target),
            samples_post_relabel: series,
            scrapes,
            good_scrapes,
            ..TargetReport::default()
        };
        let wire = ReportResponse {
            epoch: 3,
            version: 9,
            targets: vec![held],
            ..ReportResponse::default()
        };
        Report::from_wire(wire, 0, &Arc::default()).unwrap()
    }

    #[test]
    fn a_report_that_can_be_true_is_believed() {
        assert_eq!(doubt(&report(5_000_000, 10, 10)), None);
        assert_eq!(doubt(&Report::default()), None);
    }

    #[test]
    fn what_was_taken_has_to_be_what_is_reported_under_the_same_version() {
        let taken = |ids: &[u64]| Push {
            epoch: 3,
            version: 9,
            config: Arc::new(promconf::parse("", Path::new("prometheus.yml")).unwrap()),
            with_config: false,
            targets: ids
                .iter()
                .map(|id| Told::from_wire(&Target { id: *id, ..Target::default() }, None))
                .collect(),
            digest: std::sync::OnceLock::new(),
            stop: StopScrape::default(),
            held: parking_lot::Mutex::default(),
        };
        let honest = report(1, 1, 1);
        assert_eq!(contradiction(&honest, &taken(&[7])), None);
        for others in [&[] as &[u64], &[8], &[7, 8]] {
            let said = contradiction(&honest, &taken(others)).unwrap();
            assert!(said.starts_with("not believed: it reports 1 targets as version 9"), "{said}");
        }
        // It has another version, and may have lost it all.
        let newer = Report { version: 10, ..honest };
        assert_eq!(contradiction(&newer, &taken(&[])), None);
        assert_eq!(contradiction(&Report::default(), &taken(&[7])), None);
    }

    #[test]
    fn absurd_numbers_are_not_believed() {
        let epoch = Report { epoch: u64::MAX, ..report(1, 1, 1) };
        let version = Report { version: u64::MAX, ..report(1, 1, 1) };
        for lie in [epoch, version, report(u64::MAX, 1, 1), report(1, 1, 2)] {
            let said = doubt(&lie).unwrap();
            assert!(said.starts_with("not believed: "), "{said}");
        }
    }
}
