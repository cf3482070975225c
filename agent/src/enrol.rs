//! `muster-agent enrol`: makes a key that never leaves this host, and gets a certificate for it.

mod ask;

use crate::args::Enrol;
use crate::host::facts;
use crate::identity::{self, Identity, Texts};
use crate::places::{PROXY_PASSWORD, Prefix};
use crate::settings::{Origin, Proxy, Server, Template};
use crate::typed;
use muster_certs::{Token, certificate, csr, provider, store};
use muster_runtime::clock::Clock;
use muster_runtime::failure::Failure;
use muster_runtime::ids;
use muster_runtime::settings::environment;
use muster_wire::enrol::{EnrolRequest, EnrolResponse, HostFacts};
use muster_wire::proxy::NONE;
use rustls::RootCertStore;
use rustls::pki_types::UnixTime;
use rustls::server::WebPkiClientVerifier;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Longest token file that is read; a token has 48 characters.
const TOKEN_FILE_BYTES_MAX: u64 = 4096;

/// Enrols this host. Says what was done.
pub async fn enrol(args: Enrol, clock: &Clock) -> Result<String, Failure> {
    let server = Server::parse(&args.server).map_err(|error| Failure::local(format!("--server {error}")))?;
    let prefix = Prefix::new(&args.prefix)
        .map_err(|error| Failure::local_because(format!("--prefix {} is not usable", args.prefix.display()), error))?;
    if Identity::exists(&prefix) && !args.force {
        let root = prefix.root().display();
        return Err(Failure::local(format!("{root} is enrolled already; add --force to replace its identity")));
    }
    let given = &args.proxy;
    let (url, no_proxy, password) = (&given.proxy, &given.no_proxy, &given.proxy_password_file);
    let proxy = Proxy::given(url.as_deref(), no_proxy.as_deref(), password.as_deref(), &environment);
    let proxy = proxy.map_err(Failure::local)?;
    let ca = store::read_pem(&args.ca).map_err(|error| Failure::local_because("--ca cannot be used", error))?;
    let token = token(args.token_file.as_deref())?;
    let (request, key) =
        csr(args.name.as_str()).map_err(|error| Failure::local_because("cannot make a key for this host", error))?;
    let request = EnrolRequest {
        token: token.reveal().to_owned(),
        name: args.name.clone(),
        pool: args.pool.clone(),
        prefix: prefix.root().to_str().map(str::to_owned),
        csr: request,
        host: HostFacts { labels: args.labels.clone(), ..facts::collect(&ids::random_hex::<8>()) },
    };
    let answer = ask::ask(&server, &proxy.way(&server), &ca, &request, clock).await?;
    if answer.name != args.name {
        return Err(Failure::Outcome(format!("the server answers for {} instead of {}", answer.name, args.name)));
    }
    let texts = Texts { key: &key, certificate: &answer.certificate, ca: &answer.ca, publisher: &answer.publisher_key };
    check_answer(&answer, &ca, &texts, clock)?;
    identity::write(&prefix, &texts)?;
    write_settings(&prefix, server, &proxy, &args)?;
    let start = typed::command(&prefix, "run");
    Ok(format!("{} is enrolled in fleet {}; start it with: {start}", answer.name, answer.fleet))
}

/// Writes what was used, so that it counts for the agent too: it may be started without this environment.
fn write_settings(prefix: &Prefix, server: Server, proxy: &Proxy, args: &Enrol) -> Result<(), Failure> {
    let password = proxy.url.as_ref().and_then(|url| url.password.as_ref());
    if let Some(password) = password {
        let path = prefix.proxy_password();
        store::write_secret(&path, format!("{}\n", password.reveal()).as_bytes())
            .map_err(|error| Failure::local_because("the password of the proxy was not written", error))?;
    }
    let template = Template {
        server,
        name: args.name.clone(),
        proxy: match (&proxy.url, proxy.origin) {
            (_, Origin::Default) => None,
            (Some(url), _) => Some(url.to_string()),
            (None, _) => Some(NONE.to_owned()),
        },
        proxy_password_file: password.map(|_| PROXY_PASSWORD.to_owned()),
        no_proxy: (proxy.bypass_origin != Origin::Default).then(|| proxy.bypass.entries()),
        labels: args.labels.clone(),
    };
    store::write_secret(&prefix.settings(), template.to_string().as_bytes())
        .map_err(|error| Failure::local_because("the settings were not written", error))
}

fn token(file: Option<&Path>) -> Result<Token, Failure> {
    let mut text = String::new();
    let (from, read) = match file {
        Some(path) => {
            let opened = std::fs::File::open(path);
            let read = opened.and_then(|file| file.take(TOKEN_FILE_BYTES_MAX).read_to_string(&mut text));
            (path.display().to_string(), read)
        }
        None => {
            let read = std::io::stdin().lock().take(TOKEN_FILE_BYTES_MAX).read_to_string(&mut text);
            ("standard input".to_owned(), read)
        }
    };
    read.map_err(|error| Failure::local_because(format!("cannot read the token from {from}"), error))?;
    text.trim().parse().map_err(|error| Failure::local_because(format!("no usable token in {from}"), error))
}

/// The certificate must be for us, by the CA that the server is known by, and good now.
fn check_answer(answer: &EnrolResponse, pinned_ca: &str, texts: &Texts<'_>, clock: &Clock) -> Result<(), Failure> {
    let wrong = |what: &str| Failure::Outcome(format!("the answer of the server is not used: {what}"));
    let identity = Identity::check(texts)?;
    if identity.name != answer.name || identity.fleet.as_str() != answer.fleet {
        return Err(wrong("the certificate is for another name or fleet"));
    }
    let unreadable = |error| Failure::local_because("the CA certificate is not readable", error);
    let pinned = certificate::chain_from_pem(pinned_ca).map_err(unreadable)?;
    let told = certificate::chain_from_pem(&answer.ca).map_err(unreadable)?;
    if !told.iter().any(|certificate| pinned.contains(certificate)) {
        return Err(wrong("its CA is not the one given with --ca"));
    }
    let mut roots = RootCertStore::empty();
    for root in told {
        roots.add(root).map_err(|error| Failure::local_because("the CA certificate cannot be used", error))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|error| Failure::local_because("the CA certificate cannot be used", error))?;
    let chain = certificate::chain_from_pem(&answer.certificate).map_err(unreadable)?;
    let (own, between) = chain.split_first().ok_or_else(|| wrong("it holds no certificate"))?;
    let seconds = u64::try_from(clock.now().epoch_seconds()).unwrap_or(0);
    let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    verifier.verify_client_cert(own, between, now).map(drop).map_err(|error| {
        Failure::local_because(
            "the certificate from the server is not valid here; is the clock of this host right?",
            error,
        )
    })
}
