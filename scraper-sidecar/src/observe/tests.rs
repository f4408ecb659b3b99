//! What counts as a scrape.

use proto::coordination::TargetState;

use super::*;

const GIVEN: i64 = 1_000_000;

fn assigned(id: u64, given_ms: i64) -> Target {
    Target {
        id,
        job: "j".to_owned(),
        labels: Labels::empty(),
        state: TargetState::Active,
        series: 0,
        churn_per_hour: None,
        given_ms,
    }
}

fn public(id: u64) -> Labels {
    Labels::from_pairs([("instance", id.to_string())])
}

fn active(id: u64, health: Health, scraped_ms: Option<i64>) -> ActiveTarget {
    ActiveTarget {
        id,
        public: public(id),
        hidden: Labels::empty(),
        health,
        last_error: String::new(),
        last_scrape: scraped_ms.map(|ms| Timestamp::from_millisecond(ms).unwrap()),
        last_scrape_duration_seconds: 0.1,
    }
}

fn look(process_start: f64, targets: Vec<ActiveTarget>) -> Look {
    Look { process_start: Some(process_start), targets, ..Look::default() }
}

/// Feeds looks at target 1, which all have this form: process start, health, last scrape. Returns scrapes and good ones.
fn scores(looks: &[(f64, Health, Option<i64>)]) -> Vec<(u64, u64)> {
    let mut scores = Scores::default();
    let mut out = Vec::new();
    for (start, health, scraped) in looks {
        scores =
            scores.after(&[assigned(1, GIVEN)], look(*start, vec![active(1, *health, *scraped)]));
        let score = &scores.by_target[&1];
        out.push((score.scrapes, score.good_scrapes));
    }
    out
}

#[test]
fn a_scrape_that_is_seen_twice_counts_once() {
    let seen = scores(&[
        (1.0, Health::Unknown, None),
        (1.0, Health::Up, Some(GIVEN + 1)),
        (1.0, Health::Up, Some(GIVEN + 1)),
        (1.0, Health::Up, Some(GIVEN + 2)),
    ]);
    assert_eq!(seen, [(0, 0), (1, 1), (1, 1), (2, 2)]);
}

#[test]
fn a_failed_scrape_ends_the_run_of_good_ones() {
    let seen = scores(&[
        (1.0, Health::Up, Some(GIVEN + 1)),
        (1.0, Health::Down, Some(GIVEN + 2)),
        (1.0, Health::Up, Some(GIVEN + 3)),
    ]);
    assert_eq!(seen, [(1, 1), (2, 0), (3, 1)]);
}

#[test]
fn scrapes_of_an_earlier_stay_do_not_count() {
    let seen = scores(&[(1.0, Health::Up, Some(GIVEN - 1)), (1.0, Health::Up, Some(GIVEN + 1))]);
    assert_eq!(seen, [(0, 0), (1, 1)]);
}

#[test]
fn after_a_restart_of_prometheus_only_new_scrapes_prove_anything() {
    let seen = scores(&[
        (1.0, Health::Up, Some(GIVEN + 1)),
        (1.0, Health::Up, Some(GIVEN + 2)),
        // Seen before the new process has scraped.
        (2.0, Health::Unknown, None),
        (2.0, Health::Up, Some(GIVEN + 3)),
    ]);
    assert_eq!(seen, [(1, 1), (2, 2), (2, 0), (3, 1)]);
    let seen = scores(&[
        (1.0, Health::Up, Some(GIVEN + 1)),
        (1.0, Health::Up, Some(GIVEN + 2)),
        // The new process had scraped already when it was seen first.
        (2.0, Health::Up, Some(GIVEN + 3)),
    ]);
    assert_eq!(seen, [(1, 1), (2, 2), (3, 1)]);
}

#[test]
fn a_target_that_was_taken_away_and_given_again_starts_at_zero() {
    let scores = Scores::default();
    let seen = || vec![active(1, Health::Up, Some(GIVEN + 5))];
    let scores = scores.after(&[assigned(1, GIVEN)], look(1.0, seen()));
    assert_eq!(scores.of(&assigned(1, GIVEN)).scrapes, 1);
    assert_eq!(scores.of(&assigned(1, GIVEN + 10)).scrapes, 0);
    let scores = scores.after(&[assigned(1, GIVEN + 10)], look(1.0, seen()));
    assert_eq!(scores.by_target[&1].good_scrapes, 0);
}

#[test]
fn a_target_that_prometheus_does_not_list_is_unknown() {
    let scores = Scores::default();
    let scores =
        scores.after(&[assigned(1, GIVEN)], look(1.0, vec![active(1, Health::Up, Some(GIVEN))]));
    let scores = scores.after(&[assigned(1, GIVEN)], look(1.0, vec![]));
    let score = &scores.by_target[&1];
    assert_eq!((score.health, score.scrapes, score.good_scrapes), (Health::Unknown, 1, 0));
}

#[test]
fn sizes_are_matched_by_public_labels_unless_two_targets_share_them() {
    let size = Size { scraped: 10, post_relabel: 9 };
    let mut twin = active(3, Health::Up, Some(GIVEN));
    twin.public = public(2);
    let targets = vec![
        active(1, Health::Up, Some(GIVEN)),
        active(2, Health::Up, Some(GIVEN)),
        twin,
        active(4, Health::Down, Some(GIVEN)),
    ];
    let samples = (1..=4).map(|id| (public(id), size)).collect();
    let look = Look { targets, samples: Some(samples), ..Look::default() };
    let all: Vec<Target> = (1..=4).map(|id| assigned(id, GIVEN)).collect();
    let scores = Scores::default().after(&all, look);
    assert_eq!(scores.by_target[&1].size, size);
    for id in 2..=4 {
        assert_eq!(scores.by_target[&id].size, Size::default(), "{id}");
    }
}

#[test]
fn only_a_scrape_at_the_new_url_is_one_of_the_target_as_it_is_now() {
    let labels = [("__address__", "h:1"), ("__param_module", "new"), ("instance", "1")];
    let target = Target { labels: Labels::from_pairs(labels), ..assigned(1, GIVEN) };
    let labelled = |hidden: &[(&str, &str)]| {
        let hidden = Labels::from_pairs(hidden.iter().copied());
        let active = ActiveTarget { hidden, ..active(1, Health::Up, Some(GIVEN + 1)) };
        let scores =
            Scores::default().after(std::slice::from_ref(&target), look(1.0, vec![active]));
        scores.by_target[&1].labelled.is_some()
    };
    let (address, own) = (("__address__", "h:1"), ("__shoal_param_module", "new"));
    assert!(labelled(&[address, own]));
    assert!(!labelled(&[address, ("__shoal_param_module", "old")]));
    assert!(!labelled(&[address]));
    assert!(!labelled(&[address, own, ("__shoal_param_more", "x")]));
    assert!(!labelled(&[("__address__", "h:2"), own]));
}
