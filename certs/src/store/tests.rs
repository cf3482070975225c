#![allow(clippy::unwrap_used)]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use tempfile::tempdir;

use super::*;

const KEY: &str = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn entries(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn files_have_their_mode_and_content_and_leave_nothing_beside() {
    let directory = tempdir().unwrap();
    let (key, certificate) = (directory.path().join("key.pem"), directory.path().join("cert.pem"));
    write_secret(&key, KEY.as_bytes()).unwrap();
    write_public(&certificate, CERTIFICATE.as_bytes()).unwrap();
    assert_eq!((mode(&key), mode(&certificate)), (0o600, 0o644));
    assert_eq!((read_pem(&key).unwrap(), read_pem(&certificate).unwrap()), (KEY.into(), CERTIFICATE.into()));
    assert_eq!(entries(directory.path()).len(), 2, "{:?}", entries(directory.path()));
}

#[test]
fn secret_over_a_public_file_becomes_private() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("key.pem");
    write_public(&path, b"old").unwrap();
    write_secret(&path, KEY.as_bytes()).unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(read_pem(&path).unwrap(), KEY);
}

#[test]
fn failed_write_leaves_the_old_state() {
    let directory = tempdir().unwrap();
    // A directory that is not empty cannot be replaced by a file.
    let path = directory.path().join("taken");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("inside"), "x").unwrap();
    let error = write_secret(&path, KEY.as_bytes()).unwrap_err();
    assert!(error.to_string().contains("failed to move the new file into place"), "{error}");
    assert_eq!(entries(directory.path()), ["taken"]);
}

#[test]
fn write_into_a_missing_directory_names_the_file() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("absent/key.pem");
    let error = write_secret(&path, KEY.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("absent/key.pem") && error.contains("check that its directory exists"), "{error}");
    assert!(matches!(write_secret(Path::new("/"), b""), Err(StoreError::NoName { .. })));
}

#[test]
fn private_key_that_others_may_use_is_refused() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("key.pem");
    let headers = ["PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY", "ENCRYPTED PRIVATE KEY"];
    for header in headers {
        // A certificate before it must not hide it.
        let text = format!("{CERTIFICATE}{}", KEY.replace("PRIVATE KEY", header));
        write_secret(&path, text.as_bytes()).unwrap();
        for (bits, good) in
            [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o620, false), (0o644, false)]
        {
            fs::set_permissions(&path, Permissions::from_mode(bits)).unwrap();
            match read_pem(&path) {
                Ok(_) => assert!(good, "{header} {bits:o}"),
                Err(error) => {
                    assert!(!good && matches!(error, StoreError::Exposed { mode, .. } if mode == bits), "{error}");
                    assert!(error.to_string().contains("chmod 600"), "{error}");
                }
            }
        }
    }
}

#[test]
fn unreadable_files_are_refused_with_path_and_advice() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("file.pem");
    let absent = read_pem(&path).unwrap_err();
    assert!(matches!(absent, StoreError::Missing { .. }), "{absent}");
    assert!(absent.to_string().contains("file.pem does not exist; check the path"), "{absent}");

    fs::write(&path, "hello").unwrap();
    assert!(matches!(read_pem(&path), Err(StoreError::NotPem { .. })));
    fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(matches!(read_pem(&path), Err(StoreError::NotPem { .. })));
    let large = usize::try_from(PEM_BYTES_MAX).unwrap() + 1;
    fs::write(&path, "x".repeat(large)).unwrap();
    assert!(matches!(read_pem(&path), Err(StoreError::TooLarge { .. })));
    assert!(matches!(read_pem(directory.path()), Err(StoreError::Read { .. })));
}
