//! Which connector operation a request names: method and raw path to [`Operation`].
//!
//! The raw path is split first and each segment is decoded once afterwards, so `a%3A1%2F2%253F` is the one id `a:1/2%3F`.
//! An id that was put into the path without encoding its `/` becomes two segments and therefore an unknown path.

use http::Method;

use super::batch;
use super::problem::Problem;

/// Where a connector request goes: the region and tenant segments of the service URL and the operation below them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) region: String,
    pub(crate) tenant: String,
    pub(crate) operation: Operation,
}

/// One operation of the connector REST API. `https://learn.microsoft.com/azure/bot-service/rest-api/bot-framework-rest-connector-api-reference`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Operation {
    List,
    Create,
    Send { conversation: String },
    Reply { conversation: String, activity: String },
    Update { conversation: String, activity: String },
    Delete { conversation: String, activity: String },
    React { conversation: String, activity: String, reaction: String, add: bool },
    Members { conversation: String },
    Member { conversation: String, member: String },
    RemoveMember { conversation: String, member: String },
    PagedMembers { conversation: String },
    ActivityMembers { conversation: String, activity: String },
    Upload { conversation: String },
    FileInfo { file: String },
    FileView { file: String, view: String },
    Team { team: String },
    Channels { team: String },
    Meeting { meeting: String },
    Participant { meeting: String, person: String },
    Notify { meeting: String },
    Batch { target: batch::Target },
    BatchStatus { batch: String },
    BatchFailures { batch: String },
    BatchCancel { batch: String },
}

impl Target {
    /// Reads `/connector/{region}/{tenant}/v3/…` and `/connector/{region}/{tenant}/v1/meetings/…`.
    ///
    /// # Errors
    /// 404 for a path the connector does not have, 405 for a method it does not have there, 400 for an id that does not decode.
    pub(crate) fn parse(method: &Method, raw_path: &str) -> Result<Self, Problem> {
        let rest = raw_path.strip_prefix("/connector/").ok_or_else(no_path)?;
        let segments: Vec<String> = rest.split('/').map(decode).collect::<Result<_, _>>()?;
        let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
        let [region, tenant, version, area, rest @ ..] = parts.as_slice() else { return Err(no_path()) };
        let operation = match (*version, *area) {
            ("v3", "conversations") => conversations(method, named(rest)?),
            ("v3", "attachments") => files(method, named(rest)?),
            ("v3", "teams") => teams(method, named(rest)?),
            ("v1", "meetings") => meetings(method, named(rest)?),
            // The documented paths of a start end in a slash.
            ("v3", "batch") => batches(method, rest.strip_suffix(&[""]).unwrap_or(rest)),
            _ => Err(no_path()),
        };
        Ok(Self { region: (*region).to_owned(), tenant: (*tenant).to_owned(), operation: operation? })
    }
}

/// Segments that can be ids.
fn named<'a, 'b>(rest: &'a [&'b str]) -> Result<&'a [&'b str], Problem> {
    if rest.iter().any(|segment| matches!(*segment, "" | "." | "..")) { Err(no_path()) } else { Ok(rest) }
}

fn conversations(method: &Method, rest: &[&str]) -> Result<Operation, Problem> {
    let verb = method.as_str();
    let [conversation, rest @ ..] = rest else {
        return match verb {
            "GET" => Ok(Operation::List),
            _ => when(verb == "POST", Operation::Create),
        };
    };
    let conversation = (*conversation).to_owned();
    match *rest {
        ["activities"] => when(verb == "POST", Operation::Send { conversation }),
        ["activities", activity] => {
            let activity = activity.to_owned();
            match verb {
                "POST" => Ok(Operation::Reply { conversation, activity }),
                "PUT" => Ok(Operation::Update { conversation, activity }),
                "DELETE" => Ok(Operation::Delete { conversation, activity }),
                _ => Err(no_method()),
            }
        }
        ["activities", activity, "reactions", reaction] => {
            let (activity, reaction, add) = (activity.to_owned(), reaction.to_owned(), verb == "PUT");
            when(add || verb == "DELETE", Operation::React { conversation, activity, reaction, add })
        }
        ["activities", activity, "members"] => {
            when(verb == "GET", Operation::ActivityMembers { conversation, activity: activity.to_owned() })
        }
        ["members"] => when(verb == "GET", Operation::Members { conversation }),
        ["members", member] => {
            let member = member.to_owned();
            match verb {
                "GET" => Ok(Operation::Member { conversation, member }),
                "DELETE" => Ok(Operation::RemoveMember { conversation, member }),
                _ => Err(no_method()),
            }
        }
        ["pagedmembers"] => when(verb == "GET", Operation::PagedMembers { conversation }),
        ["attachments"] => when(verb == "POST", Operation::Upload { conversation }),
        _ => Err(no_path()),
    }
}

fn files(method: &Method, rest: &[&str]) -> Result<Operation, Problem> {
    match *rest {
        [file] => when(method == Method::GET, Operation::FileInfo { file: file.to_owned() }),
        [file, "views", view] => {
            when(method == Method::GET, Operation::FileView { file: file.to_owned(), view: view.to_owned() })
        }
        _ => Err(no_path()),
    }
}

fn teams(method: &Method, rest: &[&str]) -> Result<Operation, Problem> {
    match *rest {
        [team] => when(method == Method::GET, Operation::Team { team: team.to_owned() }),
        [team, "conversations"] => when(method == Method::GET, Operation::Channels { team: team.to_owned() }),
        _ => Err(no_path()),
    }
}

fn meetings(method: &Method, rest: &[&str]) -> Result<Operation, Problem> {
    match *rest {
        [meeting] => when(method == Method::GET, Operation::Meeting { meeting: meeting.to_owned() }),
        [meeting, "participants", person] => {
            let (meeting, person) = (meeting.to_owned(), person.to_owned());
            when(method == Method::GET, Operation::Participant { meeting, person })
        }
        [meeting, "notification"] => when(method == Method::POST, Operation::Notify { meeting: meeting.to_owned() }),
        _ => Err(no_path()),
    }
}

fn batches(method: &Method, rest: &[&str]) -> Result<Operation, Problem> {
    let ["conversation", rest @ ..] = named(rest)? else { return Err(no_path()) };
    let target = match *rest {
        ["users"] => batch::Target::Users,
        ["tenant"] => batch::Target::Tenant,
        ["team"] => batch::Target::Team,
        ["channels"] => batch::Target::Channels,
        ["failedentries", batch] => {
            return when(method == Method::GET, Operation::BatchFailures { batch: batch.to_owned() });
        }
        [batch] => {
            let batch = batch.to_owned();
            return match method.as_str() {
                "GET" => Ok(Operation::BatchStatus { batch }),
                _ => when(method == Method::DELETE, Operation::BatchCancel { batch }),
            };
        }
        _ => return Err(no_path()),
    };
    when(method == Method::POST, Operation::Batch { target })
}

fn when(allowed: bool, operation: Operation) -> Result<Operation, Problem> {
    if allowed { Ok(operation) } else { Err(no_method()) }
}

fn no_path() -> Problem {
    Problem::new(404, "BadArgument", "The connector has no such path.")
}

fn no_method() -> Problem {
    Problem::new(405, "BadArgument", "The connector does not support this method here.")
}

/// Decodes percent escapes once. `+` stays `+`.
fn decode(segment: &str) -> Result<String, Problem> {
    let mut bytes = segment.bytes();
    let mut out = Vec::with_capacity(segment.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let high = bytes.next().and_then(hex);
        let low = bytes.next().and_then(hex);
        match (high, low) {
            (Some(high), Some(low)) => out.push(high * 16 + low),
            _ => return Err(bad_escape()),
        }
    }
    String::from_utf8(out).map_err(|_| bad_escape())
}

fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

fn bad_escape() -> Problem {
    Problem::new(400, "BadArgument", "An id in the path is not valid percent-encoded UTF-8.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(method: &Method, path: &str) -> Result<Target, u16> {
        Target::parse(method, path).map_err(|problem| problem.status)
    }

    #[test]
    fn ids_decode_once_and_keep_their_slashes() {
        let target = parse(&Method::POST, "/connector/emea/t/v3/conversations/a%3A1%2F2%253F/activities").unwrap();
        assert_eq!(target.operation, Operation::Send { conversation: "a:1/2%3F".to_owned() });
        assert_eq!((target.region.as_str(), target.tenant.as_str()), ("emea", "t"));
        let raw = "/connector/emea/t/v3/conversations/19:abc@thread.tacv2;messageid=123/activities/1";
        let encoded = "/connector/emea/t/v3/conversations/19%3Aabc%40thread.tacv2%3Bmessageid%3D123/activities/1";
        let reply =
            Operation::Reply { conversation: "19:abc@thread.tacv2;messageid=123".to_owned(), activity: "1".to_owned() };
        assert_eq!(parse(&Method::POST, raw).unwrap().operation, reply);
        assert_eq!(parse(&Method::POST, encoded).unwrap().operation, reply);
    }

    #[test]
    fn wrong_paths_methods_and_escapes_are_told_apart() {
        assert_eq!(
            parse(&Method::POST, "/connector/emea/t/v3/conversations/a:1/2%3F/activities"),
            Err(404),
            "an id with a bare slash"
        );
        assert_eq!(
            parse(&Method::POST, "/connector/emea/v3/conversations/a/activities"),
            Err(404),
            "no tenant segment"
        );
        assert_eq!(parse(&Method::POST, "/connector/emea/t//v3/conversations/a/activities"), Err(404), "two slashes");
        assert_eq!(
            parse(&Method::POST, "/connector/emea/t/v3/conversations/%2E%2E/activities"),
            Err(404),
            "a dot segment"
        );
        assert_eq!(parse(&Method::GET, "/connector/emea/t/v3/conversations/a/activities"), Err(405));
        assert_eq!(parse(&Method::PATCH, "/connector/emea/t/v3/conversations/a/activities/b"), Err(405));
        assert_eq!(parse(&Method::POST, "/connector/emea/t/v3/conversations/a%G1/activities"), Err(400));
        assert_eq!(parse(&Method::POST, "/connector/emea/t/v3/conversations/a%ff/activities"), Err(400));
        assert_eq!(parse(&Method::POST, "/connector/emea/t/v3/conversations/a%4/activities"), Err(400));
    }
}
