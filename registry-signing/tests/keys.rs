//! Keys, and whether other tools read and write the same.

use std::path::Path;
use std::process::Command;

use registry_signing::{Algorithm, Error, SigningKey, Unsupported, VerifyingKey};

const ALGORITHMS: [Algorithm; 4] = [Algorithm::Ed25519, Algorithm::P256, Algorithm::P384, Algorithm::P521];

/// What OpenSSL says, where it is installed. Where it is not, the rest of the tests still holds keys against themselves.
fn openssl(folder: &Path, words: &[&str]) -> Option<String> {
    let output = Command::new("openssl").args(words).current_dir(folder).output().ok()?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(told)
}

#[test]
fn a_new_key_comes_back_from_its_file_and_no_two_are_the_same() {
    for algorithm in ALGORITHMS {
        let (one, other) =
            (SigningKey::generate(algorithm).unwrap(), SigningKey::generate(algorithm).unwrap());
        assert_ne!(one.verifying_key(), other.verifying_key());
        assert_eq!(one.algorithm(), algorithm);
        let pem = one.to_pem().unwrap();
        assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----\n"), "PKCS#8 is what other tools read");
        assert_eq!(SigningKey::from_pem(&pem).unwrap().verifying_key(), one.verifying_key());
        let public = one.verifying_key();
        assert_eq!(VerifyingKey::from_pem(&public.to_pem()).unwrap(), public);
        assert_eq!(public.id().to_string().parse(), Ok(public.id()));
        assert!(!format!("{one:?}").contains(pem.lines().nth(1).unwrap()), "a secret is never shown");
    }
}

#[test]
fn openssl_reads_what_is_written_and_writes_what_is_read() {
    let folder = tempfile::tempdir().unwrap();
    if openssl(folder.path(), &["version"]).is_none() {
        return;
    }
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    for algorithm in ALGORITHMS {
        let key = SigningKey::generate(algorithm).unwrap();
        std::fs::write(folder.path().join("ours.pem"), key.to_pem().unwrap()).unwrap();
        let public = openssl(folder.path(), &["pkey", "-in", "ours.pem", "-pubout"]).unwrap();
        assert_eq!(public, key.verifying_key().to_pem(), "{algorithm}");
    }
    for (algorithm, curve) in
        [(Algorithm::P256, "prime256v1"), (Algorithm::P384, "secp384r1"), (Algorithm::P521, "secp521r1")]
    {
        // SEC 1, with the parameters before the key as OpenSSL writes them; and PKCS#8.
        openssl(folder.path(), &["ecparam", "-name", curve, "-genkey", "-out", "sec1.pem"]).unwrap();
        openssl(folder.path(), &["pkcs8", "-topk8", "-nocrypt", "-in", "sec1.pem", "-out", "p8.pem"])
            .unwrap();
        openssl(folder.path(), &["pkey", "-in", "p8.pem", "-pubout", "-out", "pub.pem"]).unwrap();
        assert!(read("sec1.pem").contains("EC PRIVATE KEY"));
        let sec1 = SigningKey::from_pem(&read("sec1.pem")).unwrap();
        let pkcs8 = SigningKey::from_pem(&read("p8.pem")).unwrap();
        assert_eq!(sec1.algorithm(), algorithm);
        assert_eq!(sec1.verifying_key(), pkcs8.verifying_key());
        assert_eq!(VerifyingKey::from_pem(&read("pub.pem")).unwrap(), pkcs8.verifying_key());
        // Encrypted, in both forms there are.
        let words = ["pkcs8", "-topk8", "-passout", "pass:secret", "-in", "p8.pem", "-out", "locked.pem"];
        openssl(folder.path(), &words).unwrap();
        let words = ["ec", "-aes256", "-passout", "pass:secret", "-in", "sec1.pem", "-out", "old.pem"];
        openssl(folder.path(), &words).unwrap();
        for locked in ["locked.pem", "old.pem"] {
            match SigningKey::from_pem(&read(locked)) {
                Err(Error::Unsupported(Unsupported::EncryptedKey)) => {}
                other => panic!("{locked}: {other:?}"),
            }
        }
    }
    openssl(folder.path(), &["genpkey", "-algorithm", "ed25519", "-out", "ed.pem"]).unwrap();
    openssl(folder.path(), &["pkey", "-in", "ed.pem", "-pubout", "-out", "ed.pub.pem"]).unwrap();
    let ed25519 = SigningKey::from_pem(&read("ed.pem")).unwrap();
    assert_eq!(VerifyingKey::from_pem(&read("ed.pub.pem")).unwrap(), ed25519.verifying_key());
    // Keys that are none of ours, and a certificate.
    openssl(folder.path(), &["genpkey", "-algorithm", "RSA", "-out", "rsa.pem"]).unwrap();
    openssl(folder.path(), &["ecparam", "-name", "secp256k1", "-genkey", "-noout", "-out", "k1.pem"])
        .unwrap();
    for other in ["rsa.pem", "k1.pem"] {
        let error = SigningKey::from_pem(&read(other)).unwrap_err().to_string();
        assert!(error.contains("known are Ed25519, P-256, P-384 and P-521"), "{other}: {error}");
    }
    let words = ["req", "-x509", "-key", "p8.pem", "-subj", "/CN=x", "-days", "1", "-out", "cert.pem"];
    openssl(folder.path(), &words).unwrap();
    let error = VerifyingKey::from_pem(&read("cert.pem")).unwrap_err();
    assert!(matches!(error, Error::Unsupported(Unsupported::Certificate)), "{error}");
}

#[test]
fn what_is_no_key_is_refused_without_being_shown() {
    let secret = SigningKey::generate(Algorithm::P256).unwrap().to_pem().unwrap();
    let public = SigningKey::from_pem(&secret).unwrap().verifying_key().to_pem();
    for (text, problem) in [
        (String::new(), "there is no key in the file"),
        ("the secret".to_owned(), "there is no key in the file"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA".to_owned(), "cut short"),
        ("-----BEGIN PRIVATE KEY-----\nA*A\n-----END PRIVATE KEY-----\n".to_owned(), "damaged"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".to_owned(), "damaged"),
        (public.clone(), "must hold a `PRIVATE KEY`"),
        (format!("{secret}{secret}"), "more than one key"),
        ("x".repeat(70_000), "larger than 64 KiB"),
        ("pkcs11:token=x".to_owned(), "a key in a PKCS#11 device"),
    ] {
        let error = SigningKey::from_pem(&text).unwrap_err().to_string();
        assert!(error.contains(problem), "{problem}: {error}");
        assert!(!error.contains("AAAA") && !error.contains("the secret"), "{error}");
    }
    let error = VerifyingKey::from_pem(&secret).unwrap_err().to_string();
    assert!(error.contains("must hold a `PUBLIC KEY`"), "{error}");
}
