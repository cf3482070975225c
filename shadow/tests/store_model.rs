//! Random ops on a store, compared step by step with a plain map.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use muster_shadow::store::{Change, Conflict, Expect, MemoryStore, Op, Revision, SledSettings, SledStore, Store};
use proptest::prelude::*;

/// What an op expects, in terms of what the model knows when it runs.
#[derive(Debug, Clone, Copy)]
enum Hope {
    Absent,
    Any,
    Current,
    Stale,
}

#[derive(Debug, Clone)]
enum Step {
    Batch(Vec<(u8, Hope, Option<u16>)>),
    Scan { prefix: Vec<u8>, after: Option<u8>, limit: usize },
    Reopen,
}

fn any_step(reopen: u32) -> impl Strategy<Value = Step> {
    let hope =
        prop_oneof![2 => Just(Hope::Absent), 2 => Just(Hope::Any), 4 => Just(Hope::Current), 1 => Just(Hope::Stale)];
    // Lengths on both sides of the size at which values are split, mostly short.
    let length = prop::option::weighted(0.75, prop_oneof![6 => 0..50u16, 1 => 4090..4102u16, 1 => 8000..20000u16]);
    let op = (0..12u8, hope, length);
    let scan = (prop::collection::vec(0..4u8, 0..2), prop::option::of(0..12u8), 0..6usize);
    prop_oneof![
        8 => prop::collection::vec(op, 0..8).prop_map(Step::Batch),
        2 => scan.prop_map(|(prefix, after, limit)| Step::Scan { prefix, after, limit }),
        reopen => Just(Step::Reopen),
    ]
}

/// Keys that are prefixes of each other and differ in their first byte.
fn key(index: u8) -> Vec<u8> {
    let mut key = vec![index % 4];
    key.resize(1 + usize::from(index / 4), index);
    key
}

#[derive(Default)]
struct Model {
    records: BTreeMap<Vec<u8>, (Revision, Vec<u8>)>,
    /// The last revision that any op was answered, and all that ever stood under a key.
    last: Option<Revision>,
    filler: u8,
}

impl Model {
    fn op(&mut self, index: u8, hope: Hope, length: Option<u16>, planned: &BTreeMap<Vec<u8>, bool>) -> Op {
        let key = key(index);
        let current = self.records.get(&key).map(|(revision, _)| *revision);
        let expect = match hope {
            Hope::Absent => Expect::Absent,
            Hope::Any => Expect::Any,
            // The revision that an earlier op of the same batch will get is not known yet.
            Hope::Current if planned.contains_key(&key) => Expect::Any,
            Hope::Current => current.map_or(Expect::Absent, Expect::Revision),
            Hope::Stale => Expect::Revision(Revision::new(current.map_or(1, |current| current.get() - 1))),
        };
        self.filler = self.filler.wrapping_add(1);
        match length {
            Some(length) => Op::put(key, expect, vec![self.filler; length.into()]),
            None => Op::delete(key, expect),
        }
    }

    /// Carries out `op` as the store should have, given the answer; says what is wrong with the answer.
    fn check(&mut self, op: Op, answer: Result<Revision, Conflict>) -> Result<(), TestCaseError> {
        let found = self.records.get(&op.key).map(|(revision, _)| *revision);
        let holds = match op.expect {
            Expect::Any => true,
            Expect::Absent => found.is_none(),
            Expect::Revision(revision) => found == Some(revision),
        };
        prop_assert_eq!(answer.is_ok(), holds, "{:?} with {:?} there", op.expect, found);
        match answer {
            Err(conflict) => prop_assert_eq!(conflict.found, found),
            Ok(revision) => {
                prop_assert!(Some(revision) > self.last, "{revision} after {:?}", self.last);
                self.last = Some(revision);
                match op.change {
                    Change::Put(value) => drop(self.records.insert(op.key, (revision, value))),
                    Change::Delete => drop(self.records.remove(&op.key)),
                }
            }
        }
        Ok(())
    }

    fn check_all(&self, store: &dyn Store) -> Result<(), TestCaseError> {
        for index in 0..12 {
            let stored = store.get(&key(index)).unwrap().map(|stored| (stored.revision, stored.value.to_vec()));
            prop_assert_eq!(stored.as_ref(), self.records.get(&key(index)));
        }
        let live: usize = self.records.iter().map(|(key, (_, value))| key.len() + value.len()).sum();
        prop_assert_eq!(store.live_bytes(), live as u64);
        Ok(())
    }
}

fn run(steps: Vec<Step>, mut open: impl FnMut() -> Box<dyn Store>) -> Result<(), TestCaseError> {
    let mut model = Model::default();
    let mut store = Some(open());
    for step in steps {
        let current = store.as_deref().unwrap();
        match step {
            Step::Batch(wishes) => {
                let mut planned = BTreeMap::new();
                let mut ops = Vec::new();
                for (index, hope, length) in wishes {
                    ops.push(model.op(index, hope, length, &planned));
                    planned.insert(key(index), true);
                }
                let answers = current.apply(ops.clone()).wait().unwrap();
                prop_assert_eq!(answers.len(), ops.len());
                for (op, answer) in ops.into_iter().zip(answers) {
                    model.check(op, answer)?;
                }
            }
            Step::Scan { prefix, after, limit } => {
                let after = after.map(key);
                let found = current.scan_after(&prefix, after.as_deref(), limit).unwrap();
                let expected: Vec<_> = model
                    .records
                    .iter()
                    .filter(|(key, _)| key.starts_with(&prefix) && after.as_ref().is_none_or(|after| *key > after))
                    .take(limit)
                    .map(|(key, (revision, value))| (key.clone(), *revision, value.clone()))
                    .collect();
                let found: Vec<_> =
                    found.into_iter().map(|(key, stored)| (key, stored.revision, stored.value.to_vec())).collect();
                prop_assert_eq!(found, expected);
            }
            Step::Reopen => {
                drop(store.take());
                store = Some(open());
            }
        }
        model.check_all(store.as_deref().unwrap())?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn memory_is_a_map(steps in prop::collection::vec(any_step(0), 0..40)) {
        let store = std::cell::Cell::new(Some(MemoryStore::new()));
        run(steps, || Box::new(store.take().unwrap()))?;
    }
}

proptest! {
    // Each case makes a database and syncs dozens of times.
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn sled_is_a_map_over_restarts(steps in prop::collection::vec(any_step(1), 0..40)) {
        let dir = tempfile::tempdir().unwrap();
        run(steps, || Box::new(SledStore::open(dir.path(), &SledSettings::default()).unwrap()))?;
    }
}
