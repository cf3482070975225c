//! The text of the unit, and whose unit one is.
#![allow(clippy::unwrap_used)]

use super::*;

fn spec(root: &Path, program: &str) -> Spec {
    let prefix = Prefix::new(root).unwrap();
    Spec { prefix, program: program.into(), name: "host-1".to_owned() }
}

#[test]
fn a_unit_is_ours_when_it_starts_the_agent_of_the_prefix() {
    for root in ["/opt/muster", "/srv/mu ster", "/srv/100%/$HOME/a\"b"] {
        let spec = spec(Path::new(root), "/opt/a b/muster-agent");
        for scope in [Scope::System, Scope::User] {
            let text = unit(scope, &spec).unwrap();
            assert!(starts(&text, &spec.prefix), "{text}");
            assert!(!starts(&text, &Prefix::new(Path::new("/opt")).unwrap()), "{text}");
        }
    }
    // As the install script of earlier versions wrote it.
    let text = "[Service]\nExecStart=/opt/muster/agent/current/muster-agent run --prefix /opt/muster\nRestart=always\n";
    assert!(starts(text, &Prefix::new(Path::new("/opt/muster")).unwrap()));
    assert!(!starts(text, &Prefix::new(Path::new("/opt/muster2")).unwrap()));
    assert!(word(Path::new("/a\nExecStart=/bin/sh")).is_err());
}

#[test]
fn words_are_quoted_as_systemd_reads_them() {
    for (path, want) in [
        ("/opt/muster", "/opt/muster"),
        ("/a b", "\"/a b\""),
        ("/a%b", "\"/a%%b\""),
        ("/a$b", "\"/a$$b\""),
        ("/a\"b\\", "\"/a\\\"b\\\\\""),
    ] {
        assert_eq!(word(Path::new(path)).unwrap(), want);
    }
}

#[test]
fn systemd_finds_nothing_to_complain_about() {
    let folder = tempfile::tempdir().unwrap();
    // The program must be there for the check.
    let text = unit(Scope::System, &spec(folder.path(), "/bin/true")).unwrap();
    let path = folder.path().join(FIRST);
    fs::write(&path, text).unwrap();
    let checked = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path).output();
    match checked {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && !said.contains(FIRST), "{said}");
        }
        Err(error) => println!("not checked: systemd-analyze: {error}"),
    }
}
