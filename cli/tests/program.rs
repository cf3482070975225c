//! The program as a process: exit codes, and what works without a server.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

fn muster(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
    command.args(words).env_remove("MUSTER_DATA");
    command
}

#[test]
fn mistakes_end_with_2_and_an_absent_server_with_3() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let at = data.to_str().unwrap();
    #[track_caller]
    fn check(words: &[&str], code: i32, says: &str) {
        let done = muster(words).output().unwrap();
        let stderr = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(code), "{words:?}: {stderr}");
        assert!(stderr.contains(says), "{words:?}: {stderr}");
    }
    check(&["upgrade", "greeter"], 2, "required arguments were not provided");
    check(&["connector", "list"], 2, "--data <DIR>");
    check(&["connector", "show", "a b", "--data", at], 2, "character ' ' is not allowed here");
    check(&["connector", "list", "--to", "pol=x", "--data", at], 2, "terms are all, pool=");
    check(&["connector", "list", "--data", at], 2, "muster init");
    check(&["init", "--data", at, "--host", "a:1"], 2, "without port");
    check(&["init", "--data", at, "--host", "localhost"], 0, "");
    check(&["init", "--data", at, "--host", "localhost"], 2, "holds a fleet already");
    check(&["serve", "--check", "--data", at], 0, "");
    check(&["connector", "list", "--data", at], 3, "muster serve");
    check(&["allowlist", "--data", at], 0, "");
    check(&["allowlist", "--data", at, "--static", "--wildcard"], 2, "cannot be used with");
    // Bound and not listening: nobody answers there, and nobody else can take it.
    let nobody = tokio::net::TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let free = nobody.local_addr().unwrap();
    fs::write(data.join("server.addr"), format!("{free}\n")).unwrap();
    check(&["connector", "list", "--data", at], 3, "is `muster serve` running?");
    let add = |more: &[&str], says| {
        let mut words = vec!["connector", "add", "a", "--data", at];
        words.extend(more);
        check(&words, 2, says);
    };
    add(&["--prefix", "x y"], "--prefix x y cannot be used");
    add(&["--prefix", "/opt/m", "--windows"], "a path with a drive");
    add(&["--proxy", "socks5://p"], "--proxy cannot be used: proxies that are spoken to with socks5");
    add(&["--no-proxy", "a/b"], "--no-proxy cannot be used");
    add(&["--no-proxy", ""], "--no-proxy cannot be used: it is empty; write none");
    add(&["--proxy", "http://p", "--no-proxy", "none,a"], "none is no host in a list");
    add(&["--proxy", "none", "--no-proxy", "a"], "give one of them");
    add(&["--proxy", "http://p", "--proxy-password-file", at], "cannot read the proxy's password");
    add(&["--component", "x"], "must be COMPONENT=VERSION");
    add(&["--component", "x=1", "--component", "x=2"], "one version runs at a time");
    add(&["--ttl", "5"], "a number with s, m or h");
    add(&["--renew", "--pool", "blue"], "cannot be used with");
    check(&["connector", "add", "--data", at], 2, "without a terminal there is no form");
    fs::write(data.join("muster.toml"), "[server]\nlisten = 1\nlisen = 2\n").unwrap();
    check(&["serve", "--check", "--data", at], 2, "settings are not usable (2 problems)");
}

#[test]
fn certificates_are_issued_from_the_data_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("out"));
    let (data, out) = (data.to_str().unwrap(), out.to_str().unwrap());
    assert!(muster(&["init", "--data", data, "--host", "localhost"]).status().unwrap().success());
    let words = ["cert", "issue", "--data", data, "--name", "n", "--count", "3", "--policy", "connector", "--out", out];
    let done = muster(&words).arg("--json").output().unwrap();
    assert!(done.status.success(), "{done:?}");
    let result: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(result["names"], serde_json::json!(["n-0", "n-1", "n-2"]));
    for file in ["ca.crt", "n-0.crt", "n-0.key", "n-2.key"] {
        assert!(PathBuf::from(out).join(file).is_file(), "{file}");
    }
}
