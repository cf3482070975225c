//! Changes to one connector, or to all that a selector means. Of many it is told how many and which before anything is
//! done, and only those are changed, whoever comes to be meant meanwhile.

use super::list;
use crate::args::WhomArgs;
use crate::confirm::confirm;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Output, plain, say_aside};
use muster_wire::admin::Verb;
use muster_wire::id::ThingName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// What is done to connectors, in the words of the question.
pub struct Deed {
    /// As in "This disables 3 connectors".
    pub does: &'static str,
    /// As in "2 of 3 connectors are disabled".
    pub done: &'static str,
    /// What follows from it, as a sentence; may be empty.
    pub effect: String,
}

impl WhomArgs {
    /// As in "cannot disable connector web-1".
    pub fn describe(&self) -> String {
        match (&self.name, &self.to) {
            (Some(name), _) => format!("connector {name}"),
            (None, Some(to)) => format!("the connectors that {to} means"),
            (None, None) => "connectors".to_owned(),
        }
    }

    /// Names of those that the selector means now, once the operator has said yes to them.
    ///
    /// Errors: `Outcome` when it means none, `Local` without a yes, `Refused`, `Unreachable`.
    pub async fn settle(&self, cx: &Context, deed: &Deed) -> Result<Vec<ThingName>, CliError> {
        let mut operator = cx.connect().await?;
        let views = list(&mut operator, self.to.clone()).await?;
        // Whoever thinks about the answer keeps no connection waiting.
        operator.close().await;
        let names: Vec<ThingName> = views.into_iter().map(|view| view.name).collect();
        if names.is_empty() {
            return Err(CliError::Outcome(
                "there is none now, so nothing was changed; `muster connector list --to` shows whom a selector means"
                    .to_owned(),
            ));
        }
        confirm(format!("This {} {}. {}", deed.does, counted(&names), deed.effect).trim_end(), self.yes)?;
        Ok(names)
    }

    /// Asks the server for the same change of each of them, one after the other.
    ///
    /// Errors: of one, its own; of many, as [`WhomArgs::settle`], and `Unreachable` when the server goes away.
    pub async fn change<Q: Serialize, A: Serialize + DeserializeOwned>(
        self,
        cx: &Context,
        deed: &Deed,
        verb: Verb,
        question: impl Fn(ThingName) -> Q,
        tell: impl Fn(&A) -> String,
    ) -> Result<Output, CliError> {
        if let Some(name) = self.name {
            let mut operator = cx.connect().await?;
            let answer: A = operator.call(verb, &question(name)).await?;
            operator.close().await;
            return Ok(Output::new(&answer, tell(&answer)));
        }
        let names = self.settle(cx, deed).await?;
        let mut operator = cx.connect().await?;
        let mut fates = Fates::of(names.len());
        for name in names {
            let answer: Result<A, CliError> = operator.call(verb, &question(name.clone())).await;
            fates.add(name, answer.map(|answer| (json!(answer), tell(&answer))))?;
        }
        operator.close().await;
        Ok(fates.output(deed))
    }
}

/// What became of many connectors.
#[derive(Debug, Default)]
pub struct Fates {
    all: usize,
    done: Vec<Value>,
    lines: Vec<String>,
    failed: Vec<(ThingName, String)>,
}

impl Fates {
    /// Nothing has become of so many yet.
    pub fn of(all: usize) -> Self {
        Self { all, ..Self::default() }
    }

    /// What became of one: the result for programs and for people, or why there is none.
    ///
    /// Errors: `Unreachable` as it comes in, since nothing more will become of anybody.
    pub fn add(&mut self, name: ThingName, fate: Result<(Value, String), CliError>) -> Result<(), CliError> {
        match fate {
            Ok((value, line)) => {
                self.done.push(value);
                self.lines.push(line);
            }
            Err(error @ CliError::Unreachable { .. }) => {
                say_aside(&format!(
                    "{name}: not known to be done; before it {} of {} were, and running this again does the rest",
                    self.done.len(),
                    self.all
                ));
                return Err(error);
            }
            Err(error) => self.failed.push((name, error.chain())),
        }
        Ok(())
    }

    /// For print; not what was asked for unless everything was done.
    pub fn output(self, deed: &Deed) -> Output {
        let failed: Vec<Value> = self.failed.iter().map(|(name, why)| json!({"name": name, "why": why})).collect();
        let not_done = self.failed.iter().map(|(name, why)| format!("{name}: {} (not {})", plain(why), deed.done));
        let lines: Vec<String> = self.lines.into_iter().chain(not_done).collect();
        let output = Output::new(&json!({"connectors": self.done, "failed": failed}), lines.join("\n"));
        if failed.is_empty() {
            return output;
        }
        let names: Vec<ThingName> = self.failed.into_iter().map(|(name, _)| name).collect();
        output.but_failed(format!(
            "{} of {} connectors are {}; it was refused for {}",
            self.done.len(),
            self.all,
            deed.done,
            shortened(&names)
        ))
    }
}

/// `3 connectors: a, b, c`.
fn counted(names: &[ThingName]) -> String {
    let connectors = if names.len() == 1 { "connector" } else { "connectors" };
    format!("{} {connectors}: {}", names.len(), shortened(names))
}

fn shortened(names: &[ThingName]) -> String {
    let shown: Vec<&str> = names.iter().take(NAMES_SHOWN_MAX).map(ThingName::as_str).collect();
    match names.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// More names in one question are not read.
const NAMES_SHOWN_MAX: usize = 40;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn names(count: usize) -> Vec<ThingName> {
        (0..count).map(|at| ThingName::new(format!("n{at}")).unwrap()).collect()
    }

    #[test]
    fn a_question_says_how_many_and_names_as_many_as_are_read() {
        assert_eq!(counted(&names(1)), "1 connector: n0");
        assert_eq!(counted(&names(3)), "3 connectors: n0, n1, n2");
        let many = counted(&names(1000));
        assert!(many.starts_with("1000 connectors: n0, ") && many.ends_with(", n39 and 960 more"), "{many}");
    }

    #[test]
    fn what_failed_is_named_and_the_rest_is_told() {
        let deed = Deed { does: "disables", done: "disabled", effect: String::new() };
        let [a, b] = <[ThingName; 2]>::try_from(names(2)).unwrap();
        let mut fates = Fates::of(2);
        fates.add(a, Ok((json!({"name": "n0"}), "n0: disabled".to_owned()))).unwrap();
        fates.add(b.clone(), Err(CliError::local("it was removed"))).unwrap();
        assert!(fates.add(b, Err(CliError::unreachable("gone"))).is_err(), "nothing more comes of it");
        let output = fates.output(&deed);
        let error = output.print(true).unwrap_err().to_string();
        assert_eq!(error, "1 of 2 connectors are disabled; it was refused for n1");
    }
}
