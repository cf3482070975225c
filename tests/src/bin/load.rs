//! `load`: measures Muster, and mosquitto beside it. BENCHMARKS.md says how to run it and how to read it.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Parser;
use muster_tests::load::{
    compare::{CompareArgs, Report, agent_memory, write_json},
    registered::{self, RegisteredArgs},
    report, responder,
    scenario::{Scenario, Settings},
    server::{Kind, Options},
};
use serde::Serialize;

/// Measures a server under thousands of devices.
///
/// Exit code: 0 when every client did what it should, 1 when any failed, 2 for wrong usage.
#[derive(Debug, Parser)]
enum Args {
    /// Run all scenarios on both servers in turns and show the medians
    Compare {
        #[command(flatten)]
        compare: CompareArgs,
        #[command(flatten)]
        output: Output,
    },
    /// Connects with full handshakes, then idle memory
    Storm(OneScenario),
    /// Round trips of shadow updates
    Shadow(OneScenario),
    /// One job to every connected device
    FanOut(OneScenario),
    /// Shadow updates beside clients that are silent, slow, deaf or talk garbage
    Hostile(OneScenario),
    /// What an operation costs with few and with many registered things
    Registered {
        #[command(flatten)]
        registered: RegisteredArgs,
        #[command(flatten)]
        output: Output,
    },
    /// Resident memory of a running muster-agent, in MB
    Agent {
        /// Its process
        #[arg(long)]
        agent_pid: u32,
    },
    /// Answer shadow updates in place of a service (started by the shadow scenario)
    #[command(hide = true)]
    Responder {
        #[arg(long)]
        broker: SocketAddr,
        #[arg(long)]
        qos: u8,
    },
}

#[derive(Debug, clap::Args)]
struct OneScenario {
    /// The server
    #[arg(long, value_enum)]
    server: Kind,
    /// How many clients (default: 5000 for storm, 1000 for shadow and hostile, 4000 for fan-out)
    #[arg(long)]
    clients: Option<usize>,
    /// How often
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Longest wait for a quiet machine before each run, in seconds
    #[arg(long, default_value_t = 30)]
    quiet_wait: u64,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, clap::Args)]
struct Output {
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
    /// Also write the JSON to this file
    #[arg(long)]
    save: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("load: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<bool> {
    match args {
        Args::Compare { compare, output } => output.compared(&compare.run()?),
        Args::Registered { registered, output } => {
            let report = registered.run()?;
            output.show(&report, || registered::table(&report), report.ok)
        }
        Args::Storm(one) => one.run(Scenario::Storm),
        Args::Shadow(one) => one.run(Scenario::Shadow),
        Args::FanOut(one) => one.run(Scenario::FanOut),
        Args::Hostile(one) => one.run(Scenario::Hostile),
        Args::Agent { agent_pid } => {
            println!("{:.2}", agent_memory(agent_pid)?);
            Ok(true)
        }
        Args::Responder { broker, qos } => responder::run(broker, qos).map(|()| true),
    }
}

impl OneScenario {
    fn run(self, scenario: Scenario) -> Result<bool> {
        let clients = |of: Scenario| self.clients.unwrap_or(of.clients());
        let compare = CompareArgs {
            servers: vec![self.server],
            scenarios: vec![scenario],
            rounds: self.rounds,
            storm_clients: clients(Scenario::Storm),
            shadow_clients: clients(Scenario::Shadow),
            fan_out_clients: clients(Scenario::FanOut),
            quiet_wait: self.quiet_wait,
            agent_pid: None,
            settings: self.settings,
            options: self.options,
        };
        self.output.compared(&compare.run()?)
    }
}

impl Output {
    fn compared(&self, report: &Report) -> Result<bool> {
        self.show(report, || report::table(report), report.ok)
    }

    fn show(&self, report: &impl Serialize, table: impl FnOnce() -> String, ok: bool) -> Result<bool> {
        if let Some(path) = &self.save {
            write_json(report, path)?;
        }
        if self.json {
            println!("{}", serde_json::to_string(report)?);
        } else {
            print!("{}", table());
        }
        Ok(ok)
    }
}
