//! The guard's memory across restarts: what shards hold. Pure.
//!
//! In a running process discovery compares an answer with the one before ([`discovery::Guard`]). The first answer after a
//! start, or after a job's discovery was configured anew, has none before it: it is compared with what the shards hold
//! of the job, by the same rule. Static targets are the user's word and are believed at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use discovery::Guard;
use promconf::{Config, Discovery};

/// Which jobs' answers are believed.
#[derive(Debug, Default)]
pub(crate) struct Recall {
    guard: Guard,
    /// In milliseconds since the epoch.
    started: i64,
    jobs: BTreeMap<Arc<str>, Doubt>,
    /// The discovery that the doubts are about.
    known: HashMap<String, Vec<Discovery>>,
}

/// A job whose answer is not believed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Doubt {
    /// Since when it was seen to lose too much, in milliseconds since the epoch.
    since: Option<i64>,
}

/// What has become of a job's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum News {
    /// It is held: shards keep what they hold.
    Held { job: Arc<str>, held: usize, found: usize },
    /// It is as bad as before, and believed from now on.
    Believed { job: Arc<str>, held: usize, found: usize },
}

impl Recall {
    pub(crate) fn new(guard: Guard, now: i64) -> Self {
        Self { guard, started: now, ..Self::default() }
    }

    /// Takes a configuration: jobs whose discovery is not as it was are in doubt.
    pub(crate) fn configure(&mut self, config: &Config) {
        let mut known = HashMap::new();
        for job in &config.scrape_configs {
            let asks = job.discovery.iter().any(|one| !matches!(one, Discovery::Static(_)));
            if asks && self.known.get(&job.job_name) != Some(&job.discovery) {
                self.jobs.insert(Arc::from(job.job_name.as_str()), Doubt { since: None });
            }
            known.insert(job.job_name.clone(), job.discovery.clone());
        }
        self.jobs.retain(|job, _| known.contains_key(&**job));
        self.known = known;
    }

    /// Whether there is nothing to compare.
    pub(crate) fn is_done(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Jobs of which shards keep what they hold.
    pub(crate) fn held(&self) -> BTreeSet<Arc<str>> {
        let held = self.jobs.iter().filter(|(_, doubt)| doubt.since.is_some());
        held.map(|(job, _)| Arc::clone(job)).collect()
    }

    /// Compares, by job, how many targets shards hold with how many are found. `found` has no job whose discovery has
    /// not answered in full. `all_heard`: every shard has said what it holds.
    pub(crate) fn compare(
        &mut self,
        held: &HashMap<Arc<str>, usize>,
        found: &HashMap<Arc<str>, usize>,
        all_heard: bool,
        now: i64,
    ) -> Vec<News> {
        let grace = i64::try_from(self.guard.grace.as_millis()).unwrap_or(i64::MAX);
        let settled = all_heard || now - self.started >= grace;
        let mut news = Vec::new();
        let guard = &self.guard;
        self.jobs.retain(|job, doubt| {
            let Some(&found) = found.get(job) else { return true };
            let held = held.get(job).copied().unwrap_or(0);
            if !guard.is_suspect(held, found) {
                doubt.since = None;
                return !settled;
            }
            let job = Arc::clone(job);
            match doubt.since {
                None if grace > 0 => {
                    doubt.since = Some(now);
                    news.push(News::Held { job, held, found });
                    true
                }
                Some(since) if now - since < grace => true,
                _ => {
                    news.push(News::Believed { job, held, found });
                    false
                }
            }
        });
        news
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;

    fn recall(sections: &str) -> Recall {
        let guard = Guard { grace: Duration::from_secs(60), ..Guard::default() };
        let mut recall = Recall::new(guard, 0);
        recall.configure(&config(sections));
        recall
    }

    fn config(sections: &str) -> Config {
        let text = format!("scrape_configs:\n- job_name: j\n  {sections}\n");
        promconf::parse(&text, Path::new("/p.yml")).unwrap()
    }

    fn count(count: usize) -> HashMap<Arc<str>, usize> {
        HashMap::from([(Arc::from("j"), count)])
    }

    const FILES: &str = "file_sd_configs: [{files: [x.json]}]";

    #[test]
    fn an_answer_that_lacks_much_of_what_shards_hold_is_held_and_believed_in_the_end() {
        let mut recall = recall(FILES);
        let none = HashMap::new();
        assert_eq!(recall.compare(&count(100), &none, true, 0), [], "no answer yet");
        let job: Arc<str> = Arc::from("j");
        let held = News::Held { job: job.clone(), held: 100, found: 40 };
        assert_eq!(recall.compare(&count(100), &count(40), true, 1_000), [held]);
        assert_eq!(recall.held(), BTreeSet::from([job.clone()]));
        assert_eq!(recall.compare(&count(100), &count(40), true, 60_999), []);
        let believed = News::Believed { job, held: 100, found: 40 };
        assert_eq!(recall.compare(&count(100), &count(40), true, 61_000), [believed]);
        assert!(recall.is_done() && recall.held().is_empty());
    }

    #[test]
    fn a_good_answer_ends_the_doubt_once_all_shards_were_heard() {
        let mut recall = recall(FILES);
        assert_eq!(recall.compare(&count(50), &count(50), false, 0), []);
        assert!(!recall.is_done(), "the other shard may hold as many");
        assert_eq!(recall.compare(&count(200), &count(50), true, 1_000).len(), 1);
        assert_eq!(recall.compare(&count(200), &count(150), true, 2_000), []);
        assert!(recall.is_done());
        // A shard that never speaks is not waited for for ever.
        let mut recall = self::recall(FILES);
        assert_eq!(recall.compare(&count(50), &count(50), false, 60_000), []);
        assert!(recall.is_done());
    }

    #[test]
    fn static_targets_are_believed_and_a_job_configured_anew_is_doubted_again() {
        let statics = "static_configs: [{targets: ['a:1']}]";
        assert!(recall(statics).is_done());
        let mut recall = recall(FILES);
        recall.compare(&count(50), &count(50), true, 0);
        recall.configure(&config(&format!("{FILES}\n  metrics_path: /x")));
        assert!(recall.is_done(), "its discovery is as it was");
        recall.configure(&config("file_sd_configs: [{files: [y.json]}]"));
        assert!(!recall.is_done());
        recall.configure(&config(statics));
        assert!(recall.held().is_empty());
    }
}
