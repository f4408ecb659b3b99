//! A StoreAPI server with given series and given faults.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use model::{Labels, Matcher};
use parking_lot::Mutex;
use proto::thanos;
use proto::thanos::info::info_server::{Info, InfoServer};
use proto::thanos::info::{InfoRequest, InfoResponse, MetricMetadataInfo, StoreInfo, TargetsInfo};
use proto::thanos::metadata_server::{Metadata, MetadataServer};
use proto::thanos::series_response::Result as Frame;
use proto::thanos::store_server::{Store, StoreServer};
use proto::thanos::targets_server::{Targets, TargetsServer};
use tonic::{Request, Response, Status};

/// How often a server looks whether there was another request.
const POLL: Duration = Duration::from_millis(5);

/// What goes wrong in Series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    #[default]
    None,
    /// Never answers.
    Hangs,
    /// Answers the first half, then never again.
    HangsHalfway,
    /// Answers the first half, then fails.
    FailsHalfway,
    /// Answers the first half, and the rest once there was another request.
    WaitsForAnother,
    /// Sends its series in descending order.
    Descends,
    /// Sends chunks of random bytes.
    Garbage,
}

/// What the server knows and how it behaves.
#[derive(Debug, Clone)]
pub struct Fake {
    pub external: Labels,
    /// Without the external labels.
    pub series: Vec<(Labels, Vec<(i64, f64)>)>,
    /// Series whose chunk is given; without the external labels.
    pub encoded: Vec<(Labels, thanos::AggrChunk)>,
    pub fault: Fault,
    pub removes_replica_labels: bool,
    pub metadata: bool,
    pub targets: bool,
    /// Requests seen.
    pub seen: Arc<Mutex<Vec<thanos::SeriesRequest>>>,
    /// Info hangs, too, while a Series call does.
    pub deaf: bool,
    /// Series calls that hang.
    pub open: Arc<AtomicUsize>,
}

impl Fake {
    pub fn new(external: &[(&str, &str)]) -> Self {
        Self {
            external: Labels::from_pairs(external.iter().copied()),
            series: Vec::new(),
            encoded: Vec::new(),
            fault: Fault::None,
            removes_replica_labels: true,
            metadata: true,
            targets: true,
            seen: Arc::default(),
            deaf: false,
            open: Arc::default(),
        }
    }

    pub fn series(mut self, labels: &[(&str, &str)], samples: &[(i64, f64)]) -> Self {
        self.series.push((Labels::from_pairs(labels.iter().copied()), samples.to_vec()));
        self
    }

    pub fn fault(mut self, fault: Fault) -> Self {
        self.fault = fault;
        self
    }

    /// Serves on a free port until its context is shut down.
    pub async fn serve(&self) -> (SocketAddr, svc::Context) {
        self.serve_at("127.0.0.1:0".parse().unwrap()).await
    }

    pub async fn serve_at(&self, address: SocketAddr) -> (SocketAddr, svc::Context) {
        let ctx = svc::Context::new();
        let routes = tonic::service::Routes::new(StoreServer::new(self.clone()))
            .add_service(InfoServer::new(self.clone()))
            .add_service(TargetsServer::new(self.clone()))
            .add_service(MetadataServer::new(self.clone()));
        let address = svc::grpc::serve(address, routes, &ctx).await.unwrap();
        (address, ctx)
    }

    fn all(&self, without: &[String]) -> Vec<(Labels, Vec<(i64, f64)>)> {
        let mut all: Vec<_> = self
            .series
            .iter()
            .map(|(labels, samples)| {
                let mut builder = labels.to_builder();
                for (name, value) in self.external.iter() {
                    builder.set(name, value);
                }
                (builder.build().filter(|name| !without.iter().any(|w| w == name)), samples.clone())
            })
            .collect();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all
    }

    fn matching(&self, matchers: &[thanos::LabelMatcher]) -> Vec<Labels> {
        let matchers = compile(matchers);
        let all = self.all(&[]).into_iter().map(|(labels, _)| labels);
        all.filter(|labels| matchers.iter().all(|m| m.matches_labels(labels))).collect()
    }
}

/// Counts a call for as long as it hangs.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn new(open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::SeqCst);
        Self(open.clone())
    }

    async fn hang(self) -> Status {
        std::future::pending().await
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn compile(matchers: &[thanos::LabelMatcher]) -> Vec<Matcher> {
    matchers.iter().map(|m| proto::convert::matcher_from_thanos(m).unwrap()).collect()
}

/// Chunks of at most 120 samples.
fn chunks(samples: &[(i64, f64)], garbage: bool) -> Vec<thanos::AggrChunk> {
    samples
        .chunks(120)
        .map(|part| {
            let mut encoder = tsdb::chunk::xor::Encoder::new();
            for (timestamp, value) in part {
                encoder.append(*timestamp, *value);
            }
            let mut data = encoder.finish();
            if garbage {
                data.iter_mut().enumerate().for_each(|(i, b)| *b ^= (i * 37 + 11) as u8);
            }
            thanos::AggrChunk {
                min_time: part[0].0,
                max_time: part[part.len() - 1].0,
                raw: Some(thanos::Chunk { r#type: 0, data: data.into(), hash: 0 }),
                ..thanos::AggrChunk::default()
            }
        })
        .collect()
}

type Frames = Pin<Box<dyn Stream<Item = Result<thanos::SeriesResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Store for Fake {
    type SeriesStream = Frames;

    async fn series(
        &self,
        request: Request<thanos::SeriesRequest>,
    ) -> Result<Response<Frames>, Status> {
        let request = request.into_inner();
        self.seen.lock().push(request.clone());
        if self.fault == Fault::Hangs {
            Open::new(&self.open).hang().await;
        }
        let without = match self.removes_replica_labels {
            true => request.without_replica_labels.clone(),
            false => Vec::new(),
        };
        let matchers = compile(&request.matchers);
        let mut frames: Vec<_> = self
            .all(&[])
            .into_iter()
            .filter(|(labels, _)| matchers.iter().all(|m| m.matches_labels(labels)))
            .map(|(labels, samples)| {
                let labels = labels.filter(|name| !without.iter().any(|w| w == name));
                let in_range =
                    |(t, _): &&(i64, f64)| (request.min_time..=request.max_time).contains(t);
                let samples: Vec<_> = samples.iter().filter(in_range).copied().collect();
                let chunks = match request.skip_chunks {
                    true => Vec::new(),
                    false => chunks(&samples, self.fault == Fault::Garbage),
                };
                (labels, chunks)
            })
            .collect();
        let encoded =
            self.encoded.iter().filter(|(l, _)| matchers.iter().all(|m| m.matches_labels(l)));
        frames.extend(encoded.map(|(labels, chunk)| (labels.clone(), vec![chunk.clone()])));
        frames.sort_by(|(a, _), (b, _)| a.cmp(b));
        if self.fault == Fault::Descends {
            frames.reverse();
        }
        let keep = match self.fault {
            Fault::FailsHalfway | Fault::HangsHalfway => frames.len() / 2,
            _ => frames.len(),
        };
        let sent = frames.into_iter().take(keep).map(|(labels, chunks)| {
            let labels = proto::convert::labels_to_thanos(&labels);
            let series = thanos::Series { labels, chunks };
            Ok(thanos::SeriesResponse { result: Some(Frame::Series(series)) })
        });
        let mut sent: Vec<_> = sent.collect();
        let rest: Frames = match self.fault {
            Fault::FailsHalfway => Box::pin(stream::iter([Err(Status::internal("disk on fire"))])),
            Fault::HangsHalfway => {
                let open = Open::new(&self.open);
                Box::pin(stream::once(async move { Err(open.hang().await) }))
            }
            Fault::WaitsForAnother => {
                let (late, seen) = (sent.split_off(sent.len() / 2), self.seen.clone());
                let another = async move {
                    while seen.lock().len() < 2 {
                        tokio::time::sleep(POLL).await;
                    }
                    stream::iter(late)
                };
                Box::pin(stream::once(another).flatten())
            }
            _ => Box::pin(stream::empty()),
        };
        Ok(Response::new(Box::pin(stream::iter(sent).chain(rest))))
    }

    async fn label_names(
        &self,
        request: Request<thanos::LabelNamesRequest>,
    ) -> Result<Response<thanos::LabelNamesResponse>, Status> {
        let mut names: Vec<String> = self
            .matching(&request.get_ref().matchers)
            .iter()
            .flat_map(|labels| labels.iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>())
            .collect();
        names.sort();
        names.dedup();
        Ok(Response::new(thanos::LabelNamesResponse { names, ..Default::default() }))
    }

    async fn label_values(
        &self,
        request: Request<thanos::LabelValuesRequest>,
    ) -> Result<Response<thanos::LabelValuesResponse>, Status> {
        let request = request.into_inner();
        let matching = self.matching(&request.matchers);
        let mut values: Vec<String> =
            matching.iter().filter_map(|l| l.get(&request.label)).map(str::to_owned).collect();
        values.sort();
        values.dedup();
        Ok(Response::new(thanos::LabelValuesResponse { values, ..Default::default() }))
    }
}

#[tonic::async_trait]
impl Info for Fake {
    async fn info(&self, _: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        if self.deaf && self.open.load(Ordering::SeqCst) > 0 {
            std::future::pending::<()>().await;
        }
        let labels = proto::convert::labels_to_thanos(&self.external);
        Ok(Response::new(InfoResponse {
            label_sets: vec![thanos::LabelSet { labels }],
            component_type: "sidecar".to_owned(),
            store: Some(StoreInfo {
                min_time: 0,
                max_time: i64::MAX,
                supports_without_replica_labels: self.removes_replica_labels,
                ..StoreInfo::default()
            }),
            targets: self.targets.then_some(TargetsInfo {}),
            metric_metadata: self.metadata.then_some(MetricMetadataInfo {}),
            ..InfoResponse::default()
        }))
    }
}

#[tonic::async_trait]
impl Targets for Fake {
    type TargetsStream =
        Pin<Box<dyn Stream<Item = Result<thanos::TargetsResponse, Status>> + Send>>;

    async fn targets(
        &self,
        _: Request<thanos::TargetsRequest>,
    ) -> Result<Response<Self::TargetsStream>, Status> {
        let target = thanos::ActiveTarget {
            discovered_labels: Some(thanos::LabelSet {
                labels: vec![thanos::Label { name: "__address__".into(), value: "a:1".into() }],
            }),
            labels: Some(thanos::LabelSet {
                labels: vec![thanos::Label { name: "job".into(), value: "node".into() }],
            }),
            scrape_pool: "node".into(),
            scrape_url: "http://a:1/metrics".into(),
            global_url: "http://a:1/metrics".into(),
            last_error: String::new(),
            last_scrape: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 5_000_000 }),
            last_scrape_duration: 0.25,
            health: thanos::TargetHealth::Up.into(),
        };
        let discovery =
            thanos::TargetDiscovery { active_targets: vec![target], dropped_targets: Vec::new() };
        let result = Some(thanos::targets_response::Result::Targets(discovery));
        let messages = [Ok(thanos::TargetsResponse { result })];
        Ok(Response::new(Box::pin(stream::iter(messages))))
    }
}

#[tonic::async_trait]
impl Metadata for Fake {
    type MetricMetadataStream =
        Pin<Box<dyn Stream<Item = Result<thanos::MetricMetadataResponse, Status>> + Send>>;

    async fn metric_metadata(
        &self,
        _: Request<thanos::MetricMetadataRequest>,
    ) -> Result<Response<Self::MetricMetadataStream>, Status> {
        let meta =
            thanos::Meta { r#type: "gauge".into(), help: "Is it up?".into(), unit: String::new() };
        let entry = thanos::MetricMetadataEntry { metas: vec![meta] };
        let metadata =
            thanos::MetricMetadata { metadata: [("up".to_owned(), entry)].into_iter().collect() };
        let result = Some(thanos::metric_metadata_response::Result::Metadata(metadata));
        let messages = [Ok(thanos::MetricMetadataResponse { result })];
        Ok(Response::new(Box::pin(stream::iter(messages))))
    }
}
