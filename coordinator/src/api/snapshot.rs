//! `/api/v1/snapshot`: every target with its size, and the shards: what `shoal tools plan --snapshot` reads.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};

use super::Api;
use crate::forecast::{KnownShard, KnownTarget, Taken};
use crate::growth::counted;
use crate::plan::TargetView;

pub(super) async fn snapshot(State(api): State<Api>) -> Response {
    let status = Arc::clone(&api.status.borrow());
    let views: HashMap<u64, &TargetView> =
        status.seen.targets.iter().map(|view| (view.id, view)).collect();
    let targets = status.found.targets.iter().map(|found| {
        let view = views.get(&found.id()).copied();
        KnownTarget {
            id: format!("{:016x}", found.id()),
            job: found.job.to_string(),
            url: found.target.url(),
            series: view.and_then(counted),
            churn_per_hour: view.map_or(0, |view| view.churn),
        }
    });
    let shards = status.shards.iter().map(|shard| KnownShard {
        id: shard.endpoint.id.to_string(),
        max_series: shard.max_series,
        series: shard.series,
    });
    let taken = Taken {
        groups: status.seen.groups,
        max_series: status.basis.limits.max_series,
        targets: targets.collect(),
        shards: shards.collect(),
    };
    Json(taken).into_response()
}
