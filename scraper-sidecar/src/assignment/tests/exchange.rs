//! A coordinator, a shard, and a network between them that loses, repeats and reorders.

use proptest::collection::vec;
use proptest::prelude::*;
use proto::coordination::{AssignRequest, Stop};
use proto::push::{self, PART_BYTES};

use super::*;
use crate::inbox::Inbox;

const EPOCHS: u64 = 3;

/// What the coordinator may want of one target: absent, or a state and a label.
type Wish = Option<(TargetState, u8)>;

#[derive(Debug, Clone)]
enum Step {
    /// The coordinator wants something else and sends it, as the difference to what it believes the shard has.
    Push { wishes: Vec<Wish>, small_parts: bool },
    /// It switches a job off, or everything on again.
    Switch(bool),
    /// A message arrives, the n-th of those that were ever sent: overtaken, late or once more. The answer may be lost.
    Deliver { which: prop::sample::Index, answered: bool },
    /// All that was sent and has not arrived yet, in order.
    DeliverAll,
    /// The shard's process restarts; what is persisted stays.
    Restart,
    /// Another coordinator takes over; the old one may go on for a while.
    TakeOver,
}

fn step() -> impl Strategy<Value = Step> {
    let state = prop_oneof![
        Just(TargetState::Active),
        Just(TargetState::Leaving),
        Just(TargetState::Joining)
    ];
    let wishes = vec(proptest::option::of((state, 0..3_u8)), 8);
    prop_oneof![
        4 => (wishes, any::<bool>()).prop_map(|(wishes, small_parts)| Step::Push { wishes, small_parts }),
        1 => any::<bool>().prop_map(Step::Switch),
        6 => (any::<prop::sample::Index>(), any::<bool>())
            .prop_map(|(which, answered)| Step::Deliver { which, answered }),
        2 => Just(Step::DeliverAll),
        1 => Just(Step::Restart),
        1 => Just(Step::TakeOver),
    ]
}

struct World {
    held: Assignment,
    inbox: Inbox,
    now_ms: i64,
    epoch: u64,
    version: u64,
    wanted: Vec<wire::Target>,
    stop: StopScrape,
    /// What the coordinator believes that the shard holds.
    believed: Option<(u64, Vec<wire::Target>)>,
    /// Every message ever sent.
    sent: Vec<AssignRequest>,
    arrived: usize,
    /// What each push meant, by epoch and version.
    meant: BTreeMap<(u64, u64), (Vec<wire::Target>, StopScrape)>,
}

impl World {
    fn new() -> Self {
        Self {
            held: Assignment::default(),
            inbox: Inbox::default(),
            now_ms: 0,
            epoch: 1,
            version: 0,
            wanted: Vec::new(),
            stop: StopScrape::default(),
            believed: None,
            sent: Vec::new(),
            arrived: 0,
            meant: BTreeMap::new(),
        }
    }

    fn request(&self) -> AssignRequest {
        AssignRequest {
            epoch: self.epoch,
            version: self.version,
            config: "global: {}".into(),
            config_hash: "h".to_owned(),
            digest: push::digest(&self.wanted),
            stop: Some(self.stop.clone()),
            ..AssignRequest::default()
        }
    }

    fn whole(&self) -> AssignRequest {
        AssignRequest { targets: self.wanted.clone(), ..self.request() }
    }

    fn send(&mut self, part_bytes: usize) {
        self.version += 1;
        self.meant.insert((self.epoch, self.version), (self.wanted.clone(), self.stop.clone()));
        let push = match &self.believed {
            None => self.whole(),
            Some((version, held)) => AssignRequest {
                delta: Some(push::delta(*version, held.iter(), &self.wanted)),
                ..self.request()
            },
        };
        self.sent.extend(push::messages(push, part_bytes));
    }

    /// What the shard does with a message, as its owner does it.
    fn arrive(&mut self, message: AssignRequest) -> Decision {
        self.now_ms += 1;
        let authority = Authority::Coordinator;
        let decision = self.inbox.decide(&self.held, message, authority, self.now_ms).unwrap();
        if let Decision::Apply(next) = &decision {
            self.held = next.clone();
        }
        decision
    }

    fn deliver(&mut self, at: usize, answered: bool) {
        let Some(message) = self.sent.get(at).cloned() else { return };
        self.arrived = self.arrived.max(at + 1);
        self.arrive(message);
        if answered {
            // Every answer, like every report, names what is held.
            let targets = self.held.targets.iter().map(wire::Target::from).collect();
            self.believed = (self.held.epoch == self.epoch).then_some((self.held.version, targets));
        }
    }

    fn go(&mut self, step: Step) {
        match step {
            Step::Push { wishes, small_parts } => {
                self.wanted = (1..).zip(&wishes).filter_map(wished).collect();
                self.send(if small_parts { 100 } else { PART_BYTES });
            }
            Step::Switch(stopped) => {
                let stop =
                    Stop { job: "j".to_owned(), reason: "fire".to_owned(), ..Stop::default() };
                let stops = if stopped { vec![stop] } else { Vec::new() };
                self.stop = StopScrape { revision: self.stop.revision + 1, stops };
                self.send(PART_BYTES);
            }
            Step::Deliver { which, answered } if !self.sent.is_empty() => {
                self.deliver(which.index(self.sent.len()), answered);
            }
            Step::Deliver { .. } => {}
            Step::DeliverAll => {
                for at in self.arrived..self.sent.len() {
                    self.deliver(at, true);
                }
            }
            Step::Restart => self.inbox = Inbox::after(self.held.epoch),
            Step::TakeOver if self.epoch < EPOCHS => {
                (self.epoch, self.version) = (self.epoch + 1, 0);
                self.believed = None;
            }
            Step::TakeOver => {}
        }
    }

    /// Without faults: what an agent does in one push.
    fn settle(&mut self) {
        let first = self.sent.len();
        self.send(100);
        let mut last = Decision::PartTaken;
        for message in self.sent.split_off(first) {
            last = self.arrive(message);
        }
        if last == Decision::NeedWhole {
            for message in push::messages(self.whole(), 100) {
                last = self.arrive(message);
            }
        }
        assert!(matches!(last, Decision::Apply(_)), "{last:?}");
    }
}

fn wished((id, wish): (u64, &Wish)) -> Option<wire::Target> {
    let (state, env) = (*wish)?;
    let labels = Labels::from_pairs([("__address__", format!("a:{id}")), ("env", env.to_string())]);
    let mut target = target(id);
    (target.state, target.labels) = (state.into(), labels_to_coordination(&labels));
    Some(target)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn whatever_the_network_does_a_shard_holds_what_was_meant_and_in_the_end_what_is_wanted(
        steps in vec(step(), 1..40)
    ) {
        let mut world = World::new();
        let mut order = (0, 0);
        for step in steps {
            world.go(step);
            let now = (world.held.epoch, world.held.version);
            prop_assert!(now >= order, "{now:?} after {order:?}");
            order = now;
            if let Some((targets, stop)) = world.meant.get(&now) {
                let held: Vec<wire::Target> = world.held.targets.iter().map(Into::into).collect();
                prop_assert_eq!(&held, targets);
                prop_assert_eq!(&world.held.stop, stop);
            }
        }
        world.settle();
        let held: Vec<wire::Target> = world.held.targets.iter().map(Into::into).collect();
        prop_assert_eq!(held, world.wanted);
        prop_assert_eq!(&world.held.stop, &world.stop);
    }
}
