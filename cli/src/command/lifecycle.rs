//! `muster connector disable`, `enable`, `resolve`: the life of a connector after its enrolment.

use super::Run;
use super::whom::Deed;
use crate::args::{ConnectorDisableArgs, ConnectorEnableArgs, ConnectorResolveArgs};
use crate::confirm::confirm;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Output, spelling};
use muster_wire::admin::{DisableConnector, LifecycleChanged, NameConnector, ResolveConnector, Verb};
use muster_wire::view::Life;

/// The state after a change, with what it took back.
pub(super) fn revoked(changed: &LifecycleChanged) -> String {
    let since = changed.lifecycle.since.map(|since| format!(" since {since}")).unwrap_or_default();
    let state = format!("{}{since}", spelling(&changed.lifecycle.state));
    match changed.certificates_revoked {
        0 => state,
        1 => format!("{state}, 1 certificate revoked"),
        count => format!("{state}, {count} certificates revoked"),
    }
}

impl Run for ConnectorDisableArgs {
    fn describe(&self) -> String {
        format!("disable {}", self.whom.describe())
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let effect = "They are refused until they are enabled; their components run on.".to_owned();
        let deed = Deed { does: "disables", done: "disabled", effect };
        let is_one = self.whom.to.is_none();
        let tell = |changed: &LifecycleChanged| {
            let next = format!("\n`muster connector enable {}` lets it in again", changed.name);
            format!("{}: {}{}", changed.name, life(changed), if is_one { &next } else { "" })
        };
        let reason = self.reason;
        let question = |name| DisableConnector { name, reason: reason.clone() };
        self.whom.change(&cx, &deed, Verb::ConnectorDisable, question, tell).await
    }
}

impl Run for ConnectorEnableArgs {
    fn describe(&self) -> String {
        format!("enable {}", self.whom.describe())
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let effect = "Those that are disabled are let in again.".to_owned();
        let deed = Deed { does: "enables", done: "enabled", effect };
        let tell = |changed: &LifecycleChanged| format!("{}: {}", changed.name, life(changed));
        self.whom.change(&cx, &deed, Verb::ConnectorEnable, |name| NameConnector { name }, tell).await
    }
}

fn life(changed: &LifecycleChanged) -> String {
    super::connector::life(&changed.lifecycle)
}

impl Run for ConnectorResolveArgs {
    fn describe(&self) -> String {
        format!("resolve connector {}", self.name)
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        if !self.keep_current {
            let question = format!(
                "Every certificate of {} is revoked: both places are refused at once, until one is installed anew.",
                self.name
            );
            confirm(&question, self.yes)?;
        }
        let mut operator = cx.connect().await?;
        let request = ResolveConnector { name: self.name, keep_current: self.keep_current };
        let changed: LifecycleChanged = operator.call(Verb::ConnectorResolve, &request).await?;
        operator.close().await;
        let text = match changed.lifecycle.state {
            Life::Quarantined => format!(
                "{0}: {1}\nnow install the one place that goes on, with the script of:\n  \
                 muster connector add {0} --reinstall",
                changed.name,
                revoked(&changed)
            ),
            _ => format!("{}: {}; a second place that shows up is quarantined again", changed.name, life(&changed)),
        };
        Ok(Output::new(&changed, text))
    }
}
