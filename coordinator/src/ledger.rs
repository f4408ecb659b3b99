//! The moves and decisions of the past, for people who ask why: the last ones in memory and in a file that outlives a
//! restart. Losing it costs nothing but memory.

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::found::Found;
use crate::plan::Plan;

/// How many are kept.
const KEPT: usize = 5_000;

/// The file is rewritten with the kept ones when it has more lines than that.
const MOST_LINES: usize = 2 * KEPT;

/// A longer file is none of ours.
const MAX_FILE: u64 = 64 << 20;

/// A step of a move, or a decision about shards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    /// Grows by one from entry to entry.
    pub(crate) seq: u64,
    /// In milliseconds since the epoch.
    pub(crate) time: i64,
    /// Of the coordinator that decided.
    pub(crate) epoch: u64,
    /// `begun`, `finished`, `rolled_back`, `evacuated`, `deduplicated` for moves; else the kind of the decision.
    pub(crate) kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) moved: Option<Moved>,
    /// A sentence with the numbers that it rests on.
    pub(crate) detail: String,
}

/// What moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Moved {
    /// The target's id in hexadecimal.
    pub(crate) target: String,
    pub(crate) job: String,
    pub(crate) url: String,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) load: u64,
}

#[derive(Debug, Default)]
struct Kept {
    last: u64,
    entries: VecDeque<Entry>,
    /// Lines of the file.
    lines: usize,
    /// Decisions that the last plan has made: what lasts is noted once.
    standing: HashSet<String>,
    failing: bool,
}

/// The ledger. Cloneable; all clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    path: PathBuf,
    kept: Arc<Mutex<Kept>>,
}

impl Ledger {
    /// Reads what there is. Nothing is written before [`Self::note`].
    pub(crate) fn open(path: &Path) -> Self {
        let ledger = Self { path: path.to_owned(), kept: Arc::default() };
        ledger.reread();
        ledger
    }

    /// Takes what another coordinator has written. Blocks.
    pub(crate) fn reread(&self) {
        let (entries, lines) = match read(&self.path) {
            Ok(read) => read,
            Err(cause) => {
                warn!(file = %self.path.display(), error = %cause, "history of moves is unreadable");
                return;
            }
        };
        let mut kept = self.kept.lock();
        kept.last = entries.back().map_or(0, |entry| entry.seq).max(kept.last);
        (kept.entries, kept.lines) = (entries, lines);
    }

    /// Notes what a plan has done. Blocks.
    pub(crate) fn note(&self, plan: &Plan, found: &Found, epoch: u64, time: i64) {
        let mut kept = self.kept.lock();
        let from = kept.last;
        let mut new = moves(plan, found);
        let decisions: Vec<(String, String)> = plan
            .decisions
            .iter()
            .map(|decision| (decision.label().to_owned(), decision.to_string()))
            .collect();
        let key = |(kind, detail): &(String, String)| format!("{kind} {}", without_numbers(detail));
        let standing: HashSet<String> = decisions.iter().map(key).collect();
        let fresh = decisions.into_iter().filter(|one| !kept.standing.contains(&key(one)));
        new.extend(fresh.map(|(kind, detail)| (kind, None, detail)));
        kept.standing = standing;
        for (kind, moved, detail) in new {
            kept.last += 1;
            let entry = Entry { seq: kept.last, time, epoch, kind, moved, detail };
            kept.entries.push_back(entry);
        }
        let surplus = kept.entries.len().saturating_sub(KEPT);
        kept.entries.drain(..surplus);
        if kept.last == from {
            return;
        }
        let written = self.write(&mut kept, from);
        if let Err(cause) = &written
            && !kept.failing
        {
            warn!(file = %self.path.display(), error = %cause, "history of moves is not written");
        }
        kept.failing = written.is_err();
    }

    /// Whether the last plan has made decisions: the next one may end them.
    pub(crate) fn has_standing(&self) -> bool {
        !self.kept.lock().standing.is_empty()
    }

    /// Those that fit, the newest first, `limit` at most; and the number of all that fit.
    pub(crate) fn find(&self, fits: impl Fn(&Entry) -> bool, limit: usize) -> (Vec<Entry>, usize) {
        let kept = self.kept.lock();
        let found = kept.entries.iter().rev().filter(|entry| fits(entry));
        let (mut first, mut count) = (Vec::new(), 0);
        for entry in found {
            count += 1;
            if first.len() < limit {
                first.push(entry.clone());
            }
        }
        (first, count)
    }

    fn write(&self, kept: &mut Kept, from: u64) -> std::io::Result<()> {
        let new = kept.entries.iter().filter(|entry| entry.seq > from).count();
        let rewrite = kept.lines + new > MOST_LINES;
        // Whatever a crash has cut off before: each batch begins a line of its own.
        let mut text = b"\n".to_vec();
        for entry in kept.entries.iter().filter(|entry| rewrite || entry.seq > from) {
            serde_json::to_writer(&mut text, entry)?;
            text.push(b'\n');
        }
        if rewrite {
            svc::durable::write(&self.path, &text)?;
            kept.lines = kept.entries.len();
        } else {
            // Not synced: a crash may cost the last lines of a history.
            let mut file = File::options().create(true).append(true).open(&self.path)?;
            file.write_all(&text)?;
            kept.lines += new;
        }
        Ok(())
    }
}

/// Loads change from turn to turn while the decision stays the same.
fn without_numbers(detail: &str) -> String {
    let is_number =
        |word: &&str| word.trim_matches(|c: char| !c.is_alphanumeric()).parse::<u64>().is_ok();
    detail.split(' ').filter(|word| !is_number(word)).collect::<Vec<_>>().join(" ")
}

fn moves(plan: &Plan, found: &Found) -> Vec<(String, Option<Moved>, String)> {
    // More than are kept need not be made.
    let skipped = plan.moves.len().saturating_sub(KEPT);
    let last = plan.moves.iter().skip(skipped);
    last.map(|report| {
        let known = found.get(report.target);
        let moved = Moved {
            target: format!("{:016x}", report.target),
            job: known.map(|found| found.job.to_string()).unwrap_or_default(),
            url: known.map(|found| found.target.url()).unwrap_or_default(),
            from: report.from.to_string(),
            to: report.to.to_string(),
            load: report.load,
        };
        (report.phase.label().to_owned(), Some(moved), report.to_string())
    })
    .collect()
}

/// The last entries of a file, and its number of lines. A line that a crash has cut off is passed over.
fn read(path: &Path) -> std::io::Result<(VecDeque<Entry>, usize)> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok((VecDeque::new(), 0)),
        Err(cause) => return Err(cause),
    };
    if file.metadata()?.len() > MAX_FILE {
        // The next entry replaces it.
        return Ok((VecDeque::new(), MOST_LINES));
    }
    let mut content = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut content)?;
    let (mut entries, mut lines) = (VecDeque::new(), 0);
    for line in content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        lines += 1;
        if let Ok(entry) = serde_json::from_slice::<Entry>(line) {
            entries.push_back(entry);
            if entries.len() > KEPT {
                entries.pop_front();
            }
        }
    }
    Ok((entries, lines))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::plan::{Decision, MovePhase, MoveReport, ShardId, WhyMoved};

    fn plan_with(moves: u64) -> Plan {
        let shard = |ordinal| ShardId { group: 0, ordinal };
        let report = |target| MoveReport {
            group: 0,
            target,
            from: shard(0),
            to: shard(1),
            load: 12,
            phase: MovePhase::Begun(WhyMoved::Drain),
        };
        let overloaded = Decision::Overloaded { shard: shard(2), load: 12 + moves, capacity: 7 };
        Plan {
            moves: (0..moves).map(report).collect(),
            decisions: vec![overloaded],
            ..Plan::default()
        }
    }

    #[test]
    fn what_was_noted_is_found_again_after_a_restart_and_a_torn_line_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("moves.jsonl");
        let ledger = Ledger::open(&path);
        ledger.note(&plan_with(2), &Found::default(), 3, 1_000);
        ledger.note(&plan_with(1), &Found::default(), 3, 2_000);
        let mut file = File::options().append(true).open(&path).unwrap();
        file.write_all(b"{\"seq\":9,\"ti").unwrap();
        let again = Ledger::open(&path);
        again.note(&plan_with(1), &Found::default(), 4, 3_000);
        let (all, count) = Ledger::open(&path).find(|_| true, 100);
        assert_eq!(count, 6);
        let seen: Vec<(u64, u64, &str)> =
            all.iter().map(|entry| (entry.seq, entry.epoch, entry.kind.as_str())).collect();
        // The decision stands from plan to plan and is noted once; a restart notes it again.
        assert_eq!(
            seen,
            [
                (6, 4, "overloaded"),
                (5, 4, "begun"),
                (4, 3, "begun"),
                (3, 3, "overloaded"),
                (2, 3, "begun"),
                (1, 3, "begun")
            ]
        );
        assert_eq!(all[1].moved.as_ref().unwrap().to, "0-1");
        assert!(all[0].detail.contains("13 series, 7 at most"), "{}", all[0].detail);
        let (some, count) = again.find(|entry| entry.epoch == 3, 1);
        assert_eq!((some.len(), count), (1, 4));
    }

    #[test]
    fn memory_and_file_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("moves.jsonl");
        let ledger = Ledger::open(&path);
        for turn in 0..7 {
            ledger.note(&plan_with(KEPT as u64 / 2 + 5), &Found::default(), 1, turn);
        }
        assert_eq!(ledger.find(|_| true, 1).1, KEPT);
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().filter(|line| !line.is_empty()).count();
        assert!((KEPT..=MOST_LINES).contains(&lines), "{lines}");
        let again = Ledger::open(&path);
        assert_eq!(again.find(|_| true, 1), ledger.find(|_| true, 1));
    }

    #[test]
    fn a_folder_that_is_gone_costs_the_file_only() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&folder.path().join("missing/moves.jsonl"));
        ledger.note(&plan_with(1), &Found::default(), 1, 0);
        assert_eq!(ledger.find(|_| true, 9).1, 2);
    }
}
