//! What happens to an execution, and the checks that make an event of a request.

use super::refusal::Refusal;
use muster_wire::job::{JobStatus, StartNextRequest, StatusDetails, UpdateRequest};
use muster_wire::limits::{STATUS_DETAIL_KEY_BYTES_MAX, STATUS_DETAIL_VALUE_CHARS_MAX, STATUS_DETAILS_MAX};
use std::time::Duration;

/// What happens to an execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The device takes it from the queue.
    StartNext {
        /// Replace what is there; ignored when the execution has started already.
        status_details: Option<StatusDetails>,
        /// New step timer.
        step_timeout: Option<StepTimeout>,
    },
    /// The device reports.
    Update(Update),
    /// The service saw that [`super::Execution::times_out_at`] has passed.
    Timeout,
    /// An operator calls it off.
    Cancel {
        /// Also when the device has started.
        force: bool,
    },
    /// The thing left the job.
    Remove,
}

/// What a device reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// What the device wants the execution to be.
    pub status: JobStatus,
    /// Replace what is there; absent keeps it.
    pub status_details: Option<StatusDetails>,
    /// Version that the device believes in.
    pub expected_version: Option<u64>,
    /// Which try the device means; absent is the latest.
    pub execution_number: Option<u64>,
    /// New step timer.
    pub step_timeout: Option<StepTimeout>,
}

/// What a request does to the step timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepTimeout {
    /// The step ends by then, counted from now.
    After(Duration),
    /// No step timer.
    Off,
}

impl StepTimeout {
    /// From `stepTimeoutInMinutes`. Errors: `InvalidRequest` unless 1 to 10080, or -1 for none.
    pub fn from_minutes(minutes: i64) -> Result<Self, Refusal> {
        match u64::try_from(minutes) {
            Ok(minutes @ 1..=STEP_TIMEOUT_MINUTES_MAX) => Ok(Self::After(Duration::from_secs(minutes * 60))),
            Err(_) if minutes == -1 => Ok(Self::Off),
            Ok(_) | Err(_) => Err(Refusal::invalid_request(format!(
                "stepTimeoutInMinutes is {minutes}; use 1 to {STEP_TIMEOUT_MINUTES_MAX}, or -1 to stop the timer"
            ))),
        }
    }
}

/// Seven days: the figure of the jobs API model.
const STEP_TIMEOUT_MINUTES_MAX: u64 = 10_080;

impl TryFrom<StartNextRequest> for Event {
    type Error = Refusal;

    fn try_from(request: StartNextRequest) -> Result<Self, Refusal> {
        check_details(request.status_details.as_ref())?;
        Ok(Self::StartNext {
            status_details: request.status_details,
            step_timeout: request.step_timeout_in_minutes.map(StepTimeout::from_minutes).transpose()?,
        })
    }
}

impl TryFrom<UpdateRequest> for Event {
    type Error = Refusal;

    fn try_from(request: UpdateRequest) -> Result<Self, Refusal> {
        check_details(request.status_details.as_ref())?;
        Ok(Self::Update(Update {
            status: request.status,
            status_details: request.status_details,
            expected_version: request.expected_version,
            execution_number: request.execution_number,
            step_timeout: request.step_timeout_in_minutes.map(StepTimeout::from_minutes).transpose()?,
        }))
    }
}

/// Checks the details of a request. Errors: `InvalidRequest`.
pub fn check_details(details: Option<&StatusDetails>) -> Result<(), Refusal> {
    let Some(details) = details else { return Ok(()) };
    if details.len() > STATUS_DETAILS_MAX {
        return Err(Refusal::invalid_request(format!(
            "statusDetails has {} entries; at most {STATUS_DETAILS_MAX} are allowed",
            details.len()
        )));
    }
    for (key, value) in details {
        let key_fits = (1..=STATUS_DETAIL_KEY_BYTES_MAX).contains(&key.len())
            && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'_' | b'-'));
        if !key_fits {
            return Err(Refusal::invalid_request(format!(
                "statusDetails has a bad key; use 1 to {STATUS_DETAIL_KEY_BYTES_MAX} of A-Z a-z 0-9 : _ -"
            )));
        }
        let value_fits = (1..=STATUS_DETAIL_VALUE_CHARS_MAX).contains(&value.chars().count())
            && !value.chars().any(char::is_control);
        if !value_fits {
            return Err(Refusal::invalid_request(format!(
                "statusDetails.{key} is not usable; use 1 to {STATUS_DETAIL_VALUE_CHARS_MAX} characters, none of them a control character"
            )));
        }
    }
    Ok(())
}
