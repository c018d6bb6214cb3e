//! TLS: our certificate, whose certificates we trust, and the two handshakes.
//!
//! | who | proves | checked against |
//! |---|---|---|
//! | a peer that connects to us | with `client_ca` only: a certificate of one of those authorities | – |
//! | a peer that we connect to | always: the name that led to it, before any look-up (RFC 5922 §4), or its address | `trust` and the public authorities |
//!
//! [`verify`] says what proves a name, [`certificates`] which of ours a peer is shown. The files are read at the start and
//! on [`Tls::reload`]; streams that are open keep what they began with.

mod certificates;
mod verify;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use certificates::Certificates;
use verify::SipVerifier;

/// How long a peer that connects may take to finish its handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Handshakes of connecting peers at one time. One address can hold no more than
/// [`MAX_FLOWS_PER_ADDRESS`](crate::MAX_FLOWS_PER_ADDRESS) of them.
pub const MAX_HANDSHAKES: usize = 1024;

/// The files of TLS, all in PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Our certificates, each followed by those that lead to its authority. The first is shown to peers that ask for
    /// no name of another, and to those that we connect to.
    pub certificates: Vec<PathBuf>,
    /// Their private keys, in the same order.
    pub keys: Vec<PathBuf>,
    /// Authorities of the certificates that connecting peers have to show; without it none is asked for.
    pub client_ca: Option<PathBuf>,
    /// Authorities that we trust besides the public ones.
    pub trust: Vec<PathBuf>,
}

/// What is wrong with a file: one sentence.
#[derive(Debug)]
pub struct TlsError {
    what: &'static str,
    path: PathBuf,
    why: String,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, path, why } = self;
        write!(f, "cannot use the {what} {}: {why}", path.display())
    }
}

impl std::error::Error for TlsError {}

/// Counts for the metrics.
#[derive(Default)]
pub(crate) struct TlsCounts {
    /// Handshakes finished with peers that connected.
    pub(crate) accepted: AtomicU64,
    /// Handshakes of peers that connected, failed or not finished in time.
    pub(crate) accept_failures: AtomicU64,
    /// Handshakes finished with peers that we connected to.
    pub(crate) connected: AtomicU64,
    /// Connections to peers that failed, in the handshake or before it.
    pub(crate) connect_failures: AtomicU64,
    /// Times the files were read again.
    pub(crate) reloads: AtomicU64,
    /// Times they could not be used.
    pub(crate) reload_failures: AtomicU64,
}

/// Both sides of TLS.
pub(crate) struct Tls {
    files: TlsFiles,
    loaded: RwLock<Loaded>,
    handshakes: Semaphore,
    pub(crate) counts: TlsCounts,
}

#[derive(Clone)]
struct Loaded {
    acceptor: TlsAcceptor,
    connector: TlsConnector,
}

impl Tls {
    /// Reads the files.
    pub(crate) fn new(files: TlsFiles) -> Result<Self, TlsError> {
        let loaded = RwLock::new(Loaded::read(&files)?);
        Ok(Self {
            files,
            loaded,
            handshakes: Semaphore::new(MAX_HANDSHAKES),
            counts: TlsCounts::default(),
        })
    }

    /// Reads the files again. If one cannot be used, everything stays as it was.
    pub(crate) fn reload(&self) -> Result<(), TlsError> {
        let loaded =
            Loaded::read(&self.files).inspect_err(|_| count(&self.counts.reload_failures))?;
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = loaded;
        count(&self.counts.reloads);
        Ok(())
    }

    /// The handshake with a peer that has connected.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
    ) -> io::Result<server::TlsStream<TcpStream>> {
        let outcome = match self.handshakes.try_acquire() {
            Ok(_permit) => {
                match timeout(HANDSHAKE_TIMEOUT, self.loaded().acceptor.accept(stream)).await {
                    Ok(outcome) => outcome,
                    Err(_) => Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        "the TLS handshake was not finished in time",
                    )),
                }
            }
            Err(_) => Err(io::Error::other("too many TLS handshakes at once")),
        };
        match &outcome {
            Ok(_) => count(&self.counts.accepted),
            Err(_) => count(&self.counts.accept_failures),
        }
        outcome
    }

    /// The handshake with a peer that we have connected to; it has to prove `peer`, or else its address.
    pub(crate) async fn connect(
        &self,
        stream: TcpStream,
        peer: Option<&str>,
        remote: SocketAddr,
    ) -> io::Result<client::TlsStream<TcpStream>> {
        let name = server_name(peer, remote.ip())
            .ok_or_else(|| io::Error::other("no name that a certificate could prove"))?;
        let stream = self.loaded().connector.connect(name, stream).await?;
        count(&self.counts.connected);
        Ok(stream)
    }

    /// A peer could not be connected to, for whatever reason.
    pub(crate) fn not_connected(&self) {
        count(&self.counts.connect_failures);
    }

    fn loaded(&self) -> Loaded {
        self.loaded
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Loaded {
    fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let ((chain, key), own) = own_certificates(files)?;
        let mut trusted = RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        };
        for path in &files.trust {
            add_authorities(&mut trusted, "trusted authorities", path)?;
        }
        let server = server_config()?;
        let server = match &files.client_ca {
            None => server.with_no_client_auth(),
            Some(path) => {
                let mut authorities = RootCertStore::empty();
                add_authorities(&mut authorities, "authorities of clients", path)?;
                let provider = Arc::new(rustls::crypto::ring::default_provider());
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider)
                        .build()
                        .map_err(|error| unusable("authorities of clients", path, error))?;
                server.with_client_cert_verifier(verifier)
            }
        };
        let server = server.with_cert_resolver(Arc::new(own));
        let verifier = SipVerifier::new(trusted)
            .map_err(|error| unusable("trusted authorities", Path::new("built in"), error))?;
        // The first certificate is shown to peers that ask for one when we connect, too.
        let client = client_config()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_auth_cert(chain, key)
            .map_err(|error| unusable("TLS certificate", first_of(&files.certificates), error))?;
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(server)),
            connector: TlsConnector::from(Arc::new(client)),
        })
    }
}

type ServerBuilder = rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier>;
type ClientBuilder = rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>;

/// TLS 1.2 and 1.3 by the provider that the build has, whatever else the process may have installed.
fn server_config() -> Result<ServerBuilder, TlsError> {
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable("TLS versions of", Path::new("ring"), error))
}

fn client_config() -> Result<ClientBuilder, TlsError> {
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable("TLS versions of", Path::new("ring"), error))
}

type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// The first certificate with its key, and all of them to choose from.
fn own_certificates(files: &TlsFiles) -> Result<(Pair, Certificates), TlsError> {
    let mut keys = files.keys.iter();
    let mut pairs = Vec::with_capacity(files.certificates.len());
    for path in &files.certificates {
        let chain = read_certificates("TLS certificate", path)?;
        let Some(key_path) = keys.next() else {
            return Err(unusable("TLS certificate", path, "there is no key for it"));
        };
        let key = PrivateKeyDer::from_pem_file(key_path)
            .map_err(|error| unusable("TLS key", key_path, error))?;
        pairs.push((path, chain, key));
    }
    if let Some(surplus) = keys.next() {
        let why = "there is no certificate for it";
        return Err(unusable("TLS key", surplus, why));
    }
    let mut own: Option<(Pair, Certificates)> = None;
    for (path, chain, key) in pairs {
        let broken = |error| unusable("TLS certificate", path, error);
        match &mut own {
            Some((_, all)) => all.add(chain, key).map_err(broken)?,
            None => {
                let all = Certificates::new(chain.clone(), key.clone_key()).map_err(broken)?;
                own = Some(((chain, key), all));
            }
        }
    }
    own.ok_or_else(|| {
        let path = first_of(&files.certificates);
        unusable("TLS certificate", path, "none is named")
    })
}

fn first_of(paths: &[PathBuf]) -> &Path {
    paths.first().map_or(Path::new(""), PathBuf::as_path)
}

fn read_certificates(
    what: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = read.map_err(|error| unusable(what, path, error))?;
    if found.is_empty() {
        return Err(unusable(what, path, "no certificate is in it"));
    }
    Ok(found)
}

fn add_authorities(
    store: &mut RootCertStore,
    what: &'static str,
    path: &Path,
) -> Result<(), TlsError> {
    for certificate in read_certificates(what, path)? {
        store
            .add(certificate)
            .map_err(|error| unusable(what, path, error))?;
    }
    Ok(())
}

fn unusable(what: &'static str, path: &Path, why: impl fmt::Display) -> TlsError {
    TlsError {
        what,
        path: path.to_owned(),
        why: why.to_string(),
    }
}

fn server_name(peer: Option<&str>, ip: IpAddr) -> Option<ServerName<'static>> {
    match peer {
        None => Some(ServerName::from(ip)),
        Some(host) => {
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            ServerName::try_from(bare.trim_end_matches('.').to_owned()).ok()
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
