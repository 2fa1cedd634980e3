//! The certificate that clients are shown. Its files are read again when they change; if what they hold then is no good,
//! the certificate from before stays, and the log, a metric and the admin API say so.
//!
//! Each new connection takes the settings that count at that moment. Sessions of the settings before are not resumed, so
//! whoever connects anew sees the new certificate; connections that are open go on.

use crate::at_rest::{Seen, Stamp};
use crate::config::{ConfigError, TlsFiles};
use crate::tls;
use crate::{Gateway, gateway};
use arc_swap::ArcSwap;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rustls::{ServerConfig, SupportedCipherSuite};
use serde::Serialize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What clients are shown, for people.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct CertificateReport {
    /// The file it was read from.
    pub file: String,
    /// SHA-256 of the leaf, in hexadecimal digits: what `openssl x509 -fingerprint -sha256` says, without its colons.
    pub sha256: String,
    /// When the leaf ends; nothing if that cannot be told.
    pub not_after: Option<String>,
    /// The same in seconds since 1970.
    pub not_after_seconds: Option<i64>,
    /// When it was read.
    pub read_at: String,
    /// How often a certificate was taken from the files, the start included.
    pub reads: u64,
    /// How often the files had changed and were no good.
    pub failures: u64,
    /// Why the files as they are now are no good; nothing if what they hold is what is shown.
    pub failed: Option<String>,
}

/// The certificate, its files, and what was last seen of them.
pub(crate) struct Certificate {
    files: TlsFiles,
    config: ArcSwap<ServerConfig>,
    /// One reads at a time; files may be far away, so that this is not the lock of the state.
    reading: Mutex<()>,
    state: Mutex<State>,
}

struct State {
    seen: Seen,
    report: CertificateReport,
}

/// What was read.
struct Read {
    config: Arc<ServerConfig>,
    sha256: String,
    not_after: Option<Timestamp>,
}

impl Certificate {
    /// Reads the files for the first time.
    pub(crate) fn open(files: &TlsFiles) -> Result<Self, ConfigError> {
        let stamp = stamp(files);
        let Read { config, sha256, not_after } = read(files).map_err(ConfigError)?;
        if not_after.is_some_and(|end| end <= Timestamp::now()) {
            tracing::warn!(file = %files.cert.display(), ?not_after, "the certificate has ended: clients will refuse it");
        }
        let report = CertificateReport {
            file: files.cert.display().to_string(),
            sha256,
            not_after: not_after.map(|end| end.to_string()),
            not_after_seconds: not_after.map(Timestamp::as_second),
            read_at: gateway::now(),
            reads: 1,
            failures: 0,
            failed: None,
        };
        let state = Mutex::new(State { seen: Seen::read(stamp), report });
        Ok(Self { files: files.clone(), config: ArcSwap::new(config), reading: Mutex::default(), state })
    }

    /// The settings for a new connection.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }

    pub(crate) fn report(&self) -> CertificateReport {
        self.state().report.clone()
    }

    /// Reads the files again if they changed, and have not changed since the last look: whoever renews a certificate
    /// writes two files, and between the two they do not fit each other. What failed is tried again at each look.
    pub(crate) fn look(&self) {
        let now = stamp(&self.files);
        let mut state = self.state();
        let failed = state.report.failed.is_some();
        if state.seen.is_due(now, failed) {
            drop(state);
            // What goes wrong is in the report and the log.
            let _told = self.reload();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the files again now.
    ///
    /// # Errors
    /// They are no good, and why; the certificate from before stays.
    pub(crate) fn reload(&self) -> Result<CertificateReport, String> {
        let _alone = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        // Before the reading: what is written meanwhile is a change.
        let stamp = stamp(&self.files);
        let read = read(&self.files).and_then(|read| match read.not_after {
            Some(end) if end <= Timestamp::now() => {
                Err(format!("tls: {}: the certificate has ended at {end}", self.files.cert.display()))
            }
            _ => Ok(read),
        });
        let mut state = self.state();
        state.seen = Seen::read(stamp);
        let report = &mut state.report;
        match read {
            Ok(Read { config, sha256, not_after }) => {
                self.config.store(config);
                tracing::info!(file = report.file, sha256, ?not_after, "the certificate was read again");
                report.not_after = not_after.map(|end| end.to_string());
                report.not_after_seconds = not_after.map(Timestamp::as_second);
                report.read_at = gateway::now();
                report.reads += 1;
                (report.sha256, report.failed) = (sha256, None);
                Ok(report.clone())
            }
            Err(why) => {
                if report.failed.as_ref() != Some(&why) {
                    tracing::error!(
                        error = why,
                        "the certificate's files changed and are no good: the certificate from before stays. Put good ones there"
                    );
                    report.failures += 1;
                    report.failed = Some(why.clone());
                }
                Err(why)
            }
        }
    }
}

impl Gateway {
    /// The certificate that clients are shown; nothing if this gateway speaks no TLS.
    #[must_use]
    pub fn certificate(&self) -> Option<CertificateReport> {
        self.inner.certificate.as_ref().map(|certificate| certificate.report())
    }
}

fn stamp(files: &TlsFiles) -> Stamp {
    Stamp::of(&[&files.cert, &files.key])
}

fn read(files: &TlsFiles) -> Result<Read, String> {
    let (config, leaf) = tls::server(files)?;
    Ok(Read { config, sha256: sha256(&leaf), not_after: not_after(&leaf) })
}

/// In hexadecimal digits, by the hash that TLS uses.
fn sha256(bytes: &[u8]) -> String {
    let SupportedCipherSuite::Tls13(suite) = rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256
    else {
        return String::new();
    };
    suite.common.hash_provider.hash(bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// When a certificate ends (RFC 5280, 4.1); nothing if it is written as this does not understand.
fn not_after(certificate: &[u8]) -> Option<Timestamp> {
    let (_, certificate, _) = element(certificate)?;
    let (_, mut rest, _) = element(certificate)?;
    const VERSION: u8 = 0xa0;
    if let (VERSION, _, after) = element(rest)? {
        rest = after;
    }
    for _serial_algorithm_issuer in 0..3 {
        rest = element(rest)?.2;
    }
    let (_, validity, _) = element(rest)?;
    let (_, _not_before, rest) = element(validity)?;
    let (tag, text, _) = element(rest)?;
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z').filter(|text| text.is_ascii())?;
    const UTC_TIME: u8 = 0x17;
    const GENERALIZED_TIME: u8 = 0x18;
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let year: i16 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let part = |at: usize| rest.get(at..at + 2).and_then(|digits| digits.parse::<i8>().ok());
    let time = DateTime::new(year, part(0)?, part(2)?, part(4)?, part(6)?, part(8)?, 0).ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// The first element of DER: tag, contents, and what follows.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    Some((tag, contents, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn write(folder: &Path, what: &[&str]) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
        for (name, text) in [("cert.pem", made.cert.pem()), ("key.pem", made.signing_key.serialize_pem())] {
            if what.contains(&name) {
                std::fs::write(folder.join(name), text).expect("written");
            }
        }
    }

    #[test]
    fn files_are_read_when_they_are_at_rest_and_a_failure_is_told_once() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        write(folder.path(), &["cert.pem", "key.pem"]);
        let files = TlsFiles {
            cert: folder.path().join("cert.pem"),
            key: folder.path().join("key.pem"),
            look_millis: 1,
        };
        let certificate = Certificate::open(&files).expect("good files");
        let counts = || {
            certificate.look();
            let report = certificate.report();
            (report.reads, report.failures, report.failed.is_some())
        };
        assert_eq!(counts(), (1, 0, false), "nothing changed");
        std::fs::write(&files.cert, "not PEM").expect("written");
        assert_eq!(counts(), (1, 0, false), "it may not be complete");
        for _ in 0..3 {
            assert_eq!(counts(), (1, 1, true));
        }
        write(folder.path(), &["cert.pem", "key.pem"]);
        assert_eq!(counts(), (1, 1, true), "it may not be complete");
        assert_eq!(counts(), (2, 1, false));
        // Between its two files, a new pair is no pair: nobody is told of that.
        let (cert, key) = (files.cert.clone(), files.key.clone());
        let next = tempfile::tempdir().expect("a temporary folder");
        write(next.path(), &["cert.pem", "key.pem"]);
        std::fs::rename(next.path().join("cert.pem"), &cert).expect("renamed");
        assert_eq!(counts(), (2, 1, false));
        std::fs::rename(next.path().join("key.pem"), &key).expect("renamed");
        assert_eq!(counts(), (2, 1, false));
        assert_eq!(counts(), (3, 1, false));
    }

    #[test]
    fn the_end_of_a_certificate_is_read_from_it() {
        for (year, wanted) in [(2031, "2031-05-06T00:00:00Z"), (2075, "2075-05-06T00:00:00Z")] {
            let key = rcgen::KeyPair::generate().expect("a key");
            let mut wishes = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
            wishes.not_after = rcgen::date_time_ymd(year, 5, 6);
            let made = wishes.self_signed(&key).expect("a certificate");
            assert_eq!(not_after(made.der()).map(|end| end.to_string()).as_deref(), Some(wanted));
            for short in 0..made.der().len() {
                // A part of one: no panic, and no end that nobody wrote.
                let end = not_after(&made.der()[..short]).map(|end| end.to_string());
                assert!(end.is_none(), "{short} bytes: {end:?}");
            }
        }
        assert_eq!(sha256(b"abc").get(..16), Some("ba7816bf8f01cfea"));
    }
}
