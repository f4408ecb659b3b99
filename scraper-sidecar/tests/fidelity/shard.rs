//! A sidecar, and what a coordinator would give it: discovery and relabelling without one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use promconf::target::{self, Populated};
use promconf::{Discovery, TargetGroup, glob};
use proto::convert::labels_to_coordination;
use proto::coordination::coordination_client::CoordinationClient;
use proto::coordination::{
    AssignRequest, AssignResponse, ReportRequest, ReportResponse, Target, TargetState,
};
use scraper_sidecar::{Args, Running};
use tempfile::TempDir;
use tonic::transport::Channel;

/// Every target of a configuration, by id, as the coordinator assigns it.
pub(crate) fn targets(config: &promconf::Config) -> Vec<Target> {
    let mut targets: BTreeMap<u64, Target> = BTreeMap::new();
    for job in &config.scrape_configs {
        for group in job.discovery.iter().flat_map(groups) {
            for populated in target::populate_group(job, &group) {
                let Populated::Active(target) = populated.unwrap() else { continue };
                let labels = labels_to_coordination(&target.labels);
                // Targets that differ in labels alone have one identity, and need an id each.
                let mut id = target.id;
                while targets.get(&id).is_some_and(|other| other.labels != labels) {
                    id += 1;
                }
                let pushed = Target {
                    id,
                    job: target.job.to_string(),
                    labels,
                    state: TargetState::Active.into(),
                    series: 10,
                    churn_per_hour: None,
                };
                targets.insert(id, pushed);
            }
        }
    }
    targets.into_values().collect()
}

fn groups(discovery: &Discovery) -> Vec<TargetGroup> {
    match discovery {
        Discovery::Static(groups) => groups.clone(),
        Discovery::File { files, .. } => {
            let paths = files.iter().flat_map(|pattern| glob::expand(pattern).unwrap());
            paths.flat_map(|path| file_groups(&path)).collect()
        }
        _ => Vec::new(),
    }
}

fn file_groups(path: &Path) -> Vec<TargetGroup> {
    let Ok(text) = std::fs::read_to_string(path) else { return Vec::new() };
    let mut groups = if path.extension().is_some_and(|ending| ending == "json") {
        promconf::parse_target_groups_json(text.as_bytes(), path).unwrap()
    } else {
        promconf::parse_target_groups_yaml(&text, path).unwrap()
    };
    for group in &mut groups {
        group.labels.insert("__meta_filepath".to_owned(), path.display().to_string());
    }
    groups
}

/// A sidecar on loopback.
pub(crate) struct Shard {
    folder: TempDir,
    pub(crate) prometheus_port: u16,
    ctx: svc::Context,
    running: Running,
}

impl Shard {
    /// Relative paths of its configuration start at `base`.
    pub(crate) async fn start(base: &Path) -> Self {
        Self::start_as(base, 0).await
    }

    /// The shard of that number.
    pub(crate) async fn start_as(base: &Path, number: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let prometheus_port = testkit::free_port();
        let args = Args {
            http_address: ([127, 0, 0, 1], 0).into(),
            grpc_address: ([127, 0, 0, 1], 0).into(),
            prometheus_url: format!("http://127.0.0.1:{prometheus_port}"),
            data_dir: folder.path().join("data"),
            config_output_file: None,
            config_file: None,
            config_base_dir: Some(base.to_owned()),
            label: vec![format!(r#"prometheus_shard="{number}""#)],
            poll_interval: Duration::from_millis(500),
            churn_interval: Duration::from_secs(300),
        };
        let ctx = svc::Context::new();
        let running = scraper_sidecar::run(args.try_into().unwrap(), ctx.clone()).await.unwrap();
        Self { folder, prometheus_port, ctx, running }
    }

    pub(crate) async fn assign(
        &self,
        version: u64,
        config: &str,
        targets: Vec<Target>,
    ) -> Result<AssignResponse, tonic::Status> {
        let push = AssignRequest {
            epoch: 1,
            version,
            config: config.to_owned().into(),
            config_hash: format!("hash of version {version}"),
            targets,
            ..AssignRequest::default()
        };
        self.client().assign(push).await.map(tonic::Response::into_inner)
    }

    pub(crate) async fn report(&self) -> ReportResponse {
        self.client().report(ReportRequest::default()).await.unwrap().into_inner()
    }

    /// All that it says to others: its report, its pages.
    pub(crate) async fn said(&self) -> String {
        let mut said = format!("{:?}", self.report().await);
        let client = svc::http::client(Duration::from_secs(60)).unwrap();
        for path in ["/api/v1/shard", "/metrics", "/debug"] {
            let url = format!("http://{}{path}", self.running.http);
            said.push_str(&client.get(url).send().await.unwrap().text().await.unwrap());
        }
        said
    }

    /// What Prometheus reads.
    pub(crate) fn config_file(&self) -> PathBuf {
        self.folder.path().join("data/prometheus.yml")
    }

    /// Every file that it has written, by path.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        files_below(self.folder.path())
    }

    /// Where assignments are taken.
    pub(crate) fn grpc(&self) -> SocketAddr {
        self.running.grpc
    }

    pub(crate) async fn stop(self) {
        self.ctx.shutdown.trigger();
        self.ctx.tasks.join(Duration::from_secs(30)).await.unwrap();
    }

    fn client(&self) -> CoordinationClient<Channel> {
        let address = self.running.grpc.to_string();
        CoordinationClient::new(svc::grpc::channel(&address, Duration::from_secs(60)).unwrap())
    }
}

/// Every file below a folder.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files
}
