//! An assignment on its way to a shard.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use proto::coordination::{AssignRequest, Delta, StopScrape, Target};
use proto::push;

use super::told::{Report, Told};

/// What a shard is to hold, and what it was last known to hold.
#[derive(Debug)]
pub(crate) struct Push {
    pub(crate) epoch: u64,
    pub(crate) version: u64,
    pub(crate) config: Arc<promconf::Config>,
    /// Whether the shard is known to have another configuration.
    pub(crate) with_config: bool,
    /// Ascending by id.
    pub(crate) targets: Arc<[Told]>,
    pub(crate) digest: OnceLock<u64>,
    pub(crate) stop: StopScrape,
    /// What the shard has reported, or taken since: until it is sent, since the push itself is kept.
    pub(crate) held: Mutex<Option<Arc<Report>>>,
}

impl Push {
    /// Of its targets.
    pub(crate) fn digest(&self) -> u64 {
        *self.digest.get_or_init(|| Told::digest(self.targets.iter()))
    }

    /// The same, from that of what the shard holds and from what is different.
    fn digest_beside(&self, held: &Report) -> u64 {
        // Nothing known; or 0 itself, which is written as 1.
        if held.digest <= 1 {
            return self.digest();
        }
        *self.digest.get_or_init(|| {
            let mut sum = held.digest;
            let mut before = held.targets.iter().peekable();
            for told in &*self.targets {
                while let Some(gone) = before.next_if(|before| before.id < told.id) {
                    sum = sum.wrapping_sub(gone.share());
                }
                let same = before.next_if(|before| before.id == told.id);
                if same.is_some_and(|before| before.is_as(told)) {
                    continue;
                }
                let share = same.map_or(0, Told::share);
                sum = sum.wrapping_sub(share).wrapping_add(told.share());
            }
            push::finish(before.map(|gone| gone.share().wrapping_neg()).chain([sum]))
        })
    }

    fn wire(&self) -> Vec<Target> {
        self.targets.iter().map(Told::to_wire).collect()
    }

    /// What the shard was known to hold when this was made; nothing once that was taken.
    pub(crate) fn take_held(&self) -> Arc<Report> {
        self.held.lock().take().unwrap_or_default()
    }

    /// The messages, in order: the difference to what the shard holds, unless it holds that from another epoch or the
    /// `whole` is asked for.
    pub(crate) fn messages(
        &self,
        held: &Report,
        with_config: bool,
        whole: bool,
    ) -> Vec<AssignRequest> {
        let mut request = AssignRequest {
            epoch: self.epoch,
            version: self.version,
            config_hash: self.config.hash.clone(),
            ..AssignRequest::default()
        };
        if with_config {
            request.config = self.config.text.clone().into();
        }
        if held.protocol < push::PROTOCOL {
            // It knows one message with everything, and nothing else.
            request.targets = self.wire();
            return vec![request];
        }
        request.digest = self.digest_beside(held);
        request.stop = Some(self.stop.clone());
        if whole || held.epoch != self.epoch {
            request.targets = self.wire();
        } else {
            request.delta = Some(self.delta(held));
        }
        push::messages(request, push::PART_BYTES)
    }

    /// What is new and what is not as it was, but for the number of series, which is a hint.
    fn delta(&self, held: &Report) -> Delta {
        let mut before: HashMap<u64, &Told> =
            held.targets.iter().map(|told| (told.id, told)).collect();
        let is_news =
            |told: &&Told| !before.remove(&told.id).is_some_and(|before| before.is_as(told));
        let changed = self.targets.iter().filter(is_news).map(Told::to_wire).collect();
        let mut removed: Vec<u64> = before.into_keys().collect();
        removed.sort_unstable();
        Delta { base_version: held.version, changed, removed }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use model::Labels;
    use proptest::prelude::*;
    use proto::coordination::TargetState;

    use super::*;

    fn told((id, (env, state)): (u64, (u8, bool))) -> Told {
        Told {
            id,
            job: Arc::from("pods"),
            labels: Labels::from_pairs([("env", env.to_string())]),
            state: if state { TargetState::Active } else { TargetState::Leaving },
            series: 0,
            churn: crate::churn::PerHour::UNKNOWN,
        }
    }

    proptest! {
        #[test]
        fn a_digest_from_what_is_different_is_that_of_all(
            held in prop::collection::btree_map(0_u64..20, (0_u8..2, any::<bool>()), 0..12),
            wanted in prop::collection::btree_map(0_u64..20, (0_u8..2, any::<bool>()), 0..12),
        ) {
            let held: Arc<[Told]> = held.into_iter().map(told).collect();
            let report = Report::default().with_targets(&held, Told::digest(held.iter()));
            let push = Push {
                epoch: 1,
                version: 1,
                config: Arc::new(promconf::parse("", Path::new("prometheus.yml")).unwrap()),
                with_config: false,
                targets: wanted.into_iter().map(told).collect(),
                digest: OnceLock::new(),
                stop: StopScrape::default(),
                held: Mutex::default(),
            };
            prop_assert_eq!(push.digest_beside(&report), Told::digest(push.targets.iter()));
        }
    }
}
