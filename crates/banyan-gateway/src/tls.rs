//! TLS by rustls, both legs: what clients are shown, and which servers are believed.

use crate::config::{HttpVersion, TlsFiles};
use rustls::crypto::{CryptoProvider, ring};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// Where systems keep the certificates they trust; the first that is there is taken.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// What clients are shown: TLS 1.2 and 1.3, HTTP/2 preferred; and the leaf of its certificates.
///
/// # Errors
/// What is wrong with which file.
pub(crate) fn server(files: &TlsFiles) -> Result<(Arc<ServerConfig>, CertificateDer<'static>), String> {
    let failed = |path: &Path, why: &dyn std::fmt::Display| format!("tls: {}: {why}", path.display());
    let chain = certificates(&files.cert).map_err(|why| failed(&files.cert, &why))?;
    let leaf = chain[0].clone();
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| failed(&files.key, &format!("no private key in PEM can be read: {error}")))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&files.cert, &error))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| failed(&files.cert, &format!("certificate and key do not serve: {error}")))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((Arc::new(config), leaf))
}

/// At least one certificate.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = read.map_err(|error| format!("no certificates in PEM can be read: {error}"))?;
    if chain.is_empty() { Err("there is no certificate in it".to_owned()) } else { Ok(chain) }
}

/// Which servers are believed, unless their upstream has certificates of its own.
#[derive(Default)]
pub(crate) struct ClientTls {
    system: OnceLock<Result<Arc<RootCertStore>, String>>,
}

impl ClientTls {
    /// The certificates that this system trusts; read once, when a server is first asked for.
    ///
    /// # Errors
    /// There are none, and what to do.
    pub(crate) fn system(&self) -> Result<Arc<RootCertStore>, String> {
        self.system.get_or_init(system_roots).clone()
    }
}

/// The settings towards servers that `roots` vouch for.
///
/// # Errors
/// rustls has none of the versions of TLS.
pub(crate) fn client(roots: Arc<RootCertStore>, http: HttpVersion) -> Result<ClientConfig, String> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = match http {
        HttpVersion::Auto => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        HttpVersion::One => vec![b"http/1.1".to_vec()],
        HttpVersion::Two => vec![b"h2".to_vec()],
    };
    Ok(config)
}

/// The trusted certificates of a file; at least one.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read_roots(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    // A bundle may hold certificates that webpki does not take; the others still count.
    let (taken, _) = roots.add_parsable_certificates(certificates(path)?);
    if taken == 0 { Err("no certificate in it can be trusted".to_owned()) } else { Ok(roots) }
}

fn system_roots() -> Result<Arc<RootCertStore>, String> {
    let chosen = std::env::var_os("SSL_CERT_FILE").map(std::path::PathBuf::from);
    let found =
        chosen.or_else(|| SYSTEM_ROOTS.iter().map(std::path::PathBuf::from).find(|path| path.is_file()));
    let path = found.ok_or_else(|| {
        "this system has no list of trusted certificates: install ca-certificates, or give the upstream a `ca`".to_owned()
    })?;
    read_roots(&path).map(Arc::new).map_err(|why| format!("{}: {why}", path.display()))
}
