//! What is a selector, what is not, and that text and value say the same.
#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;

#[test]
fn old_forms_stay_valid() {
    for text in ["all", "pool=blue", "site=x", "name=h-1"] {
        let selector: Selector = text.parse().unwrap();
        assert_eq!(selector.to_string(), text);
        assert_eq!(serde_json::to_string(&selector).unwrap(), format!("{text:?}"));
    }
    assert_eq!("all".parse(), Ok(Selector::all()));
    assert_eq!("pool=blue".parse(), Ok(Selector::pool(&PoolName::new("blue").unwrap())));
    assert_eq!("site=x".parse(), Ok(Selector::site(&SiteName::new("x").unwrap())));
    assert_eq!("name=h-1".parse(), Ok(Selector::name(&ThingName::new("h-1").unwrap())));
}

#[test]
fn terms_are_joined_turned_round_and_have_several_values() {
    for text in [
        "pool=blue|green,!site=hq",
        "unassigned",
        "!unassigned,outdated",
        "name=web-*|db-1",
        "label.env=prod,label.rack=b*|",
        "status=offline|never,work=failed",
        "component=greeter@1.1|web",
        "os=*Debian GNU/Linux 12*",
        "pool=|blue",
    ] {
        assert_eq!(text.parse::<Selector>().map(|selector| selector.to_string()), Ok(text.to_owned()));
    }
    assert_eq!("pool=".parse::<Selector>().unwrap().to_string(), "unassigned");
}

#[test]
fn what_is_no_selector_says_why() {
    let message = "pol=x".parse::<Selector>().unwrap_err().to_string();
    assert_eq!(
        message,
        "selector \"pol=x\" is not usable: nothing is called \"pol\"; terms are all, pool=, site=, name=, os=, \
         label.KEY=, component=, status=, work=, unassigned and outdated, joined by commas"
    );
    for (text, why) in [
        ("", "a term is empty"),
        ("pool=a,", "a term is empty"),
        ("everything", "\"everything\" has no ="),
        ("name=", "thing name is empty"),
        ("name=a b", "character ' ' is not allowed here"),
        ("pool=a!b", "character '!' is not allowed here"),
        ("status=up", "\"up\" is none of online, stale, offline, never"),
        ("work=", "\"\" is none of healthy, degraded, failed, unknown"),
        ("component=@1", "component name is empty"),
        ("component=a@", "version is empty"),
        ("os=", "a value is empty"),
        ("label.=x", "label key is empty"),
        ("label.a=\u{7}", "the character '\\u{7}'"),
        ("!!all", "has no ="),
    ] {
        let error = text.parse::<Selector>().unwrap_err();
        assert!(error.problem.contains(why), "{text:?}: {error}");
    }
    let long = format!("name={}", "x|".repeat(SELECTOR_BYTES_MAX));
    assert!(long.parse::<Selector>().unwrap_err().to_string().len() < 600);
}

#[test]
fn a_selector_that_prints_too_long_is_refused_when_it_is_read() {
    let unassigned = |count| vec!["pool="; count].join(",");
    let most = (SELECTOR_BYTES_MAX + 1) / "unassigned,".len();
    let fits: Selector = unassigned(most).parse().unwrap();
    assert_eq!(fits.to_string().parse(), Ok(fits));
    assert!(unassigned(most + 1).len() < SELECTOR_BYTES_MAX);
    let error = unassigned(most + 1).parse::<Selector>().unwrap_err().to_string();
    assert!(error.contains("may have"), "{error}");
}

#[test]
fn what_changes_by_itself_is_no_lasting_intent() {
    for text in ["all", "pool=a,!site=b", "label.env=prod,os=debian*", "unassigned"] {
        assert_eq!(text.parse::<Selector>().unwrap().check_lasting(), Ok(()), "{text}");
    }
    for (text, term) in [
        ("pool=a,status=online", "status=online"),
        ("!work=failed", "!work=failed"),
        ("outdated", "outdated"),
        ("component=a@1", "component=a@1"),
    ] {
        let error = text.parse::<Selector>().unwrap().check_lasting().unwrap_err();
        assert_eq!(error.term, term);
    }
}

fn any_pattern(empty: bool) -> impl Strategy<Value = Pattern> {
    let text = if empty { "[ab*-]{0,4}" } else { "[ab*-]{1,4}" };
    text.prop_map(|text| Pattern::new(&text))
}

fn any_patterns(empty: bool) -> impl Strategy<Value = Vec<Pattern>> {
    prop::collection::vec(any_pattern(empty), 1..4)
}

fn any_component() -> impl Strategy<Value = ComponentTest> {
    ("[a-c]{1,3}", prop::option::of("[0-9][0-9.]{0,3}")).prop_map(|(name, version)| ComponentTest {
        name: ComponentName::new(name).unwrap(),
        version: version.map(|version| Version::new(version).unwrap()),
    })
}

fn any_test() -> impl Strategy<Value = Test> {
    prop_oneof![
        Just(Test::All),
        Just(Test::Outdated),
        any_patterns(true).prop_map(Test::Pool),
        any_patterns(true).prop_map(Test::Site),
        any_patterns(false).prop_map(Test::Name),
        "[a-zA-Z /().*]{1,8}".prop_map(|text| Test::Os(vec![Pattern::new(&text)])),
        ("[a-z][a-z.]{0,4}", any_patterns(true)).prop_map(|(key, v)| Test::Label(LabelKey::new(key).unwrap(), v)),
        prop::collection::vec(prop::sample::select(STATUSES.map(|(_, s)| s).to_vec()), 1..3).prop_map(Test::Status),
        prop::collection::vec(prop::sample::select(WORKS.map(|(_, s)| s).to_vec()), 1..3).prop_map(Test::Work),
        prop::collection::vec(any_component(), 1..3).prop_map(Test::Component),
    ]
}

fn any_selector() -> impl Strategy<Value = Selector> {
    let term = (any::<bool>(), any_test()).prop_map(|(negated, test)| Term { negated, test });
    prop::collection::vec(term, 1..5).prop_map(|terms| Selector { terms })
}

proptest! {
    #[test]
    fn a_selector_is_read_as_it_was_printed(selector in any_selector()) {
        let text = selector.to_string();
        prop_assert_eq!(text.parse::<Selector>(), Ok(selector));
    }

    #[test]
    fn reading_never_panics(text in "\\PC{0,40}") {
        let _ = text.parse::<Selector>();
    }

    #[test]
    fn what_was_read_prints_to_something_that_reads_the_same(text in "(!?(pool|site|name|os|label.a|status|work|component)=[a-z@*|]{0,6},?){1,3}") {
        if let Ok(selector) = text.parse::<Selector>() {
            prop_assert_eq!(selector.to_string().parse::<Selector>(), Ok(selector));
        }
    }
}
