//! Turns the difference between what an operator wants and what a connector reports into upgrade actions, and judges
//! their success from facts.
//!
//! Refuses to know: stores, jobs on the wire, clocks. The same view gives the same plan; every step is idempotent and
//! a crash between two of them is found by the next look.
//!
//! ```text
//!             start                    start-next               the agent says done
//!  (nothing) ───────▶ queued ────────────────────▶ running ───────────────────────▶ proving
//!                       │ newer intent                │ the agent says failed,          │ facts of the new process
//!                       ▼                             ▼ timed out, refused              ▼
//!                   superseded                rolled-back │ failed ◀── no proof ──  confirmed
//! ```
//!
//! Invariants: only facts of the new process make `confirmed`; an end is never left; at most one action of a component
//! is not at an end; a package that failed on a connector is not offered to it again until a newer intent says `again`.

use muster_wire::component::{ComponentReport, FailureOutcome, Health, PublishedComponent};
use muster_wire::id::{ComponentName, JobId, PersonName, Sha256Hex, TargetId, ThingName, Version};
use muster_wire::job::JobStatus;
use muster_wire::limits::PROOF_DEADLINE;
use muster_wire::time::Timestamp;
use muster_wire::view::{ActionState, ActionView, VIEW_VERSION};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// An upgrade of one component on one connector, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// Number of the intent that it serves; grows with every intent of the fleet.
    pub intent: u64,
    /// Name of the intent.
    pub target: TargetId,
    /// The job that carries it out.
    pub job: JobId,
    /// Component.
    pub component: ComponentName,
    /// The version that ran before.
    pub from: Option<Version>,
    /// The version that shall run.
    pub to: Version,
    /// Digest of the package of that version.
    pub package_sha256: Sha256Hex,
    /// How long the probe must have passed.
    pub soak_s: u32,
    /// The start of the process that ran before; the new one must have another.
    pub start_id_before: Option<String>,
    /// Where it is.
    pub state: ActionState,
    /// The agent's step.
    pub step: Option<String>,
    /// Why it ended so, or what is missing.
    pub reason: Option<String>,
    /// Whether it was offered to the connector; one that failed here before is not.
    #[serde(default = "yes")]
    pub offered: bool,
    /// Who asked.
    pub by: PersonName,
    /// When it began.
    pub created_at: Timestamp,
    /// When its state last changed.
    pub updated_at: Timestamp,
}

fn yes() -> bool {
    true
}

/// What an operator wants of one component on this connector: the newest intent that selects it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Number of the intent.
    pub intent: u64,
    /// Name of the intent.
    pub target: TargetId,
    /// The job that carries it out.
    pub job: JobId,
    /// The published version.
    pub package: PublishedComponent,
    /// Offer it also where it failed before.
    pub again: bool,
    /// Who asked.
    pub by: PersonName,
}

/// What is known of the execution that carries an action out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutionFacts {
    /// Its status.
    pub status: JobStatus,
    /// The agent's step.
    pub step: Option<String>,
    /// Why it failed, in the agent's words.
    pub reason: Option<String>,
    /// How a failure left the host.
    pub outcome: Option<FailureOutcome>,
}

/// Everything that a plan for one connector is made from.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The newest intents, one for each component.
    pub wanted: BTreeMap<ComponentName, Wanted>,
    /// `desired` of the shadow `components`.
    pub desired: BTreeMap<ComponentName, Version>,
    /// `reported` of the shadow `components`.
    pub reported: BTreeMap<ComponentName, ComponentReport>,
    /// The actions that are kept, in any order.
    pub actions: Vec<Action>,
    /// The executions of the actions that are not at an end.
    pub executions: BTreeMap<JobId, ExecutionFacts>,
    /// When the shadow `components` last changed.
    pub synced_at: Option<Timestamp>,
}

/// One thing to do. Steps are done in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write this version into `desired`.
    SetDesired {
        /// Component.
        component: ComponentName,
        /// Version.
        version: Version,
    },
    /// Call the execution off; it has not begun.
    CancelExecution {
        /// Its job.
        job: JobId,
    },
    /// Keep this action, new or changed.
    Keep(Action),
    /// Make the execution of a kept action; it has none.
    MakeExecution {
        /// Its job.
        job: JobId,
    },
}

/// What to do now, and why the rest waits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What to do, in order.
    pub steps: Vec<Step>,
    /// For each component that is not where it should be: why.
    pub why: BTreeMap<ComponentName, String>,
    /// When to look again although nothing happened.
    pub look_again: Option<Timestamp>,
}

/// Plans for one connector.
#[must_use]
pub fn plan(view: &View, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    let live = view.actions.iter().filter(|action| !action.state.is_end()).map(|action| &action.component);
    let components: BTreeSet<&ComponentName> = view.wanted.keys().chain(live).collect();
    for component in components {
        plan_component(view, component, now, &mut plan);
    }
    plan
}

fn plan_component(view: &View, component: &ComponentName, now: Timestamp, plan: &mut Plan) {
    let wanted = view.wanted.get(component);
    let live = view.actions.iter().find(|action| action.component == *component && !action.state.is_end());
    if let Some(wanted) = wanted
        && view.desired.get(component) != Some(&wanted.package.version)
    {
        let version = wanted.package.version.clone();
        plan.steps.push(Step::SetDesired { component: component.clone(), version });
    }
    let busy = live.is_some_and(|action| carry_on(view, action, wanted, now, plan));
    if !busy && let Some(wanted) = wanted {
        begin(view, component, wanted, now, plan);
    }
}

/// Moves a live action on. Returns whether the component is still taken by it.
fn carry_on(view: &View, action: &Action, wanted: Option<&Wanted>, now: Timestamp, plan: &mut Plan) -> bool {
    let newer = wanted.filter(|wanted| wanted.intent > action.intent);
    let Some(execution) = view.executions.get(&action.job) else {
        if action.state == ActionState::Proving {
            return prove(view, action, now, plan);
        }
        // The process ended between the two records: finish the sequence, unless nobody wants it any more.
        match newer {
            Some(newer) => supersede(action, newer, now, plan),
            None => plan.steps.push(Step::MakeExecution { job: action.job.clone() }),
        }
        return newer.is_none();
    };
    match (action.state, execution.status) {
        (ActionState::Queued | ActionState::Running, JobStatus::Queued) => match newer {
            Some(newer) => {
                plan.steps.push(Step::CancelExecution { job: action.job.clone() });
                supersede(action, newer, now, plan);
                false
            }
            None => {
                wait(plan, action, "the connector has not taken the job yet");
                true
            }
        },
        (ActionState::Queued | ActionState::Running, JobStatus::InProgress) => {
            if action.state != ActionState::Running || action.step != execution.step {
                let step = execution.step.clone();
                keep(plan, Action { state: ActionState::Running, step, updated_at: now, ..action.clone() });
            }
            let step = execution.step.as_deref().unwrap_or("started");
            wait(plan, action, &format!("the connector works on it ({step})"));
            true
        }
        (ActionState::Queued | ActionState::Running, JobStatus::Succeeded) => {
            let proving = Action { state: ActionState::Proving, step: None, updated_at: now, ..action.clone() };
            let busy = prove(view, &proving, now, plan);
            if busy {
                keep(plan, proving);
            }
            busy
        }
        (ActionState::Queued | ActionState::Running, JobStatus::Failed) => {
            let reason = execution.reason.clone().unwrap_or_else(|| "the agent gave no reason".to_owned());
            let state = match execution.outcome {
                Some(FailureOutcome::RolledBack) => ActionState::RolledBack,
                Some(FailureOutcome::Untouched | FailureOutcome::Inconsistent) | None => ActionState::Failed,
            };
            finish(action, state, reason, now, plan);
            false
        }
        (
            ActionState::Queued | ActionState::Running,
            JobStatus::TimedOut | JobStatus::Rejected | JobStatus::Removed | JobStatus::Canceled,
        ) => {
            let how = match execution.status {
                JobStatus::TimedOut => "it took too long",
                JobStatus::Rejected => "the agent refused it",
                _ => "the job was called off",
            };
            let reason = match &execution.reason {
                Some(reason) => format!("{how}: {reason}"),
                None => how.to_owned(),
            };
            finish(action, ActionState::Failed, reason, now, plan);
            false
        }
        (ActionState::Proving, _) => prove(view, action, now, plan),
        (
            ActionState::Confirmed | ActionState::RolledBack | ActionState::Failed | ActionState::Superseded,
            JobStatus::Queued
            | JobStatus::InProgress
            | JobStatus::Succeeded
            | JobStatus::Failed
            | JobStatus::TimedOut
            | JobStatus::Rejected
            | JobStatus::Removed
            | JobStatus::Canceled,
        ) => false,
    }
}

/// Waits for the facts that prove an action. Returns whether it still waits.
fn prove(view: &View, action: &Action, now: Timestamp, plan: &mut Plan) -> bool {
    match proof(action, view.reported.get(&action.component)) {
        Ok(()) => {
            keep(
                plan,
                Action { state: ActionState::Confirmed, step: None, reason: None, updated_at: now, ..action.clone() },
            );
            false
        }
        Err(missing) => {
            let deadline = action.updated_at.plus(PROOF_DEADLINE + Duration::from_secs(u64::from(action.soak_s)));
            if now >= deadline {
                finish(action, ActionState::Failed, format!("the agent said done, but {missing}"), now, plan);
                return false;
            }
            plan.look_again = Some(plan.look_again.map_or(deadline, |before| before.min(deadline)));
            wait(plan, action, &format!("waiting for proof: {missing}"));
            true
        }
    }
}

/// Whether the facts of the running process prove that the action succeeded; otherwise what is missing.
pub fn proof(action: &Action, report: Option<&ComponentReport>) -> Result<(), String> {
    let Some(report) = report else { return Err("the connector reports no such component".into()) };
    if report.version != action.to {
        return Err(format!("the connector reports version {}", report.version));
    }
    if report.package_sha256 != action.package_sha256 {
        return Err("the connector reports another package of this version".into());
    }
    if report.program_sha256.is_none() {
        return Err("no running program was identified".into());
    }
    match &report.start_id {
        None => return Err("no process of it runs".into()),
        Some(start) if action.start_id_before.as_ref() == Some(start) => {
            return Err("the process that ran before still runs".into());
        }
        Some(_) => {}
    }
    if report.health != Health::Healthy {
        return Err("its health probe does not pass".into());
    }
    if report.healthy_for_s < action.soak_s {
        return Err(format!("its probe has passed for {} of {} s", report.healthy_for_s, action.soak_s));
    }
    Ok(())
}

/// Begins an action for `wanted`, or says why not. The component has no live action.
fn begin(view: &View, component: &ComponentName, wanted: &Wanted, now: Timestamp, plan: &mut Plan) {
    let kept = || view.actions.iter().filter(|action| action.component == *component);
    let report = view.reported.get(component);
    if let Some(action) = kept().find(|action| action.intent == wanted.intent) {
        let why = match action.state {
            ActionState::Confirmed => match report {
                Some(report) if report.version == wanted.package.version => None,
                _ => Some("it was confirmed, but the connector no longer reports this version".to_owned()),
            },
            ActionState::RolledBack | ActionState::Failed => Some(how_it_ended(action)),
            ActionState::Superseded => Some("a newer intent took its place".to_owned()),
            ActionState::Queued | ActionState::Running | ActionState::Proving => None,
        };
        plan.why.extend(why.map(|why| (component.clone(), why)));
        return;
    }
    let fresh = Action {
        intent: wanted.intent,
        target: wanted.target.clone(),
        job: wanted.job.clone(),
        component: component.clone(),
        from: report.map(|report| report.version.clone()),
        to: wanted.package.version.clone(),
        package_sha256: wanted.package.sha256.clone(),
        soak_s: wanted.package.soak_s,
        start_id_before: report.and_then(|report| report.start_id.clone()),
        state: ActionState::Queued,
        step: None,
        reason: None,
        offered: true,
        by: wanted.by.clone(),
        created_at: now,
        updated_at: now,
    };
    if let Some(report) = report
        && report.version == fresh.to
        && report.package_sha256 == fresh.package_sha256
    {
        let as_it_runs = Action { start_id_before: None, ..fresh.clone() };
        match proof(&as_it_runs, Some(report)) {
            Ok(()) => finish(&fresh, ActionState::Confirmed, "it ran already".into(), now, plan),
            Err(missing) => {
                plan.why.insert(component.clone(), format!("it runs version {}, but {missing}", fresh.to));
            }
        }
        return;
    }
    if !wanted.again
        && let Some(before) = failed_before(kept(), report, &fresh)
    {
        let reason =
            format!("not tried: this package failed here before ({before}); `muster upgrade --again` offers it");
        finish(&Action { offered: false, ..fresh }, ActionState::Failed, reason, now, plan);
        return;
    }
    wait(plan, &fresh, "the connector has not taken the job yet");
    let job = fresh.job.clone();
    keep(plan, fresh);
    plan.steps.push(Step::MakeExecution { job });
}

/// Why the package of `fresh` failed on this connector before, by the server's memory or by the agent's.
fn failed_before<'a>(
    kept: impl Iterator<Item = &'a Action>,
    report: Option<&ComponentReport>,
    fresh: &Action,
) -> Option<String> {
    let tried = |action: &&Action| {
        let ended = action.state.is_end() && action.state != ActionState::Superseded;
        action.offered && ended && action.package_sha256 == fresh.package_sha256
    };
    match kept.filter(tried).max_by_key(|action| action.intent) {
        Some(action) if action.state == ActionState::Confirmed => None,
        Some(action) => Some(why_of(action)),
        None => {
            let failed = report?.last_failed.as_ref()?;
            (failed.package_sha256 == fresh.package_sha256).then(|| failed.reason.clone())
        }
    }
}

fn how_it_ended(action: &Action) -> String {
    let how = if action.state == ActionState::RolledBack { "was rolled back" } else { "failed" };
    format!("version {} {how}: {}", action.to, why_of(action))
}

fn why_of(action: &Action) -> String {
    action.reason.clone().unwrap_or_else(|| "no reason is known".to_owned())
}

fn supersede(action: &Action, newer: &Wanted, now: Timestamp, plan: &mut Plan) {
    finish(action, ActionState::Superseded, format!("{} took its place", newer.target), now, plan);
}

fn finish(action: &Action, state: ActionState, reason: String, now: Timestamp, plan: &mut Plan) {
    let ended = Action { state, step: None, reason: Some(reason), updated_at: now, ..action.clone() };
    if state != ActionState::Confirmed && state != ActionState::Superseded {
        plan.why.insert(action.component.clone(), how_it_ended(&ended));
    }
    keep(plan, ended);
}

fn wait(plan: &mut Plan, action: &Action, what: &str) {
    plan.why.insert(action.component.clone(), format!("upgrade to {}: {what}", action.to));
}

fn keep(plan: &mut Plan, action: Action) {
    plan.steps.push(Step::Keep(action));
}

impl Action {
    /// The action as dashboards and operators see it.
    #[must_use]
    pub fn view(&self, thing: &ThingName) -> ActionView {
        ActionView {
            v: VIEW_VERSION,
            target: self.target.clone(),
            job: self.job.clone(),
            thing: thing.clone(),
            component: self.component.clone(),
            from: self.from.clone(),
            to: self.to.clone(),
            state: self.state,
            step: self.step.clone(),
            reason: self.reason.clone(),
            by: self.by.clone(),
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }
}

#[cfg(test)]
mod tests;
