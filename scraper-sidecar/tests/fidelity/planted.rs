//! A secret in every place where a configuration may have one, and peers that give back what they are sent: nothing
//! that the coordinator and its shard write, answer or log has any of them, but for the configuration itself.

use std::collections::BTreeSet;
use std::fs;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use testkit::eventually;
use testkit::prometheus::{Prometheus, PrometheusConfig, PrometheusOptions};
use tokio::net::TcpListener;

use crate::coordinated::Coordinated;
use crate::scraped::PATIENCE;
use crate::secrets::{self, Log};

/// `HOST` is a server that refuses everybody and quotes the request; `NOBODY` refuses connections.
const CONFIG: &str = r"
global:
  scrape_interval: 1s
  scrape_timeout: 1s
alerting:
  alertmanagers:
  - basic_auth: {username: u, password: s3cret-alertmanager}
    static_configs: [{targets: [HOST]}]
remote_write:
- url: http://u:s3cret-write-userinfo@HOST/write
  authorization: {credentials: s3cret-write}
remote_read:
- url: http://HOST/read
  bearer_token: s3cret-read
scrape_configs:
- job_name: basic
  basic_auth: {username: u, password: s3cret-basic}
  static_configs: [{targets: [HOST, NOBODY]}]
- job_name: basic-file
  basic_auth: {username: u, password_file: secrets/password}
  static_configs: [{targets: [HOST]}]
- job_name: bearer
  bearer_token: s3cret-bearer
  static_configs: [{targets: [HOST]}]
- job_name: bearer-file
  bearer_token_file: secrets/token
  static_configs: [{targets: [HOST]}]
- job_name: authorization
  authorization: {type: Custom, credentials: s3cret-authorization}
  static_configs: [{targets: [HOST]}]
- job_name: authorization-file
  authorization: {credentials_file: secrets/not-there}
  static_configs: [{targets: [HOST]}]
- job_name: oauth2
  oauth2: {client_id: i, client_secret: s3cret-oauth, token_url: 'http://u:s3cret-token-userinfo@HOST/token', endpoint_params: {extra: s3cret-endpoint}}
  static_configs: [{targets: [HOST]}]
- job_name: oauth2-file
  oauth2: {client_id: i, client_secret_file: secrets/token, token_url: 'http://NOBODY/token'}
  static_configs: [{targets: [HOST]}]
- job_name: tls
  scheme: https
  tls_config: {cert_file: secrets/token, key_file: secrets/password}
  static_configs: [{targets: [HOST]}]
- job_name: proxy
  proxy_url: http://u:s3cret-proxy@HOST
  static_configs: [{targets: ['nowhere.invalid:80']}]
- job_name: http-sd
  http_sd_configs:
  - {url: 'http://u:s3cret-sd-userinfo@HOST/sd', refresh_interval: 1s}
  - {url: 'http://HOST/sd', basic_auth: {username: u, password: s3cret-sd-basic}, refresh_interval: 1s}
  - {url: 'http://NOBODY/sd', authorization: {credentials: s3cret-sd-refused}, refresh_interval: 1s}
- job_name: registries
  consul_sd_configs: [{server: HOST, token: s3cret-consul, refresh_interval: 1s}, {server: NOBODY, username: u, password: s3cret-consul-password}]
  nomad_sd_configs: [{server: 'http://u:s3cret-nomad-userinfo@HOST', authorization: {credentials: s3cret-nomad}, refresh_interval: 1s}]
  eureka_sd_configs: [{server: 'http://HOST/eureka', basic_auth: {username: u, password: s3cret-eureka}, refresh_interval: 1s}]
  docker_sd_configs: [{host: 'http://HOST', bearer_token: s3cret-docker, refresh_interval: 1s}]
  dockerswarm_sd_configs: [{host: 'http://HOST', role: nodes, bearer_token: s3cret-swarm, refresh_interval: 1s}]
- job_name: bridged
  ec2_sd_configs: [{region: r, access_key: a, secret_key: s3cret-ec2}]
  openstack_sd_configs: [{region: r, role: instance, password: s3cret-openstack}]
";

/// How many places there are.
const PLANTED: usize = 23;

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_anywhere_but_in_the_configuration() {
    testkit::init();
    let log = Log::capture();
    let folder = tempfile::tempdir().unwrap();
    let (host, nobody) = (parrot().await, format!("127.0.0.1:{}", testkit::free_port()));
    let text = CONFIG.replace("HOST", &host).replace("NOBODY", &nobody);
    assert_eq!(secrets::in_text(&text).len(), PLANTED);
    fs::create_dir(folder.path().join("secrets")).unwrap();
    fs::write(folder.path().join("secrets/password"), "fs3cret-password").unwrap();
    fs::write(folder.path().join("secrets/token"), "fs3cret-token").unwrap();
    let file = folder.path().join("prometheus.yml");
    fs::write(&file, text).unwrap();
    let flags = ["--coordinator.interval=200ms", "--discovery.prometheus-binary=prometheus"];
    let system = Coordinated::start(&file, 1, &flags).await;
    let shard = &system.shards[0];
    let _prometheus = Prometheus::start(PrometheusOptions {
        config: PrometheusConfig::File(shard.config_file()),
        port: Some(shard.prometheus_port),
        ..PrometheusOptions::default()
    })
    .await;
    eventually(PATIENCE, "every target was tried and failed, and so did discovery", async || {
        let trials = system.data("/api/v1/targets?state=active").await?;
        let targets = trials["activeTargets"].as_array().cloned().unwrap_or_default();
        let failed = targets.iter().filter(|target| target["lastError"] != "").count();
        let jobs = system.data("/api/v1/jobs").await?;
        let jobs = jobs["jobs"].as_array().cloned().unwrap_or_default();
        let told = jobs.iter().filter(|job| job["errors"].is_array()).count();
        // The client of the job with a broken certificate cannot be made, so that Prometheus does not scrape it.
        if failed >= 10 && told >= 3 {
            Ok(())
        } else {
            Err(format!("{failed} failed, {told} jobs tell: {trials} {jobs:?}"))
        }
    })
    .await;
    secrets::check_config("planted", &file, &system).await;
    assert_eq!(secrets::in_text(&given_to_children()), BTreeSet::new(), "given to processes");
    system.stop().await;
    assert_eq!(secrets::in_text(&log.text()), BTreeSet::new(), "log");
}

/// What every process that this one has started was given: arguments and environment.
fn given_to_children() -> String {
    let own = std::process::id().to_string();
    let is_child = |status: &str| {
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        parent.is_some_and(|parent| parent.trim() == own)
    };
    let mut given = String::new();
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let status = fs::read_to_string(process.path().join("status")).unwrap_or_default();
        for what in ["cmdline", "environ"].into_iter().filter(|_| is_child(&status)) {
            let bytes = fs::read(process.path().join(what)).unwrap_or_default();
            given.push_str(&String::from_utf8_lossy(&bytes));
        }
    }
    assert!(given.contains("--config.file"), "Prometheus is a child");
    given
}

/// A server that refuses everybody and quotes what it was sent.
async fn parrot() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let app = Router::new().fallback(quote);
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

async fn quote(request: Request) -> Response {
    let headers = request.headers();
    let quoted = format!("{} {headers:?}", request.uri());
    (StatusCode::FORBIDDEN, quoted).into_response()
}
