//! No hole in what was scraped.

use std::time::SystemTime;

use super::fleet::{Fleet, INTERVAL};

/// Longest time between two samples: an interval, and what a scrape may come late on a busy machine. A missed scrape
/// is two intervals.
const LONGEST: f64 = 1.75 * INTERVAL;

/// When a Prometheus could not scrape, in seconds since the epoch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outage {
    pub(crate) begin: f64,
    pub(crate) end: f64,
}

/// Seconds since the epoch, by the clock that the samples have.
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64()
}

/// Every series of every target since `began` (seconds since the epoch): raw samples of all shards together, and as
/// deduplicated.
pub(super) async fn have_no_gap(fleet: &Fleet, began: f64, outages: &[Outage]) {
    let window = (now() - began).floor();
    for dedup in ["false", "true"] {
        for instance in fleet.instances() {
            let query = format!(r#"{{__name__=~"up|metrics0", instance="{instance}"}}[{window}s]"#);
            let found = fleet.instant(&query, &[("dedup", dedup)]).await.unwrap();
            for name in ["up", "metrics0"] {
                let mut times: Vec<f64> = found
                    .iter()
                    .filter(|series| series["metric"]["__name__"] == name)
                    .flat_map(|series| series["values"].as_array().unwrap())
                    .map(|point| point[0].as_f64().unwrap())
                    .collect();
                times.sort_by(f64::total_cmp);
                check(&format!("{name} of {instance} with dedup={dedup}"), &times, outages);
            }
        }
    }
}

/// Whether samples at these times (ascending, seconds since the epoch) have no gap but what the outages excuse.
pub(crate) fn check(name: &str, times: &[f64], outages: &[Outage]) {
    let last = times.last().unwrap_or_else(|| panic!("{name} has no sample"));
    assert!(now() - last < 3.0 * LONGEST, "{name}: no sample since {last}");
    for pair in times.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        // Between the last scrape before an outage and the first one after it.
        let excused: f64 = outages
            .iter()
            .filter(|outage| outage.begin < to && outage.end > from)
            .map(|outage| outage.end - outage.begin + INTERVAL)
            .sum();
        let gap = to - from;
        assert!(
            gap < LONGEST + excused,
            "{name}: {gap} s without a sample from {from}; {outages:?}"
        );
    }
}
