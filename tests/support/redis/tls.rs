//! An authority of a server's own, and the server's certificate.
//!
//! Two certificates, as a self-signed one that is its own authority is refused by rustls.

use std::path::Path;
use std::process::Command;

/// The authority's certificate, in the server's folder.
pub(crate) const CA: &str = "ca.pem";

/// Writes the authority's and the server's key and certificate into `folder`.
pub(crate) fn write(folder: &Path) {
    openssl(folder, "ca.pem", "ca.key", "/CN=Springfield authority", &["basicConstraints=critical,CA:TRUE"], &[]);
    openssl(
        folder,
        "server.pem",
        "server.key",
        "/CN=localhost",
        &["basicConstraints=critical,CA:FALSE", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        &["-CA", "ca.pem", "-CAkey", "ca.key"],
    );
}

/// The lines of `redis.conf`, whose `dir` is the folder.
pub(crate) fn configuration() -> &'static str {
    "tls-cert-file server.pem\ntls-key-file server.key\ntls-ca-cert-file ca.pem\n"
}

fn openssl(folder: &Path, certificate: &str, key: &str, subject: &str, extensions: &[&str], signed_by: &[&str]) {
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650"]);
    command.args(["-out", certificate, "-keyout", key, "-subj", subject]).args(signed_by).current_dir(folder);
    for extension in extensions {
        command.args(["-addext", extension]);
    }
    let output = command.output().unwrap_or_else(|error| panic!("can't run openssl: {error}; see `cargo xtask needs`"));
    assert!(output.status.success(), "openssl made no certificate: {}", String::from_utf8_lossy(&output.stderr));
}
