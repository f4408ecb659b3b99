//! Connections: TLS, proxy and redirects, rebuilt when a TLS file has changed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use parking_lot::Mutex;
use promconf::{ProxyConfig, TlsConfig};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::tls::{self, Material};
use super::{ClientError, USER_AGENT};

/// Most bytes that a certificate, key or secret file may have.
const MAX_FILE: u64 = 4 << 20;
/// Most time that connecting may take, whatever the time for the whole.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// What one client's requests go through.
#[derive(Debug)]
pub(super) struct Transport {
    tls: TlsConfig,
    proxy: ProxyConfig,
    timeout: Duration,
    http2: bool,
    follow_redirects: bool,
    idle: Duration,
    current: Mutex<Option<(Material, reqwest::Client)>>,
}

impl Transport {
    pub(super) fn new(
        tls: &TlsConfig,
        proxy: &ProxyConfig,
        config_dir: &Path,
        timeout: Duration,
    ) -> Result<Self, ClientError> {
        let mut tls = tls.clone();
        for file in [&mut tls.ca_file, &mut tls.cert_file, &mut tls.key_file] {
            *file = file.take().map(|path| config_dir.join(path));
        }
        let current = Mutex::new(None);
        Ok(Self {
            tls,
            proxy: proxy.clone(),
            timeout,
            http2: true,
            follow_redirects: true,
            idle: super::IDLE_TIMEOUT,
            current,
        })
    }

    pub(super) fn http2(mut self, wanted: bool) -> Self {
        self.http2 = wanted;
        self
    }

    pub(super) fn follow_redirects(mut self, wanted: bool) -> Self {
        self.follow_redirects = wanted;
        self
    }

    /// How long a connection is kept that nothing is asked over.
    pub(super) fn keep_idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// Builds the first client: everything that is wrong with the configuration shows here.
    pub(super) fn open(&self) -> Result<(), ClientError> {
        let material = Material::read(&self.tls)?;
        self.with(material).map(drop)
    }

    /// The client to use now.
    pub(super) async fn client(&self) -> Result<reqwest::Client, ClientError> {
        let tls = &self.tls;
        let fixed = tls.ca_file.is_none() && tls.cert_file.is_none() && tls.key_file.is_none();
        if fixed && let Some((_, client)) = &*self.current.lock() {
            return Ok(client.clone());
        }
        let material = Material::read_async(tls).await?;
        self.with(material)
    }

    fn with(&self, material: Material) -> Result<reqwest::Client, ClientError> {
        let mut current = self.current.lock();
        if let Some((known, client)) = &*current
            && *known == material
        {
            return Ok(client.clone());
        }
        let client = self.build(&material)?;
        *current = Some((material, client.clone()));
        Ok(client)
    }

    fn build(&self, material: &Material) -> Result<reqwest::Client, ClientError> {
        let redirects = if self.follow_redirects {
            // As Go's client.
            reqwest::redirect::Policy::limited(10)
        } else {
            reqwest::redirect::Policy::none()
        };
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::client_config(&self.tls, material, self.http2)?)
            .connect_timeout(self.timeout.min(CONNECT_TIMEOUT))
            .timeout(self.timeout)
            .pool_idle_timeout(self.idle)
            .redirect(redirects)
            .user_agent(USER_AGENT);
        if !self.http2 {
            builder = builder.http1_only();
        }
        if !self.proxy.from_environment {
            builder = builder.no_proxy();
        }
        if let Some(proxy) = proxy(&self.proxy)? {
            builder = builder.proxy(proxy);
        }
        builder.build().map_err(ClientError::Build)
    }
}

fn proxy(config: &ProxyConfig) -> Result<Option<reqwest::Proxy>, ClientError> {
    let Some(url) = &config.url else { return Ok(None) };
    // reqwest would silently connect directly where it does not know the scheme.
    let parsed = url::Url::parse(url.expose()).map_err(|_| ClientError::Proxy)?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err(ClientError::ProxyScheme(parsed.scheme().to_owned()));
    }
    let proxy = reqwest::Proxy::all(url.expose()).map_err(|_| ClientError::Proxy)?;
    let exempt = reqwest::NoProxy::from_string(&config.no_proxy);
    let mut headers = HeaderMap::new();
    for (name, values) in &config.connect_headers {
        let bad = || ClientError::Header(name.clone());
        let parsed = HeaderName::try_from(name).map_err(|_| bad())?;
        for value in values {
            let mut value = HeaderValue::try_from(value.expose()).map_err(|_| bad())?;
            value.set_sensitive(true);
            headers.append(parsed.clone(), value);
        }
    }
    Ok(Some(proxy.no_proxy(exempt).headers(headers)))
}

/// Reads a small file whole.
pub(super) async fn read(path: &Path) -> Result<Vec<u8>, ClientError> {
    let path = path.to_owned();
    let shown = path.clone();
    match tokio::task::spawn_blocking(move || read_now(&path)).await {
        Ok(read) => read,
        Err(error) => {
            Err(ClientError::Read { path: shown, source: std::io::Error::other(error.to_string()) })
        }
    }
}

/// [`read`] for those who may block.
pub(super) fn read_now(path: &Path) -> Result<Vec<u8>, ClientError> {
    use std::io::Read as _;
    let failed = |source| ClientError::Read { path: PathBuf::from(path), source };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(ClientError::FileTooLong { path: path.to_owned(), limit: MAX_FILE });
    }
    Ok(bytes)
}
