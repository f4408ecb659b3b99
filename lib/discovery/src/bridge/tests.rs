//! When an answer counts, and what is read of Prometheus.

use super::*;

fn group(address: &str) -> TargetGroup {
    TargetGroup { targets: vec![address.to_owned()], ..TargetGroup::default() }
}

fn counters(updates: f64, failures: f64) -> Counters {
    Counters { updates, failures, failed_configs: 0.0 }
}

#[test]
fn a_first_answer_counts_once_it_has_settled_and_later_ones_at_once() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut seen = Seen::new("x".to_owned(), start);
    assert_eq!(seen.note(counters(0.0, 0.0), vec![], 0, at(1)), None);
    assert_eq!(seen.note(counters(1.0, 0.0), vec![], 0, at(2)), None);
    assert_eq!(seen.note(counters(1.0, 0.0), vec![group("a")], 0, at(7)), None);
    assert_eq!(seen.note(counters(1.0, 0.0), vec![group("a")], 0, at(12)), None);
    let answer = seen.note(counters(1.0, 0.0), vec![group("a")], 0, at(13)).unwrap();
    assert_eq!(answer.groups, Some(shared([group("a")])));
    let answer = seen.note(counters(2.0, 0.0), vec![group("b")], 0, at(14)).unwrap();
    assert_eq!(answer.groups, Some(shared([group("b")])));
    // A new process knows nothing at first.
    assert_eq!(seen.note(counters(0.0, 0.0), vec![], 1, at(15)), None);
}

#[test]
fn an_empty_first_answer_waits_longer() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut seen = Seen::new("x".to_owned(), start);
    assert_eq!(seen.note(counters(1.0, 0.0), vec![], 0, at(1)), None);
    assert_eq!(seen.note(counters(1.0, 0.0), vec![], 0, at(12)), None);
    let answer = seen.note(counters(1.0, 0.0), vec![], 0, at(13)).unwrap();
    assert_eq!(answer.groups, Some(vec![]));
}

#[test]
fn failing_refreshes_are_an_error_until_the_next_update() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut seen = Seen::new("x".to_owned(), start);
    let answer = seen.note(counters(0.0, 1.0), vec![], 0, at(1)).unwrap();
    assert_eq!((answer.groups, answer.errors.len()), (None, 1));
    assert_eq!(seen.note(counters(1.0, 1.0), vec![group("a")], 0, at(2)), None);
    assert!(seen.note(counters(1.0, 1.0), vec![group("a")], 0, at(8)).unwrap().errors.is_empty());
    let answer = seen.note(counters(1.0, 2.0), vec![group("a")], 0, at(9)).unwrap();
    assert_eq!((answer.groups, answer.errors.len()), (Some(shared([group("a")])), 1));
    assert!(seen.note(counters(2.0, 2.0), vec![group("a")], 0, at(10)).unwrap().errors.is_empty());
}

#[test]
fn discovered_labels_lose_what_the_bridge_added() {
    let answer = br#"{"status":"success","data":{"activeTargets":[],"droppedTargets":[
        {"discoveredLabels":{"__address__":"h:1","job":"shoal-discovery-bridge","__scheme__":"shoal-unset",
         "__metrics_path__":"/own","__scrape_interval__":"1000d","__scrape_timeout__":"999d",
         "__scrape_native_histograms__":"false","__meta_x":"y"}}]}}"#;
    let groups = targets::read(answer).unwrap();
    assert_eq!(groups[0].targets, ["h:1"]);
    let labels: Vec<_> = groups[0].labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(labels, [("__meta_x", "y"), ("__metrics_path__", "/own")]);
}

#[test]
fn the_section_stands_in_the_configuration_as_it_was() {
    let text = targets::config("x", "a: 1\nb:\n  - c\n");
    assert!(text.ends_with("  x_sd_configs:\n  - a: 1\n    b:\n      - c\n"), "{text}");
    assert!(targets::config("x", "--- {}\n").ends_with("  - {}\n"));
}
