//! What goes over the wire when a shard is told what to hold: the difference to what it has where both sides know that,
//! everything otherwise, in messages of bounded size. Pure.

use std::collections::HashMap;

use prost::Message;
use xxhash_rust::xxh64::Xxh64;

use crate::coordination::{AssignRequest, Delta, Part, Target};

/// About how large a message of a push may become, in bytes. The user's configuration comes on top, in the first one.
pub const PART_BYTES: usize = 1 << 20;

/// The protocol that a sidecar names in its reports when it takes deltas and parts.
pub const PROTOCOL: u32 = 1;

/// One target's share of a [`digest`]: all of it but its number of series and its churn, which are hints.
pub fn digest_of<'a>(
    id: u64,
    job: &str,
    state: i32,
    labels: impl Iterator<Item = (&'a str, &'a str)>,
) -> u64 {
    let mut hasher = Xxh64::new(id);
    hasher.update(&state.to_le_bytes());
    for part in std::iter::once(job).chain(labels.flat_map(|(name, value)| [name, value])) {
        hasher.update(part.as_bytes());
        // Never part of UTF-8, so that no two lists of parts look alike.
        hasher.update(&[0xFF]);
    }
    hasher.digest()
}

/// Equal for equal sets of targets, in whatever order; never 0.
#[must_use]
pub fn digest(targets: &[Target]) -> u64 {
    finish(targets.iter().map(|target| {
        let labels = target.labels.iter().map(|label| (label.name.as_str(), label.value.as_str()));
        digest_of(target.id, &target.job, target.state, labels)
    }))
}

/// The digest of a set from its targets' shares.
pub fn finish(shares: impl Iterator<Item = u64>) -> u64 {
    // 0 on the wire means that nothing was told.
    shares.fold(0_u64, u64::wrapping_add).max(1)
}

/// What leads from `held` to `wanted`, where ids are distinct in both. A different number of series alone is no change.
#[must_use]
pub fn delta<'a>(
    base_version: u64,
    held: impl Iterator<Item = &'a Target>,
    wanted: &[Target],
) -> Delta {
    let mut before: HashMap<u64, &Target> = held.map(|target| (target.id, target)).collect();
    let is_news = |target: &&Target| !before.remove(&target.id).is_some_and(|b| is_same(b, target));
    let changed = wanted.iter().filter(is_news).cloned().collect();
    let mut removed: Vec<u64> = before.into_keys().collect();
    removed.sort_unstable();
    Delta { base_version, changed, removed }
}

fn is_same(one: &Target, other: &Target) -> bool {
    one.state == other.state && one.job == other.job && one.labels == other.labels
}

/// The messages of a push, in order: one, unless it is larger than about `part_bytes`.
#[must_use]
pub fn messages(mut push: AssignRequest, part_bytes: usize) -> Vec<AssignRequest> {
    let is_delta = push.delta.is_some();
    let (targets, removed, base_version) = match push.delta.take() {
        Some(delta) => (delta.changed, delta.removed, delta.base_version),
        None => (std::mem::take(&mut push.targets), Vec::new(), 0),
    };
    let config = std::mem::take(&mut push.config);
    let mut parts = cut(targets, removed, part_bytes);
    let count = u32::try_from(parts.len()).unwrap_or(u32::MAX);
    let messages = parts.drain(..).zip(0..).map(|((targets, removed), index)| {
        let mut message = push.clone();
        if index == 0 {
            message.config = config.clone();
        }
        if is_delta {
            message.delta = Some(Delta { base_version, changed: targets, removed });
        } else {
            message.targets = targets;
        }
        message.part = (count > 1).then_some(Part { index, count });
        message
    });
    messages.collect()
}

/// Slices of about that many bytes; one at least.
fn cut(targets: Vec<Target>, removed: Vec<u64>, part_bytes: usize) -> Vec<(Vec<Target>, Vec<u64>)> {
    let mut parts = vec![(Vec::new(), Vec::new())];
    let mut room = part_bytes;
    let mut begin = |bytes: usize, parts: &mut Vec<(Vec<Target>, Vec<u64>)>| {
        if bytes > room && parts.last().is_some_and(|(t, r)| !t.is_empty() || !r.is_empty()) {
            parts.push((Vec::new(), Vec::new()));
            room = part_bytes;
        }
        room = room.saturating_sub(bytes);
    };
    for target in targets {
        begin(target.encoded_len() + TARGET_OVERHEAD, &mut parts);
        if let Some((targets, _)) = parts.last_mut() {
            targets.push(target);
        }
    }
    for id in removed {
        begin(size_of::<u64>(), &mut parts);
        if let Some((_, removed)) = parts.last_mut() {
            removed.push(id);
        }
    }
    parts
}

/// Tag and length of a target within its message.
const TARGET_OVERHEAD: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordination::{Label, TargetReport};

    fn target(id: u64, env: &str) -> Target {
        let label = |name: &str, value: &str| Label { name: name.into(), value: value.into() };
        let address = format!("host-{id}.region.example:9100");
        let labels = vec![label("__address__", &address), label("env", env), label("job", "node")];
        Target { id, job: "node".into(), labels, state: 1, series: 900, churn_per_hour: None }
    }

    fn targets(count: u64) -> Vec<Target> {
        (1..=count).map(|id| target(id, "prod")).collect()
    }

    fn bytes(messages: &[AssignRequest]) -> usize {
        messages.iter().map(Message::encoded_len).sum()
    }

    #[test]
    fn one_changed_target_of_ten_thousand_costs_less_than_a_thousandth_of_everything() {
        let held = targets(10_000);
        let mut wanted = held.clone();
        wanted[77] = target(78, "qa");
        let whole = AssignRequest { epoch: 1, targets: wanted.clone(), ..Default::default() };
        let delta = delta(5, held.iter(), &wanted);
        let delta = AssignRequest { epoch: 1, delta: Some(delta), ..Default::default() };
        let (whole, delta) =
            (bytes(&messages(whole, PART_BYTES)), bytes(&messages(delta, PART_BYTES)));
        assert!(whole > 700_000, "{whole}");
        assert!(delta * 1000 < whole, "{delta} bytes instead of {whole}");
    }

    #[test]
    fn a_large_push_is_cut_into_messages_of_bounded_size_that_hold_everything_once() {
        let config = bytes::Bytes::from_static(b"global: {}");
        let push = AssignRequest { config, targets: targets(1_000), ..Default::default() };
        let parts = messages(push.clone(), 10_000);
        assert!(parts.len() > 5, "{}", parts.len());
        assert!(parts.iter().all(|part| part.encoded_len() < 10_100));
        assert_eq!(parts.iter().filter(|part| !part.config.is_empty()).count(), 1);
        let all: Vec<Target> = parts.iter().flat_map(|part| part.targets.clone()).collect();
        assert_eq!(all, push.targets);
        let last = parts.last().and_then(|part| part.part);
        assert_eq!(last.map(|part| part.index + 1), last.map(|part| part.count));
        // A target that is too large alone still goes.
        assert_eq!(messages(push, 1).len(), 1_000);
    }

    #[test]
    fn nothing_is_one_message_and_no_part() {
        let messages = messages(AssignRequest { version: 3, ..Default::default() }, PART_BYTES);
        assert_eq!(messages, [AssignRequest { version: 3, ..Default::default() }]);
    }

    /// A report of a target, as it was before churn was known.
    #[derive(Clone, PartialEq, Message)]
    struct ReportBefore {
        #[prost(message, optional, tag = "1")]
        target: Option<TargetBefore>,
        #[prost(uint64, tag = "9")]
        samples_post_relabel: u64,
    }

    #[derive(Clone, PartialEq, Message)]
    struct TargetBefore {
        #[prost(uint64, tag = "1")]
        id: u64,
        #[prost(uint64, tag = "5")]
        series: u64,
    }

    #[test]
    fn versions_that_do_not_know_churn_and_those_that_do_understand_each_other() {
        let known = Target { id: 7, series: 9, churn_per_hour: Some(60), ..Target::default() };
        let report = TargetReport {
            target: Some(known),
            samples_post_relabel: 9,
            churn_per_hour: Some(0),
            ..TargetReport::default()
        };
        let target = Some(TargetBefore { id: 7, series: 9 });
        let before = ReportBefore { target, samples_post_relabel: 9 };
        assert_eq!(ReportBefore::decode(&*report.encode_to_vec()).unwrap(), before);
        let read = TargetReport::decode(&*before.encode_to_vec()).unwrap();
        assert_eq!((read.churn_per_hour, read.target.unwrap().churn_per_hour), (None, None));
        // That there is none costs two bytes.
        let unknown = TargetReport { churn_per_hour: None, ..report.clone() };
        assert_eq!(report.encoded_len(), unknown.encoded_len() + 2);
    }

    #[test]
    fn a_digest_depends_on_the_set_not_on_its_order_and_not_on_hints() {
        let mut other = targets(10);
        other.reverse();
        (other[0].series, other[0].churn_per_hour) = (1, Some(5));
        assert_eq!(digest(&targets(10)), digest(&other));
        other[0].state = 2;
        assert_ne!(digest(&targets(10)), digest(&other));
        assert_ne!(digest(&[]), 0);
    }
}
