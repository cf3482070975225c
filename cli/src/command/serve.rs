//! `muster serve`: checks the settings, then serves.

use super::Run;
use crate::args::ServeArgs;
use crate::datadir::DataDir;
use crate::error::CliError;
use crate::output::Output;
use crate::serve::{self, ServeOptions};
use crate::settings::Settings;
use serde_json::json;

impl Run for ServeArgs {
    fn describe(&self) -> String {
        if self.check { "check the settings".to_owned() } else { "serve".to_owned() }
    }

    fn json(&self) -> bool {
        false
    }

    async fn run(self) -> Result<Output, CliError> {
        let data = DataDir::open(&self.data.data)?;
        if self.check {
            Settings::read(&data.settings())?;
            return Ok(Output::new(&json!({"ok": true}), format!("{} is in order", data.settings().display())));
        }
        let options = ServeOptions { data: self.data.data, listen: self.listen, mqtt_listen: self.mqtt_listen };
        serve::run(options).await.map(|()| Output::silent())
    }
}
