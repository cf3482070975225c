//! What every store promises, checked on each implementation.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use muster_shadow::store::{
    Conflict, Entry, Expect, KEY_BYTES_MAX, Key, Kind, MemoryStore, Op, Revision, SledSettings, SledStore, Store,
    StoreError, VALUE_BYTES_MAX,
};

fn on_each_store(claim: impl Fn(Arc<dyn Store>)) {
    claim(Arc::new(MemoryStore::new()));
    let dir = tempfile::tempdir().unwrap();
    claim(Arc::new(SledStore::open(dir.path(), &SledSettings::default()).unwrap()));
}

fn put(store: &dyn Store, key: &str, expect: Expect, value: &str) -> Result<Revision, Conflict> {
    store.apply(vec![Op::put(key, expect, value)]).wait_single().unwrap()
}

fn delete(store: &dyn Store, key: &str, expect: Expect) -> Result<Revision, Conflict> {
    store.apply(vec![Op::delete(key, expect)]).wait_single().unwrap()
}

fn value(store: &dyn Store, key: &str) -> Option<String> {
    store.get(key.as_bytes()).unwrap().map(|stored| String::from_utf8(stored.value.to_vec()).unwrap())
}

fn keys(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|(key, _)| std::str::from_utf8(key).unwrap()).collect()
}

#[test]
fn a_put_is_read_back_with_the_revision_it_was_answered() {
    on_each_store(|store| {
        assert_eq!(store.get(b"a").unwrap(), None);
        let revision = put(&*store, "a", Expect::Absent, "one").unwrap();
        let stored = store.get(b"a").unwrap().unwrap();
        assert_eq!((stored.revision, &stored.value[..]), (revision, &b"one"[..]));
    });
}

#[test]
fn a_swap_with_an_old_revision_changes_nothing_and_says_what_is_there() {
    on_each_store(|store| {
        let first = put(&*store, "a", Expect::Absent, "one").unwrap();
        let second = put(&*store, "a", Expect::Revision(first), "two").unwrap();
        assert!(second > first);
        assert_eq!(put(&*store, "a", Expect::Revision(first), "three"), Err(Conflict { found: Some(second) }));
        assert_eq!(put(&*store, "a", Expect::Absent, "three"), Err(Conflict { found: Some(second) }));
        assert_eq!(delete(&*store, "a", Expect::Revision(first)), Err(Conflict { found: Some(second) }));
        assert_eq!(put(&*store, "b", Expect::Revision(second), "three"), Err(Conflict { found: None }));
        assert_eq!((value(&*store, "a").as_deref(), value(&*store, "b")), (Some("two"), None));
    });
}

#[test]
fn any_needs_nothing() {
    on_each_store(|store| {
        put(&*store, "a", Expect::Any, "one").unwrap();
        put(&*store, "a", Expect::Any, "two").unwrap();
        assert_eq!(value(&*store, "a").as_deref(), Some("two"));
        delete(&*store, "a", Expect::Any).unwrap();
        delete(&*store, "a", Expect::Any).unwrap();
        assert_eq!(value(&*store, "a"), None);
    });
}

#[test]
fn a_record_made_again_has_a_greater_revision() {
    on_each_store(|store| {
        let mut last = put(&*store, "a", Expect::Absent, "").unwrap();
        for _ in 0..10 {
            let deleted = delete(&*store, "a", Expect::Revision(last)).unwrap();
            assert!(deleted > last);
            let again = put(&*store, "a", Expect::Absent, "").unwrap();
            assert!(again > deleted);
            assert_eq!(put(&*store, "a", Expect::Revision(last), "").unwrap_err().found, Some(again));
            last = again;
        }
    });
}

#[test]
fn ops_of_a_batch_see_the_ones_before_them() {
    on_each_store(|store| {
        let answers = store
            .apply(vec![
                Op::put("a", Expect::Absent, "one"),
                Op::put("a", Expect::Absent, "two"),
                Op::put("b", Expect::Absent, "x"),
                Op::delete("a", Expect::Any),
                Op::put("a", Expect::Absent, "three"),
                Op::delete("b", Expect::Any),
            ])
            .wait()
            .unwrap();
        let given: Vec<Revision> = answers.iter().filter_map(|answer| answer.ok()).collect();
        assert_eq!(given.len(), 5);
        assert!(given.is_sorted_by(|a, b| a < b), "{given:?}");
        assert_eq!(answers[1], Err(Conflict { found: Some(given[0]) }));
        assert_eq!((value(&*store, "a").as_deref(), value(&*store, "b")), (Some("three"), None));
        assert_eq!(store.get(b"a").unwrap().unwrap().revision, given[3]);
    });
}

#[test]
fn a_conflict_does_not_hold_back_the_rest_of_its_batch() {
    on_each_store(|store| {
        put(&*store, "a", Expect::Absent, "one").unwrap();
        let answers =
            store.apply(vec![Op::put("a", Expect::Absent, "two"), Op::put("b", Expect::Absent, "two")]).wait().unwrap();
        assert!(answers[0].is_err() && answers[1].is_ok());
        assert_eq!((value(&*store, "a").as_deref(), value(&*store, "b").as_deref()), (Some("one"), Some("two")));
        assert_eq!(store.apply(Vec::new()).wait().unwrap(), []);
    });
}

#[test]
fn a_scan_is_in_order_and_stays_under_its_prefix() {
    on_each_store(|store| {
        for key in ["b", "a/2", "a/1", "a", "a/10", "aa", ""].into_iter().filter(|key| !key.is_empty()) {
            put(&*store, key, Expect::Absent, key).unwrap();
        }
        assert_eq!(keys(&store.scan_all(b"a/").unwrap()), ["a/1", "a/10", "a/2"]);
        assert_eq!(keys(&store.scan_all(b"").unwrap()), ["a", "a/1", "a/10", "a/2", "aa", "b"]);
        assert_eq!(keys(&store.scan_all(b"c").unwrap()), [""; 0]);
        for (key, stored) in store.scan_all(b"").unwrap() {
            assert_eq!(stored, store.get(&key).unwrap().unwrap());
        }
        let mut seen = 0;
        store
            .scan(b"a", &mut |_, _| {
                seen += 1;
                if seen == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .unwrap();
        assert_eq!(seen, 2);
    });
}

#[test]
fn a_scan_of_one_name_never_finds_a_longer_one() {
    on_each_store(|store| {
        for name in ["a", "ab", "a0", "b"] {
            for shadow in ["", "components"] {
                let key = Key::new(Kind::Shadow).part(name).part(shadow);
                store.apply(vec![Op::put(key, Expect::Absent, name)]).wait_single().unwrap().unwrap();
            }
        }
        let found = store.scan_all(Key::new(Kind::Shadow).part("a").as_bytes()).unwrap();
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|(_, stored)| &stored.value[..] == b"a"));
        assert_eq!(store.scan_all(Key::new(Kind::Shadow).as_bytes()).unwrap().len(), 8);
    });
}

#[test]
fn pages_join_up_to_the_whole() {
    on_each_store(|store| {
        let ops = (0..100).map(|n| Op::put(format!("k/{n:03}"), Expect::Absent, "v")).collect();
        store.apply(ops).wait().unwrap();
        put(&*store, "j", Expect::Absent, "before").unwrap();
        put(&*store, "l", Expect::Absent, "behind").unwrap();
        for limit in [1, 7, 50, 99, 100, 101] {
            let (mut whole, mut after) = (Vec::new(), None::<Vec<u8>>);
            loop {
                let page = store.scan_after(b"k/", after.as_deref(), limit).unwrap();
                assert!(page.len() <= limit);
                let last = page.len() < limit;
                after = page.last().map(|(key, _)| key.clone()).or(after);
                whole.extend(page);
                if last {
                    break;
                }
            }
            assert_eq!(whole, store.scan_all(b"k/").unwrap(), "limit {limit}");
        }
        assert_eq!(store.scan_after(b"k/", None, 0).unwrap(), []);
        // A place to go on from that lies outside of the prefix.
        assert_eq!(store.scan_after(b"k/", Some(b"a"), 1).unwrap()[0].0, b"k/000");
        assert_eq!(store.scan_after(b"k/", Some(b"z"), 1).unwrap(), []);
        assert_eq!(keys(&store.scan_after(b"k/", Some(b"k/0985"), 9).unwrap()), ["k/099"]);
    });
}

#[test]
fn a_visitor_may_use_the_store() {
    on_each_store(|store| {
        put(&*store, "a", Expect::Absent, "1").unwrap();
        put(&*store, "b", Expect::Absent, "2").unwrap();
        store
            .scan(b"", &mut |key, stored| {
                let op = Op::put(key, Expect::Revision(stored.revision), "seen");
                store.apply(vec![op]).wait_single().unwrap().unwrap();
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!((value(&*store, "a").as_deref(), value(&*store, "b").as_deref()), (Some("seen"), Some("seen")));
    });
}

#[test]
fn values_of_every_size_come_back() {
    on_each_store(|store| {
        let mut live = 0;
        for (index, length) in [0, 1, 4095, 4096, 4097, 8192, 8193, 100_000, VALUE_BYTES_MAX].into_iter().enumerate() {
            let bytes: Vec<u8> = (0..length).map(|n| (n * 7 + n / 251 + index) as u8).collect();
            for key in [format!("new/{index}"), "same".to_owned()] {
                store.apply(vec![Op::put(key.as_str(), Expect::Any, bytes.as_slice())]).wait_single().unwrap().unwrap();
                assert!(store.get(key.as_bytes()).unwrap().unwrap().value == bytes, "{length} bytes under {key}");
            }
            live += format!("new/{index}").len() + length;
            assert_eq!(store.live_bytes(), (live + "same".len() + length) as u64);
        }
        for (key, stored) in store.scan_all(b"").unwrap() {
            assert_eq!(store.get(&key).unwrap().unwrap(), stored);
            store.apply(vec![Op::delete(key, Expect::Revision(stored.revision))]).wait_single().unwrap().unwrap();
        }
        assert_eq!(store.live_bytes(), 0);
    });
}

#[test]
fn a_batch_over_a_limit_is_refused_whole() {
    on_each_store(|store| {
        let good = || Op::put("good", Expect::Any, "v");
        let long_key = "k".repeat(KEY_BYTES_MAX + 1);
        let too_long = store.apply(vec![good(), Op::put(long_key, Expect::Any, "v")]).wait().unwrap_err();
        assert!(matches!(too_long, StoreError::KeyTooLong { bytes, .. } if bytes == KEY_BYTES_MAX + 1), "{too_long}");
        let value = vec![0; VALUE_BYTES_MAX + 1];
        let too_large = store.apply(vec![good(), Op::put("k", Expect::Any, value)]).wait().unwrap_err();
        assert!(matches!(too_large, StoreError::ValueTooLarge { .. }), "{too_large}");
        let no_key = store.apply(vec![good(), Op::put("", Expect::Any, "v")]).wait().unwrap_err();
        assert!(matches!(no_key, StoreError::EmptyKey), "{no_key}");
        assert!(!too_long.is_fatal() && !too_large.is_fatal() && !no_key.is_fatal());
        assert_eq!(value_count(&*store), 0);
        let longest = "k".repeat(KEY_BYTES_MAX);
        put(&*store, &longest, Expect::Absent, "v").unwrap();
        assert_eq!(value_count(&*store), 1);
    });
}

fn value_count(store: &dyn Store) -> usize {
    store.scan_all(b"").unwrap().len()
}

#[test]
fn counters_of_many_threads_lose_no_update() {
    const THREADS: usize = 8;
    const INCREMENTS: usize = 200;
    on_each_store(|store| {
        let revisions: Vec<Revision> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|_| scope.spawn(|| (0..INCREMENTS).map(|_| increment(&*store)).collect::<Vec<_>>()))
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(value(&*store, "counter").unwrap(), (THREADS * INCREMENTS).to_string());
        assert_eq!(revisions.iter().collect::<BTreeSet<_>>().len(), THREADS * INCREMENTS, "a revision came twice");
    });
}

fn increment(store: &dyn Store) -> Revision {
    loop {
        let found = store.get(b"counter").unwrap();
        let count = found.as_ref().map_or(0, |stored| std::str::from_utf8(&stored.value).unwrap().parse().unwrap());
        let next: usize = count + 1;
        if let Ok(revision) = put(store, "counter", Expect::unchanged(found.as_ref()), &next.to_string()) {
            return revision;
        }
    }
}

#[test]
fn answers_can_be_awaited() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    on_each_store(|store| {
        runtime.block_on(async {
            let batches: Vec<_> =
                (0..50).map(|n| store.apply(vec![Op::put(format!("k{n}"), Expect::Absent, "v")])).collect();
            for batch in batches {
                batch.single().await.unwrap().unwrap();
            }
        });
        assert_eq!(value_count(&*store), 50);
    });
}

#[test]
fn a_snapshot_is_the_store_at_one_moment_while_it_changes() {
    on_each_store(|store| {
        for key in 0..2000_u32 {
            put(&*store, &format!("m{key}"), Expect::Absent, "x").unwrap();
        }
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let writer = {
            let (store, stop) = (store.clone(), stop.clone());
            // In every state of the store, `a` is `z` or one more; and every other time there is no `b`.
            std::thread::spawn(move || {
                let mut count = 0_u64;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    count += 1;
                    put(&*store, "a", Expect::Any, &count.to_string()).unwrap();
                    put(&*store, "z", Expect::Any, &count.to_string()).unwrap();
                    if count.is_multiple_of(2) {
                        delete(&*store, "b", Expect::Any).unwrap();
                    } else {
                        put(&*store, "b", Expect::Any, "odd").unwrap();
                    }
                }
            })
        };
        for _ in 0..5 {
            let mut last = std::collections::BTreeMap::new();
            store
                .snapshot(&mut |key, value| {
                    let key = String::from_utf8(key.to_vec()).unwrap();
                    match value {
                        Some(value) => last.insert(key, String::from_utf8(value.to_vec()).unwrap()),
                        None => last.remove(&key),
                    };
                    ControlFlow::Continue(())
                })
                .unwrap();
            let number = |key: &str| last.get(key).map_or(0, |text| text.parse::<u64>().unwrap());
            let (a, z) = (number("a"), number("z"));
            assert!(a == z || a == z + 1, "a {a}, z {z}");
            // Before `z` moves on, `b` tells of the round before.
            assert!(a == z || a < 2 || last.contains_key("b") == (z % 2 == 1), "a {a}, z {z}");
            assert_eq!(last.keys().filter(|key| key.starts_with('m')).count(), 2000);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        writer.join().unwrap();
    });
}
