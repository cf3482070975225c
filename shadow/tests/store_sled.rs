//! What is special about the store on disk: restarts, the sync, its failure, its files.

#![allow(clippy::unwrap_used)]

use std::error::Error;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use muster_shadow::store::{Expect, Op, Revision, SledSettings, SledStore, Store, StoreError};

fn open(dir: &Path) -> SledStore {
    SledStore::open(dir, &SledSettings::default()).unwrap()
}

fn put(store: &SledStore, key: &str, value: &[u8]) -> Revision {
    store.apply(vec![Op::put(key, Expect::Any, value)]).wait_single().unwrap().unwrap()
}

#[test]
fn records_are_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for n in 0..300 {
        put(&store, &format!("k{n}"), &vec![n as u8; n * 40]);
    }
    let (before, live) = (store.scan_all(b"").unwrap(), store.live_bytes());
    drop(store);
    let store = open(dir.path());
    assert!(store.scan_all(b"").unwrap() == before);
    assert_eq!(store.live_bytes(), live);
}

#[test]
fn a_revision_is_not_given_again_though_its_record_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let mut last = Revision::new(0);
    for _ in 0..5 {
        let store = open(dir.path());
        let revision = put(&store, "a", b"v");
        assert!(revision > last);
        last = store.apply(vec![Op::delete("a", Expect::Revision(revision))]).wait_single().unwrap().unwrap();
        assert!(last > revision);
        assert_eq!(store.scan_all(b"").unwrap(), []);
    }
}

#[test]
fn no_answer_comes_before_the_sync() {
    let dir = tempfile::tempdir().unwrap();
    let (reached, syncs) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let gate = Arc::new(AtomicBool::new(false));
    let hook = {
        let gate = gate.clone();
        move || {
            if gate.load(Ordering::SeqCst) {
                reached.send(()).unwrap();
                released.recv().unwrap();
            }
            Ok(())
        }
    };
    let store = SledStore::open_with_sync_hook(dir.path(), &SledSettings::default(), Box::new(hook)).unwrap();
    gate.store(true, Ordering::SeqCst);
    let mut first = std::pin::pin!(store.apply(vec![Op::put("a", Expect::Absent, "v")]));
    syncs.recv().unwrap();
    // The committer now stands before the sync: what queues meanwhile shares the next one.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let rest: Vec<_> = (0..20).map(|n| store.apply(vec![Op::put(format!("b{n}"), Expect::Absent, "v")])).collect();
    let answered_early = runtime.block_on(async {
        tokio::select! { biased; _ = &mut first => true, () = std::future::ready(()) => false }
    });
    assert!(!answered_early, "answered before the sync");
    gate.store(false, Ordering::SeqCst);
    release.send(()).unwrap();
    runtime.block_on(async {
        first.await.unwrap()[0].unwrap();
        for batch in rest {
            batch.single().await.unwrap().unwrap();
        }
    });
}

#[test]
fn callers_who_wait_together_share_one_sync() {
    let dir = tempfile::tempdir().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let (release, released) = mpsc::channel::<()>();
    let (reached, syncs) = mpsc::channel();
    let hook = {
        let count = count.clone();
        move || {
            // The first sync is the one that opening does.
            if count.fetch_add(1, Ordering::SeqCst) == 1 {
                reached.send(()).unwrap();
                released.recv().unwrap();
            }
            Ok(())
        }
    };
    let store = SledStore::open_with_sync_hook(dir.path(), &SledSettings::default(), Box::new(hook)).unwrap();
    let first = store.apply(vec![Op::put("a", Expect::Absent, "v")]);
    syncs.recv().unwrap();
    let rest: Vec<_> = (0..100).map(|n| store.apply(vec![Op::put(format!("b{n}"), Expect::Absent, "v")])).collect();
    release.send(()).unwrap();
    first.wait().unwrap();
    for batch in rest {
        batch.wait_single().unwrap().unwrap();
    }
    assert_eq!(count.load(Ordering::SeqCst), 3);
}

#[test]
fn a_full_queue_makes_callers_wait_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let settings = SledSettings { queue_batches: 2, commit_ops: 3, ..SledSettings::default() };
    let store = SledStore::open(dir.path(), &settings).unwrap();
    let op = |n: usize| vec![Op::put(format!("k{n}"), Expect::Absent, "v")];
    let waiting: Vec<_> = (0..500).map(|n| store.apply(op(n))).collect();
    for batch in waiting {
        batch.wait_single().unwrap().unwrap();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let waiting: Vec<_> = (500..1000).map(|n| store.apply(op(n))).collect();
    runtime.block_on(async {
        for batch in waiting {
            batch.single().await.unwrap().unwrap();
        }
    });
    assert_eq!(store.scan_all(b"").unwrap().len(), 1000);
}

#[test]
fn a_failed_sync_ends_the_life_of_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let broken = Arc::new(AtomicBool::new(false));
    let hook = {
        let broken = broken.clone();
        move || if broken.load(Ordering::SeqCst) { Err(io::Error::other("the disk is gone")) } else { Ok(()) }
    };
    let store = SledStore::open_with_sync_hook(dir.path(), &SledSettings::default(), Box::new(hook)).unwrap();
    put(&store, "before", b"v");
    broken.store(true, Ordering::SeqCst);
    let failed = store.apply(vec![Op::put("during", Expect::Any, "v")]).wait().unwrap_err();
    assert!(failed.is_fatal());
    assert!(failed.to_string().contains("stop the process"), "{failed}");
    assert_eq!(failed.source().unwrap().to_string(), "the disk is gone");
    // The disk seems to be well again, but what the failed sync has lost stays lost.
    broken.store(false, Ordering::SeqCst);
    for _ in 0..3 {
        let later = store.apply(vec![Op::put("after", Expect::Any, "v")]).wait().unwrap_err();
        assert!(matches!(later, StoreError::Poisoned { .. }), "{later}");
    }
    assert!(store.get(b"before").unwrap_err().is_fatal());
    assert!(store.scan_all(b"").unwrap_err().is_fatal());
    drop(store);
    let store = open(dir.path());
    assert!(store.get(b"before").unwrap().is_some());
    assert!(store.get(b"after").unwrap().is_none());
}

#[test]
fn what_is_queued_is_carried_out_before_the_store_closes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let waiting: Vec<_> = (0..200).map(|n| store.apply(vec![Op::put(format!("k{n}"), Expect::Absent, "v")])).collect();
    drop(store);
    for batch in waiting {
        batch.wait_single().unwrap().unwrap();
    }
    assert_eq!(open(dir.path()).scan_all(b"").unwrap().len(), 200);
}

#[test]
fn a_second_process_is_told_that_the_store_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let _store = open(dir.path());
    let error = SledStore::open(dir.path(), &SledSettings::default()).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    assert!(error.to_string().contains(&*dir.path().to_string_lossy()), "{error}");
}

#[test]
fn an_opening_that_was_cut_short_is_made_good() {
    let dir = tempfile::tempdir().unwrap();
    // A first opening that got as far as half of sled's settings file.
    fs::create_dir_all(dir.path().join("sled.new/blobs")).unwrap();
    fs::write(dir.path().join("sled.new/conf"), "segment_size: 524288\nuse_compression: false\nver").unwrap();
    let store = open(dir.path());
    put(&store, "a", b"v");
    drop(store);
    // A later one that was killed while it wrote its snapshot.
    fs::write(dir.path().join("sled/snap.7FFFFFFFFFFFFFFF.generating"), "half").unwrap();
    let store = open(dir.path());
    assert!(store.get(b"a").unwrap().is_some());
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = SledStore::open(&file.join("store"), &SledSettings::default()).unwrap_err();
    assert!(error.to_string().contains(&*file.to_string_lossy()), "{error}");
}

#[test]
fn large_values_never_become_files_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let long = "n".repeat(350);
    // Sizes just under the split, over it and far over it; overwritten and removed so that pages split and merge.
    for round in 0..6_usize {
        for n in 0..150_usize {
            let key = format!("{long}{:03}", (n * 37 + round) % 150);
            let length = [4096, 4000, 4097, 8191, 40_000][(n + round) % 5];
            let op = if (n + round) % 7 == 0 {
                Op::delete(key, Expect::Any)
            } else {
                Op::put(key, Expect::Any, vec![n as u8; length])
            };
            store.apply(vec![op]).wait_single().unwrap().unwrap();
            let blobs = fs::read_dir(dir.path().join("sled/blobs")).unwrap().count();
            assert_eq!(blobs, 0, "round {round}, op {n}");
        }
    }
    let all = store.scan_all(b"").unwrap();
    assert!(all.len() > 100);
    drop(store);
    assert!(open(dir.path()).scan_all(b"").unwrap() == all);
    assert_eq!(fs::read_dir(dir.path().join("sled/blobs")).unwrap().count(), 0);
}

#[test]
fn replaced_and_removed_large_values_give_their_room_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let fill = |byte| Op::put("large", Expect::Any, vec![byte; 100_000]);
    for n in 0..1000 {
        let again = if n % 2 == 0 { fill(1) } else { Op::delete("large", Expect::Any) };
        // Also within one batch, where the first value never lives outside of it.
        let answers = store.apply(vec![fill(n as u8), again]).wait().unwrap();
        assert!(answers.iter().all(Result::is_ok));
    }
    assert_eq!(store.live_bytes(), 0);
    let disk = store.size_on_disk().unwrap();
    // 200 MB went through; a few segments of half a MiB may be left.
    assert!(disk < 16 * 1024 * 1024, "{disk} bytes on disk for nothing");
}

#[test]
fn readers_see_whole_values_while_they_are_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    put(&store, "a", &[0; 20_000]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut last = Revision::new(0);
                while !done.load(Ordering::SeqCst) {
                    let mut seen = store.scan_all(b"a").unwrap();
                    let (_, scanned) = seen.pop().unwrap();
                    let read = store.get(b"a").unwrap().unwrap();
                    for stored in [scanned, read] {
                        assert!(stored.revision >= last, "went back to an older value");
                        last = stored.revision;
                        assert!(stored.value.iter().all(|byte| *byte == stored.value[0]), "a mixed value");
                        assert_eq!(stored.value.len(), 20_000 + usize::from(stored.value[0]) * 100);
                    }
                }
            });
        }
        for n in 0..1000 {
            let fill = (n % 256) as u8;
            put(&store, "a", &vec![fill; 20_000 + usize::from(fill) * 100]);
        }
        done.store(true, Ordering::SeqCst);
    });
}
