//! Listing, showing and editing connectors of every kind, with real processes.
#![allow(clippy::unwrap_used, reason = "a test stops at what it cannot set up")]

use muster_tests::client::{Mqtt, Version};
use muster_tests::eventually::eventually;
use muster_tests::fleet::{Fleet, Host};
use muster_tests::stand::{COMPONENT, Stand, UPGRADE_DEADLINE};
use serde_json::{Value, json};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
const REFUSED: i32 = 1;

/// A fleet with one connector of each kind.
///
/// | name | pool, site | link | work |
/// |---|---|---|---|
/// | web-1 | blue, rack-1 | online | healthy: an agent runs 1.0, as it shall |
/// | web-2 | blue, rack-2 | stale: its agent was killed | healthy, the last that was heard |
/// | sick | none | online, a client plays the agent | failed: its probe fails; it runs 1.0, which nobody wants |
/// | slow | green | online, a client that does nothing | degraded: it shall run 1.0 and does not |
/// | new-1 | none | never | unknown |
struct Kinds {
    fleet: Fleet,
    web_1: Host,
    _web_2: Host,
    _played: [Mqtt; 2],
}

impl Kinds {
    fn start() -> Self {
        let fleet = Fleet::start();
        fleet.publish("1.0", true);
        let mut web_1 = added(&fleet, "web-1", &["--pool", "blue", "--site", "rack-1", "--description", "front"]);
        let mut web_2 = added(&fleet, "web-2", &["--pool", "blue", "--site", "rack-2"]);
        let sick = added(&fleet, "sick", &["--no-pool"]);
        let slow = added(&fleet, "slow", &["--pool", "green"]);
        fleet.muster(&["connector", "add", "new-1", "--no-pool", "--site", "rack-2"]).succeeded();
        web_1.run();
        web_2.run();
        let played = [&sick, &slow].map(|host| {
            let agent = Mqtt::connect(fleet.address(), &host.credentials(), host.name(), Version::V5);
            agent.subscribe(&format!("$aws/things/{}/#", host.name())).unwrap();
            agent
        });
        let report = json!({ COMPONENT: {
            "version": "1.0", "package_sha256": "00".repeat(32), "health": "unhealthy", "start_id": "x",
            "started_at": 0, "passing_since": null, "restarts": 0,
        } });
        let update = json!({ "state": { "reported": report } });
        played[0].ask_accepted("$aws/things/sick/shadow/name/components/update", update);
        for target in ["pool=blue", "pool=green"] {
            fleet.muster(&["upgrade", COMPONENT, "1.0", "--to", target]).succeeded();
        }
        for host in [&web_1, &web_2] {
            eventually("what is wanted runs", UPGRADE_DEADLINE, || Stand::agreed(&fleet, host, "1.0"));
        }
        web_2.kill();
        // Newer than what web-1 and web-2 shall run, so theirs is the latest for them; nobody wants anything of sick.
        fleet.publish("1.1", true);
        let wanted = [
            ("new-1", "never", "unknown"),
            ("sick", "online", "failed"),
            ("slow", "online", "degraded"),
            ("web-1", "online", "healthy"),
            ("web-2", "stale", "healthy"),
        ];
        eventually("everybody is as in the table", SOON, || {
            let list = fleet.muster_json(&["connector", "list"]);
            let found = list["connectors"].as_array().unwrap().iter();
            let found: Vec<_> =
                found.map(|view| ["name", "link", "work"].map(|key| view[key].as_str().unwrap())).collect();
            if found == wanted.map(|(name, link, work)| [name, link, work]) { Ok(()) } else { Err(list.to_string()) }
        });
        Self { fleet, web_1, _web_2: web_2, _played: played }
    }

    /// The names that a listing shows, in its order.
    #[track_caller]
    fn check(&self, options: &[&str], expected: &[&str]) {
        let list = self.fleet.muster_json(&[&["connector", "list"], options].concat());
        let names = list["connectors"].as_array().unwrap().iter().map(|view| view["name"].as_str().unwrap());
        assert_eq!(names.collect::<Vec<_>>(), expected, "{options:?}");
    }

    #[track_caller]
    fn text(&self, words: &[&str]) -> String {
        self.fleet.muster(words).succeeded().stdout
    }
}

fn added(fleet: &Fleet, name: &str, options: &[&str]) -> Host {
    let added = fleet.muster_json(&[&["connector", "add", name], options].concat());
    let token = added["token"].as_str().unwrap();
    let label = if name == "web-1" { "env=prod" } else { "env=test" };
    let (host, output) = Host::try_enrol_with(fleet, name, token, None, &["--label", label]);
    output.succeeded();
    host
}

/// The line of a table that begins so, cut into its columns.
#[track_caller]
fn line<'t>(text: &'t str, start: &str) -> Vec<&'t str> {
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(start));
    line.unwrap_or_else(|| panic!("no line begins with {start}:\n{text}"))
        .split("  ")
        .map(str::trim)
        .filter(|c| !c.is_empty())
        .collect()
}

#[test]
fn connectors_of_every_kind_are_found_sorted_shown_and_edited() {
    let mut kinds = Kinds::start();
    every_filter_finds_its_own(&kinds);
    rows_come_in_the_order_that_is_asked_for(&kinds);
    the_tables_tell_everything(&kinds);
    a_page_tells_everything_and_what_is_wrong(&kinds);
    a_restart_of_the_server_forgets_no_since(&mut kinds);
    edits_move_and_describe(&kinds);
}

/// All components of a host share one shadow of 8 KiB. What does not fit is told, and taken back when it fits again.
#[test]
fn a_host_with_more_than_it_can_report_of_says_so() {
    let fleet = Fleet::start();
    fleet.publish("1.0", true);
    let mut host = added(&fleet, "full", &[]);
    host.run();
    let second = Mqtt::connect(fleet.address(), &host.credentials(), "second", Version::V5);
    let update = "$aws/things/full/shadow/name/components/update";
    second.subscribe(&format!("{update}/#")).unwrap();
    // No component is called so, so the agent leaves it alone; it takes the room of twenty.
    let fill = |bytes: usize| json!({ "state": { "reported": { "not a name": "x".repeat(bytes) } } });
    second.ask_accepted(update, fill(7900));
    fleet.muster(&["upgrade", COMPONENT, "1.0", "--to", "name=full"]).succeeded();
    let finding = |about: &str| {
        let shown = fleet.muster_json(&["connector", "show", "full"]);
        let findings = shown["findings"].as_array().unwrap().clone();
        findings.into_iter().find(|one| one["about"] == about).ok_or(format!("{shown}\n{}", host.log()))
    };
    let told = eventually("the agent says that it is refused", UPGRADE_DEADLINE, || finding("agent"));
    assert!(told["what"].as_str().unwrap().contains("(1 components)"), "{told}");
    assert!(told["next"].as_str().unwrap().contains("about 24 components"), "{told}");

    second.ask_accepted(update, fill(10));
    eventually("there is room again", UPGRADE_DEADLINE, || match finding("agent") {
        Ok(still) => Err(still.to_string()),
        Err(_) => Stand::agreed(&fleet, &host, "1.0"),
    });

    // Then not even what the server wants fits.
    let fits = |bytes: &usize| second.ask(update, fill(*bytes)).unwrap().is_ok();
    let filled = (7000..8000).rev().step_by(20).find(fits);
    assert!(filled.is_some(), "the rest of the room is filled, all but 20 bytes");
    let mut other = fleet.package("1.0", true);
    other.push("component.toml");
    let recipe = std::fs::read_to_string(&other).unwrap().replace("\"greeter\"", &format!("{:?}", "long-".repeat(10)));
    std::fs::write(&other, recipe).unwrap();
    other.pop();
    let published = fleet.muster_json(&["component", "publish", other.to_str().unwrap()]);
    let name = published["name"].as_str().unwrap().to_owned();
    fleet.muster(&["upgrade", &name, "1.0", "--to", "name=full"]).succeeded();
    eventually("the server says that there is no room", UPGRADE_DEADLINE, || {
        let told = finding(&name)?;
        let what = told["what"].as_str().unwrap();
        if what.starts_with("there is no room for it beside the other") { Ok(()) } else { Err(told.to_string()) }
    });
}

fn every_filter_finds_its_own(kinds: &Kinds) {
    kinds.check(&["--status", "online"], &["sick", "slow", "web-1"]);
    kinds.check(&["--status", "stale,never"], &["new-1", "web-2"]);
    kinds.check(&["--status", "offline"], &[]);
    kinds.check(&["--work", "healthy"], &["web-1", "web-2"]);
    kinds.check(&["--work", "degraded,failed"], &["sick", "slow"]);
    kinds.check(&["--work", "unknown"], &["new-1"]);
    kinds.check(&["--pool", "blue"], &["web-1", "web-2"]);
    kinds.check(&["--site", "rack-2"], &["new-1", "web-2"]);
    kinds.check(&["--unassigned"], &["new-1", "sick"]);
    kinds.check(&["--outdated"], &["sick"]);
    kinds.check(&["--component", COMPONENT], &["sick", "web-1", "web-2"]);
    kinds.check(&["--component", "greeter=1.0", "--unassigned"], &["sick"]);
    kinds.check(&["--component", "greeter=1.1"], &[]);
    // The selectors are those of every command.
    kinds.check(&["--to", "name=web-*,!site=rack-2"], &["web-1"]);
    kinds.check(&["--to", "label.env=prod"], &["web-1"]);
    kinds.check(&["--to", "pool=blue|green", "--status", "online"], &["slow", "web-1"]);
    kinds.check(&["--removed"], &[]);
    let job = kinds.fleet.root().join("job.json");
    std::fs::write(&job, "{}").unwrap();
    let create = ["job", "create", "look", "--to", "status=stale|never", "--document", job.to_str().unwrap()];
    assert!(kinds.text(&create).contains("2 things"), "new-1 and web-2");
    let now = kinds.fleet.muster(&["upgrade", COMPONENT, "1.1", "--to", "status=online"]);
    now.ended_with(REFUSED).explaining("changes by itself");
}

fn rows_come_in_the_order_that_is_asked_for(kinds: &Kinds) {
    kinds.check(&["--sort", "-name"], &["web-2", "web-1", "slow", "sick", "new-1"]);
    kinds.check(&["--sort", "registered"], &["web-1", "web-2", "sick", "slow", "new-1"]);
    kinds.check(&["--sort", "status,-name"], &["new-1", "web-1", "slow", "sick", "web-2"]);
    kinds.check(&["--sort", "pool,site"], &["sick", "new-1", "web-1", "web-2", "slow"]);
    // Who never said anything is the oldest.
    let list = kinds.fleet.muster_json(&["connector", "list", "--sort", "last-sync"]);
    assert_eq!(list["connectors"][0]["name"], "new-1", "{list}");
}

fn the_tables_tell_everything(kinds: &Kinds) {
    let usual = kinds.text(&["connector", "list"]);
    assert_eq!(line(&usual, "NAME"), ["NAME", "STATUS", "WORK", "POOL", "SITE", "AGENT", "LAST SYNC", "COMPONENTS"]);
    let sick = line(&usual, "sick");
    assert_eq!((sick[1], sick[2], sick[3]), ("online", "failed", "-"));
    assert!(sick[7].starts_with("greeter 1.0") && sick[7].ends_with('*'), "{sick:?}");
    assert!(!line(&usual, "web-1")[7].contains('*'), "{usual}");
    assert!(usual.ends_with("* not the latest for this connector\n"), "{usual}");
    let wide = kinds.text(&["connector", "list", "--wide", "--pool", "blue"]);
    let headings = line(&wide, "NAME");
    let web_1 = line(&wide, "web-1");
    let view = kinds.fleet.connector("web-1");
    let cell = |heading: &str| web_1[headings.iter().position(|found| *found == heading).unwrap()];
    let told = |pointer: &str| view.pointer(pointer).unwrap().as_str().unwrap().to_owned();
    for (heading, expected) in [
        ("STATUS", "online".to_owned()),
        ("WORK", "healthy".to_owned()),
        ("SITE", "rack-1".to_owned()),
        ("AGENT", env!("CARGO_PKG_VERSION").to_owned()),
        ("HOST", told("/host/hostname")),
        ("OS", told("/host/os")),
        ("LABELS", "env=prod".to_owned()),
        ("DESCRIPTION", "front".to_owned()),
    ] {
        assert_eq!(cell(heading), expected, "{heading}");
    }
    for heading in ["SINCE", "WORK SINCE", "LAST SYNC", "REGISTERED"] {
        assert!(cell(heading).starts_with("20") && cell(heading).ends_with('Z'), "{heading}: {web_1:?}");
    }
    let addresses: Vec<&str> = view["host"]["addresses"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(cell("ADDRESSES"), if addresses.is_empty() { "-".to_owned() } else { addresses.join(", ") });
}

fn a_page_tells_everything_and_what_is_wrong(kinds: &Kinds) {
    let web_1 = kinds.text(&["connector", "show", "web-1"]);
    assert!(!web_1.contains("not as it should be"), "{web_1}");
    for (name, start) in [
        ("name", "web-1"),
        ("description", "front"),
        ("life", "active"),
        ("link", "online since 20"),
        ("work", "healthy since 20"),
        ("pool", "blue"),
        ("site", "rack-1"),
        ("registered", "20"),
        ("enrolled", "20"),
        ("last", "20"),
        ("agent", env!("CARGO_PKG_VERSION")),
        ("labels", "env=prod"),
        ("greeter", "1.0"),
    ] {
        let cells = line(&web_1, name);
        assert!(cells[1].starts_with(start), "{name}: {cells:?}");
    }
    for (name, words) in [
        (
            "new-1",
            &["link", "it has not enrolled yet; the install script that admin made works until", "run that script"][..],
        ),
        ("web-2", &["link", "it is not connected since", "muster-agent status"]),
        ("sick", &["greeter", "its health probe fails", "look at the log of greeter"]),
        ("slow", &["greeter", "muster actions --connector slow"]),
    ] {
        let page = kinds.text(&["connector", "show", name]);
        assert!(page.starts_with("not as it should be:\n"), "{page}");
        for word in words {
            assert!(page.contains(word), "{name} does not say {word:?}:\n{page}");
        }
        let shown = kinds.fleet.muster_json(&["connector", "show", name]);
        let finding = &shown["findings"][0];
        assert!(["about", "what", "next"].iter().all(|key| finding[key].is_string()), "{shown}");
    }
}

fn a_restart_of_the_server_forgets_no_since(kinds: &mut Kinds) {
    let work = |fleet: &Fleet, name: &str| {
        let view = fleet.connector(name);
        (view["work"].clone(), view["work_since"].clone())
    };
    let before = ["web-2", "new-1"].map(|name| work(&kinds.fleet, name));
    kinds.fleet.restart();
    let fleet = &kinds.fleet;
    let online = || match fleet.connector("web-1") {
        view if view["link"] == "online" && view["work"] == "healthy" => Ok(()),
        view => Err(view.to_string()),
    };
    eventually("web-1 is back", SOON, online);
    assert!(kinds.web_1.is_running());
    assert_eq!(["web-2", "new-1"].map(|name| work(&kinds.fleet, name)), before);
}

fn edits_move_and_describe(kinds: &Kinds) {
    let edit = |options: &[&str]| kinds.text(&[&["connector", "edit", "new-1"], options].concat());
    let said = edit(&["--pool", "blue", "--description", "a spare one"]);
    assert!(said.starts_with("new-1: pool blue, site rack-2, described as a spare one\n"), "{said}");
    assert!(said.contains("greeter 1.0 is wanted now; its agent is told at once (t1)"), "{said}");
    kinds.check(&["--pool", "blue"], &["new-1", "web-1", "web-2"]);
    let said = edit(&["--no-pool", "--no-site"]);
    assert!(said.contains("greeter 1.0 is not wanted any more; what runs stays (t1)"), "{said}");
    kinds.check(&["--unassigned"], &["new-1", "sick"]);
    let view = kinds.fleet.connector("new-1");
    assert_eq!((&view["site"], &view["description"]), (&Value::Null, &json!("a spare one")), "{view}");
    let edited = kinds.fleet.muster_json(&["connector", "edit", "new-1", "--no-description"]);
    assert_eq!(edited["connector"]["description"], Value::Null, "{edited}");
    kinds
        .fleet
        .muster(&["connector", "edit", "ghost", "--no-pool"])
        .ended_with(REFUSED)
        .explaining("muster connector list");
}

/// Waits until the listing of this status shows the one connector, and returns its view.
#[track_caller]
fn only_with(fleet: &Fleet, status: &str) -> Value {
    eventually(&format!("alpha is {status}"), SOON, || {
        let with = |status: &str| fleet.muster_json(&["connector", "list", "--status", status])["connectors"].take();
        let shown = with(status);
        match shown.as_array().unwrap().first() {
            Some(view) => Ok(view.clone()),
            None => Err(with("never,online,stale,offline").to_string()),
        }
    })
}

#[test]
fn a_connector_is_never_there_then_online_stale_offline_and_online_again() {
    let mut fleet = Fleet::init();
    fleet.configure("offline_after_seconds", "8");
    fleet.serve();
    let mut host = fleet.enrol("alpha");
    let never = only_with(&fleet, "never");
    assert!(never["last_sync"].is_null(), "{never}");
    host.run();
    let online = only_with(&fleet, "online");
    host.kill();
    let stale = only_with(&fleet, "stale");
    let offline = only_with(&fleet, "offline");
    let since = |view: &Value| view["link_since"].as_i64().unwrap();
    assert!(since(&online) <= since(&stale), "{online} {stale}");
    // The setting's time, to the millisecond, whenever somebody looks.
    assert_eq!(since(&offline) - since(&stale), 8000, "{stale} {offline}");
    // It stays so over a restart of the server, which has seen it go.
    fleet.restart();
    assert_eq!(since(&only_with(&fleet, "offline")), since(&offline));
    host.run();
    let back = only_with(&fleet, "online");
    assert!(since(&back) >= since(&offline), "{back}");
}
