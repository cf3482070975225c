//! Jobs and executions as tables.

use crate::output::{Table, or_empty};
use muster_wire::admin::ShownJob;
use muster_wire::job::{
    ExecutionDescription, FailureType, JobDescription, JobProcessDetails, JobSummary, TargetSelection,
};
use muster_wire::time::Timestamp;
use std::fmt::Write;

/// Jobs, one line each.
pub fn jobs(jobs: &[JobSummary]) -> String {
    let headings =
        ["JOB", "STATUS", "KIND", "DONE", "QUEUED", "RUNS", "OK", "FAILED", "OTHER", "WAITING", "CREATED", "TARGETS"];
    let mut table = Table::new(&headings);
    for job in jobs {
        let counts = &job.job_process_details;
        table.row([
            job.job_id.to_string(),
            job.status.to_string(),
            kind(job).to_owned(),
            progress(job),
            counts.number_of_queued_things.to_string(),
            counts.number_of_in_progress_things.to_string(),
            counts.number_of_succeeded_things.to_string(),
            counts.number_of_failed_things.to_string(),
            others(counts).to_string(),
            job.number_of_waiting_things.to_string(),
            time(job.created_at),
            short(&job.targets),
        ]);
    }
    table.to_string()
}

/// One job, whole.
pub fn job(shown: &ShownJob) -> String {
    let JobDescription { summary, .. } = &shown.job;
    let counts = &summary.job_process_details;
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            text.push_str(&crate::output::line(name, &value));
        }
    };
    line("job", summary.job_id.to_string());
    line("description", or_empty(shown.job.description.as_ref()));
    let forced = if shown.job.force_canceled == Some(true) { ", with force" } else { "" };
    line("status", format!("{}{forced}", summary.status));
    let why: Vec<String> = shown.job.reason_code.iter().chain(&shown.job.comment).cloned().collect();
    line("why", why.join(": "));
    line("kind", kind(summary).to_owned());
    line("targets", short(&summary.targets));
    line("created", format!("{} by {}", time(summary.created_at), shown.job.created_by));
    line("changed", time(summary.last_updated_at));
    line("ended", summary.completed_at.map(time).unwrap_or_default());
    line("template", or_empty(shown.job.job_template_arn.as_ref()));
    let parameters: Vec<String> =
        shown.job.document_parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    line("parameters", parameters.join(" "));
    for rule in rules(&shown.job) {
        line("rule", rule);
    }
    line("progress", progress(summary));
    for (name, count) in [
        ("waiting", summary.number_of_waiting_things),
        ("queued", counts.number_of_queued_things),
        ("in progress", counts.number_of_in_progress_things),
        ("succeeded", counts.number_of_succeeded_things),
        ("failed", counts.number_of_failed_things),
        ("timed out", counts.number_of_timed_out_things),
        ("rejected", counts.number_of_rejected_things),
        ("canceled", counts.number_of_canceled_things),
        ("removed", counts.number_of_removed_things),
    ] {
        line(name, if count == 0 { String::new() } else { count.to_string() });
    }
    let document = serde_json::to_string_pretty(&shown.document).unwrap_or_default();
    let _ = write!(text, "\n{document}");
    text
}

/// Executions, one line each.
pub fn executions(executions: &[ExecutionDescription]) -> String {
    let mut table =
        Table::new(&["JOB", "THING", "TRY", "STATUS", "VERSION", "QUEUED", "STARTED", "UPDATED", "LEFT", "DETAILS"]);
    for one in executions {
        let details: Vec<String> =
            one.status_details.details_map.iter().map(|(name, value)| format!("{name}={value}")).collect();
        table.row([
            one.job_id.to_string(),
            bare(&one.thing_arn).to_owned(),
            one.execution_number.to_string(),
            format!("{}{}", one.status.as_str(), if one.force_canceled { " (forced)" } else { "" }),
            one.version_number.to_string(),
            time(one.queued_at),
            one.started_at.map(time).unwrap_or_default(),
            time(one.last_updated_at),
            one.approximate_seconds_before_timed_out.map(|seconds| format!("{seconds} s")).unwrap_or_default(),
            details.join(" "),
        ]);
    }
    table.to_string()
}

const fn kind(job: &JobSummary) -> &'static str {
    match job.target_selection {
        TargetSelection::Snapshot => "snapshot",
        TargetSelection::Continuous => "continuous",
    }
}

/// How many of its things are through: `3/10 30%`.
fn progress(job: &JobSummary) -> String {
    let counts = &job.job_process_details;
    let done = counts.number_of_succeeded_things + counts.number_of_failed_things + others(counts);
    let all =
        done + counts.number_of_queued_things + counts.number_of_in_progress_things + job.number_of_waiting_things;
    let percent = (done * 100).checked_div(all).unwrap_or(0);
    format!("{done}/{all} {percent}%")
}

/// Ends that are neither success nor failure of the device's own telling.
const fn others(counts: &JobProcessDetails) -> u64 {
    counts.number_of_timed_out_things
        + counts.number_of_rejected_things
        + counts.number_of_canceled_things
        + counts.number_of_removed_things
}

/// The rules of a job, one sentence each.
fn rules(job: &JobDescription) -> Vec<String> {
    let mut rules = Vec::new();
    if let Some(rollout) = &job.job_executions_rollout_config {
        if let Some(rate) = rollout.maximum_per_minute {
            rules.push(format!("at most {rate} things a minute"));
        }
        if let Some(growth) = &rollout.exponential_rate {
            let criteria = &growth.rate_increase_criteria;
            let each = match (criteria.number_of_notified_things, criteria.number_of_succeeded_things) {
                (Some(each), _) => format!("{each} were told"),
                (None, each) => format!("{} succeeded", each.unwrap_or_default()),
            };
            let (base, factor) = (growth.base_rate_per_minute, growth.increment_factor);
            rules.push(format!("{base} things a minute, times {factor} each time {each}"));
        }
    }
    for criterion in job.abort_config.iter().flat_map(|abort| &abort.criteria_list) {
        let (kind, least) = (failure(criterion.failure_type), criterion.min_number_of_executed_things);
        rules.push(format!("give up when {kind} >= {} % after {least} things", criterion.threshold_percentage));
    }
    rules.extend(
        job.timeout_config
            .as_ref()
            .map(|timeout| format!("a thing has {} minutes", timeout.in_progress_timeout_in_minutes)),
    );
    for criterion in job.job_executions_retry_config.iter().flat_map(|retry| &retry.criteria_list) {
        let kind = match criterion.failure_type {
            // Whatever the criterion: a device that rejects a job is not asked again.
            FailureType::All => "FAILED or TIMED_OUT",
            kind => failure(kind),
        };
        rules.push(format!("retries after {kind}: {}", criterion.number_of_retries));
    }
    if let Some(schedule) = &job.scheduling_config {
        rules.extend(schedule.start_time.iter().map(|start| format!("begin at {start} UTC")));
        let behavior = schedule.end_behavior.unwrap_or_default();
        rules.extend(
            schedule.end_time.iter().map(|end| format!("end at {end} UTC: {}", crate::output::spelling(&behavior))),
        );
        rules.extend(
            schedule.maintenance_windows.iter().map(|window| {
                format!("only for {} minutes from {:?} UTC", window.duration_in_minutes, window.start_time)
            }),
        );
    }
    rules
}

const fn failure(kind: FailureType) -> &'static str {
    match kind {
        FailureType::Failed => "FAILED",
        FailureType::Rejected => "REJECTED",
        FailureType::TimedOut => "TIMED_OUT",
        FailureType::All => "FAILED, REJECTED or TIMED_OUT",
    }
}

/// The first targets, without what all ARNs have in common.
fn short(targets: &[String]) -> String {
    let mut named: Vec<String> = targets.iter().take(TARGETS_SHOWN).map(|arn| bare(arn).to_owned()).collect();
    if targets.len() > TARGETS_SHOWN {
        named.push(format!("and {} more", targets.len() - TARGETS_SHOWN));
    }
    named.join(" ")
}

const TARGETS_SHOWN: usize = 3;

/// The name at the end of an ARN.
pub fn bare(arn: &str) -> &str {
    arn.split_once('/').map_or(arn, |(_, name)| name)
}

pub fn time(epoch_seconds: i64) -> String {
    Timestamp::from_seconds(epoch_seconds).to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::rules;
    use muster_wire::job::{JobDescription, JobProcessDetails};
    use serde_json::json;

    #[test]
    fn all_that_gives_up_has_rejected_and_all_that_is_tried_again_has_not() {
        let job: JobDescription = serde_json::from_value(json!({
            "jobArn": "arn:aws:iot:::job/j", "jobId": "j", "targetSelection": "SNAPSHOT", "status": "IN_PROGRESS",
            "createdAt": 1, "lastUpdatedAt": 1, "targets": [], "numberOfWaitingThings": 0,
            "jobProcessDetails": JobProcessDetails::default(), "createdBy": "op",
            "abortConfig": { "criteriaList": [{
                "failureType": "ALL", "action": "CANCEL", "thresholdPercentage": 20.0, "minNumberOfExecutedThings": 10
            }] },
            "jobExecutionsRetryConfig": { "criteriaList": [{ "failureType": "ALL", "numberOfRetries": 2 }] },
        }))
        .unwrap();
        let told = [
            "give up when FAILED, REJECTED or TIMED_OUT >= 20 % after 10 things",
            "retries after FAILED or TIMED_OUT: 2",
        ];
        assert_eq!(rules(&job), told);
    }
}
