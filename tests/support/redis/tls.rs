//! An authority of a server's own, and the server's certificate.
//!
//! Two certificates, as a self-signed one that is its own authority is refused by rustls.

use std::path::Path;
use std::process::Command;

/// The authority's certificate, in the server's folder.
pub(crate) const CA: &str = "ca.pem";

/// What is the matter with a server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// Nothing.
    Right,
    /// It is for another host.
    OfAnother,
    /// It was good for a month, years ago.
    Expired,
}

/// Writes the authority's and the server's key and certificate into `folder`.
pub(crate) fn write(folder: &Path, kind: Certificate) {
    let ca = ["basicConstraints=critical,CA:TRUE"];
    openssl(Command::new("openssl"), folder, "ca.pem", "ca.key", "/CN=Springfield authority", &ca, &["-days", "3650"]);
    let hosts = match kind {
        Certificate::OfAnother => "subjectAltName=DNS:shelbyville.example",
        Certificate::Right | Certificate::Expired => "subjectAltName=DNS:localhost,IP:127.0.0.1",
    };
    let mut openssl_then = Command::new("faketime");
    openssl_then.args(["2020-01-01 00:00:00", "openssl"]);
    let (command, days) = match kind {
        Certificate::Expired => (openssl_then, "30"),
        Certificate::Right | Certificate::OfAnother => (Command::new("openssl"), "3650"),
    };
    let extensions = ["basicConstraints=critical,CA:FALSE", hosts];
    let signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-days", days];
    openssl(command, folder, "server.pem", "server.key", "/CN=localhost", &extensions, &signed);
}

/// The lines of `redis.conf`, whose `dir` is the folder.
pub(crate) fn configuration() -> &'static str {
    "tls-cert-file server.pem\ntls-key-file server.key\ntls-ca-cert-file ca.pem\n"
}

fn openssl(
    mut command: Command,
    folder: &Path,
    certificate: &str,
    key: &str,
    subject: &str,
    extensions: &[&str],
    more: &[&str],
) {
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
    command.args(["-out", certificate, "-keyout", key, "-subj", subject]).args(more).current_dir(folder);
    for extension in extensions {
        command.args(["-addext", extension]);
    }
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("can't run openssl, or faketime: {error}; see `cargo xtask needs`"));
    assert!(output.status.success(), "openssl made no certificate: {}", String::from_utf8_lossy(&output.stderr));
}
