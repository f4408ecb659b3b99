//! What a shard says of its targets, in columns.

use crate::coordination::{LastError, TargetColumns, TargetReport};

impl TargetColumns {
    /// From what is said of each target, in the order of their ids.
    #[must_use]
    pub fn of(reports: impl Iterator<Item = TargetReport>) -> Self {
        let mut columns = Self::default();
        for (report, at) in reports.zip(0..) {
            columns.health.push(report.health);
            columns.last_scrape_ms.push(report.last_scrape_ms);
            columns.last_scrape_duration_seconds.push(report.last_scrape_duration_seconds);
            columns.scrapes.push(report.scrapes);
            columns.good_scrapes.push(report.good_scrapes);
            columns.samples_post_relabel.push(report.samples_post_relabel);
            let churn = report.churn_per_hour;
            columns.churn_per_hour.push(churn.map_or(0, |number| number.saturating_add(1)));
            if !report.last_error.is_empty() {
                columns.last_errors.push(LastError { at, error: report.last_error });
            }
        }
        columns
    }

    /// Of how many targets it is; `None`: the columns do not go together.
    #[must_use]
    pub fn count(&self) -> Option<usize> {
        let count = self.health.len();
        let all_same = [
            self.last_scrape_ms.len(),
            self.last_scrape_duration_seconds.len(),
            self.scrapes.len(),
            self.good_scrapes.len(),
            self.samples_post_relabel.len(),
            self.churn_per_hour.len(),
        ]
        .iter()
        .all(|other| *other == count);
        let is_there = |error: &LastError| (error.at as usize) < count;
        (all_same && self.last_errors.iter().all(is_there)).then_some(count)
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::coordination::target_report::Health;

    fn report(scrapes: u64, last_error: &str, churn_per_hour: Option<u32>) -> TargetReport {
        TargetReport {
            health: Health::Down.into(),
            last_error: last_error.to_owned(),
            last_scrape_ms: 1_700_000_000_000,
            last_scrape_duration_seconds: 0.5,
            scrapes,
            good_scrapes: scrapes / 2,
            samples_post_relabel: 7,
            churn_per_hour,
            ..TargetReport::default()
        }
    }

    #[test]
    fn columns_have_what_is_said_of_each_target_and_survive_the_wire() {
        let reports = [report(4, "", None), report(9, "refused", Some(0)), report(0, "", Some(3))];
        let columns = TargetColumns::of(reports.into_iter());
        assert_eq!(TargetColumns::decode(&*columns.encode_to_vec()).unwrap(), columns);
        assert_eq!(columns.count(), Some(3));
        assert_eq!(columns.scrapes, [4, 9, 0]);
        assert_eq!(columns.good_scrapes, [2, 4, 0]);
        assert_eq!(columns.churn_per_hour, [0, 1, 4]);
        assert_eq!(columns.last_errors, [LastError { at: 1, error: "refused".to_owned() }]);
        assert_eq!(columns.health, [i32::from(Health::Down); 3]);
    }

    #[test]
    fn columns_of_different_length_or_with_errors_of_others_do_not_go_together() {
        let sound = TargetColumns::of([report(4, "refused", None)].into_iter());
        assert_eq!(TargetColumns::default().count(), Some(0));
        let other = TargetColumns { scrapes: vec![1, 2], ..sound.clone() };
        assert_eq!(other.count(), None);
        let last_errors = vec![LastError { at: 1, error: "refused".to_owned() }];
        assert_eq!(TargetColumns { last_errors, ..sound }.count(), None);
    }
}
