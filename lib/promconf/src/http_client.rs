//! The HTTP client block that scrape jobs and HTTP discovery share (prometheus/common config/http_config.go).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::reader::Section;
use crate::schema::join;
use crate::{Error, Secret, ServerUrl};

/// How to reach a target. Only one of `basic_auth`, `authorization` and `oauth2` is set; the old `bearer_token` and
/// `bearer_token_file` have become an `authorization`. Paths are absolute.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpClientConfig {
    pub basic_auth: Option<BasicAuth>,
    pub authorization: Option<Authorization>,
    pub oauth2: Option<Box<OAuth2>>,
    pub tls: TlsConfig,
    pub proxy: ProxyConfig,
    /// Default true.
    pub follow_redirects: bool,
    /// Default true.
    pub enable_http2: bool,
    /// Extra request headers by name.
    pub http_headers: BTreeMap<String, Header>,
}

impl Default for HttpClientConfig {
    fn default() -> Self {
        Self {
            basic_auth: None,
            authorization: None,
            oauth2: None,
            tls: TlsConfig::default(),
            proxy: ProxyConfig::default(),
            follow_redirects: true,
            enable_http2: true,
            http_headers: BTreeMap::new(),
        }
    }
}

/// `basic_auth`; of text and file at most one is set.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BasicAuth {
    pub username: String,
    pub username_file: Option<PathBuf>,
    pub password: Secret,
    pub password_file: Option<PathBuf>,
}

/// `authorization`: the header `Authorization: <kind> <credentials>`.
#[derive(Debug, Clone, PartialEq)]
pub struct Authorization {
    /// `type`, default `Bearer`; never `basic`.
    pub kind: String,
    pub credentials: Secret,
    pub credentials_file: Option<PathBuf>,
}

/// `oauth2`: a token fetched from `token_url`.
#[derive(Debug, Clone, PartialEq)]
pub struct OAuth2 {
    pub client_id: String,
    pub client_secret: Secret,
    pub client_secret_file: Option<PathBuf>,
    /// Empty means `client_credentials`.
    pub grant_type: String,
    pub scopes: Vec<String>,
    pub token_url: ServerUrl,
    /// Some endpoints want a password among them.
    pub endpoint_params: BTreeMap<String, Secret>,
    pub tls: TlsConfig,
    pub proxy: ProxyConfig,
}

/// `tls_config`; of text and file at most one is set, key and certificate only together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TlsConfig {
    /// PEM.
    pub ca: Option<String>,
    pub ca_file: Option<PathBuf>,
    /// PEM.
    pub cert: Option<String>,
    pub cert_file: Option<PathBuf>,
    /// PEM.
    pub key: Secret,
    pub key_file: Option<PathBuf>,
    /// Name to verify instead of the host; empty when unset.
    pub server_name: String,
    pub insecure_skip_verify: bool,
    pub min_version: Option<TlsVersion>,
    pub max_version: Option<TlsVersion>,
}

/// `TLS10` … `TLS13`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    Tls10,
    Tls11,
    Tls12,
    Tls13,
}

/// `proxy_url`, `no_proxy`, `proxy_from_environment`, `proxy_connect_header`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProxyConfig {
    /// A URL; a secret because it may hold a password.
    pub url: Option<Secret>,
    /// Comma-separated hosts, as in the environment variable `NO_PROXY`.
    pub no_proxy: String,
    pub from_environment: bool,
    /// Headers for `CONNECT` requests.
    pub connect_headers: BTreeMap<String, Vec<Secret>>,
}

/// One of `http_headers`: every value is sent as a header line of its own.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Header {
    pub values: Vec<String>,
    pub secrets: Vec<Secret>,
    /// Each file's trimmed content is a value.
    pub files: Vec<PathBuf>,
}

/// Headers that Prometheus sets itself, in lower case (prometheus/common config/headers.go).
const RESERVED_HEADERS: [&str; 18] = [
    "authorization",
    "host",
    "content-encoding",
    "content-length",
    "content-type",
    "user-agent",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "www-authenticate",
    "accept-encoding",
    "x-prometheus-remote-write-version",
    "x-prometheus-remote-read-version",
    "x-prometheus-scrape-timeout-seconds",
    "x-amz-date",
    "x-amz-security-token",
    "x-amz-content-sha256",
];

impl HttpClientConfig {
    /// Reads the block's keys, which stand among others in `section`.
    pub(crate) fn read(section: &Section<'_>, folder: &Path) -> Result<Self, Error> {
        let bearer_token = section.secret("bearer_token")?;
        let bearer_token_file = path(section, "bearer_token_file", folder)?;
        let has_bearer = !bearer_token.is_empty() || bearer_token_file.is_some();
        let basic_auth = section
            .section("basic_auth")?
            .map(|section| BasicAuth::read(&section, folder))
            .transpose()?;
        let authorization = section
            .section("authorization")?
            .map(|section| Authorization::read(&section, folder))
            .transpose()?;
        let oauth2 = section
            .section("oauth2")?
            .map(|section| OAuth2::read(&section, folder).map(Box::new))
            .transpose()?;
        let ways = [basic_auth.is_some(), authorization.is_some(), oauth2.is_some(), has_bearer];
        if ways.iter().filter(|&&set| set).count() > 1 {
            let what = "at most one of basic_auth, authorization, oauth2, bearer_token and bearer_token_file \
                        may be configured";
            return Err(section.error("", what));
        }
        if !bearer_token.is_empty() && bearer_token_file.is_some() {
            return Err(section.error(
                "bearer_token",
                "at most one of bearer_token and bearer_token_file may be configured",
            ));
        }
        let bearer = || Authorization {
            kind: "Bearer".to_owned(),
            credentials: bearer_token,
            credentials_file: bearer_token_file,
        };
        Ok(Self {
            basic_auth,
            authorization: authorization.or_else(|| has_bearer.then(bearer)),
            oauth2,
            tls: TlsConfig::read(section, folder)?,
            proxy: ProxyConfig::read(section)?,
            follow_redirects: section.boolean("follow_redirects")?.unwrap_or(true),
            enable_http2: section.boolean("enable_http2")?.unwrap_or(true),
            http_headers: read_headers(section, folder)?,
        })
    }
}

impl BasicAuth {
    fn read(section: &Section<'_>, folder: &Path) -> Result<Self, Error> {
        at_most_one(section, &["username", "username_file", "username_ref"])?;
        at_most_one(section, &["password", "password_file", "password_ref"])?;
        Ok(Self {
            username: section.string_or_empty("username")?,
            username_file: path(section, "username_file", folder)?,
            password: section.secret("password")?,
            password_file: path(section, "password_file", folder)?,
        })
    }
}

impl Authorization {
    fn read(section: &Section<'_>, folder: &Path) -> Result<Self, Error> {
        at_most_one(section, &["credentials", "credentials_file", "credentials_ref"])?;
        let kind = section.string_or_empty("type")?;
        let kind = match kind.trim() {
            "" => "Bearer",
            kind if kind.eq_ignore_ascii_case("basic") => {
                return Err(section.error("type", "cannot be \"basic\", use basic_auth instead"));
            }
            kind => kind,
        };
        Ok(Self {
            kind: kind.to_owned(),
            credentials: section.secret("credentials")?,
            credentials_file: path(section, "credentials_file", folder)?,
        })
    }
}

impl OAuth2 {
    fn read(section: &Section<'_>, folder: &Path) -> Result<Self, Error> {
        let client_id = section.string_or_empty("client_id")?;
        let token_url = section.string_or_empty("token_url")?;
        if client_id.is_empty() {
            return Err(section.error("client_id", "has to be configured"));
        }
        if token_url.is_empty() {
            return Err(section.error("token_url", "has to be configured"));
        }
        at_most_one(section, &["client_secret", "client_secret_file", "client_secret_ref"])?;
        Ok(Self {
            client_id,
            client_secret: section.secret("client_secret")?,
            client_secret_file: path(section, "client_secret_file", folder)?,
            grant_type: section.string_or_empty("grant_type")?,
            scopes: section.strings("scopes")?.unwrap_or_default(),
            token_url: ServerUrl::new(token_url),
            endpoint_params: section
                .string_map("endpoint_params")?
                .into_iter()
                .map(|(name, value)| (name, Secret::new(value)))
                .collect(),
            tls: TlsConfig::read(section, folder)?,
            proxy: ProxyConfig::read(section)?,
        })
    }
}

impl TlsConfig {
    fn read(parent: &Section<'_>, folder: &Path) -> Result<Self, Error> {
        let Some(section) = parent.section("tls_config")? else { return Ok(Self::default()) };
        at_most_one(&section, &["ca", "ca_file", "ca_ref"])?;
        let cert = at_most_one(&section, &["cert", "cert_file", "cert_ref"])?;
        let key = at_most_one(&section, &["key", "key_file", "key_ref"])?;
        if cert != key {
            return Err(section
                .error("", "a client certificate and its key have to be configured together"));
        }
        let text = |name| section.string(name).map(|text| text.filter(|text| !text.is_empty()));
        Ok(Self {
            ca: text("ca")?,
            ca_file: path(&section, "ca_file", folder)?,
            cert: text("cert")?,
            cert_file: path(&section, "cert_file", folder)?,
            key: section.secret("key")?,
            key_file: path(&section, "key_file", folder)?,
            server_name: section.string_or_empty("server_name")?,
            insecure_skip_verify: section.boolean("insecure_skip_verify")?.unwrap_or(false),
            min_version: tls_version(&section, "min_version")?,
            max_version: tls_version(&section, "max_version")?,
        })
    }
}

fn tls_version(section: &Section<'_>, key: &str) -> Result<Option<TlsVersion>, Error> {
    let Some(text) = section.string(key)? else { return Ok(None) };
    match text.as_str() {
        "TLS10" => Ok(Some(TlsVersion::Tls10)),
        "TLS11" => Ok(Some(TlsVersion::Tls11)),
        "TLS12" => Ok(Some(TlsVersion::Tls12)),
        "TLS13" => Ok(Some(TlsVersion::Tls13)),
        _ => Err(section.error(key, format!("unknown TLS version: {text}"))),
    }
}

impl ProxyConfig {
    fn read(section: &Section<'_>) -> Result<Self, Error> {
        let url = section.string("proxy_url")?;
        if let Some(text) = url.as_deref().filter(|text| !text.is_empty()) {
            // The cause is left out: it may quote the password.
            url::Url::parse(text).map_err(|_| section.error("proxy_url", "is no URL"))?;
        }
        let headers = section.list_map("proxy_connect_header")?;
        let proxy = Self {
            no_proxy: section.string_or_empty("no_proxy")?,
            from_environment: section.boolean("proxy_from_environment")?.unwrap_or(false),
            connect_headers: headers
                .into_iter()
                .map(|(name, values)| (name, values.into_iter().map(Secret::new).collect()))
                .collect(),
            url: url.clone().filter(|text| !text.is_empty()).map(Secret::new),
        };
        if !proxy.connect_headers.is_empty() && !proxy.from_environment && proxy.url.is_none() {
            let what = "needs proxy_url or proxy_from_environment, too";
            return Err(section.error("proxy_connect_header", what));
        }
        if proxy.from_environment && proxy.url.is_some() {
            return Err(section.error("proxy_url", "excludes proxy_from_environment"));
        }
        if proxy.from_environment && !proxy.no_proxy.is_empty() {
            return Err(section.error("no_proxy", "excludes proxy_from_environment"));
        }
        if url.is_none() && !proxy.no_proxy.is_empty() {
            return Err(section.error("no_proxy", "needs proxy_url, too"));
        }
        Ok(proxy)
    }
}

fn read_headers(section: &Section<'_>, folder: &Path) -> Result<BTreeMap<String, Header>, Error> {
    let Some(section) = section.section("http_headers")? else { return Ok(BTreeMap::new()) };
    let mut headers = BTreeMap::new();
    for (name, _) in section.iter() {
        if RESERVED_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
            return Err(section.error(name, "setting this header is not allowed"));
        }
        let Some(values) = section.section(name)? else { continue };
        let header = Header {
            values: values.strings("values")?.unwrap_or_default(),
            secrets: values
                .strings("secrets")?
                .unwrap_or_default()
                .into_iter()
                .map(Secret::new)
                .collect(),
            files: values
                .strings("files")?
                .unwrap_or_default()
                .iter()
                .map(|file| join(folder, file))
                .collect(),
        };
        headers.insert(name.to_owned(), header);
    }
    Ok(headers)
}

/// Refuses a section that has more than one of the keys; says whether it has one.
fn at_most_one(section: &Section<'_>, keys: &[&str]) -> Result<bool, Error> {
    let mut set = keys.iter().filter(|key| {
        section.get(key).and_then(crate::yaml::Node::scalar).is_some_and(|text| !text.is_empty())
    });
    let first = set.next();
    match set.next() {
        Some(second) => {
            Err(section
                .error(second, format!("at most one of {} may be configured", keys.join(", "))))
        }
        None => Ok(first.is_some()),
    }
}

fn path(section: &Section<'_>, key: &str, folder: &Path) -> Result<Option<PathBuf>, Error> {
    Ok(section.string(key)?.filter(|text| !text.is_empty()).map(|text| join(folder, &text)))
}
