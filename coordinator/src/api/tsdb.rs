//! `/api/v1/status/tsdb`: the metrics and label pairs with the most series, over all shards of a replica group. Asks
//! the shards' Prometheus servers, which list a few of the largest each (web/api/v1/api.go, `serveTSDBStatus`).

mod past;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::Response;
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};

use super::{Api, bad_data, internal, success};
use crate::cycle::now_ms;
use crate::status::Status as World;
pub(crate) use past::Past;

/// How often it is seen whether metrics are to be noted.
const LOOK: Duration = Duration::from_secs(60);

/// How long a shard's Prometheus may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// The longest answer that is read, bytes.
const MAX_BODY: usize = 16 << 20;

/// Shards that are asked at the same time.
const CONCURRENCY: usize = 32;

/// Items that each Prometheus is asked for; those that do not know the parameter list ten.
const ASKED: usize = 5_000;
const UNASKED: usize = 10;

const MOST_LISTED: usize = 10_000;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TsdbQuery {
    limit: String,
    group: String,
}

#[derive(Debug, Deserialize)]
struct Theirs {
    data: Status,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    head_stats: HeadStats,
    series_count_by_metric_name: Vec<Item>,
    series_count_by_label_value_pair: Vec<Item>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct HeadStats {
    num_series: u64,
    chunk_count: u64,
}

#[derive(Debug, Deserialize)]
struct Item {
    name: String,
    value: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Ours {
    group: u32,
    shards: usize,
    /// Shards that are not in the sums, each with the reason.
    missing: Vec<Missing>,
    head_stats: HeadStats,
    /// What the growth of metrics is measured over.
    #[serde(skip_serializing_if = "Option::is_none")]
    growth_seconds: Option<i64>,
    series_count_by_metric_name: Vec<Summed>,
    series_count_by_label_value_pair: Vec<Summed>,
}

#[derive(Debug, Serialize)]
struct Missing {
    shard: String,
    reason: String,
}

/// Series over the shards: `value` by those that list it; `atMost` with what it can have on those that list only
/// larger ones. Equal numbers are exact.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summed {
    name: String,
    value: u64,
    at_most: u64,
    /// Of a metric whose series were exact then and now.
    #[serde(skip_serializing_if = "Option::is_none")]
    growth: Option<i64>,
}

impl Summed {
    fn is_exact(&self) -> bool {
        self.value == self.at_most
    }
}

/// `limit` items of each list (10 as in Prometheus), of the shards of `group` (0).
pub(super) async fn tsdb(State(api): State<Api>, Query(query): Query<TsdbQuery>) -> Response {
    let limit = if query.limit.is_empty() { Ok(10) } else { query.limit.parse::<usize>() };
    let Some(limit) = limit.ok().filter(|limit| (1..=MOST_LISTED).contains(limit)) else {
        return bad_data(format!("limit has to be a number from 1 to {MOST_LISTED}"));
    };
    let group = if query.group.is_empty() { Ok(0) } else { query.group.parse::<u32>() };
    let Ok(group) = group else {
        return bad_data(format!("group has to be a number, not {:?}", query.group));
    };
    let client = match svc::http::client(DEADLINE) {
        Ok(client) => client,
        Err(cause) => return internal(svc::chain(cause.as_ref())),
    };
    let status = Arc::clone(&api.status.borrow());
    let Gathered { shards, good, missing } = gather(&client, &status, group).await;
    let heads = || good.iter().map(|status: &Status| &status.head_stats);
    let head_stats = HeadStats {
        num_series: heads().map(|head| head.num_series).sum(),
        chunk_count: heads().map(|head| head.chunk_count).sum(),
    };
    let pairs: Vec<&[Item]> =
        good.iter().map(|status| status.series_count_by_label_value_pair.as_slice()).collect();
    let mut series_count_by_metric_name = sum_of_metrics(&good, limit);
    let before = api.past.of(group);
    if let Some((_, before)) = &before {
        compare(&mut series_count_by_metric_name, before);
    }
    success(Ours {
        group,
        shards,
        missing,
        head_stats,
        growth_seconds: before.map(|(at, _)| (now_ms() - at) / 1_000),
        series_count_by_metric_name,
        series_count_by_label_value_pair: sum(&pairs, limit),
    })
}

/// Asks the shards now and then, so that there is something to compare with.
pub(crate) async fn watch_metrics(
    past: Past,
    status: tokio::sync::watch::Receiver<Arc<World>>,
    shutdown: svc::Shutdown,
) -> anyhow::Result<()> {
    let client = svc::http::client(DEADLINE)?;
    while shutdown.sleep(LOOK).await {
        let world = Arc::clone(&status.borrow());
        let groups: BTreeSet<u32> =
            world.shards.iter().map(|shard| shard.endpoint.id.group).collect();
        for group in groups.into_iter().filter(|group| past.is_due(*group, now_ms())) {
            let gathered = shutdown.until(gather(&client, &world, group)).await;
            let Some(gathered) = gathered else { return Ok(()) };
            // A sum that lacks shards would look like growth later.
            if !gathered.good.is_empty() && gathered.missing.is_empty() {
                let exact = sum_of_metrics(&gathered.good, ASKED).into_iter();
                let exact = exact.filter(Summed::is_exact).map(|sum| (sum.name, sum.value));
                past.note(group, exact.collect(), now_ms());
            }
        }
    }
    Ok(())
}

/// What the shards of a group have answered.
struct Gathered {
    shards: usize,
    good: Vec<Status>,
    missing: Vec<Missing>,
}

async fn gather(client: &reqwest::Client, status: &World, group: u32) -> Gathered {
    let shards = status.shards.iter().filter(|shard| shard.endpoint.id.group == group);
    let asked: Vec<_> = shards
        .map(|shard| {
            let (id, url) = (shard.endpoint.id.to_string(), shard.endpoint.prometheus.clone());
            let client = client.clone();
            async move { (id, ask(&client, url).await) }
        })
        .collect();
    let mut gathered = Gathered { shards: asked.len(), good: Vec::new(), missing: Vec::new() };
    let answers: Vec<_> = futures::stream::iter(asked).buffered(CONCURRENCY).collect().await;
    for (shard, answer) in answers {
        match answer {
            Ok(answer) => gathered.good.push(answer),
            Err(reason) => gathered.missing.push(Missing { shard, reason }),
        }
    }
    gathered
}

fn sum_of_metrics(good: &[Status], limit: usize) -> Vec<Summed> {
    let metrics: Vec<&[Item]> =
        good.iter().map(|status| status.series_count_by_metric_name.as_slice()).collect();
    sum(&metrics, limit)
}

/// By how many series metrics have grown.
fn compare(metrics: &mut [Summed], before: &HashMap<String, u64>) {
    for metric in metrics.iter_mut().filter(|metric| metric.is_exact()) {
        let before = before.get(&metric.name);
        metric.growth = before.map(|before| super::jobs::change(metric.value, *before));
    }
}

async fn ask(client: &reqwest::Client, url: Option<String>) -> Result<Status, String> {
    let Some(url) = url else { return Err("the address of its Prometheus is not known".into()) };
    let url = format!("{}/api/v1/status/tsdb?limit={ASKED}", url.trim_end_matches('/'));
    let response = client.get(url).send().await.map_err(|e| svc::chain(&e.without_url()))?;
    let status = response.status();
    if !status.is_success() {
        return Err(format!("it answered {status}"));
    }
    let body = svc::http::read_body(response, MAX_BODY).await.map_err(|e| svc::chain(&e))?;
    let read: Theirs = serde_json::from_slice(&body).map_err(|e| format!("unreadable: {e}"))?;
    Ok(read.data)
}

/// The largest over all shards. Each shard's list descends.
fn sum(shards: &[&[Item]], limit: usize) -> Vec<Summed> {
    // What something that a shard does not list has there at most.
    let unlisted = |items: &[Item]| {
        let cut = items.len() >= ASKED || items.len() == UNASKED;
        items.last().filter(|_| cut).map_or(0, |last| last.value)
    };
    let everywhere: u64 = shards.iter().map(|items| unlisted(items)).sum();
    let mut sums: HashMap<&str, (u64, u64)> = HashMap::new();
    for items in shards {
        let bound = unlisted(items);
        for item in *items {
            let (value, listed_bounds) = sums.entry(&item.name).or_default();
            *value = value.saturating_add(item.value);
            *listed_bounds += bound;
        }
    }
    let mut summed: Vec<Summed> = sums
        .into_iter()
        .map(|(name, (value, bounds))| Summed {
            name: name.to_owned(),
            value,
            at_most: value.saturating_add(everywhere.saturating_sub(bounds)),
            growth: None,
        })
        .collect();
    summed.sort_by(|a, b| b.value.cmp(&a.value).then_with(|| a.name.cmp(&b.name)));
    summed.truncate(limit);
    summed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(items: &[(&str, u64)]) -> Vec<Item> {
        items.iter().map(|(name, value)| Item { name: (*name).to_owned(), value: *value }).collect()
    }

    #[test]
    fn sums_are_exact_where_lists_are_whole_and_say_how_far_off_they_are_where_not() {
        let whole = items(&[("a", 9), ("b", 4)]);
        let cut: Vec<(String, u64)> = (0u64..10).map(|i| (format!("m{i}"), 100 - i)).collect();
        let cut: Vec<(&str, u64)> =
            cut.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let cut = items(&cut);
        let found = sum(&[&whole, &whole], 9);
        let exact = |name: &str, value| Summed {
            name: name.to_owned(),
            value,
            at_most: value,
            growth: None,
        };
        assert_eq!(found[0], exact("a", 18));
        let mut found = sum(&[&whole, &cut], 99);
        assert_eq!(found[0], exact("m0", 100));
        compare(&mut found, &HashMap::from([("m0".to_owned(), 130), ("a".to_owned(), 1)]));
        assert_eq!((found[0].growth, found[1].growth), (Some(-30), None));
        let listed_in_part = found.iter().find(|summed| summed.name == "a").unwrap();
        assert_eq!(listed_in_part.growth, None);
        let a = found.iter().find(|summed| summed.name == "a").unwrap();
        assert_eq!((a.value, a.at_most), (9, 9 + 91));
        assert_eq!(sum(&[&whole, &cut], 3).len(), 3);
        assert_eq!(sum(&[], 3), []);
    }
}
