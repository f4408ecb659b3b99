//! What is known of every job: providers' answers in, a snapshot out.

use std::sync::Arc;

use promconf::{Discovery, ScrapeConfig, TargetGroup};
use tokio::time::Instant;
use tracing::warn;

use crate::guard::{self, Change, Verdict};
use crate::options::{Guard, Options};

/// One job's targets, as far as they are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobGroups {
    pub job: String,
    /// In the order of the configuration.
    pub groups: Vec<Arc<TargetGroup>>,
    pub state: JobState,
}

/// How much of a job is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobState {
    /// Every provider's latest answer is good.
    Complete,
    /// Some provider failed: of it, `groups` has the last good answer, if there was one.
    Partial { errors: Vec<String> },
    /// Some provider has not answered yet.
    Pending,
}

/// What a provider says. Sent whole every time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// `None` leaves the last good groups in force.
    pub groups: Option<Vec<Arc<TargetGroup>>>,
    /// Empty when all went well.
    pub errors: Vec<String>,
}

impl Answer {
    /// What a source has found, or why it has not; `source` as it may be shown.
    pub fn of(found: Result<Vec<TargetGroup>, String>, source: &impl std::fmt::Display) -> Self {
        match found {
            Ok(groups) => Self { groups: Some(shared(groups)), errors: Vec::new() },
            Err(cause) => Self { groups: None, errors: vec![format!("{source}: {cause}")] },
        }
    }
}

/// Groups as they are handed on: a large system's are not to be there twice.
pub(crate) fn shared(groups: impl IntoIterator<Item = TargetGroup>) -> Vec<Arc<TargetGroup>> {
    groups.into_iter().map(Arc::new).collect()
}

/// Groups that are as they were before, at the same place, are those of before.
pub(crate) fn shared_with(
    before: Vec<Arc<TargetGroup>>,
    groups: Vec<Arc<TargetGroup>>,
) -> Vec<Arc<TargetGroup>> {
    let mut before = before.into_iter();
    let known =
        |group: Arc<TargetGroup>| before.next().filter(|known| *known == group).unwrap_or(group);
    groups.into_iter().map(known).collect()
}

/// Names a provider; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ProviderId(u64);

impl std::fmt::Display for ProviderId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A mechanism that runs, shared by all jobs that configure the same.
struct Provider {
    id: ProviderId,
    discovery: Discovery,
    answered: bool,
    /// What is in force.
    groups: Vec<Arc<TargetGroup>>,
    errors: Vec<String>,
    held: Option<Held>,
}

/// An answer that the guard does not believe yet.
struct Held {
    groups: Vec<Arc<TargetGroup>>,
    /// The last answer that was believed.
    good: Vec<Arc<TargetGroup>>,
    since: Instant,
    error: String,
}

struct Job {
    name: String,
    /// Places in `State::providers`.
    providers: Vec<usize>,
}

/// All jobs and providers.
#[derive(Default)]
pub(crate) struct State {
    guard: Guard,
    /// Whether kinds that are not ours are asked for elsewhere.
    has_bridge: bool,
    next: u64,
    providers: Vec<Provider>,
    jobs: Vec<Job>,
}

/// What to do after a new configuration.
#[derive(Default)]
pub(crate) struct Changes {
    pub stop: Vec<ProviderId>,
    pub start: Vec<(ProviderId, Discovery)>,
}

impl State {
    pub fn new(options: &Options) -> Self {
        let has_bridge = options.prometheus_binary.is_some();
        Self { guard: options.guard.clone(), has_bridge, ..Self::default() }
    }

    /// Takes a configuration. Providers that it shares with the one before keep running and keep their answers.
    pub fn configure(&mut self, jobs: &[ScrapeConfig]) -> Changes {
        let mut changes = Changes::default();
        let mut old = std::mem::take(&mut self.providers);
        self.jobs.clear();
        for job in jobs {
            let mut providers = Vec::with_capacity(job.discovery.len());
            for discovery in &job.discovery {
                let same = |provider: &Provider| is_same(&provider.discovery, discovery);
                if let Some(at) = self.providers.iter().position(same) {
                    providers.push(at);
                    continue;
                }
                let provider = match old.iter().position(same) {
                    Some(at) => old.swap_remove(at),
                    None => self.begin(discovery, &mut changes),
                };
                providers.push(self.providers.len());
                self.providers.push(provider);
            }
            self.jobs.push(Job { name: job.job_name.clone(), providers });
        }
        changes.stop = old.iter().map(|provider| provider.id).collect();
        changes
    }

    fn begin(&mut self, discovery: &Discovery, changes: &mut Changes) -> Provider {
        self.next += 1;
        let id = ProviderId(self.next);
        let (answered, groups, errors) = match discovery {
            Discovery::Static(groups) => (true, shared(groups.iter().cloned()), Vec::new()),
            Discovery::Unsupported { kind, line, section: _ } if !self.has_bridge => {
                let error = format!("{kind}_sd_configs (line {line}) is not supported yet");
                (true, Vec::new(), vec![error])
            }
            _ => {
                changes.start.push((id, discovery.clone()));
                (false, Vec::new(), Vec::new())
            }
        };
        Provider { id, discovery: discovery.clone(), answered, groups, errors, held: None }
    }

    /// Takes an answer. One of a provider that has been stopped is ignored; one that takes too much away is held.
    pub fn accept(&mut self, id: ProviderId, answer: Answer, now: Instant) {
        let Some(at) = self.providers.iter().position(|provider| provider.id == id) else {
            return;
        };
        let provider = &mut self.providers[at];
        provider.answered = true;
        provider.errors = answer.errors;
        if let Some(groups) = answer.groups {
            let before = provider.groups.clone();
            self.weigh(at, shared_with(before, groups), now);
        }
    }

    /// Believes what has been held for the grace time.
    pub fn release(&mut self, now: Instant) {
        for at in 0..self.providers.len() {
            let provider = &mut self.providers[at];
            if let Some(held) = provider.held.take_if(|held| now >= held.since + self.guard.grace) {
                warn!(
                    targets = guard::count(&held.groups),
                    "believing a discovery answer after its grace time"
                );
                provider.groups = held.groups;
            }
        }
    }

    /// When [`Self::release`] will have something to do.
    pub fn next_release(&self) -> Option<Instant> {
        let held = self.providers.iter().filter_map(|provider| provider.held.as_ref());
        held.map(|held| held.since + self.guard.grace).min()
    }

    /// Puts an answer in force, or holds it.
    fn weigh(&mut self, at: usize, groups: Vec<Arc<TargetGroup>>, now: Instant) {
        let held = self.providers[at].held.take();
        let (since, good) = match held {
            Some(held) => (held.since, held.good),
            None => (now, self.providers[at].groups.clone()),
        };
        let (was, will_be) = (guard::count(&good), guard::count(&groups));
        let change = |job: &Job| {
            let all = job.providers.iter();
            let others = all.filter(|&&other| other != at).map(|&other| self.known(other));
            let others: usize = others.sum();
            Change { before: others + was, after: others + will_be }
        };
        let changes = self.jobs.iter().filter(|job| job.providers.contains(&at)).map(change);
        let verdict = guard::judge(&self.guard, changes, now.duration_since(since));
        let provider = &mut self.providers[at];
        if verdict == Verdict::Accept {
            provider.groups = groups;
            return;
        }
        let error = format!(
            "an answer with {will_be} instead of {was} targets is held for {:?}: the missing ones stay",
            self.guard.grace
        );
        warn!(before = was, after = will_be, "holding a discovery answer that loses many targets");
        provider.groups = guard::overlay(&good, &groups);
        provider.held = Some(Held { groups, good, since, error });
    }

    /// The number of a provider's targets, without what is held.
    fn known(&self, at: usize) -> usize {
        self.providers.get(at).map_or(0, |provider| match &provider.held {
            Some(held) => guard::count(&held.good),
            None => guard::count(&provider.groups),
        })
    }

    /// Every job, in the order of the configuration.
    pub fn snapshot(&self) -> Vec<JobGroups> {
        self.jobs.iter().map(|job| self.job(job)).collect()
    }

    fn job(&self, job: &Job) -> JobGroups {
        let mut groups = Vec::new();
        let mut errors = Vec::new();
        let mut pending = false;
        for provider in job.providers.iter().filter_map(|&at| self.providers.get(at)) {
            groups.extend_from_slice(&provider.groups);
            errors.extend_from_slice(&provider.errors);
            errors.extend(provider.held.iter().map(|held| held.error.clone()));
            pending |= !provider.answered;
        }
        let state = match (pending, errors.is_empty()) {
            (true, _) => JobState::Pending,
            (false, true) => JobState::Complete,
            (false, false) => JobState::Partial { errors },
        };
        JobGroups { job: job.name.clone(), groups, state }
    }
}

/// Whether two configurations ask for the same. A section that moved to another line has not changed.
fn is_same(one: &Discovery, other: &Discovery) -> bool {
    match (one, other) {
        (
            Discovery::Unsupported { kind, section, line: _ },
            Discovery::Unsupported { kind: other_kind, section: other_section, line: _ },
        ) => kind == other_kind && section == other_section,
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;

    fn jobs(list: &str) -> Vec<ScrapeConfig> {
        promconf::parse(&format!("scrape_configs:\n{list}"), Path::new("/p.yml"))
            .unwrap()
            .scrape_configs
    }

    fn answer(target: &str) -> Answer {
        let group = TargetGroup { targets: vec![target.to_owned()], ..TargetGroup::default() };
        Answer { groups: Some(shared([group])), errors: Vec::new() }
    }

    #[test]
    fn a_job_is_pending_until_all_of_its_providers_have_answered() {
        let mut state = State::default();
        let changes = state.configure(&jobs(
            "- job_name: a\n  file_sd_configs: [{files: [x.json]}, {files: [y.json]}]\n",
        ));
        let [(x, _), (y, _)] = &changes.start[..] else { panic!() };
        state.accept(*y, answer("y:1"), Instant::now());
        assert_eq!(state.snapshot()[0].state, JobState::Pending);
        state.accept(*x, answer("x:1"), Instant::now());
        let job = &state.snapshot()[0];
        assert_eq!(job.state, JobState::Complete);
        assert_eq!(job.groups[0].targets, ["x:1"]);
    }

    #[test]
    fn equal_mechanisms_run_once_and_survive_a_reload() {
        let mut state = State::default();
        let sd = "file_sd_configs: [{files: [x.json]}]";
        let first =
            state.configure(&jobs(&format!("- job_name: a\n  {sd}\n- job_name: b\n  {sd}\n")));
        assert_eq!(first.start.len(), 1);
        state.accept(first.start[0].0, answer("x:1"), Instant::now());
        assert!(state.snapshot().iter().all(|job| job.groups.len() == 1));
        let second = state.configure(&jobs(&format!("- job_name: c\n  {sd}\n")));
        assert!(second.start.is_empty() && second.stop.is_empty());
        assert_eq!(state.snapshot()[0].state, JobState::Complete);
        let third = state.configure(&jobs("- job_name: c\n"));
        assert_eq!(third.stop, [first.start[0].0]);
        // A late answer of what was stopped.
        state.accept(first.start[0].0, answer("x:2"), Instant::now());
        assert!(state.snapshot()[0].groups.is_empty());
    }

    #[test]
    fn a_failure_keeps_the_last_good_groups() {
        let mut state = State::default();
        let changes =
            state.configure(&jobs("- job_name: a\n  file_sd_configs: [{files: [x.json]}]\n"));
        let id = changes.start[0].0;
        state.accept(id, answer("x:1"), Instant::now());
        state.accept(id, Answer { groups: None, errors: vec!["boom".to_owned()] }, Instant::now());
        let job = &state.snapshot()[0];
        assert_eq!(job.groups.len(), 1);
        assert_eq!(job.state, JobState::Partial { errors: vec!["boom".to_owned()] });
    }

    fn many(range: std::ops::Range<usize>) -> Answer {
        let targets = range.map(|i| format!("h:{i}")).collect();
        let group = TargetGroup { targets, ..TargetGroup::default() };
        Answer { groups: Some(shared([group])), errors: Vec::new() }
    }

    fn addresses(state: &State) -> Vec<String> {
        let mut all: Vec<String> =
            state.snapshot()[0].groups.iter().flat_map(|group| group.targets.clone()).collect();
        all.sort();
        all
    }

    #[test]
    fn an_answer_that_loses_many_targets_is_held_shown_and_believed_in_the_end() {
        let mut state = State::default();
        let id = state
            .configure(&jobs("- job_name: a\n  file_sd_configs: [{files: [x.json]}]\n"))
            .start[0]
            .0;
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        state.accept(id, many(0..10), start);
        state.accept(id, many(9..12), later(10));
        assert_eq!(addresses(&state).len(), 12, "old and new ones");
        let JobState::Partial { errors } = &state.snapshot()[0].state else { panic!() };
        assert!(
            errors[0].starts_with("an answer with 3 instead of 10 targets is held"),
            "{errors:?}"
        );
        // More answers of that kind do not start the grace time again, and the last one counts.
        state.accept(id, many(10..12), later(200));
        assert_eq!(state.next_release(), Some(later(310)));
        state.release(later(309));
        assert_eq!(addresses(&state).len(), 12);
        state.release(later(310));
        assert_eq!(addresses(&state), ["h:10", "h:11"]);
        assert_eq!(state.snapshot()[0].state, JobState::Complete);
    }

    #[test]
    fn a_good_answer_ends_the_holding() {
        let mut state = State::default();
        let id = state
            .configure(&jobs("- job_name: a\n  file_sd_configs: [{files: [x.json]}]\n"))
            .start[0]
            .0;
        let now = Instant::now();
        state.accept(id, many(0..10), now);
        state.accept(id, many(0..0), now);
        assert_eq!(addresses(&state).len(), 10);
        state.accept(id, many(5..14), now);
        assert_eq!(addresses(&state).len(), 9);
        assert_eq!(state.snapshot()[0].state, JobState::Complete);
        assert_eq!(state.next_release(), None);
    }

    #[test]
    fn the_loss_is_measured_against_the_whole_job() {
        let mut state = State::default();
        let changes = state.configure(&jobs(
            "- job_name: a\n  file_sd_configs: [{files: [x.json]}, {files: [y.json]}]\n",
        ));
        let now = Instant::now();
        state.accept(changes.start[0].0, many(0..10), now);
        state.accept(changes.start[1].0, many(100..130), now);
        state.accept(changes.start[0].0, many(0..0), now);
        assert_eq!(addresses(&state).len(), 30);
    }
}
