//! What the journal keeps of one component: the upgrade under way, how earlier ones ended, and what failed last.

use super::upgrade::{Step, Upgrade, Verdict};
use muster_wire::component::{DETAIL_OUTCOME, DETAIL_REASON, DETAIL_STEP, LastFailed};
use muster_wire::id::{JobId, Version};
use muster_wire::job::{JobExecution, JobStatus, StatusDetails};
use muster_wire::limits::STATUS_DETAIL_VALUE_CHARS_MAX;
use muster_wire::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The journal of one component.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// The upgrade under way.
    pub upgrade: Option<Upgrade>,
    /// How the latest ones ended, oldest first.
    pub finished: Vec<Finished>,
    /// The version before the current one; its files are kept.
    pub previous: Option<Version>,
    /// The version that failed last.
    pub last_failed: Option<LastFailed>,
}

/// How an execution ended, kept so that the server is told until it knows, and told again when it asks again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// Job.
    pub job: JobId,
    /// The execution's number.
    pub execution: u64,
    /// A terminal status.
    pub status: JobStatus,
    /// Reason and outcome.
    pub details: StatusDetails,
    /// The server has it.
    pub delivered: bool,
}

/// Ends kept for each component: a server repeats at most its latest jobs.
const FINISHED_MAX: usize = 16;
/// Longest reason in a shadow of 8 KiB that many components share.
const REASON_BYTES_MAX: usize = 300;

impl Record {
    /// How this execution ended, if it did.
    pub fn end_of(&self, execution: &JobExecution) -> Option<&Finished> {
        self.finished.iter().find(|f| f.job == execution.job_id && f.execution == execution.execution_number)
    }

    /// Moves the upgrade to `step`.
    pub fn step(&mut self, step: Step) {
        if let Some(upgrade) = &mut self.upgrade {
            upgrade.step = step;
        }
    }

    /// Ends the upgrade under way.
    pub fn end(&mut self, verdict: &Verdict, now: Timestamp) {
        let Some(upgrade) = self.upgrade.take() else { return };
        let document = upgrade.document;
        let (status, details) = match verdict {
            Verdict::Succeeded => {
                if self.last_failed.as_ref().is_some_and(|failed| failed.version == document.version) {
                    self.last_failed = None;
                }
                if upgrade.from.as_ref() != Some(&document.version) {
                    self.previous = upgrade.from;
                }
                (JobStatus::Succeeded, StatusDetails::new())
            }
            Verdict::Failed { reason, outcome } => {
                self.last_failed = Some(LastFailed {
                    version: document.version,
                    package_sha256: document.sha256,
                    reason: cut(reason, REASON_BYTES_MAX),
                    at: now,
                });
                let reason = cut(reason, STATUS_DETAIL_VALUE_CHARS_MAX);
                let details = [(DETAIL_REASON, reason), (DETAIL_OUTCOME, outcome.as_str().to_owned())];
                (JobStatus::Failed, details.map(|(key, value)| (key.to_owned(), value)).into())
            }
        };
        self.finish(Finished { job: upgrade.job, execution: upgrade.execution, status, details, delivered: false });
    }

    /// Notes that the server knows the end of an execution. Says whether that was news.
    pub fn delivered(&mut self, job: &JobId, execution: u64) -> bool {
        let waiting = self.finished.iter_mut().find(|f| f.job == *job && f.execution == execution && !f.delivered);
        waiting.map(|finished| finished.delivered = true).is_some()
    }

    fn finish(&mut self, finished: Finished) {
        self.finished.push(finished);
        let excess = self.finished.len().saturating_sub(FINISHED_MAX);
        self.finished.drain(..excess);
    }
}

/// `statusDetails` of an upgrade at `step`.
pub fn step_details(step: &Step) -> StatusDetails {
    [(DETAIL_STEP.to_owned(), step.public().as_str().to_owned())].into()
}

/// At most `max` bytes, and so not more characters, of `text`, at a character boundary.
pub fn cut(text: &str, max: usize) -> String {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use muster_wire::component::{FailureOutcome, Operation, UpgradeDocument};
    use muster_wire::id::{ComponentName, Sha256Hex};

    fn begin(record: &mut Record, job: u64, version: &str, from: Option<&str>) {
        record.upgrade = Some(Upgrade {
            job: JobId::new(format!("job-{job}")).unwrap(),
            execution: 1,
            document: UpgradeDocument {
                operation: Operation::Upgrade,
                component: ComponentName::new("greeter").unwrap(),
                version: Version::new(version).unwrap(),
                path: String::new(),
                sha256: Sha256Hex::from_bytes(&[1; 32]),
                size: 1,
                signature: String::new(),
                soak_s: 5,
            },
            from: from.map(|text| Version::new(text).unwrap()),
            accepted_at: Timestamp::default(),
            step: Step::Downloading,
        });
    }

    #[test]
    fn a_failure_is_remembered_beside_what_runs_until_that_version_works() {
        let mut record = Record::default();
        let failed = Verdict::Failed { reason: "é".repeat(1000), outcome: FailureOutcome::RolledBack };
        begin(&mut record, 1, "2", Some("1"));
        record.end(&failed, Timestamp::from_seconds(5));
        let last = record.last_failed.clone().unwrap();
        assert_eq!((last.version.as_str(), last.reason.len()), ("2", 300));
        assert_eq!(record.finished[0].details[DETAIL_OUTCOME], "rolled-back");
        assert!(record.finished[0].details[DETAIL_REASON].len() <= STATUS_DETAIL_VALUE_CHARS_MAX);
        begin(&mut record, 2, "3", Some("1"));
        record.end(&Verdict::Succeeded, Timestamp::from_seconds(6));
        assert_eq!((record.last_failed.clone(), record.previous.clone()), (Some(last), Version::new("1").ok()));
        begin(&mut record, 3, "2", Some("3"));
        record.end(&Verdict::Succeeded, Timestamp::from_seconds(7));
        assert_eq!(record.last_failed, None);
        // Proving the version that runs already does not forget the way back.
        begin(&mut record, 4, "2", Some("2"));
        record.end(&Verdict::Succeeded, Timestamp::from_seconds(8));
        assert_eq!(record.previous, Version::new("3").ok());
    }

    #[test]
    fn ends_are_delivered_once_and_the_oldest_are_forgotten() {
        let mut record = Record::default();
        for job in 0..20 {
            begin(&mut record, job, "2", None);
            record.end(&Verdict::Succeeded, Timestamp::default());
        }
        assert_eq!(record.finished.len(), FINISHED_MAX);
        let job = JobId::new("job-19").unwrap();
        assert!(!record.delivered(&job, 2));
        assert!(record.delivered(&job, 1));
        assert!(!record.delivered(&job, 1));
    }
}
