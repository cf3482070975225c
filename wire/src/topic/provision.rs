//! The topics of fleet provisioning. The last level of a request names the encoding of its payload.

use super::{Topic, TopicError};
use crate::codec::Encoding;
use crate::id::TemplateName;
use std::fmt;

/// What a device asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ProvisioningApi {
    /// CreateKeysAndCertificate.
    CreateKeys,
    /// CreateCertificateFromCsr.
    CreateFromCsr,
    /// RegisterThing, with this template.
    Register(TemplateName),
}

/// Who speaks on a topic that is asked and answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Voice {
    /// A client asks.
    Request,
    /// The service did it.
    Accepted,
    /// The service refused it.
    Rejected,
}

/// A topic of fleet provisioning.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProvisioningTopic {
    /// What is asked.
    pub api: ProvisioningApi,
    /// How the payloads are written.
    pub format: Encoding,
    /// Who speaks.
    pub voice: Voice,
}

impl ProvisioningTopic {
    /// The same with another voice.
    #[must_use]
    pub fn said(&self, voice: Voice) -> Self {
        Self { voice, ..self.clone() }
    }

    /// `None` when the topic is none of these.
    pub(super) fn from_parts(parts: &[&str]) -> Result<Option<Topic>, TopicError> {
        let (api, rest) = match parts {
            ["$aws", "certificates", "create", rest @ ..] => (ProvisioningApi::CreateKeys, rest),
            ["$aws", "certificates", "create-from-csr", rest @ ..] => (ProvisioningApi::CreateFromCsr, rest),
            ["$aws", "provisioning-templates", template, "provision", rest @ ..] => {
                (ProvisioningApi::Register(TemplateName::new(template)?), rest)
            }
            _ => return Ok(None),
        };
        let (format, voice) = match rest {
            [format] => (*format, Voice::Request),
            [format, "accepted"] => (*format, Voice::Accepted),
            [format, "rejected"] => (*format, Voice::Rejected),
            _ => return Ok(None),
        };
        let format = match format {
            "json" => Encoding::Json,
            "cbor" => Encoding::Cbor,
            _ => return Ok(None),
        };
        Ok(Some(Topic::Provisioning(Self { api, format, voice })))
    }
}

impl fmt::Display for ProvisioningTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.api {
            ProvisioningApi::CreateKeys => f.write_str("$aws/certificates/create")?,
            ProvisioningApi::CreateFromCsr => f.write_str("$aws/certificates/create-from-csr")?,
            ProvisioningApi::Register(template) => write!(f, "$aws/provisioning-templates/{template}/provision")?,
        }
        f.write_str(match self.format {
            Encoding::Json => "/json",
            Encoding::Cbor => "/cbor",
        })?;
        f.write_str(match self.voice {
            Voice::Request => "",
            Voice::Accepted => "/accepted",
            Voice::Rejected => "/rejected",
        })
    }
}

/// Whether a filter's messages are answers that go to the connection that asked, whoever else subscribes.
pub(crate) fn is_answer_filter(filter: &str) -> bool {
    filter.starts_with("$aws/certificates/") || filter.starts_with("$aws/provisioning-templates/")
}

/// Whether a client that provisions with `template` may subscribe to this filter: the answers to its own three requests.
#[must_use]
pub fn provisions(filter: &str, template: &str) -> bool {
    let register = filter
        .strip_prefix("$aws/provisioning-templates/")
        .and_then(|rest| rest.strip_prefix(template))
        .and_then(|rest| rest.strip_prefix("/provision/"));
    register.is_some()
        || filter.starts_with("$aws/certificates/create/")
        || filter.starts_with("$aws/certificates/create-from-csr/")
}
