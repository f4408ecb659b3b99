//! HTTP clients as a `prometheus.yml` describes them: authentication, TLS, proxies, extra headers.
//!
//! Everything that the configuration names as a file is read again for each request, so that a rotated password or
//! certificate is used at once. What differs from Prometheus: TLS starts at 1.2, and with `server_name` the name is
//! verified but not sent as SNI.

mod credential;
mod oauth2;
#[cfg(test)]
mod tests;
mod tls;
mod transport;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use promconf::HttpClientConfig;
use reqwest::header::HeaderMap;

use credential::Credential;
use transport::Transport;

/// How a scrape introduces itself.
const USER_AGENT: &str = concat!("shoal/", env!("CARGO_PKG_VERSION"));

/// How long a connection is kept that nothing is asked over.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// Why a client could not be built, or a request not be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{} is longer than {limit} bytes", path.display())]
    FileTooLong { path: PathBuf, limit: u64 },
    #[error("{what} is no PEM of the expected kind")]
    Pem { what: &'static str },
    #[error("set up TLS")]
    Tls(#[source] rustls::Error),
    #[error("verify with the given certificate authorities")]
    Roots(#[source] rustls::server::VerifierBuilderError),
    #[error("max_version of TLS is below 1.2, which is not supported")]
    TlsTooOld,
    #[error("min_version of TLS is above max_version")]
    TlsVersions,
    #[error("server_name {0:?} is no host name")]
    ServerName(String),
    /// Without its cause, which may show the proxy's password.
    #[error("proxy_url is no usable proxy")]
    Proxy,
    #[error("proxies of scheme {0:?} are not supported")]
    ProxyScheme(String),
    #[error("header {0} has a value or name that HTTP does not allow")]
    Header(String),
    #[error("OAuth 2.0 grant type {0:?} is not supported")]
    GrantType(String),
    #[error("build HTTP client")]
    Build(#[source] reqwest::Error),
    #[error("fetch OAuth 2.0 token")]
    Token(#[source] reqwest::Error),
    #[error("token endpoint answered {0}")]
    TokenStatus(reqwest::StatusCode),
    #[error("read answer of the token endpoint")]
    TokenBody(#[source] svc::http::BodyError),
    #[error("token endpoint gave no access token")]
    NoToken,
    #[error("send request")]
    Send(#[source] reqwest::Error),
}

/// A client for one `HttpClientConfig`. Clones share connections and token.
#[derive(Debug, Clone)]
pub struct HttpClient {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    transport: Transport,
    credential: Credential,
    headers: credential::Headers,
}

/// Builds the client of a job or of an HTTP discovery. Relative paths start from `config_dir`; connecting, and
/// fetching a token, may take `timeout`. Fails where the configuration cannot work: missing TLS files, bad PEM, a proxy
/// of an unknown kind.
pub fn build(
    config: &HttpClientConfig,
    config_dir: &Path,
    timeout: Duration,
) -> Result<HttpClient, ClientError> {
    build_for_many(config, config_dir, timeout, IDLE_TIMEOUT)
}

/// Like [`build`], for a client that asks ever new servers: connections are kept for `idle` only. Each takes some 30 kB
/// and a file descriptor.
pub fn build_for_many(
    config: &HttpClientConfig,
    config_dir: &Path,
    timeout: Duration,
    idle: Duration,
) -> Result<HttpClient, ClientError> {
    let transport = Transport::new(&config.tls, &config.proxy, config_dir, timeout)?
        .http2(config.enable_http2)
        .follow_redirects(config.follow_redirects)
        .keep_idle(idle);
    transport.open()?;
    let credential = Credential::new(config, config_dir, timeout)?;
    let headers = credential::Headers::new(&config.http_headers, config_dir);
    Ok(HttpClient { inner: Arc::new(Inner { transport, credential, headers }) })
}

impl HttpClient {
    /// Sends a GET with these headers beside the configured ones. The whole exchange, the body included, has to end
    /// within `timeout`. Any status is an answer. Bodies are unzipped while they are read.
    pub async fn get(
        &self,
        url: &str,
        headers: HeaderMap,
        timeout: Duration,
    ) -> Result<reqwest::Response, ClientError> {
        let Inner { transport, credential, headers: configured } = &*self.inner;
        let client = transport.client().await?;
        let mut request = client.get(url).timeout(timeout).headers(headers);
        for (name, value) in configured.read().await? {
            request = request.header(name, value);
        }
        if let Some(value) = credential.header().await? {
            request = request.header(reqwest::header::AUTHORIZATION, value);
        }
        // The URL may hold secrets as parameters, and whoever reports the error knows it anyway.
        let response =
            request.send().await.map_err(|error| ClientError::Send(error.without_url()))?;
        if response.status() == reqwest::StatusCode::UNAUTHORIZED {
            credential.refused().await;
        }
        Ok(response)
    }
}
