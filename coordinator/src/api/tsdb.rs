//! `/api/v1/status/tsdb`: the metrics and label pairs with the most series, over all shards of a replica group. Asks
//! the shards' Prometheus servers, which list a few of the largest each (web/api/v1/api.go, `serveTSDBStatus`).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::Response;
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};

use super::{Api, bad_data, internal, success};

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
    let shards = status.shards.iter().filter(|shard| shard.endpoint.id.group == group);
    let asked: Vec<_> = shards
        .map(|shard| {
            let (id, url) = (shard.endpoint.id.to_string(), shard.endpoint.prometheus.clone());
            let client = client.clone();
            async move { (id, ask(&client, url).await) }
        })
        .collect();
    let count = asked.len();
    let answers: Vec<_> = futures::stream::iter(asked).buffered(CONCURRENCY).collect().await;
    let (mut good, mut missing) = (Vec::new(), Vec::new());
    for (shard, answer) in answers {
        match answer {
            Ok(answer) => good.push(answer),
            Err(reason) => missing.push(Missing { shard, reason }),
        }
    }
    let heads = || good.iter().map(|status: &Status| &status.head_stats);
    let head_stats = HeadStats {
        num_series: heads().map(|head| head.num_series).sum(),
        chunk_count: heads().map(|head| head.chunk_count).sum(),
    };
    let metrics: Vec<&[Item]> =
        good.iter().map(|status| status.series_count_by_metric_name.as_slice()).collect();
    let pairs: Vec<&[Item]> =
        good.iter().map(|status| status.series_count_by_label_value_pair.as_slice()).collect();
    success(Ours {
        group,
        shards: count,
        missing,
        head_stats,
        series_count_by_metric_name: sum(&metrics, limit),
        series_count_by_label_value_pair: sum(&pairs, limit),
    })
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
        assert_eq!(found[0], Summed { name: "a".to_owned(), value: 18, at_most: 18 });
        let found = sum(&[&whole, &cut], 99);
        assert_eq!(found[0], Summed { name: "m0".to_owned(), value: 100, at_most: 100 });
        let a = found.iter().find(|summed| summed.name == "a").unwrap();
        assert_eq!((a.value, a.at_most), (9, 9 + 91));
        assert_eq!(sum(&[&whole, &cut], 3).len(), 3);
        assert_eq!(sum(&[], 3), []);
    }
}
