//! What becomes of a message: the door to the assignment. Pure.
//!
//! It puts the messages of a push together. Only one push is under way at a time: the first part of another one takes its place. What a restart loses here, the
//! coordinator sends again.

use prost::Message;
use proto::coordination::{AssignRequest, Part};

use crate::assignment::{Assignment, Authority, Decision, decide};
use crate::error::{Error, Result};

/// The largest push taken, in bytes over all its messages. A target is about 1 KiB of labels, so this is half a million
/// targets: far beyond what one Prometheus scrapes.
const MAX_PUSH_BYTES: usize = 512 << 20;

/// The highest epoch seen, and a push of which parts are missing.
#[derive(Default)]
pub(crate) struct Inbox {
    pub(crate) seen_epoch: u64,
    begun: Option<Begun>,
}

struct Begun {
    push: AssignRequest,
    next: u32,
    bytes: usize,
}

/// What a message has brought.
enum Taken {
    /// The push is complete.
    Whole(Box<AssignRequest>),
    More,
    /// It does not continue what is here.
    Gap,
    TooLarge,
}

impl Inbox {
    /// After a start that has found an assignment of that epoch.
    pub(crate) fn after(epoch: u64) -> Self {
        Self { seen_epoch: epoch, begun: None }
    }

    /// Takes the next message; `held` is what is applied, `now_ms` the wall clock.
    pub(crate) fn decide(
        &mut self,
        held: &Assignment,
        message: AssignRequest,
        authority: Authority,
        now_ms: i64,
    ) -> Result<Decision> {
        if message.epoch < self.seen_epoch {
            return Ok(Decision::Stale);
        }
        let order = (message.epoch, message.version);
        self.seen_epoch = message.epoch;
        match self.take(message) {
            Taken::Whole(push) => decide(held, self.seen_epoch, *push, authority, now_ms),
            Taken::More => Ok(Decision::PartTaken),
            // The last parts of what is applied already, once more.
            Taken::Gap if order == (held.epoch, held.version) => Ok(Decision::Unchanged),
            Taken::Gap => Ok(Decision::NeedWhole),
            Taken::TooLarge => Err(Error::Malformed("it is too large".to_owned())),
        }
    }

    fn take(&mut self, mut message: AssignRequest) -> Taken {
        let part = match message.part.take() {
            None => return Taken::Whole(Box::new(message)),
            Some(part) if part.index >= part.count => return Taken::Gap,
            Some(part) => part,
        };
        let bytes = message.encoded_len();
        if part.index == 0 {
            self.begun = Some(Begun { push: message, next: 1, bytes });
        } else if let Some(begun) = self.begun.as_mut().filter(|begun| begun.is_of(&message)) {
            if part.index < begun.next {
                return Taken::More;
            }
            if part.index > begun.next {
                return Taken::Gap;
            }
            begun.add(message, bytes);
        } else {
            return Taken::Gap;
        }
        self.finish(part)
    }

    fn finish(&mut self, part: Part) -> Taken {
        if self.begun.as_ref().is_some_and(|begun| begun.bytes > MAX_PUSH_BYTES) {
            self.begun = None;
            return Taken::TooLarge;
        }
        match self.begun.take_if(|begun| begun.next == part.count) {
            Some(begun) => Taken::Whole(Box::new(begun.push)),
            None => Taken::More,
        }
    }
}

impl Begun {
    fn is_of(&self, message: &AssignRequest) -> bool {
        let base = |push: &AssignRequest| push.delta.as_ref().map(|delta| delta.base_version);
        (self.push.epoch, self.push.version, base(&self.push), self.push.digest)
            == (message.epoch, message.version, base(message), message.digest)
    }

    fn add(&mut self, message: AssignRequest, bytes: usize) {
        self.push.targets.extend(message.targets);
        if let (Some(sum), Some(more)) = (&mut self.push.delta, message.delta) {
            sum.changed.extend(more.changed);
            sum.removed.extend(more.removed);
        }
        self.next += 1;
        self.bytes += bytes;
    }
}
