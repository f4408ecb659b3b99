//! Plays every host of the corpus on loopback, and remembers each request as it arrived.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::serve::{IncomingStream, Listener};
use http_body_util::{BodyExt, Limited};
use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use crate::corpus;

const MAX_BODY: usize = 1 << 20;

/// All hosts of all copies: a host is a loopback address, a port of the corpus a listener.
pub(crate) struct Recorder {
    pub(crate) ports: BTreeMap<String, u16>,
    state: Arc<Recorded>,
}

struct Recorded {
    /// By the host that was asked.
    requests: Mutex<BTreeMap<String, BTreeSet<String>>>,
    /// What `corpus_stamped` is stamped with, in ms.
    stamp: i64,
}

impl Recorder {
    pub(crate) async fn start() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let stamp = i64::try_from(now).unwrap() - 60_000;
        let state = Arc::new(Recorded { requests: Mutex::default(), stamp });
        let acceptor = acceptor();
        let mut ports = BTreeMap::new();
        for port in corpus::ports() {
            // All of 127.0.0.0/8 has to be reached.
            let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
            ports.insert(port, listener.local_addr().unwrap().port());
            let app = Router::new().fallback(answer).with_state(Arc::clone(&state));
            let app = app.into_make_service_with_connect_info::<Peer>();
            let connections = Connections::accept_from(listener, acceptor.clone());
            tokio::spawn(async move { axum::serve(connections, app).await.unwrap() });
        }
        Self { ports, state }
    }

    /// Distinct requests to hosts that begin with `prefix`.
    pub(crate) fn requests(&self, prefix: &str) -> BTreeSet<String> {
        let requests = self.state.requests.lock();
        let of_hosts = requests.iter().filter(|(host, _)| host.starts_with(prefix));
        of_hosts.flat_map(|(_, requests)| requests.iter().cloned()).collect()
    }

    pub(crate) fn forget(&self, prefix: &str) {
        self.state.requests.lock().retain(|host, _| !host.starts_with(prefix));
    }

    /// In ms.
    pub(crate) fn stamp(&self) -> i64 {
        self.state.stamp
    }
}

async fn answer(
    ConnectInfo(peer): ConnectInfo<Peer>,
    State(state): State<Arc<Recorded>>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let mut headers: Vec<String> = parts
        .headers
        .iter()
        .filter(|(name, _)| *name != header::CONTENT_LENGTH && *name != header::HOST)
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    headers.sort();
    let host = match (parts.headers.get(header::HOST), parts.uri.authority()) {
        (Some(host), _) => host.to_str().unwrap_or_default().to_owned(),
        (None, Some(authority)) => authority.to_string(),
        (None, None) => String::new(),
    };
    let token = parts.uri.path().ends_with("/token");
    let body = Limited::new(body, MAX_BODY).collect().await.map(|body| body.to_bytes());
    let body = body.unwrap_or_default();
    let text = if token { String::from_utf8_lossy(&body) } else { "".into() };
    // In no order that matters.
    let form: BTreeSet<&str> = text.split('&').collect();
    let form = form.into_iter().collect::<Vec<_>>().join("&");
    let request = format!(
        "{} {host} {} {:?} {peer:?}\n  {}\n  {form}",
        parts.method,
        parts.uri,
        parts.version,
        headers.join("\n  ")
    );
    state.requests.lock().entry(host).or_default().insert(request);
    let path = parts.uri.path();
    if token {
        let token = r#"{"access_token":"issued","token_type":"Bearer","expires_in":3600}"#;
        return ([(header::CONTENT_TYPE, "application/json")], token).into_response();
    }
    if path.starts_with("/redirect") {
        return (StatusCode::FOUND, [(header::LOCATION, "/metrics?moved=1")]).into_response();
    }
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    let query = parts.uri.query().unwrap_or_default();
    (content_type, page(path, query, state.stamp)).into_response()
}

/// Something for each kind of rule in the corpus.
fn page(path: &str, query: &str, stamp: i64) -> String {
    let asked = serde_json::Value::from(format!("{path}?{query}"));
    format!(
        "\
# TYPE corpus_requests_total counter
corpus_requests_total{{code=\"200\",handler=\"/api/v1/items\"}} 5
corpus_requests_total{{code=\"503\",handler=\"/api/v2/items\"}} 1
corpus_asked{{uri={asked}}} 1
corpus_theirs{{job=\"theirs\",instance=\"theirs\",env=\"theirs\",exported_env=\"more\"}} 1
corpus_stamped 1 {stamp}
corpus_cpu_seconds_total{{mode=\"IDLE\",cpu=\"0\"}} 12.5
container_network_tcp_usage_total{{pod=\"a\"}} 1
container_fs_reads_total{{id=\"/\"}} 1
go_gc_duration_seconds{{quantile=\"1\"}} 0.1
go_goroutines 7
"
    )
}

/// How a client has come in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    #[expect(dead_code, reason = "read by Debug: a part of what was recorded")]
    tls: bool,
    #[expect(dead_code, reason = "read by Debug: a part of what was recorded")]
    certificate: bool,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for T {}

/// Connections with TLS or without, whichever the client opens with.
struct Connections {
    address: SocketAddr,
    ready: mpsc::Receiver<(Box<dyn Stream>, Peer)>,
}

impl Connections {
    fn accept_from(listener: TcpListener, acceptor: TlsAcceptor) -> Self {
        let (sender, ready) = mpsc::channel(64);
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, sender) = (acceptor.clone(), sender.clone());
                tokio::spawn(async move {
                    if let Some(connection) = open(stream, acceptor).await {
                        // Nobody listens any more when the test is over.
                        drop(sender.send(connection).await);
                    }
                });
            }
        });
        Self { address, ready }
    }
}

async fn open(stream: TcpStream, acceptor: TlsAcceptor) -> Option<(Box<dyn Stream>, Peer)> {
    const HANDSHAKE: u8 = 0x16;
    let mut first = [0];
    stream.peek(&mut first).await.ok()?;
    if first[0] != HANDSHAKE {
        return Some((Box::new(stream), Peer { tls: false, certificate: false }));
    }
    let stream = acceptor.accept(stream).await.ok()?;
    let certificate = stream.get_ref().1.peer_certificates().is_some();
    Some((Box::new(stream), Peer { tls: true, certificate }))
}

impl Listener for Connections {
    type Io = Box<dyn Stream>;
    type Addr = (SocketAddr, Peer);

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some((stream, peer)) => (stream, (self.address, peer)),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        Ok((self.address, Peer { tls: false, certificate: false }))
    }
}

impl Connected<IncomingStream<'_, Connections>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Connections>) -> Self {
        stream.remote_addr().1
    }
}

fn acceptor() -> TlsAcceptor {
    let tls = corpus::folder().join("tls");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(tls.join("ca.pem")).unwrap()).unwrap();
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).allow_unauthenticated();
    let certificate = CertificateDer::from_pem_file(tls.join("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(tls.join("server.key")).unwrap();
    let mut config = rustls::ServerConfig::builder()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}
