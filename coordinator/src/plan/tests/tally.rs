//! What is counted while a plan is made.

use super::*;

fn shard(group: u32, ordinal: u32, held: &[u64]) -> ShardView {
    let holding = |target: &u64| Holding {
        target: *target,
        job: Arc::from("j"),
        state: State::Active,
        series: 1_000,
        interval_ms: 0,
        churn: 2,
        scrapes: 1,
        good_scrapes: 1,
        down: false,
    };
    ShardView {
        id: ShardId { group, ordinal },
        capacity: 100,
        condition: Condition::Ready,
        known: true,
        holdings: held.iter().map(holding).collect(),
        life: ShardLife::default(),
    }
}

#[test]
fn what_is_found_counts_with_its_size_and_what_a_group_lacks_is_missing_there() {
    let target = |id, size| {
        let (job, tag) = (Arc::from("j"), Tag::default());
        TargetView { id, job, size, tag, interval_ms: 0, churn: 7 }
    };
    let targets = [
        target(2, Size::Counted(10)),
        target(4, Size::Unknown),
        target(6, Size::Tentative(20)),
        target(8, Size::Counted(30)),
    ];
    let shards = vec![
        shard(0, 0, &[1, 2, 6]),
        shard(0, 1, &[2, 7, 8]),
        shard(1, 0, &[4, 8]),
        shard(1, 1, &[]),
    ];
    let seen = Snapshot { targets: targets.into(), shards, groups: 2, ..Snapshot::default() };
    let Tally { sums, missing } = plan(&seen, &limits(100), &History::default(), 0).tally;
    let ids: Vec<ShardId> = seen.shards.iter().map(|shard| shard.id).collect();
    assert_eq!(sums.keys().copied().collect::<Vec<_>>(), ids);
    let series: Vec<u64> = sums.values().map(|sum| sum.series).collect();
    assert_eq!(series, [1_005 + 15 + 25, 15 + 1_005 + 35, 1_005 + 35, 0]);
    assert!(sums.values().all(|sum| sum.load == sum.series), "samples do not count");
    let churn: Vec<u64> = sums.values().map(|sum| sum.churn).collect();
    assert_eq!(churn, [2 + 7 + 7, 7 + 2 + 7, 7 + 7, 0]);
    // The first group lacks 4, the second one 2 and 6.
    assert_eq!(missing, 3);
}
