//! The script chooses the proxy as the agent does.

use super::*;
use muster_wire::proxy::Bypass;

const ENTRIES: [&str; 38] = [
    "*",
    "localhost",
    "example.org",
    "EXAMPLE.org.",
    ".example.org",
    "*.example.org",
    ".muster.example.org",
    "muster.example.org:8443",
    "muster.example.org:443",
    "anexample.org",
    "org",
    "ample.org",
    "10.1.2.3",
    "10.1.2.3.",
    "10.1.2.3:8443",
    "10.1.2.3:1",
    "10.0.0.0/8",
    "10.1.2.0/31",
    "10.1.2.2/31",
    "11.0.0.0/7",
    "0.0.0.0/0",
    "3",
    "2.3",
    "::/0",
    "::ffff:10.1.2.3",
    "[::ffff:10.1.2.3]:8443",
    "::ffff:10.0.0.0/104",
    "::ffff:0:0/96",
    "::1",
    "[::1]",
    "[::1]:8443",
    "[::1]:1",
    "fd00::/8",
    "fd12:3456::/17",
    "fd12:3456:8000::/33",
    "fd12:3456:789a:1:2:3:4:5",
    "fd12:3456:789a:1:2:3:4:4/127",
    "1:2:3:4:5:6:7::",
];

/// The proxy for each list, as the functions of the script choose it.
fn chosen(case: Case, lists: &[String]) -> Vec<String> {
    let script = render(None, None, case);
    let functions = script.strip_suffix("main \"$@\"\n").unwrap();
    let each = "for NO_PROXY in \"$@\"; do through=''; choose_way; echo \"${through:-direct}\"; done\n";
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), format!("{functions}{each}")).unwrap();
    let mut command = Command::new("sh");
    command.arg(file.path()).args(lists).env("https_proxy", "http://p:3128").env_remove("HTTPS_PROXY");
    let done = command.output().unwrap();
    assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
    String::from_utf8(done.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn no_proxy_of_the_environment_means_what_it_means_to_the_agent() {
    let servers = [
        ("localhost", "localhost:8443"),
        ("muster.example.org", "muster.example.org:8443"),
        ("Muster.Example.ORG", "Muster.Example.ORG:8443"),
        ("3", "3:8443"),
        ("10.1.2.3", "10.1.2.3:8443"),
        ("::1", "[::1]:8443"),
        ("::ffff:10.1.2.3", "[::ffff:10.1.2.3]:8443"),
        ("fd12:3456:789a:1:2:3:4:5", "[fd12:3456:789a:1:2:3:4:5]:8443"),
        ("1:2:3:4:5:6:7:0", "[1:2:3:4:5:6:7:0]:8443"),
    ];
    let together = ["db.intern, 192.168.0.0/16,10.1.2.3", "a,b c", "a *"].map(str::to_owned);
    let lists: Vec<String> = ENTRIES.map(str::to_owned).into_iter().chain(together).collect();
    for (host, server) in servers {
        let chosen = chosen(Case { server: Some(server), ..PLAIN }, &lists);
        assert_eq!(chosen.len(), lists.len());
        for (list, chosen) in lists.iter().zip(chosen) {
            let covered = Bypass::parse(list.split([',', ' '])).unwrap().covers(host, 8443);
            assert_eq!(chosen, if covered { "direct" } else { "http://p:3128" }, "{host} and {list:?}");
        }
    }
}

/// What the downloader was told, and the line on the proxy.
#[track_caller]
fn asked(case: Case) -> (String, String) {
    let host = Host::new(AGENT);
    let done = host.run(AGENT, case);
    assert!(done.status.success(), "{done:?}");
    let told = host.text("calls.curl");
    let first = told.split_whitespace().nth(1).unwrap().to_owned();
    assert!(told.lines().all(|line| line.ends_with(&format!(" {first}"))), "{told}");
    let out = String::from_utf8(done.stdout).unwrap();
    (first, out.lines().filter(|line| line.get(6..).is_some_and(|rest| rest.starts_with("proxy"))).collect())
}

#[test]
fn an_inherited_proxy_is_not_asked_for_what_is_exempt() {
    const PROXY: &[(&str, &str)] = &[("HTTPS_PROXY", "http://p:3128"), ("ALL_PROXY", "http://q:1")];
    let inherited = Case { env: PROXY, ..PLAIN };
    assert_eq!(
        asked(inherited),
        (
            "http://p:3128".into(),
            "PASS  proxy   as the environment says; needed: a way to muster.example.org:8443".into()
        )
    );
    for server in ["localhost:8443", "10.1.2.3:8443", "[fd00::1]:8443"] {
        let (told, line) = asked(Case { server: Some(server), ..inherited });
        assert_eq!(told, "direct", "{server}");
        assert!(line.contains(&format!("not used for {server}: what is exempt by default covers it")), "{line}");
    }
    // The environment says it, or whoever made the script.
    const EXEMPT: &[(&str, &str)] = &[("https_proxy", "http://p:3128"), ("no_proxy", ".example.org")];
    let (told, line) = asked(Case { env: EXEMPT, ..PLAIN });
    assert!(told == "direct" && line.contains("NO_PROXY of the environment covers it"), "{told} {line}");
    assert_eq!(asked(Case { env: EXEMPT, server: Some("10.1.2.3:8443"), ..PLAIN }).0, "http://p:3128");
    let (told, line) = asked(Case { way: (None, Some("muster.example.org")), ..inherited });
    assert!(told == "direct" && line.contains("--no-proxy covers it"), "{told} {line}");
    let given = Case { server: Some("10.1.2.3:8443"), way: (None, Some("other")), env: EXEMPT, ..PLAIN };
    assert_eq!(asked(given).0, "http://p:3128");
    // Other spellings, and other variables.
    assert_eq!(
        asked(Case { env: &[("HTTPS_PROXY", "none"), ("https_proxy", "p:1")], ..PLAIN }),
        ("direct".into(), String::new())
    );
    assert_eq!(asked(Case { env: &[("ALL_PROXY", "http://q:1")], ..PLAIN }), ("direct".into(), String::new()));
    assert_eq!(asked(Case { env: &[("https_proxy", "u@p/")], ..PLAIN }).0, "http://u@p:80");
    assert_eq!(asked(Case { env: &[("https_proxy", "http://[fd00::2]")], ..PLAIN }).0, "http://[fd00::2]:80");
}

#[test]
fn a_given_proxy_that_is_not_asked_is_named() {
    let private = Case { server: Some("10.1.2.3:8443"), way: (Some("http://p:3128"), None), ..PLAIN };
    let script = render(None, None, private);
    let line =
        "# The proxy http://p:3128 is not used for the server 10.1.2.3, unless the host's NO_PROXY says otherwise";
    assert!(script.contains(line), "{script}");
    let (told, line) = asked(private);
    assert!(told == "direct" && line.contains("not used for 10.1.2.3:8443"), "{told} {line}");
    assert_eq!(asked(Case { way: (Some("http://p:3128"), Some("localhost")), ..private }).0, "http://p:3128");
}
