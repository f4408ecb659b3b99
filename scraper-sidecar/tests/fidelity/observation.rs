//! What can be seen of one Prometheus: its targets, its series and what it has asked the recorder for.

use std::collections::BTreeSet;

use serde_json::Value;
use testkit::prometheus::Prometheus;

use crate::recorder::Recorder;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Observation {
    targets: BTreeSet<String>,
    series: BTreeSet<String>,
    requests: BTreeSet<String>,
    /// What the coordinator has asked for, to count what will be scraped.
    trials: BTreeSet<String>,
}

impl Observation {
    /// As it is now; `Err` says why that does not count yet.
    pub(crate) async fn of(
        prometheus: &Prometheus,
        recorder: &Recorder,
        prefix: &str,
    ) -> Result<Self, String> {
        let answer = prometheus.get("/api/v1/targets", &[("state", "active")]).await;
        let mut targets = BTreeSet::new();
        for target in answer["activeTargets"].as_array().into_iter().flatten() {
            let error = target["lastError"].as_str().unwrap_or_default();
            if target["health"] == "unknown" || error.contains("deadline exceeded") {
                return Err(format!("{} is {}: {error}", target["scrapeUrl"], target["health"]));
            }
            let kept = ["scrapePool", "scrapeUrl", "labels", "scrapeInterval", "scrapeTimeout"]
                .into_iter()
                .chain(["health", "lastError"]);
            let kept: Vec<String> = kept.map(|key| format!("{key}={}", target[key])).collect();
            targets.insert(kept.join(" "));
        }
        let all = r#"{__name__!=""}"#;
        let series = prometheus.get("/api/v1/series", &[("match[]", all)]).await;
        let mut series = lines("series", &series);
        let stamped =
            format!("timestamp({{__name__=~\".*_stamped\"}}) * 1000 == {}", recorder.stamp());
        let stamped = prometheus.query(&stamped).await;
        for sample in stamped["result"].as_array().into_iter().flatten() {
            series.insert(format!("honest time {}", sample["metric"]));
        }
        let (trials, requests) =
            recorder.requests(prefix).into_iter().partition(|request| is_trial(request));
        Ok(Self { targets, series, requests, trials })
    }

    /// The same with one text in place of another, everywhere.
    pub(crate) fn replaced(&self, from: &str, to: &str) -> Self {
        let all =
            |lines: &BTreeSet<String>| lines.iter().map(|line| line.replace(from, to)).collect();
        Self {
            targets: all(&self.targets),
            series: all(&self.series),
            requests: all(&self.requests),
            trials: all(&self.trials),
        }
    }

    pub(crate) fn targets(&self) -> usize {
        self.targets.len()
    }

    /// Distinct paths of requests with a body: remote write, Alertmanager.
    pub(crate) fn posts(&self) -> usize {
        let posts = self.requests.iter().filter(|request| request.starts_with("POST "));
        posts.filter(|request| !request.contains("/token ")).count()
    }

    /// Whether there is a series of each metric.
    pub(crate) fn has_series(&self, metrics: &[String]) -> bool {
        let is_of =
            |series: &String, metric| series.contains(&format!("\"__name__\":\"{metric}\""));
        metrics.iter().all(|metric| self.series.iter().any(|series| is_of(series, metric)))
    }

    /// Trials that ask for something else, or with other headers, than any request.
    pub(crate) fn strange_trials(&self) -> Vec<&String> {
        let known: BTreeSet<String> =
            self.requests.iter().map(|request| essential(request)).collect();
        let strange = self.trials.iter().filter(|trial| !known.contains(&essential(trial)));
        strange.collect()
    }

    /// What only one of two has; "" when they are equal.
    pub(crate) fn difference(&self, other: &Self) -> String {
        let mut text = String::new();
        for (ours, theirs) in [
            (&self.targets, &other.targets),
            (&self.series, &other.series),
            (&self.requests, &other.requests),
        ] {
            ours.difference(theirs).for_each(|line| text.push_str(&format!("\n- {line}")));
            theirs.difference(ours).for_each(|line| text.push_str(&format!("\n+ {line}")));
        }
        text
    }
}

fn lines(kind: &str, values: &Value) -> BTreeSet<String> {
    values.as_array().into_iter().flatten().map(|value| format!("{kind} {value}")).collect()
}

fn is_trial(request: &str) -> bool {
    request.contains("user-agent: shoal/")
}

/// A request without what says who asks, and what it could read.
fn essential(request: &str) -> String {
    const OF_THE_CLIENT: [&str; 3] = ["accept", "user-agent:", "x-prometheus-scrape-timeout"];
    let lines = request.lines().filter(|line| {
        let line = line.trim_start();
        !line.is_empty() && !OF_THE_CLIENT.iter().any(|prefix| line.starts_with(prefix))
    });
    let text: Vec<&str> = lines.collect();
    text.join("\n").replace("HTTP/2.0", "HTTP/1.1")
}
