//! Commands of a recipe that run once: before a version is used, and when the component goes.

use super::command;
use super::installed::Unit;
use muster_model::component::{ExitMeaning, Lifecycle};
use muster_runtime::backoff::Backoff;
use muster_runtime::ids;
use muster_wire::limits::{RETRY_BASE, RETRY_CAP};

/// Times that a command may ask for a later try.
const TRIES: u32 = 5;

/// Runs the command until it is done or says that it will not be. `name` is its name in the recipe.
pub async fn run(unit: &Unit, step: &Lifecycle, name: &str) -> Result<(), String> {
    let mut backoff = Backoff::new(RETRY_BASE, RETRY_CAP);
    let log = unit.home.log();
    for _ in 0..TRIES {
        match command::run(unit, &step.argv, step.timeout).await? {
            ExitMeaning::Done => return Ok(()),
            ExitMeaning::Usage => return Err(format!("its {name} command was called wrongly; see {}", log.display())),
            ExitMeaning::Failed => return Err(format!("its {name} command failed; see {}", log.display())),
            ExitMeaning::TryLater => tokio::time::sleep(backoff.next(ids::random_fraction())).await,
        }
    }
    Err(format!("its {name} command asked {TRIES} times to be tried later; see {}", log.display()))
}
