//! A sidecar in this process, a Prometheus beside it, and the coordinator's side of the wire.

use std::path::{Path, PathBuf};
use std::time::Duration;

use model::Labels;
use proto::convert::labels_to_coordination;
use proto::coordination::coordination_client::CoordinationClient;
use proto::coordination::{
    AssignRequest, AssignResponse, ReportRequest, ReportResponse, Target, TargetReport, TargetState,
};
use scraper_sidecar::{Args, Running};
use tempfile::TempDir;
use testkit::eventually;
use testkit::prometheus::{Prometheus, PrometheusConfig, PrometheusOptions};
use tonic::transport::Channel;

/// Prometheus takes up changed files of targets every five seconds only.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) const CONFIG: &str = "\
global:
  scrape_interval: 1s
  external_labels:
    cluster: test
scrape_configs:
- job_name: app
  static_configs:
  - targets: [ignored:1]
  metric_relabel_configs:
  - source_labels: [__name__]
    regex: noise
    action: drop
";

pub(crate) struct World {
    _folder: TempDir,
    pub(crate) prometheus_port: u16,
    pub(crate) args: Args,
    sidecar: Option<(svc::Context, Running)>,
}

impl World {
    /// A started sidecar; no Prometheus yet.
    pub(crate) async fn new() -> Self {
        Self::with(|_, _| {}).await
    }

    /// Like [`Self::new`], with a chance to prepare the folder and the flags.
    pub(crate) async fn with(prepare: impl FnOnce(&Path, &mut Args)) -> Self {
        testkit::init();
        let folder = tempfile::tempdir().unwrap();
        let prometheus_port = testkit::free_port();
        let mut args = Args {
            http_address: ([127, 0, 0, 1], 0).into(),
            grpc_address: ([127, 0, 0, 1], 0).into(),
            prometheus_url: format!("http://127.0.0.1:{prometheus_port}"),
            data_dir: folder.path().join("sidecar"),
            config_output_file: Some(folder.path().join("out/prometheus.yml")),
            config_file: None,
            config_base_dir: None,
            label: vec![r#"prometheus_replica="0""#.to_owned()],
            poll_interval: Duration::from_millis(200),
            churn_interval: Duration::from_secs(300),
        };
        std::fs::create_dir_all(&args.data_dir).unwrap();
        prepare(folder.path(), &mut args);
        let mut world = Self { _folder: folder, prometheus_port, args, sidecar: None };
        world.start_sidecar().await;
        world
    }

    pub(crate) async fn start_sidecar(&mut self) {
        let ctx = svc::Context::new();
        let config = self.args.clone().try_into().unwrap();
        let running = scraper_sidecar::run(config, ctx.clone()).await.unwrap();
        assert_eq!(ctx.probe.reason(), None);
        self.sidecar = Some((ctx, running));
    }

    pub(crate) async fn stop_sidecar(&mut self) {
        let (ctx, _) = self.sidecar.take().unwrap();
        ctx.shutdown.trigger();
        ctx.tasks.join(Duration::from_secs(30)).await.unwrap();
    }

    /// Starts Prometheus on the sidecar's file.
    pub(crate) async fn start_prometheus(&self) -> Prometheus {
        Prometheus::start(self.prometheus_options()).await
    }

    pub(crate) fn prometheus_options(&self) -> PrometheusOptions {
        PrometheusOptions {
            config: PrometheusConfig::File(self.output_file()),
            port: Some(self.prometheus_port),
            ..PrometheusOptions::default()
        }
    }

    pub(crate) fn output_file(&self) -> PathBuf {
        self.args.config_output_file.clone().unwrap()
    }

    pub(crate) fn output(&self) -> String {
        std::fs::read_to_string(self.output_file()).unwrap()
    }

    /// Every file that Prometheus reads: path, content, inode.
    pub(crate) fn files(&self) -> Vec<(PathBuf, String, u64)> {
        use std::os::unix::fs::MetadataExt;
        let targets = std::fs::read_dir(self.args.data_dir.join("targets")).unwrap();
        let mut paths: Vec<PathBuf> = targets.map(|entry| entry.unwrap().path()).collect();
        paths.push(self.output_file());
        paths.sort();
        paths
            .into_iter()
            .map(|path| {
                let content = std::fs::read_to_string(&path).unwrap();
                let inode = std::fs::metadata(&path).unwrap().ino();
                (path, content, inode)
            })
            .collect()
    }

    fn client(&self) -> CoordinationClient<Channel> {
        let (_, running) = self.sidecar.as_ref().unwrap();
        let address = running.grpc.to_string();
        CoordinationClient::new(svc::grpc::channel(&address, Duration::from_secs(5)).unwrap())
    }

    pub(crate) async fn try_assign(
        &self,
        push: AssignRequest,
    ) -> Result<AssignResponse, tonic::Status> {
        self.client().assign(push).await.map(tonic::Response::into_inner)
    }

    pub(crate) async fn assign(&self, push: AssignRequest) -> AssignResponse {
        self.try_assign(push).await.unwrap()
    }

    pub(crate) async fn report(&self) -> ReportResponse {
        self.report_as(ReportRequest::default()).await
    }

    /// As somebody asks for it.
    pub(crate) async fn report_as(&self, asked: ReportRequest) -> ReportResponse {
        self.client().report(asked).await.unwrap().into_inner()
    }

    /// Waits until a target's report is as wanted.
    pub(crate) async fn target(
        &self,
        id: u64,
        what: &str,
        wanted: impl Fn(&TargetReport) -> bool,
    ) -> TargetReport {
        eventually(PATIENCE, what, async || {
            let report = self.report().await;
            let found = report.targets.iter().find(|t| t.target.as_ref().unwrap().id == id);
            found.filter(|target| wanted(target)).cloned().ok_or(format!("{report:?}"))
        })
        .await
    }

    /// Waits until the whole report is as wanted.
    pub(crate) async fn reported(
        &self,
        what: &str,
        wanted: impl Fn(&ReportResponse) -> bool,
    ) -> ReportResponse {
        eventually(PATIENCE, what, async || {
            let report = self.report().await;
            if wanted(&report) { Ok(report) } else { Err(format!("{report:?}")) }
        })
        .await
    }

    /// Any page of the sidecar's HTTP server.
    pub(crate) async fn page(&self, path: &str) -> String {
        let (_, running) = self.sidecar.as_ref().unwrap();
        let client = svc::http::client(Duration::from_secs(10)).unwrap();
        let response = client.get(format!("http://{}{path}", running.http)).send().await.unwrap();
        assert!(response.status().is_success(), "{path}: {}", response.status());
        response.text().await.unwrap()
    }

    /// One of the sidecar's own metrics.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let page = self.page("/metrics").await;
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in\n{page}")).parse().unwrap()
    }
}

/// A push of version 1.`version` with the whole configuration.
pub(crate) fn push(version: u64, config: &str, targets: Vec<Target>) -> AssignRequest {
    AssignRequest {
        epoch: 1,
        version,
        config: config.to_owned().into(),
        config_hash: format!("hash of {} bytes", config.len()),
        targets,
        ..AssignRequest::default()
    }
}

/// A target of job `app` as the coordinator relabels it.
pub(crate) fn target(id: u64, address: &str, labels: &[(&str, &str)]) -> Target {
    let fixed = [
        ("__address__", address),
        ("__scheme__", "http"),
        ("__metrics_path__", "/metrics"),
        ("__scrape_interval__", "1s"),
        ("__scrape_timeout__", "1s"),
        ("instance", address),
        ("job", "app"),
    ];
    let labels = Labels::from_pairs(fixed.into_iter().chain(labels.iter().copied()));
    Target {
        id,
        job: "app".to_owned(),
        labels: labels_to_coordination(&labels),
        state: TargetState::Active.into(),
        series: 3,
        churn_per_hour: None,
    }
}
