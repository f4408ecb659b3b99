//! OAuth 2.0 client credentials (RFC 6749 section 4.4).

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use promconf::{OAuth2, Secret, ServerUrl};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use tokio::sync::Mutex;

use super::ClientError;
use super::credential::{Text, basic};
use super::transport::Transport;

/// Most bytes of a token endpoint's answer.
const MAX_ANSWER: usize = 1 << 20;
/// How long before its end a token is no longer used.
const EARLY: Duration = Duration::from_secs(10);

/// Fetches tokens and keeps the last until shortly before it expires.
#[derive(Debug)]
pub(super) struct TokenSource {
    transport: Transport,
    timeout: Duration,
    token_url: ServerUrl,
    client_id: String,
    client_secret: Text,
    form: Vec<(String, Secret)>,
    /// Whether the endpoint wants id and secret in the form instead of the header.
    in_form: AtomicBool,
    token: Mutex<Option<Token>>,
}

#[derive(Debug, Clone)]
struct Token {
    authorization: Secret,
    /// The secret it was fetched with: a rotated one needs a new token.
    with: Secret,
    until: Option<Instant>,
}

/// RFC 6749 section 5.1.
#[derive(serde::Deserialize)]
struct Answer {
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    token_type: String,
    /// Seconds; some endpoints write them as text.
    #[serde(default)]
    expires_in: serde_json::Value,
}

impl TokenSource {
    pub(super) fn new(
        config: &OAuth2,
        config_dir: &Path,
        timeout: Duration,
    ) -> Result<Self, ClientError> {
        if !matches!(config.grant_type.as_str(), "" | "client_credentials") {
            return Err(ClientError::GrantType(config.grant_type.clone()));
        }
        let transport = Transport::new(&config.tls, &config.proxy, config_dir, timeout)?;
        transport.open()?;
        let mut form = vec![("grant_type".to_owned(), Secret::new("client_credentials"))];
        if !config.scopes.is_empty() {
            form.push(("scope".to_owned(), Secret::new(config.scopes.join(" "))));
        }
        form.extend(config.endpoint_params.clone());
        Ok(Self {
            transport,
            timeout,
            token_url: config.token_url.clone(),
            client_id: config.client_id.clone(),
            client_secret: Text::new(
                &config.client_secret,
                config.client_secret_file.as_ref(),
                config_dir,
            ),
            form,
            in_form: AtomicBool::new(false),
            token: Mutex::new(None),
        })
    }

    /// The value of `Authorization`. Requests that come while a token is fetched wait for the same one.
    pub(super) async fn authorization(&self) -> Result<String, ClientError> {
        let secret = self.client_secret.now().await?;
        let mut cached = self.token.lock().await;
        let usable = |token: &&Token| {
            token.with == secret && token.until.is_none_or(|until| Instant::now() < until)
        };
        if let Some(token) = cached.as_ref().filter(usable) {
            return Ok(token.authorization.expose().to_owned());
        }
        let token = self.fetch(secret).await?;
        let authorization = token.authorization.expose().to_owned();
        *cached = Some(token);
        Ok(authorization)
    }

    /// Drops the cached token.
    pub(super) async fn forget(&self) {
        *self.token.lock().await = None;
    }

    /// Tries both places where an endpoint may want the client's credentials, header first, and remembers which one
    /// worked.
    async fn fetch(&self, secret: Secret) -> Result<Token, ClientError> {
        let in_form = self.in_form.load(Ordering::Relaxed);
        match self.post(&secret, in_form).await {
            Err(ClientError::TokenStatus(status)) if status.is_client_error() && !in_form => {
                let token = self.post(&secret, true).await?;
                self.in_form.store(true, Ordering::Relaxed);
                Ok(token)
            }
            other => other,
        }
    }

    async fn post(&self, secret: &Secret, in_form: bool) -> Result<Token, ClientError> {
        let client = self.transport.client().await?;
        let form = self.form.iter().map(|(name, value)| (name.as_str(), value.expose()));
        let mut form: Vec<(&str, &str)> = form.collect();
        let mut request = client.post(self.token_url.expose()).timeout(self.timeout);
        if in_form {
            form.push(("client_id", &self.client_id));
            form.push(("client_secret", secret.expose()));
        } else {
            let encode = |text: &str| -> String {
                url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
            };
            let text = basic(&encode(&self.client_id), &encode(secret.expose()));
            let bad = |_| ClientError::Header("Authorization".to_owned());
            let mut value = HeaderValue::try_from(text).map_err(bad)?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let asked = Instant::now();
        let response = request.form(&form).send().await;
        let response = response.map_err(|error| ClientError::Token(error.without_url()))?;
        if !response.status().is_success() {
            return Err(ClientError::TokenStatus(response.status()));
        }
        let body =
            svc::http::read_body(response, MAX_ANSWER).await.map_err(ClientError::TokenBody)?;
        // Its parse error might quote the token.
        let answer: Answer = serde_json::from_slice(&body).map_err(|_| ClientError::NoToken)?;
        token(answer, secret.clone(), asked)
    }
}

fn token(answer: Answer, with: Secret, asked: Instant) -> Result<Token, ClientError> {
    let Answer { access_token, token_type, expires_in } = answer;
    if access_token.is_empty() {
        return Err(ClientError::NoToken);
    }
    let kind = match token_type.to_ascii_lowercase().as_str() {
        "" | "bearer" => "Bearer",
        "mac" => "MAC",
        "basic" => "Basic",
        _ => &token_type,
    };
    let seconds = expires_in.as_f64().or_else(|| expires_in.as_str()?.parse().ok());
    let until = seconds
        .and_then(|seconds: f64| Duration::try_from_secs_f64(seconds).ok())
        .filter(|lifetime| !lifetime.is_zero())
        .and_then(|lifetime| asked.checked_add(lifetime.saturating_sub(EARLY)));
    Ok(Token { authorization: Secret::new(format!("{kind} {access_token}")), with, until })
}
